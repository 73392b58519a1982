// SPDX-License-Identifier: GPL-2.0
#include "e2e/messages.h"

#include <arpa/inet.h>
#include <fmt/format.h>

namespace holdfast::test
{

std::string rule_settings(hf_rule_type type)
{
	switch (type) {
	case HF_RULE_RADIUS_ATTRIBUTE:
		return ", match_across: true, attributes: [{type: User-Name}]";
	case HF_RULE_HTTP_HEADER_HASH:
		return ", keyword: X-Key";
	case HF_RULE_HTTP_REQUEST_HASH:
		return ", keyword: uid";
	case HF_RULE_COOKIE_HASH:
	case HF_RULE_PERSISTENT_COOKIE:
	case HF_RULE_INSERT_COOKIE:
	case HF_RULE_REWRITE_COOKIE:
	case HF_RULE_EMBEDDED_COOKIE:
		return ", keyword: sid";
	case HF_RULE_ISO8583_BITMAP:
		return ", fields: [41, 42]";
	default:
		return "";
	}
}

std::string rdp_request(const std::string &cookie)
{
	const std::string line = "Cookie: " + cookie + "\r\n";
	const size_t size = 11 + line.size() + 8;

	return std::string("\x03\0\0", 3) + static_cast<char>(size) + static_cast<char>(size - 5) +
	       std::string("\xe0\0\0\0\0\0", 6) + line + std::string("\x01\0\x08\0\x03\0\0\0", 8);
}

std::string rdp_token(const std::string &ipv4, unsigned port)
{
	in_addr address{};

	::inet_pton(AF_INET, ipv4.c_str(), &address);
	return fmt::format("msts={}.{}.0000", address.s_addr, (port & 0xff) << 8 | port >> 8);
}

std::string first_message(hf_rule_type type, int number, size_t size)
{
	const std::string key = fmt::format("{:04}", number);

	switch (type) {
	case HF_RULE_RDP_COOKIE:
		return rdp_request("mstshash=user" + key);
	case HF_RULE_ISO8583_BITMAP: {
		const std::string body = std::string("0200\x20\x20\0\0\0\xc0\0\0", 12) +
					 "000000"
					 "000042"
					 "TERM" +
					 key + "MERCHANT0000001";

		return std::string{0, static_cast<char>(body.size())} + body;
	}
	case HF_RULE_SIP_CALL_ID:
		return "OPTIONS sip:a@example.com SIP/2.0\r\nVia: SIP/2.0/TCP h\r\nCall-ID: " + key + "@h\r\n\r\n";
	case HF_RULE_SSL_SESSION_ID:
		return std::string("\x16\x03\x01\x00\x4e\x01\x00\x00\x4a\x03\x03", 11) + std::string(32, 'r') + "\x20" +
		       std::string(28, 'i') + key + std::string("\x00\x02\xc0\x2f\x01\x00\x00\x00\x00", 7);
	default:
		return "POST /?a=1&uid=" + key + " HTTP/1.1\r\nHost: h\r\nX-Key: " + key +
		       "\r\nCookie: a=1; sid=" + key + "; PHPSESSID=" + key +
		       "\r\nContent-Length: " + std::to_string(size) + "\r\nConnection: close\r\n\r\n";
	}
}

} // namespace holdfast::test
