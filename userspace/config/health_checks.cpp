// SPDX-License-Identifier: GPL-2.0
#include "config/health_checks.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>

#include "holdfast/limits.h"
#include "util/hex.h"

namespace holdfast
{

namespace
{

// "200-299,304"; nothing if it is none.
std::optional<StatusRanges> parse_statuses(const std::string &text)
{
	StatusRanges ranges;

	for (size_t start = 0; start <= text.size();) {
		const size_t end = std::min(text.find(',', start), text.size());
		const char *stop = text.data() + end;
		uint16_t first = 0, last = 0;
		auto [after, status] = std::from_chars(text.data() + start, stop, first);

		last = first;
		if (status == std::errc() && after != stop && *after == '-')
			std::tie(after, status) = [&] {
				const auto parsed = std::from_chars(after + 1, stop, last);
				return std::pair(parsed.ptr, parsed.ec);
			}();
		if (status != std::errc() || after != stop || first < 200 || last > 599 || first > last)
			return std::nullopt;
		ranges.emplace_back(first, last);
		start = end + 1;
	}
	return ranges;
}

// Of a header, or of a request's first line: nothing in it may end either.
bool is_visible(const std::string &text)
{
	return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > ' ' && c < 127; });
}

void read_http(ObjectReader &reader, HealthCheck &check)
{
	const auto token = [&](const char *key, std::string &value, int longest = HF_CHECK_TEXT_MAX) {
		const auto found = reader.text(key);

		if (!found)
			return;
		if (found->empty() || found->size() > static_cast<size_t>(longest) || !is_visible(*found))
			reader.error(key, fmt::format("'{}': 1-{} visible ASCII characters are allowed",
						      printable(*found), longest));
		else
			value = *found;
	};

	token("path", check.path);
	if (check.path[0] != '/')
		reader.error("path", fmt::format("'{}' does not begin with '/'", check.path));
	token("host", check.host, HF_CHECK_NAME_MAX);
	check.method = reader.word<std::string>("method", {{"HEAD", "HEAD"}, {"GET", "GET"}, {"OPTIONS", "OPTIONS"}})
			       .value_or(check.method);
	if (auto text = reader.text("expect_status")) {
		if (auto ranges = parse_statuses(*text))
			check.expect_status = *ranges;
		else
			reader.error("expect_status", fmt::format("'{}' is no list of status codes; allowed: 200-599, "
								  "as in 200-299,304",
								  *text));
	}
	if (check.type != CheckType::https)
		return;
	check.verify = reader.boolean("verify").value_or(true);
	token("ca_file", check.ca_file);
	token("sni", check.sni, HF_CHECK_NAME_MAX);
	if (!check.verify && reader.has("ca_file"))
		reader.error("ca_file", "does nothing with verify: false");
	if (!check.ca_file.empty() && check.ca_file[0] != '/')
		reader.error("ca_file", fmt::format("'{}' is not an absolute path", check.ca_file));
}

void read_udp(ObjectReader &reader, HealthCheck &check)
{
	for (auto [key, value] : {std::pair("send_hex", &check.send), {"expect_hex", &check.expect}}) {
		const auto digits = reader.text(key);

		if (!digits)
			continue;
		const auto bytes = bytes_of_hex(*digits);
		if (!bytes || bytes->empty() || bytes->size() > HF_CHECK_BYTES_MAX)
			reader.error(key, fmt::format("'{}': hexadecimal digits, two for each of 1-{} bytes, are "
						      "allowed",
						      *digits, static_cast<int>(HF_CHECK_BYTES_MAX)));
		else
			*value = *bytes;
	}
	if (reader.has("expect_hex") && !reader.has("send_hex"))
		reader.error("expect_hex", "nothing is answered where nothing is asked: send_hex is needed");
}

} // namespace

HealthCheck read_health_check(ObjectReader &reader)
{
	const std::vector<std::pair<std::string, CheckType>> types = {{"tcp", CheckType::tcp},
								      {"http", CheckType::http},
								      {"https", CheckType::https},
								      {"udp", CheckType::udp},
								      {"icmp", CheckType::icmp}};
	HealthCheck check;
	auto number = [&](const char *key, uint32_t &value, int64_t most) {
		if (auto found = reader.integer(key, 1, most))
			value = static_cast<uint32_t>(*found);
	};
	const auto type = reader.word<CheckType>("type", types, true);

	number("interval", check.interval, HF_CHECK_INTERVAL_MAX);
	number("timeout", check.timeout, HF_CHECK_TIMEOUT_MAX);
	number("healthy_threshold", check.healthy_threshold, HF_CHECK_THRESHOLD_MAX);
	number("unhealthy_threshold", check.unhealthy_threshold, HF_CHECK_THRESHOLD_MAX);
	if (!type) {
		reader.ignore_the_rest();     // which belong to it cannot be said
		check.type = CheckType::icmp; // of which nothing more is asked
		return check;
	}
	check.type = *type;
	if (check.type != CheckType::icmp) {
		if (auto port = reader.integer("port", 1, UINT16_MAX))
			check.port = static_cast<uint16_t>(*port);
	}
	if (speaks_http(check.type))
		read_http(reader, check);
	if (check.type == CheckType::udp)
		read_udp(reader, check);
	return check;
}

} // namespace holdfast
