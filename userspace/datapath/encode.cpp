// SPDX-License-Identifier: GPL-2.0
#include "datapath/encode.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <map>
#include <openssl/sha.h>

#include "holdfast/stages.h"

namespace holdfast
{

namespace
{

template <size_t size> void copy_name(char (&to)[size], const std::string &name)
{
	std::memset(to, 0, size);
	std::memcpy(to, name.data(), std::min(name.size(), size - 1));
}

uint8_t parser_stage(const VirtualServer &server, hf_rule_type type)
{
	// One program reads request heads for all rules that do.
	if (follows(server, type))
		return HF_RULE_HTTP_HEADER_HASH;
	if (!reads(type, server.protocol))
		return 0;
	return static_cast<uint8_t>(type);
}

// A header's name is the same in any case; other keywords are not.
void encode_keyword(const Rule &rule, hf_rule &value)
{
	value.keyword_length = static_cast<uint8_t>(rule.keyword.size());
	for (size_t i = 0; i < rule.keyword.size() && i < HF_KEYWORD_LENGTH; i++) {
		const char c = rule.keyword[i];
		const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		value.keyword_case[i] = rule.type == HF_RULE_HTTP_HEADER_HASH && letter ? 0x20 : 0;
		value.keyword[i] = static_cast<uint8_t>(c) | value.keyword_case[i];
	}
}

} // namespace

hf_service_key encode_service_key(const Address &address, uint16_t port, hf_protocol protocol)
{
	hf_service_key key{};

	std::copy(address.bytes().begin(), address.bytes().end(), key.address);
	key.port = to_network(port);
	key.protocol = static_cast<uint8_t>(protocol);
	return key;
}

hf_virtual_server encode(const VirtualServer &server, uint32_t pool, uint32_t rule, hf_rule_type type)
{
	hf_virtual_server value{};

	value.pool = pool;
	value.rule = rule;
	value.idle_timeout = server.idle_timeout;
	value.parser = parser_stage(server, type);
	value.flags = static_cast<uint8_t>(
		(splices(server, type) ? HF_SERVER_SPLICES : 0) |
		(server.server_first || (!reads_streams(type) && !follows(server, type)) ? HF_SERVER_BINDS_AT_ONCE
											 : 0) |
		(follows(server, type) ? HF_SERVER_FOLLOWS : 0) | (writes(type) ? HF_SERVER_WRITES : 0) |
		(server.x_forwarded_for ? HF_SERVER_FORWARDED_FOR : 0) |
		(watches(server, type) ? HF_SERVER_WATCHES : 0) | (learns(type) ? HF_SERVER_LEARNS : 0));
	value.server_first_wait = static_cast<uint16_t>(server.server_first_wait);
	value.proxy_protocol = server.proxy_protocol;
	value.session_rate = server.new_sessions_per_second;
	value.method = static_cast<uint8_t>(server.method);
	value.forwarding = static_cast<uint8_t>(server.forwarding);
	if (has_sources(server.forwarding)) {
		value.sources = static_cast<uint16_t>(server.source_addresses.size());
		value.lowest_port = server.lowest_source_port;
		value.highest_port = server.highest_source_port;
	}
	copy_name(value.name, server.name);
	return value;
}

std::set<uint32_t> needed_stages(const Config &config)
{
#define STAGE_SLOT(name, slot) slot,
	constexpr uint32_t streams[] = {HF_STAGES_OF_STREAMS(STAGE_SLOT) HF_STAGES_OF_TC(STAGE_SLOT)};
	std::set<uint32_t> stages = {HF_STAGES_ALWAYS(STAGE_SLOT)};
#undef STAGE_SLOT
	std::map<std::string, hf_rule_type> types;

	for (const Rule &rule : config.rules)
		types.emplace(rule.name, rule.type);
	for (const VirtualServer &server : config.virtual_servers) {
		auto found = types.find(server.persistence);
		const hf_rule_type type = found == types.end() ? HF_RULE_NONE : found->second;

		if (const uint8_t parser = parser_stage(server, type)) {
			stages.insert(parser);
			if (server.protocol == HF_PROTOCOL_UDP)
				stages.insert(HF_STAGE_DECIDE);
		}
		if (splices(server, type))
			stages.insert(std::begin(streams), std::end(streams));
	}
	return stages;
}

hf_rule encode(const Rule &rule)
{
	hf_rule value{};

	value.timeout = keeps_table(rule.type) || rule.type == HF_RULE_INSERT_COOKIE ? rule.timeout : 0;
	value.type = static_cast<uint8_t>(rule.type);
	value.ipv4_mask_bits = rule.ipv4_mask_bits;
	value.ipv6_mask_bits = rule.ipv6_mask_bits;
	value.flags = static_cast<uint8_t>((rule.match_across ? HF_RULE_MATCH_ACROSS : 0) |
					   (rule.override_connection_limit ? HF_RULE_OVERRIDE_CONNECTION_LIMIT : 0) |
					   (is_hash(rule.type) ? HF_RULE_STATELESS : 0) |
					   (rule.bitmap_relation == HF_RELATION_AND ? HF_RULE_BITMAP_AND : 0) |
					   (rule.encoding == Iso8583Encoding::ascii ? HF_RULE_ENCODING_ASCII : 0) |
					   (rule.framing == Iso8583Framing::ascii4 ? HF_RULE_FRAMING_ASCII : 0));
	encode_keyword(rule, value);
	for (const uint8_t field : rule.fields)
		value.fields[(field - 1) / 64] |= 1ULL << (63 - (field - 1) % 64);
	value.relation = static_cast<uint8_t>(rule.relation);
	value.cookies = known_cookies(rule);
	if (rule.type == HF_RULE_SIP_CALL_ID)
		std::memcpy(value.answer_mark, "SIP/", sizeof(value.answer_mark));
	for (size_t i = 0; i < rule.attributes.size() && i < HF_KEYS; i++) {
		const RadiusAttribute &attribute = rule.attributes[i];
		const RadiusType type = radius_type(attribute.type);

		// A vendor's part may be of any length.
		value.attributes[i] = {.vendor_id = attribute.vendor_id,
				       .type = attribute.type,
				       .vendor_type = attribute.vendor_type,
				       .shortest = attribute.vendor_id ? uint8_t{1} : type.shortest,
				       .longest = type.longest};
	}
	copy_name(value.name, rule.name);
	return value;
}

hf_pool encode(const Pool &pool)
{
	hf_pool value{};

	if (pool.member_tcp_options) {
		const TcpOptions &options = *pool.member_tcp_options;

		value.tcp_fixed = 1;
		value.tcp_lacking = static_cast<uint8_t>((options.sack ? 0 : HF_TCP_SACK) |
							 (options.timestamps ? 0 : HF_TCP_TIMESTAMPS) |
							 (options.window_scale ? 0 : HF_TCP_WINDOW_SCALE));
	}
	copy_name(value.name, pool.name);
	return value;
}

hf_source_address encode_source(const Address &address)
{
	hf_source_address value{};

	std::copy(address.bytes().begin(), address.bytes().end(), value.address);
	return value;
}

hf_early_limits encode(const EarlyData &early)
{
	return {early.max_head, early.max_bytes_per_client, early.timeout};
}

hf_endpoint_key encode_endpoint(uint32_t pool, const Address &address, uint16_t port)
{
	hf_endpoint_key key{};

	key.pool = pool;
	std::copy(address.bytes().begin(), address.bytes().end(), key.address);
	key.port = to_network(port);
	return key;
}

hf_cookie_key encode_cookie(uint32_t pool, const std::string &name)
{
	hf_cookie_key key{};

	key.pool = pool;
	std::copy_n(name.begin(), std::min<size_t>(name.size(), HF_NAME_LENGTH), key.name);
	return key;
}

hf_cookie_text encode_cookie_text(const Rule &rule, const std::string &name)
{
	hf_cookie_text value{};
	std::string text = name;

	if (rule.type == HF_RULE_EMBEDDED_COOKIE)
		text += '~';
	if (rule.type == HF_RULE_INSERT_COOKIE) {
		text = fmt::format("Set-Cookie: {}={}|", rule.keyword, name);
		value.date = static_cast<uint16_t>(text.size());
		text += std::string(HF_COOKIE_DATE_LENGTH, 'A') + rule.cookie_attributes + "\r\n";
	}
	value.length = static_cast<uint16_t>(std::min<size_t>(text.size(), HF_EDIT_BYTES));
	std::copy_n(text.begin(), value.length, value.bytes);
	return value;
}

hf_member_state encode(MemberStatus status)
{
	switch (status) {
	case MemberStatus::enabled:
		return HF_MEMBER_UP;
	case MemberStatus::draining:
		return HF_MEMBER_DRAINING;
	case MemberStatus::disabled:
		return HF_MEMBER_DISABLED;
	case MemberStatus::down:
		return HF_MEMBER_DOWN;
	}
	return HF_MEMBER_ABSENT;
}

hf_member encode(const Member &member, uint32_t pool, bool reset_on_down)
{
	hf_member value{};

	std::copy(member.address.bytes().begin(), member.address.bytes().end(), value.address);
	value.port = to_network(member.port);
	value.state = encode(member.status);
	value.pool = pool;
	value.flags = reset_on_down ? HF_MEMBER_RESETS : 0;
	value.weight = static_cast<uint16_t>(member.weight);
	value.connection_limit = member.connection_limit;
	value.rate_limit = member.connection_rate_limit;
	value.warm_rate = member.warm_up ? member.warm_rate : 0;
	copy_name(value.name, member.name);
	return value;
}

uint16_t address_filter_slot(const Address &address)
{
	uint32_t words[4];

	std::memcpy(words, address.bytes().data(), sizeof(words));
	return static_cast<uint16_t>(((words[0] ^ words[1] ^ words[2] ^ words[3]) * 0x9e3779b1U) >> 16);
}

void encode_hash_seed(const std::string &seed, __u64 key[2])
{
	unsigned char digest[SHA256_DIGEST_LENGTH];

	SHA256(reinterpret_cast<const unsigned char *>(seed.data()), seed.size(), digest);
	std::memcpy(key, digest, 16);
}

std::string endpoint_text(const Address &address, uint16_t port)
{
	return address.is_ipv4() ? fmt::format("{}:{}", address.text(), port)
				 : fmt::format("[{}]:{}", address.text(), port);
}

} // namespace holdfast
