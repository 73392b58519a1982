// SPDX-License-Identifier: GPL-2.0
#include "persist/message.h"

#include <algorithm>
#include <fmt/format.h>

namespace holdfast
{

namespace
{

Result<std::vector<SessionKey>> radius_keys(const std::vector<std::string> &values, const Rule &rule,
					    const DigestKey &key)
{
	std::vector<SessionKey> keys;
	std::string together;

	if (rule.relation == HF_RELATION_AND && values.size() != rule.attributes.size())
		return Error(fmt::format("rule '{}' makes one key of {} attributes; {} values were given", rule.name,
					 rule.attributes.size(), values.size()));
	for (size_t i = 0; i < rule.attributes.size(); i++) {
		const bool each = rule.relation == HF_RELATION_OR;

		for (const std::string &value : each ? values : std::vector<std::string>{values[i]}) {
			const auto bytes = radius_value(rule.attributes[i], value);

			if (!bytes && !each)
				return Error(fmt::format("'{}' is not a value of {}", value, text(rule.attributes[i])));
			if (!bytes)
				continue;
			const std::string input = radius_digest_input(rule.attributes[i], *bytes);
			if (each)
				keys.push_back(digest(input, key));
			together += input;
		}
	}
	if (rule.relation == HF_RELATION_AND)
		keys.push_back(digest(together, key));
	return keys;
}

// A value for each field, in the order of their numbers. Where a part of them is
// enough for a key, only those that were there are in it: "-" stands for one that was not.
Result<std::vector<SessionKey>> iso8583_keys(const std::vector<std::string> &values, const Rule &rule,
					     const DigestKey &key)
{
	std::vector<SessionKey> keys;
	std::string together;

	if (rule.relation == HF_RELATION_AND && values.size() != rule.fields.size())
		return Error(fmt::format("rule '{}' makes one key of {} fields; {} values were given ('-': absent)",
					 rule.name, rule.fields.size(), values.size()));
	for (size_t i = 0; i < rule.fields.size(); i++) {
		if (rule.relation == HF_RELATION_OR) {
			for (const std::string &value : values)
				keys.push_back(digest(iso8583_digest_input(rule.fields[i], value), key));
		} else if (values[i] != "-") {
			together += iso8583_digest_input(rule.fields[i], values[i]);
		}
	}
	if (rule.relation == HF_RELATION_AND)
		keys.push_back(digest(together, key));
	return keys;
}

} // namespace

MessageKeys read_message(std::string_view bytes, size_t length, const Rule &rule, const DigestKeys &keys)
{
	switch (rule.type) {
	case HF_RULE_SIP_CALL_ID:
		return read_sip(bytes, length, keys.secret);
	case HF_RULE_RADIUS_ATTRIBUTE:
		return read_radius(bytes, length, rule, keys.secret);
	case HF_RULE_HTTP_HEADER_HASH:
	case HF_RULE_HTTP_REQUEST_HASH:
	case HF_RULE_COOKIE_HASH:
	case HF_RULE_PERSISTENT_COOKIE:
	case HF_RULE_PASSIVE_COOKIE:
	case HF_RULE_INSERT_COOKIE:
	case HF_RULE_REWRITE_COOKIE:
	case HF_RULE_EMBEDDED_COOKIE:
		return read_http(bytes, length, rule, keys);
	case HF_RULE_SSL_SESSION_ID:
		return read_ssl(bytes, length, keys.secret);
	case HF_RULE_RDP_COOKIE:
		return read_rdp(bytes, length, keys.secret);
	case HF_RULE_ISO8583_BITMAP:
		return read_iso8583(bytes, length, rule, keys.secret);
	default:
		return {};
	}
}

Result<std::vector<SessionKey>> keys_of_values(const std::vector<std::string> &values, const Rule &rule,
					       const DigestKey &key)
{
	std::vector<SessionKey> keys;

	if (rule.type == HF_RULE_RADIUS_ATTRIBUTE)
		return radius_keys(values, rule, key);
	if (rule.type == HF_RULE_ISO8583_BITMAP)
		return iso8583_keys(values, rule, key);
	if (known_cookies(rule) & HF_COOKIE_CFID && values.size() == 2)
		keys.push_back(digest(cfid_digest_input(values[0], values[1]), key));
	for (const std::string &value : values) {
		if (rule.type == HF_RULE_SSL_SESSION_ID) {
			const auto bytes = bytes_of_hex(value);

			if (!bytes || bytes->empty() || bytes->size() > 32)
				return Error(fmt::format("'{}' is not a session id: 2-64 hexadecimal digits", value));
			keys.push_back(digest(*bytes, key));
			continue;
		}
		if (reads_streams(rule.type) || reads_datagrams(rule.type)) {
			keys.push_back(digest(value, key));
			continue;
		}
		const auto address = Address::parse(value);
		if (!address)
			return Error(fmt::format("'{}' is not an address", value));
		keys.push_back(masked(*address, rule).bytes());
	}
	return keys;
}

hf_session_kind session_kind(hf_rule_type type)
{
	switch (type) {
	case HF_RULE_SIP_CALL_ID:
		return HF_SESSION_SIP_CALL_ID;
	case HF_RULE_RADIUS_ATTRIBUTE:
		return HF_SESSION_RADIUS;
	case HF_RULE_RDP_COOKIE:
		return HF_SESSION_RDP;
	case HF_RULE_ISO8583_BITMAP:
		return HF_SESSION_ISO8583;
	case HF_RULE_PERSISTENT_COOKIE:
	case HF_RULE_PASSIVE_COOKIE:
		return HF_SESSION_COOKIE;
	case HF_RULE_SSL_SESSION_ID:
		return HF_SESSION_SSL;
	default:
		return HF_SESSION_ADDRESS;
	}
}

std::optional<uint64_t> content_length(std::string_view value)
{
	if (value.empty() || value.size() > 18 ||
	    !std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; }))
		return std::nullopt;
	return std::stoull(std::string(value));
}

Address masked(const Address &address, const Rule &rule)
{
	std::array<uint8_t, 16> bytes = address.bytes();
	const int first = address.is_ipv4() ? 96 : 0;
	const int bits = address.is_ipv4() ? rule.ipv4_mask_bits : rule.ipv6_mask_bits;

	for (int bit = first + bits; bit < 128; bit++)
		bytes[static_cast<size_t>(bit / 8)] &= static_cast<uint8_t>(~(0x80 >> bit % 8));
	return Address(bytes);
}

} // namespace holdfast
