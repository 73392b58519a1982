// SPDX-License-Identifier: GPL-2.0
#include "model/health_check.h"

#include <algorithm>

namespace holdfast
{

const char *word(CheckType type)
{
	switch (type) {
	case CheckType::tcp:
		return "tcp";
	case CheckType::http:
		return "http";
	case CheckType::https:
		return "https";
	case CheckType::udp:
		return "udp";
	case CheckType::icmp:
		return "icmp";
	}
	return "?";
}

bool speaks_http(CheckType type)
{
	return type == CheckType::http || type == CheckType::https;
}

bool measures_latency(const HealthCheck &check)
{
	return check.type != CheckType::udp || !check.expect.empty();
}

bool expects(const StatusRanges &ranges, unsigned status)
{
	return std::any_of(ranges.begin(), ranges.end(),
			   [&](const auto &range) { return status >= range.first && status <= range.second; });
}

std::string text(const StatusRanges &ranges)
{
	std::string all;

	for (const auto &[first, last] : ranges) {
		all += (all.empty() ? "" : ",") + std::to_string(first);
		if (last != first)
			all += "-" + std::to_string(last);
	}
	return all;
}

} // namespace holdfast
