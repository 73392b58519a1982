// SPDX-License-Identifier: GPL-2.0
// A health check, as it is configured: how a member is asked, and how often. Times are
// seconds.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace holdfast
{

enum class CheckType { tcp, http, https, udp, icmp };

// Ranges of HTTP's status codes, both ends included.
using StatusRanges = std::vector<std::pair<uint16_t, uint16_t>>;

struct HealthCheck {
	std::string name;
	CheckType type = CheckType::tcp;
	uint16_t port = 0; // 0: the member's
	// http, https
	std::string path = "/";
	std::string host; // the Host header; empty: the member's address
	std::string method = "HEAD";
	StatusRanges expect_status = {{200, 399}};
	// https: is the certificate to be valid, by whom, and for what name; empty: the host's authorities; `host`, or
	// the member's address.
	bool verify = true;
	std::string ca_file;
	std::string sni;
	// udp: bytes. Without an expectation, a member is well that is not heard to have nobody at that port.
	std::string send;
	std::string expect;
	uint32_t interval = 5; // from the beginning of one to that of the next
	uint32_t timeout = 3;
	uint32_t healthy_threshold = 3; // so many in a row
	uint32_t unhealthy_threshold = 3;

	bool operator==(const HealthCheck &) const = default;
};

const char *word(CheckType type);
bool speaks_http(CheckType type);
// Does a member that is well say so, so that it is known how long that takes?
bool measures_latency(const HealthCheck &check);
bool expects(const StatusRanges &ranges, unsigned status);
// As in the configuration: "200-299,304".
std::string text(const StatusRanges &ranges);

} // namespace holdfast
