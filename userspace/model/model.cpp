// SPDX-License-Identifier: GPL-2.0
#include "model/model.h"

namespace holdfast
{

std::string member_key(const std::string &pool, const std::string &member)
{
	return pool + "/" + member;
}

Pool with_overrides(Pool pool, const MemberOverrides &overrides)
{
	for (Member &member : pool.members) {
		auto found = overrides.find(member_key(pool.name, member.name));

		if (found == overrides.end())
			continue;
		if (found->second.has_status)
			member.status = found->second.status;
		if (found->second.weight)
			member.weight = found->second.weight;
	}
	return pool;
}

Config with_overrides(Config config, const MemberOverrides &overrides)
{
	for (Pool &pool : config.pools)
		pool = with_overrides(std::move(pool), overrides);
	return config;
}

Pool with_health(Pool pool, const Health &health)
{
	auto found = health.find(pool.name);

	if (found == health.end())
		return pool;
	for (Member &member : pool.members) {
		if (found->second.down.contains(member.name) && member.status != MemberStatus::disabled)
			member.status = MemberStatus::down;
		member.fast = found->second.fast.contains(member.name);
	}
	return pool;
}

Config with_health(Config config, const Health &health)
{
	for (Pool &pool : config.pools)
		pool = with_health(std::move(pool), health);
	return config;
}

const std::vector<Rule> &predefined_rules()
{
	static const std::vector<Rule> rules = {
		{.name = "LB_PERSIS_SRC_ADDR", .type = HF_RULE_SOURCE_ADDRESS},
		{.name = "LB_PERSIS_HASH_SRC_ADDR", .type = HF_RULE_SOURCE_ADDRESS_HASH},
		{.name = "LB_PERSIS_HASH_SRC_ADDR_PORT", .type = HF_RULE_SOURCE_ADDRESS_PORT_HASH},
		{.name = "LB_PERSIS_HASH_COOKIE", .type = HF_RULE_COOKIE_HASH},
		{.name = "LB_PERSIS_RDP_COOKIE", .type = HF_RULE_RDP_COOKIE},
		{.name = "LB_PERSIS_SSL_SESS_ID", .type = HF_RULE_SSL_SESSION_ID},
		{.name = "LB_PERSIS_SIP_CALL_ID", .type = HF_RULE_SIP_CALL_ID},
		{.name = "LB_PERSIS_PASSIVE_COOKIE", .type = HF_RULE_PASSIVE_COOKIE},
	};

	return rules;
}

const char *word(InterfaceMode mode)
{
	switch (mode) {
	case InterfaceMode::automatic:
		return "auto";
	case InterfaceMode::xdp:
		return "xdp";
	case InterfaceMode::xdp_generic:
		return "xdp-generic";
	case InterfaceMode::tc:
		return "tc";
	}
	return "?";
}

const char *word(MemberStatus status)
{
	switch (status) {
	case MemberStatus::enabled:
		return "enable";
	case MemberStatus::draining:
		return "maintain";
	case MemberStatus::disabled:
		return "disable";
	case MemberStatus::down:
		return "down";
	}
	return "?";
}

const char *word(hf_rule_type type)
{
	switch (type) {
	case HF_RULE_NONE:
		return "none";
	case HF_RULE_SOURCE_ADDRESS:
		return "source-address";
	case HF_RULE_SOURCE_ADDRESS_HASH:
		return "source-address-hash";
	case HF_RULE_SOURCE_ADDRESS_PORT_HASH:
		return "source-address-port-hash";
	case HF_RULE_SIP_CALL_ID:
		return "sip-call-id";
	case HF_RULE_RADIUS_ATTRIBUTE:
		return "radius-attribute";
	case HF_RULE_HTTP_HEADER_HASH:
		return "http-header-hash";
	case HF_RULE_HTTP_REQUEST_HASH:
		return "http-request-hash";
	case HF_RULE_COOKIE_HASH:
		return "cookie-hash";
	case HF_RULE_RDP_COOKIE:
		return "rdp-cookie";
	case HF_RULE_ISO8583_BITMAP:
		return "iso8583-bitmap";
	case HF_RULE_PERSISTENT_COOKIE:
		return "persistent-cookie";
	case HF_RULE_PASSIVE_COOKIE:
		return "passive-cookie";
	case HF_RULE_SSL_SESSION_ID:
		return "ssl-session-id";
	case HF_RULE_INSERT_COOKIE:
		return "insert-cookie";
	case HF_RULE_REWRITE_COOKIE:
		return "rewrite-cookie";
	case HF_RULE_EMBEDDED_COOKIE:
		return "embedded-cookie";
	case HF_RULE_TYPES:
		break;
	}
	return "?";
}

const char *word(hf_method method)
{
	switch (method) {
	case HF_METHOD_ROUND_ROBIN:
		return "round-robin";
	case HF_METHOD_SOURCE_HASH:
		return "source-hash";
	case HF_METHOD_LEAST_CONNECTIONS:
		return "least-connections";
	case HF_METHOD_RANDOM:
		return "random";
	case HF_METHOD_FASTEST_RESPONSE:
		return "fastest-response";
	}
	return "?";
}

const char *word(hf_protocol protocol)
{
	return protocol == HF_PROTOCOL_UDP ? "udp" : "tcp";
}

const char *word(hf_forwarding forwarding)
{
	switch (forwarding) {
	case HF_FORWARDING_DNAT:
		return "dnat";
	case HF_FORWARDING_DIRECT:
		return "direct";
	case HF_FORWARDING_FULLNAT:
		return "fullnat";
	case HF_FORWARDING_NAT46:
		return "nat46";
	case HF_FORWARDING_NAT64:
		return "nat64";
	}
	return "?";
}

const char *word(Iso8583Framing framing)
{
	return framing == Iso8583Framing::ascii4 ? "ascii4" : "length16";
}

const char *word(Iso8583Encoding encoding)
{
	return encoding == Iso8583Encoding::ascii ? "ascii" : "binary";
}

const char *word(SessionKeyword keyword)
{
	switch (keyword) {
	case SessionKeyword::automatic:
		return "auto";
	case SessionKeyword::phpsessid:
		return "PHPSESSID";
	case SessionKeyword::jsessionid:
		return "JSESSIONID";
	case SessionKeyword::cfid_cftoken:
		return "CFID+CFTOKEN";
	case SessionKeyword::asp_net:
		return "ASP.NET_SessionId";
	case SessionKeyword::custom:
		return "custom";
	}
	return "?";
}

const std::vector<hf_rule_type> &rule_types()
{
	static const std::vector<hf_rule_type> types = {
		HF_RULE_SOURCE_ADDRESS,    HF_RULE_SOURCE_ADDRESS_HASH, HF_RULE_SOURCE_ADDRESS_PORT_HASH,
		HF_RULE_HTTP_HEADER_HASH,  HF_RULE_HTTP_REQUEST_HASH,   HF_RULE_COOKIE_HASH,
		HF_RULE_PERSISTENT_COOKIE, HF_RULE_PASSIVE_COOKIE,      HF_RULE_INSERT_COOKIE,
		HF_RULE_REWRITE_COOKIE,    HF_RULE_EMBEDDED_COOKIE,     HF_RULE_RADIUS_ATTRIBUTE,
		HF_RULE_RDP_COOKIE,        HF_RULE_SSL_SESSION_ID,      HF_RULE_SIP_CALL_ID,
		HF_RULE_ISO8583_BITMAP};

	return types;
}

const std::vector<hf_method> &methods()
{
	static const std::vector<hf_method> all = {HF_METHOD_ROUND_ROBIN, HF_METHOD_SOURCE_HASH,
						   HF_METHOD_LEAST_CONNECTIONS, HF_METHOD_RANDOM,
						   HF_METHOD_FASTEST_RESPONSE};

	return all;
}

const std::vector<hf_forwarding> &forwardings()
{
	static const std::vector<hf_forwarding> all = {HF_FORWARDING_DNAT, HF_FORWARDING_DIRECT, HF_FORWARDING_FULLNAT,
						       HF_FORWARDING_NAT46, HF_FORWARDING_NAT64};

	return all;
}

bool can_forward(hf_forwarding forwarding, hf_rule_type type, hf_protocol protocol)
{
	return forwarding != HF_FORWARDING_DIRECT || protocol != HF_PROTOCOL_TCP || !reads_streams(type);
}

bool has_sources(hf_forwarding forwarding)
{
	return forwarding >= HF_FORWARDING_FULLNAT;
}

bool changes_family(hf_forwarding forwarding)
{
	return forwarding >= HF_FORWARDING_NAT46;
}

bool has_ipv4_members(const VirtualServer &server)
{
	return changes_family(server.forwarding) ? server.forwarding == HF_FORWARDING_NAT64 : server.address.is_ipv4();
}

bool serves_family(hf_forwarding forwarding, bool ipv4)
{
	return !changes_family(forwarding) || (forwarding == HF_FORWARDING_NAT46) == ipv4;
}

bool keeps_table(hf_rule_type type)
{
	return type == HF_RULE_SOURCE_ADDRESS || type == HF_RULE_SIP_CALL_ID || type == HF_RULE_RADIUS_ATTRIBUTE ||
	       type == HF_RULE_RDP_COOKIE || type == HF_RULE_ISO8583_BITMAP || learns(type);
}

bool reads_datagrams(hf_rule_type type)
{
	return type == HF_RULE_SIP_CALL_ID || type == HF_RULE_RADIUS_ATTRIBUTE;
}

bool reads_streams(hf_rule_type type)
{
	return reads_http(type) || type == HF_RULE_RDP_COOKIE || type == HF_RULE_SIP_CALL_ID ||
	       type == HF_RULE_ISO8583_BITMAP || type == HF_RULE_SSL_SESSION_ID;
}

bool reads_http(hf_rule_type type)
{
	return type == HF_RULE_HTTP_HEADER_HASH || type == HF_RULE_HTTP_REQUEST_HASH || type == HF_RULE_COOKIE_HASH ||
	       type == HF_RULE_PERSISTENT_COOKIE || type == HF_RULE_PASSIVE_COOKIE || writes(type);
}

bool writes(hf_rule_type type)
{
	return type == HF_RULE_INSERT_COOKIE || type == HF_RULE_REWRITE_COOKIE || type == HF_RULE_EMBEDDED_COOKIE;
}

bool is_hash(hf_rule_type type)
{
	return !keeps_table(type) && !writes(type);
}

bool learns(hf_rule_type type)
{
	return type == HF_RULE_PERSISTENT_COOKIE || type == HF_RULE_PASSIVE_COOKIE || type == HF_RULE_SSL_SESSION_ID;
}

uint8_t known_cookies(const Rule &rule)
{
	if (rule.type != HF_RULE_PASSIVE_COOKIE)
		return 0;
	switch (rule.session_keyword) {
	case SessionKeyword::automatic:
		return HF_COOKIE_PHPSESSID | HF_COOKIE_JSESSIONID | HF_COOKIE_CFID | HF_COOKIE_CFTOKEN |
		       HF_COOKIE_ASP_NET;
	case SessionKeyword::phpsessid:
		return HF_COOKIE_PHPSESSID;
	case SessionKeyword::jsessionid:
		return HF_COOKIE_JSESSIONID;
	case SessionKeyword::cfid_cftoken:
		return HF_COOKIE_CFID | HF_COOKIE_CFTOKEN;
	case SessionKeyword::asp_net:
		return HF_COOKIE_ASP_NET;
	case SessionKeyword::custom:
		break;
	}
	return 0;
}

bool reads(hf_rule_type type, hf_protocol protocol)
{
	return protocol == HF_PROTOCOL_UDP ? reads_datagrams(type) : reads_streams(type);
}

bool serves(hf_rule_type type, hf_protocol protocol)
{
	return reads(type, protocol) || (!reads_datagrams(type) && !reads_streams(type));
}

bool watches(const VirtualServer &server, hf_rule_type type)
{
	return server.protocol == HF_PROTOCOL_TCP && (type == HF_RULE_SIP_CALL_ID || type == HF_RULE_ISO8583_BITMAP);
}

bool splices(const VirtualServer &server, hf_rule_type type)
{
	return server.protocol == HF_PROTOCOL_TCP &&
	       (reads_streams(type) || server.syn_protection || server.server_first || server.proxy_protocol ||
		server.x_forwarded_for);
}

bool follows(const VirtualServer &server, hf_rule_type type)
{
	return server.protocol == HF_PROTOCOL_TCP && (reads_http(type) || server.x_forwarded_for);
}

} // namespace holdfast
