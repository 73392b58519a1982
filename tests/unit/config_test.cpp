// SPDX-License-Identifier: GPL-2.0
#include "config/config.h"
#include "datapath/encode.h"
#include "persist/message.h"

#include <chrono>
#include <cstdlib>
#include <gtest/gtest.h>

namespace holdfast
{
namespace
{

const std::string good = R"(version: 1
interfaces:
  - {name: eth0, mode: auto}
tables: {sessions: 5000, connections: 6000}
hash_seed: green
pools:
  - name: web
    on_down: keep
    members:
      - {name: rs1, address: 10.0.2.11, port: 8080, weight: 3}
      - {name: rs2, address: 10.0.2.12, status: maintain}
persistence:
  - {name: by-net, type: source-address, timeout: 60, ipv4_mask_bits: 24, ipv6_mask_bits: 64}
  - {name: hash, type: source-address-hash}
virtual_servers:
  - {name: shop, address: 192.0.2.10, port: 80, protocol: tcp, forwarding: dnat, pool: web, persistence: by-net}
  - {name: range, address: 192.0.2.20, port: 8000-8099, protocol: udp, forwarding: dnat, method: source-hash,
     pool: web, persistence: LB_PERSIS_SRC_ADDR, idle_timeout: 5}
)";

TEST(Config, ReadsEverySetting)
{
	const ConfigResult result = parse_config(good);
	ASSERT_TRUE(std::holds_alternative<Config>(result)) << std::get<ConfigErrors>(result).front().text("good");
	const auto &config = std::get<Config>(result);

	EXPECT_EQ(config.interfaces, (std::vector<Interface>{{"eth0", InterfaceMode::automatic}}));
	EXPECT_EQ(config.tables.sessions, 5000U);
	EXPECT_EQ(config.tables.connections, 6000U);
	EXPECT_EQ(config.hash_seed, "green");
	ASSERT_EQ(config.pools.size(), 1U);
	ASSERT_EQ(config.pools[0].members.size(), 2U);
	const Member &first = config.pools[0].members[0], &second = config.pools[0].members[1];
	EXPECT_EQ(first.address.text(), "10.0.2.11");
	EXPECT_EQ(first.port, 8080);
	EXPECT_EQ(first.weight, 3U);
	EXPECT_EQ(second.port, 0) << "the port that the client used";
	EXPECT_EQ(second.status, MemberStatus::draining);
	ASSERT_EQ(config.rules.size(), predefined_rules().size() + 2);
	const Rule &net = config.rules[predefined_rules().size()];
	EXPECT_EQ(net.timeout, 60U);
	EXPECT_EQ(net.ipv4_mask_bits, 24);
	EXPECT_EQ(net.ipv6_mask_bits, 64);
	ASSERT_EQ(config.virtual_servers.size(), 2U);
	const VirtualServer &shop = config.virtual_servers[0], &range = config.virtual_servers[1];
	EXPECT_EQ(shop.first_port, 80);
	EXPECT_EQ(shop.last_port, 80);
	EXPECT_EQ(shop.idle_timeout, 3600U);
	EXPECT_EQ(shop.method, HF_METHOD_ROUND_ROBIN);
	EXPECT_EQ(range.first_port, 8000);
	EXPECT_EQ(range.last_port, 8099);
	EXPECT_EQ(range.protocol, HF_PROTOCOL_UDP);
	EXPECT_EQ(range.method, HF_METHOD_SOURCE_HASH);
	EXPECT_EQ(range.idle_timeout, 5U);
}

TEST(Config, TakesJson)
{
	EXPECT_TRUE(std::holds_alternative<Config>(parse_config(R"({"version": 1, "pools": []})")));
}

const std::string good_forwarding = R"(version: 1
pools:
  - {name: web, on_down: reset, members: [{name: rs1, address: 10.0.2.11, port: 80, connection_rate_limit: 5, recover: 6, warm_up: 7, warm_rate: 8}, {name: rs2, address: 10.0.2.12, backup: true}]}
  - {name: db, members: [{name: rs1, address: 10.0.2.21}]}
virtual_servers:
  - {name: a, address: 192.0.2.10, port: 80, protocol: tcp, forwarding: fullnat, pool: web, method: least-connections, source_addresses: [10.0.2.5, 10.0.2.6], source_ports: 2000-2999}
  - {name: b, address: 192.0.2.11, port: 80, protocol: tcp, forwarding: direct, pool: web, method: random, own_addresses: false}
)";

TEST(Config, ReadsForwardingAndWhatMembersTake)
{
	const ConfigResult result = parse_config(good_forwarding);
	ASSERT_TRUE(std::holds_alternative<Config>(result)) << std::get<ConfigErrors>(result).front().text("good");
	const auto &config = std::get<Config>(result);
	const Member &first = config.pools[0].members[0], &second = config.pools[0].members[1];
	const VirtualServer &fullnat = config.virtual_servers[0], &direct = config.virtual_servers[1];

	EXPECT_TRUE(config.pools[0].reset_on_down);
	EXPECT_FALSE(config.pools[1].reset_on_down);
	EXPECT_EQ(first.connection_rate_limit, 5U);
	EXPECT_EQ(first.recover, 6U);
	EXPECT_EQ(first.warm_up, 7U);
	EXPECT_EQ(first.warm_rate, 8U);
	EXPECT_FALSE(first.backup);
	EXPECT_TRUE(second.backup);
	EXPECT_EQ(fullnat.forwarding, HF_FORWARDING_FULLNAT);
	EXPECT_EQ(fullnat.method, HF_METHOD_LEAST_CONNECTIONS);
	ASSERT_EQ(fullnat.source_addresses.size(), 2U);
	EXPECT_EQ(fullnat.source_addresses[1].text(), "10.0.2.6");
	EXPECT_EQ(fullnat.lowest_source_port, 2000);
	EXPECT_EQ(fullnat.highest_source_port, 2999);
	EXPECT_TRUE(fullnat.own_addresses);
	EXPECT_EQ(direct.forwarding, HF_FORWARDING_DIRECT);
	EXPECT_EQ(direct.method, HF_METHOD_RANDOM);
	EXPECT_FALSE(direct.own_addresses);
}

const std::string good_families = R"(version: 1
pools:
  - {name: six, members: [{name: rs1, address: "fd00::21", port: 80}]}
  - {name: four, members: [{name: rs1, address: 10.0.2.21, port: 80}]}
persistence:
  - {name: across, type: source-address, match_across: true}
virtual_servers:
  - {name: a, address: 192.0.2.10, port: 80, protocol: tcp, forwarding: nat46, pool: six, persistence: across, source_addresses: ["fd00::5"]}
  - {name: b, address: 192.0.2.10, port: 81, protocol: tcp, forwarding: nat46, pool: six, persistence: across, source_addresses: ["fd00::5"]}
  - {name: c, address: "2001:db8::10", port: 80, protocol: udp, forwarding: nat64, pool: four, source_addresses: [10.0.2.5]}
)";

TEST(Config, ReadsModesThatChangeTheFamily)
{
	const ConfigResult result = parse_config(good_families);
	ASSERT_TRUE(std::holds_alternative<Config>(result)) << std::get<ConfigErrors>(result).front().text("good");
	const auto &servers = std::get<Config>(result).virtual_servers;

	EXPECT_EQ(servers[0].forwarding, HF_FORWARDING_NAT46);
	EXPECT_EQ(servers[0].source_addresses.at(0).text(), "fd00::5");
	EXPECT_EQ(servers[2].forwarding, HF_FORWARDING_NAT64);
}

const std::string good_clones = R"(version: 1
persistence:
  - {name: base, type: source-address, timeout: 77, ipv4_mask_bits: 24, match_across: true}
  - {name: first, clone: base, timeout: 88}
  - {name: second, clone: first, ipv4_mask_bits: ~, ipv6_mask_bits: 64}
  - {name: again, clone: second}
  - {name: third, clone: LB_PERSIS_PASSIVE_COOKIE, timeout: 99}
)";

TEST(Config, ClonesRules)
{
	const ConfigResult result = parse_config(good_clones);
	ASSERT_TRUE(std::holds_alternative<Config>(result)) << std::get<ConfigErrors>(result).front().text("good");
	const auto &rules = std::get<Config>(result).rules;
	const Rule &first = rules[rules.size() - 4], &second = rules[rules.size() - 3],
		   &again = rules[rules.size() - 2];
	const Rule &third = rules.back();

	EXPECT_EQ(first.name, "first");
	EXPECT_EQ(first.type, HF_RULE_SOURCE_ADDRESS);
	EXPECT_EQ(first.timeout, 88U);
	EXPECT_EQ(first.ipv4_mask_bits, 24);
	EXPECT_TRUE(first.match_across);
	EXPECT_EQ(second.timeout, 88U);
	EXPECT_EQ(second.ipv4_mask_bits, 32) << "its default";
	EXPECT_EQ(second.ipv6_mask_bits, 64);
	EXPECT_TRUE(second.match_across);
	EXPECT_EQ(again.ipv4_mask_bits, 32);
	EXPECT_EQ(again.ipv6_mask_bits, 64);
	EXPECT_EQ(third.type, HF_RULE_PASSIVE_COOKIE);
	EXPECT_EQ(third.timeout, 99U);
}

const std::string good_datagrams = R"(version: 1
pools:
  - {name: aaa, members: [{name: rs1, address: 10.0.2.11, connection_limit: 7}]}
persistence:
  - {name: calls, type: sip-call-id, timeout: 100}
  - {name: users, type: radius-attribute, relation: or, match_across: true, override_connection_limit: true,
     attributes: [{type: User-Name}, {type: 44}, {type: 26, vendor_id: 9, vendor_type: 1}, {type: 26, vendor_id: 0}]}
virtual_servers:
  - {name: sip, address: 192.0.2.10, port: 5060, protocol: udp, forwarding: dnat, pool: aaa, persistence: calls}
  - {name: radius, address: 192.0.2.10, port: 1812-1813, protocol: udp, forwarding: dnat, pool: aaa, persistence: users}
)";

TEST(Config, ReadsTheRulesThatReadDatagrams)
{
	const ConfigResult result = parse_config(good_datagrams);
	ASSERT_TRUE(std::holds_alternative<Config>(result)) << std::get<ConfigErrors>(result).front().text("good");
	const auto &config = std::get<Config>(result);
	const Rule &calls = config.rules[predefined_rules().size()],
		   &users = config.rules[predefined_rules().size() + 1];

	EXPECT_EQ(config.pools[0].members[0].connection_limit, 7U);
	EXPECT_EQ(calls.type, HF_RULE_SIP_CALL_ID);
	EXPECT_EQ(calls.timeout, 100U);
	EXPECT_EQ(users.relation, HF_RELATION_OR);
	EXPECT_TRUE(users.match_across);
	EXPECT_TRUE(users.override_connection_limit);
	EXPECT_EQ(users.attributes, (std::vector<RadiusAttribute>{{1}, {44}, {26, 9, 1}, {26}}));
}

const std::string good_streams = R"(version: 1
early_data: {max_head: 8192, max_bytes_per_client: 100000, timeout: 5}
pools:
  - {name: aaa, members: [{name: rs1, address: 10.0.2.11}], member_tcp_options: {sack: false}}
persistence:
  - {name: header, type: http-header-hash, keyword: X-User}
  - {name: request, type: http-request-hash, keyword: "uid[0]"}
  - {name: cookie, type: cookie-hash}
  - {name: desks, type: rdp-cookie, timeout: 60}
  - {name: cards, type: iso8583-bitmap, fields: [42, 2], bitmap_relation: and, keyvalue_relation: or, framing: ascii4, encoding: ascii}
virtual_servers:
  - {name: web, address: 192.0.2.10, port: 80, protocol: tcp, forwarding: dnat, pool: aaa, persistence: header, server_first: true}
  - {name: any, address: 192.0.2.10, port: 81, protocol: tcp, forwarding: dnat, pool: aaa, syn_protection: true, server_first_wait: 2, proxy_protocol: v2}
)";

TEST(Config, RulesThatReadStreams)
{
	const ConfigResult result = parse_config(good_streams);
	ASSERT_TRUE(std::holds_alternative<Config>(result)) << std::get<ConfigErrors>(result).front().text("good");
	const auto &config = std::get<Config>(result);
	const Rule &header = config.rules[predefined_rules().size()], &cards = config.rules.back();

	EXPECT_EQ(config.early_data, (EarlyData{8192, 100000, 5}));
	EXPECT_EQ(config.pools[0].member_tcp_options, (TcpOptions{false, true, true}));
	EXPECT_EQ(header.keyword, "X-User");
	EXPECT_EQ(cards.fields, (std::vector<uint8_t>{2, 42}));
	EXPECT_EQ(cards.relation, HF_RELATION_AND) << "all of the fields are one key";
	EXPECT_EQ(cards.framing, Iso8583Framing::ascii4);
	EXPECT_EQ(cards.encoding, Iso8583Encoding::ascii);
	EXPECT_TRUE(config.virtual_servers[0].server_first);
	EXPECT_TRUE(config.virtual_servers[1].syn_protection);
	EXPECT_EQ(config.virtual_servers[1].server_first_wait, 2U);
	EXPECT_EQ(config.virtual_servers[0].proxy_protocol, 0);
	EXPECT_EQ(config.virtual_servers[1].proxy_protocol, 2);
}

const std::string good_writing = R"(version: 1
pools:
  - name: web
    members:
      - {name: rs1, address: 10.0.2.11}
      - {name: rs2, address: 10.0.2.12, cookie: blue.2}
persistence:
  - {name: inserted, type: insert-cookie, keyword: sessid, timeout: 600, domain: example.org, httponly: true, secure: true, samesite: none}
  - {name: custom, type: insert-cookie, keyword: sid, custom_attribute: Priority=High; Partitioned}
  - {name: plain, type: insert-cookie, keyword: sid}
  - {name: rewritten, type: rewrite-cookie, keyword: sid}
  - {name: embedded, type: embedded-cookie, keyword: sid}
virtual_servers:
  - {name: shop, address: 192.0.2.10, port: 80, protocol: tcp, forwarding: dnat, pool: web, persistence: inserted, x_forwarded_for: true}
)";

TEST(Config, RulesThatWriteCookies)
{
	const ConfigResult result = parse_config(good_writing);
	ASSERT_TRUE(std::holds_alternative<Config>(result)) << std::get<ConfigErrors>(result).front().text("good");
	const auto &config = std::get<Config>(result);
	const Rule *rules = &config.rules[predefined_rules().size()];

	EXPECT_EQ(config.pools[0].members[0].cookie, "rs1");
	EXPECT_EQ(config.pools[0].members[1].cookie, "blue.2");
	EXPECT_EQ(rules[0].timeout, 600U);
	EXPECT_EQ(rules[0].cookie_attributes, "; path=/; domain=example.org; HttpOnly; Secure; SameSite=None");
	EXPECT_EQ(rules[1].cookie_attributes, "; path=/; Priority=High; Partitioned");
	EXPECT_EQ(rules[2].timeout, 300U);
	EXPECT_EQ(rules[2].cookie_attributes, "; path=/");
	EXPECT_EQ(rules[3].keyword, "sid");
	EXPECT_TRUE(config.virtual_servers[0].x_forwarded_for);

	const hf_cookie_text text = encode_cookie_text(rules[0], "rs1");
	EXPECT_EQ(std::string(reinterpret_cast<const char *>(text.bytes), text.length),
		  "Set-Cookie: sessid=rs1|AAAAA; path=/; domain=example.org; HttpOnly; Secure; SameSite=None\r\n");
	EXPECT_EQ(text.date, std::string("Set-Cookie: sessid=rs1|").size());
	const hf_cookie_text embedded = encode_cookie_text(rules[4], "blue.2");
	EXPECT_EQ(std::string(reinterpret_cast<const char *>(embedded.bytes), embedded.length), "blue.2~");
}

// The source document's own example.
TEST(Config, DatesOfCookies)
{
	EXPECT_EQ(cookie_date("U6iFN"), 1403553076U / HF_COOKIE_DATE_SECONDS);
	EXPECT_EQ(cookie_date("/////"), (1U << 30) - 1);
	EXPECT_EQ(cookie_date("AAAAA"), 0U);
	for (const char *bad : {"", "U6iF", "U6iFNN", "U6-FN", "U6iF=", "U6iF "})
		EXPECT_FALSE(cookie_date(bad)) << bad;
}

const std::string good_learning = R"(version: 1
pools:
  - {name: aaa, members: [{name: rs1, address: 10.0.2.11}]}
persistence:
  - {name: learnt, type: persistent-cookie, keyword: sid, timeout: 9}
  - {name: known, type: passive-cookie, match_across: true, session_keyword_type: CFID+CFTOKEN}
  - {name: own, type: passive-cookie, session_keyword_type: custom, keyword: sid}
  - {name: any, type: passive-cookie}
  - {name: tls, type: ssl-session-id, timeout: 7}
virtual_servers:
  - {name: web, address: 192.0.2.10, port: 80, protocol: tcp, forwarding: dnat, pool: aaa, persistence: learnt}
)";

TEST(Config, RulesThatLearn)
{
	const ConfigResult result = parse_config(good_learning);
	ASSERT_TRUE(std::holds_alternative<Config>(result)) << std::get<ConfigErrors>(result).front().text("good");
	const auto &rules = std::get<Config>(result).rules;
	const Rule *first = &rules[predefined_rules().size()];

	EXPECT_EQ(first[0].keyword, "sid");
	EXPECT_EQ(first[0].timeout, 9U);
	EXPECT_EQ(known_cookies(first[0]), 0);
	EXPECT_TRUE(first[1].match_across);
	EXPECT_EQ(known_cookies(first[1]), HF_COOKIE_CFID | HF_COOKIE_CFTOKEN);
	EXPECT_EQ(known_cookies(first[2]), 0);
	EXPECT_EQ(first[2].keyword, "sid");
	EXPECT_EQ(known_cookies(first[3]), 31);
	EXPECT_EQ(first[4].timeout, 7U);
}

// A file that is wrong in one place, and the whole message that a user sees.
struct Broken {
	const char *name;
	const char *from, *to; // replaced in the good file
	const char *message;
	const std::string &file = good;
};

void PrintTo(const Broken &broken, std::ostream *out)
{
	*out << broken.name;
}

const std::string long_attribute = "custom_attribute: " + std::string(250, 'x');

class BrokenConfig : public testing::TestWithParam<Broken>
{
};

TEST_P(BrokenConfig, SaysWhereAndWhat)
{
	std::string text = GetParam().file;
	const size_t at = text.find(GetParam().from);

	ASSERT_NE(at, std::string::npos) << "the good file has no " << GetParam().from;
	text.replace(at, std::string(GetParam().from).size(), GetParam().to);
	const ConfigResult result = parse_config(text);
	ASSERT_TRUE(std::holds_alternative<ConfigErrors>(result)) << "accepted:\n" << text;
	const auto &errors = std::get<ConfigErrors>(result);
	EXPECT_EQ(errors.size(), 1U) << errors.back().text("f");
	EXPECT_EQ(errors.front().text("f"), GetParam().message);
}

const std::string good_checks = R"(version: 1
health_checks:
  - {name: web, type: http, port: 8080, path: /health, host: www.example.com, method: GET, expect_status: "200-299,304",
     interval: 7, timeout: 4, healthy_threshold: 2, unhealthy_threshold: 5}
  - {name: tls, type: https, verify: true, ca_file: /etc/ca.pem, sni: www.example.com}
  - {name: any, type: https, verify: false}
  - {name: port, type: tcp}
  - {name: dns, type: udp, port: 53, send_hex: 0001, expect_hex: aa}
  - {name: ping, type: icmp}
  - {name: blind, type: udp, port: 53}
state: {directory: /var/lib/holdfast, snapshot: true, snapshot_interval: 30}
metrics: {listen: "[::1]:9420", clients: false}
pools:
  - name: web
    health_checks: [web, ping]
    health_relation: or
    members:
      - {name: rs1, address: 10.0.2.11}
virtual_servers:
  - {name: shop, address: 192.0.2.10, port: 80, protocol: tcp, forwarding: dnat, method: fastest-response, pool: web, new_sessions_per_second: 500}
)";

TEST(Config, ReadsHealthChecks)
{
	const ConfigResult result = parse_config(good_checks);
	ASSERT_TRUE(std::holds_alternative<Config>(result)) << std::get<ConfigErrors>(result).front().text("good");
	const auto &config = std::get<Config>(result);

	ASSERT_EQ(config.health_checks.size(), 7U);
	EXPECT_EQ(config.health_checks[0], (HealthCheck{.name = "web",
							.type = CheckType::http,
							.port = 8080,
							.path = "/health",
							.host = "www.example.com",
							.method = "GET",
							.expect_status = {{200, 299}, {304, 304}},
							.interval = 7,
							.timeout = 4,
							.healthy_threshold = 2,
							.unhealthy_threshold = 5}));
	EXPECT_EQ(text(config.health_checks[0].expect_status), "200-299,304");
	EXPECT_EQ(
		config.health_checks[1],
		(HealthCheck{
			.name = "tls", .type = CheckType::https, .ca_file = "/etc/ca.pem", .sni = "www.example.com"}));
	EXPECT_FALSE(config.health_checks[2].verify);
	EXPECT_EQ(config.health_checks[3], (HealthCheck{.name = "port", .type = CheckType::tcp}));
	EXPECT_EQ(config.health_checks[4].send, std::string("\0\1", 2));
	EXPECT_EQ(config.health_checks[4].expect, "\xaa");
	EXPECT_EQ(config.pools[0].health_checks, (std::vector<std::string>{"web", "ping"}));
	EXPECT_TRUE(config.pools[0].any_check);
	EXPECT_EQ(config.virtual_servers[0].method, HF_METHOD_FASTEST_RESPONSE);
	EXPECT_EQ(config.virtual_servers[0].new_sessions_per_second, 500U);
	EXPECT_TRUE(config.state.snapshot);
	EXPECT_EQ(config.state.snapshot_interval, 30U);
	EXPECT_EQ(config.state.directory, "/var/lib/holdfast");
	EXPECT_EQ(config.metrics.listen, "[::1]:9420");
	EXPECT_EQ(config.metrics.clients, false);
}

const Broken broken[] = {
	{"version_unknown", "version: 1", "version: 2", "f:1:10: version: 2 is out of range; allowed: 1-1"},
	{"version_missing", "version: 1\n", "\n", "f:2:1: version: is required"},
	{"syntax", "mode: auto}", "mode: auto", "f:7:3: illegal block entry"},
	{"key_unknown", "tables:", "tabels:", "f:4:1: tabels: is not known; did you mean 'tables'?"},
	{"key_twice", "hash_seed: green", "hash_seed: green\nhash_seed: red",
	 "f:6:1: hash_seed: the key is given twice"},
	{"listen", "hash_seed: green", "metrics: {listen: 127.0.0.1}",
	 "f:5:19: metrics.listen: '127.0.0.1'; allowed: off, or ADDRESS:PORT, as in 127.0.0.1:9420 or [::1]:9420"},
	{"snapshot", "hash_seed: green", "state: {snapshot: here}",
	 "f:5:19: state.snapshot: 'here'; allowed: true, false, or an absolute path"},
	{"snapshot_interval", "hash_seed: green", "state: {snapshot_interval: 10}",
	 "f:5:28: state.snapshot_interval: does nothing without snapshot"},
	{"state_directory", "hash_seed: green", "state: {directory: here}",
	 "f:5:20: state.directory: 'here' is not an absolute path"},
	{"mode", "mode: auto", "mode: xpd",
	 "f:3:24: interfaces[0].mode: 'xpd' is not known; allowed: auto, xdp, xdp-generic, tc"},
	{"interface_twice", "{name: eth0, mode: auto}", "{name: eth0}\n  - {name: eth0}",
	 "f:4:12: interfaces[1].name: the interface 'eth0' is given twice"},
	{"table_size", "sessions: 5000", "sessions: 5",
	 "f:4:20: tables.sessions: 5 is out of range; allowed: 1024-67108864"},
	{"not_a_number", "sessions: 5000", "sessions: many",
	 "f:4:20: tables.sessions: 'many' is not a whole number; allowed: 1024-67108864"},
	{"list_expected", "interfaces:\n  - {name: eth0, mode: auto}", "interfaces: eth0\n",
	 "f:2:13: interfaces: 'eth0' where a list is expected"},
	{"value_expected", "address: 10.0.2.11", "address: [10.0.2.11]",
	 "f:10:30: pools[0].members[0].address: a list where a single value is expected"},
	{"address", "10.0.2.11", "10.0.2.256",
	 "f:10:30: pools[0].members[0].address: '10.0.2.256' is not an IPv4 or IPv6 address"},
	{"address_multicast", "10.0.2.11", "224.0.0.1",
	 "f:10:30: pools[0].members[0].address: 224.0.0.1 is not an address that a host on a network can have"},
	{"address_loopback", "10.0.2.11", "127.0.0.1",
	 "f:10:30: pools[0].members[0].address: 127.0.0.1 is not an address that a host on a network can have"},
	{"member_twice", "name: rs2", "name: rs1",
	 "f:11:16: pools[0].members[1].name: another member of this pool in line 10 has the name 'rs1'"},
	{"member_same_endpoint", "10.0.2.12", "10.0.2.11, port: 8080",
	 "f:11:30: pools[0].members[1].address: the member in line 10 has the same address and port"},
	{"weight", "weight: 3", "weight: 257",
	 "f:10:61: pools[0].members[0].weight: 257 is out of range; allowed: 1-256"},
	{"port", "port: 8080", "port: 65536",
	 "f:10:47: pools[0].members[0].port: 65536 is out of range; allowed: 1-65535"},
	{"status", "status: maintain", "status: drain",
	 "f:11:49: pools[0].members[1].status: 'drain' is not known; allowed: enable, maintain, disable"},
	{"on_down", "on_down: keep", "on_down: close",
	 "f:8:14: pools[0].on_down: 'close' is not known; allowed: keep, reset"},
	{"name", "name: hash", "name: ha sh",
	 "f:14:12: persistence[1].name: 'ha sh' is not a name; allowed: 1-63 characters of A-Z a-z 0-9 _ -"},
	{"timeout", "timeout: 60", "timeout: 86401",
	 "f:13:51: persistence[0].timeout: 86401 is out of range; allowed: 1-86400"},
	{"mask", "ipv4_mask_bits: 24", "ipv4_mask_bits: 0",
	 "f:13:71: persistence[0].ipv4_mask_bits: 0 is out of range; allowed: 1-32"},
	{"timeout_of_hash", "type: source-address-hash", "type: source-address-hash, timeout: 5",
	 "f:14:54: persistence[1].timeout: a rule of type source-address-hash keeps no sessions and has no such "
	 "setting"},
	{"type_unknown", "type: source-address-hash", "type: source-adress-hash",
	 "f:14:24: persistence[1].type: 'source-adress-hash' is not known; allowed: source-address, "
	 "source-address-hash, source-address-port-hash, http-header-hash, http-request-hash, cookie-hash, "
	 "persistent-cookie, passive-cookie, insert-cookie, rewrite-cookie, embedded-cookie, radius-attribute, "
	 "rdp-cookie, ssl-session-id, sip-call-id, iso8583-bitmap"},
	{"inserted_without_name", "type: source-address-hash", "type: insert-cookie",
	 "f:14:5: persistence[1].keyword: is required"},
	{"rule_predefined_name", "name: hash", "name: LB_PERSIS_MINE",
	 "f:14:12: persistence[1].name: names that begin with LB_PERSIS_ are those of the predefined rules"},
	{"pool_missing", "pool: web, persistence: by-net", "pool: wbe, persistence: by-net",
	 "f:16:88: virtual_servers[0].pool: there is no pool 'wbe'; did you mean 'web'?"},
	{"rule_missing", "persistence: by-net", "persistence: by-nte",
	 "f:16:106: virtual_servers[0].persistence: there is no persistence rule 'by-nte'; did you mean 'by-net'?"},
	{"port_range", "port: 8000-8099", "port: 8099-8000",
	 "f:17:46: virtual_servers[1].port: '8099-8000' is not a port or a range of ports; allowed: 1-65535, as in 80 "
	 "or "
	 "8000-8099"},
	{"protocol", "protocol: udp", "protocol: sctp",
	 "f:17:67: virtual_servers[1].protocol: 'sctp' is not known; allowed: tcp, udp"},
	{"forwarding", "protocol: udp, forwarding: dnat", "protocol: udp, forwarding: nat44",
	 "f:17:84: virtual_servers[1].forwarding: 'nat44' is not known; allowed: dnat, direct, fullnat, nat46, nat64"},
	{"clone_of_nobody", "clone: first", "clone: third",
	 "f:5:27: persistence[2].clone: 'third' is neither predefined nor the name of a rule above", good_clones},
	{"clone_of_another_type", "clone: base", "clone: base, type: rdp-cookie",
	 "f:4:38: persistence[1].type: belongs to the rule that is cloned", good_clones},
	{"clone_with_a_foreign_setting", "timeout: 99", "ipv4_mask_bits: 24",
	 "f:7:68: persistence[4].ipv4_mask_bits: a rule of type passive-cookie has no such setting", good_clones},
	{"nat46_of_ipv6", "forwarding: nat64, pool: four, source_addresses: [10.0.2.5]",
	 "forwarding: nat46, pool: six, source_addresses: ['fd00::6']",
	 "f:10:77: virtual_servers[2].forwarding: 'nat46' is for IPv4 clients: 2001:db8::10 is an IPv6 address",
	 good_families},
	{"nat46_to_ipv4", "pool: six, persistence: across, source_addresses: [\"fd00::5\"]}\n  - {name: c",
	 "pool: four, source_addresses: [\"fd00::5\"]}\n  - {name: c",
	 "f:9:86: virtual_servers[1].pool: nat46 needs IPv6 members: 192.0.2.10 is an IPv4 address, member four/rs1 is "
	 "10.0.2.21",
	 good_families},
	{"source_of_nat64", "[10.0.2.5]", "['fd00::5']",
	 "f:10:114: virtual_servers[2].source_addresses: fd00::5 is not of the members' family", good_families},
	{"across_families", "  - {name: c",
	 "  - {name: d, address: \"2001:db8::10\", port: 81, protocol: tcp, forwarding: fullnat, pool: six, "
	 "source_addresses: ['fd00::5'], persistence: across}\n  - {name: c",
	 "f:10:77: virtual_servers[2].forwarding: virtual server 'a' has the same pool and the rule 'across', which "
	 "matches across virtual servers, and forwarding nat46: with nat46 or nat64 all of them need the same one",
	 good_families},
	{"method_later", "method: source-hash", "method: fastest-response",
	 "f:17:98: virtual_servers[1].method: 'fastest-response' goes by the latency of health checks: pool 'web' has "
	 "none that measures one"},
	{"session_rate", "idle_timeout: 5", "new_sessions_per_second: 10000001",
	 "f:18:75: virtual_servers[1].new_sessions_per_second: 10000001 is out of range; allowed: 0-10000000"},
	{"check_type", "type: icmp", "type: ping",
	 "f:9:24: health_checks[5].type: 'ping' is not known; allowed: tcp, http, https, udp, icmp", good_checks},
	{"check_interval", "interval: 7", "interval: 3601",
	 "f:4:16: health_checks[0].interval: 3601 is out of range; allowed: 1-3600", good_checks},
	{"check_timeout", "timeout: 4", "timeout: 0",
	 "f:4:28: health_checks[0].timeout: 0 is out of range; allowed: 1-60", good_checks},
	{"check_threshold", "healthy_threshold: 2,", "healthy_threshold: 101,",
	 "f:4:50: health_checks[0].healthy_threshold: 101 is out of range; allowed: 1-100", good_checks},
	{"check_path", "path: /health", "path: health",
	 "f:3:47: health_checks[0].path: 'health' does not begin with '/'", good_checks},
	{"check_header", "host: www.example.com, method", "host: \"a\\r\\nb\", method",
	 "f:3:62: health_checks[0].host: 'a\\x0d\\x0ab': 1-255 visible ASCII characters are allowed", good_checks},
	{"check_status", "200-299,304", "299-200",
	 "f:3:107: health_checks[0].expect_status: '299-200' is no list of status codes; allowed: 200-599, as in "
	 "200-299,304",
	 good_checks},
	{"check_of_another_type", "type: tcp}", "type: tcp, path: /}",
	 "f:7:29: health_checks[3].path: is not known; allowed: name, type, interval, timeout, healthy_threshold, "
	 "unhealthy_threshold, port",
	 good_checks},
	{"check_hex", "send_hex: 0001", "send_hex: 001",
	 "f:8:48: health_checks[4].send_hex: '001': hexadecimal digits, two for each of 1-1024 bytes, are allowed",
	 good_checks},
	{"check_unasked", "send_hex: 0001, ", "",
	 "f:8:50: health_checks[4].expect_hex: nothing is answered where nothing is asked: send_hex is needed",
	 good_checks},
	{"check_unverified", "verify: true", "verify: false",
	 "f:5:54: health_checks[1].ca_file: does nothing with verify: false", good_checks},
	{"check_unknown", "[web, ping]", "[web, pong]",
	 "f:15:20: pools[0].health_checks: there is no health check 'pong'; did you mean 'ping'?", good_checks},
	{"check_without_port", "[web, ping]", "[port, ping]",
	 "f:15:20: pools[0].health_checks: check 'port' has no port, nor has member web/rs1", good_checks},
	{"check_relation", "[web, ping]", "[web]",
	 "f:16:22: pools[0].health_relation: relates several health_checks; there are not two", good_checks},
	{"check_twice", "[web, ping]", "[web, web]", "f:15:20: pools[0].health_checks: 'web' is given twice",
	 good_checks},
	{"check_unmeasured", "[web, ping]\n    health_relation: or", "[blind]",
	 "f:19:90: virtual_servers[0].method: 'fastest-response' goes by the latency of health checks: pool 'web' has "
	 "none that measures one",
	 good_checks},
	{"rate_limit", "port: 8080, weight: 3", "port: 8080, connection_rate_limit: 86401",
	 "f:10:76: pools[0].members[0].connection_rate_limit: 86401 is out of range; allowed: 0-86400"},
	{"recover", "port: 8080, weight: 3", "port: 8080, recover: 86401",
	 "f:10:62: pools[0].members[0].recover: 86401 is out of range; allowed: 0-86400"},
	{"warm_up", "port: 8080, weight: 3", "port: 8080, warm_up: -1",
	 "f:10:62: pools[0].members[0].warm_up: -1 is out of range; allowed: 0-86400"},
	{"warm_rate", "port: 8080, weight: 3", "port: 8080, warm_up: 5, warm_rate: 0",
	 "f:10:76: pools[0].members[0].warm_rate: 0 is out of range; allowed: 1-86400"},
	{"warm_rate_alone", "port: 8080, weight: 3", "port: 8080, warm_rate: 5",
	 "f:10:64: pools[0].members[0].warm_rate: does nothing without warm_up"},
	{"only_backups", "port: 8080, weight: 3}\n      - {name: rs2, address: 10.0.2.12, status: maintain",
	 "port: 8080, backup: true", "f:10:7: pools[0].members: all of them are backups, of nobody"},
	{"overlap", "address: 192.0.2.20, port: 8000-8099, protocol: udp",
	 "address: 192.0.2.10, port: 1-8099, protocol: tcp",
	 "f:17:46: virtual_servers[1].port: virtual server 'shop' already has 192.0.2.10 tcp port 80"},
	{"families", "address: 192.0.2.10, port: 80,", "address: \"2001:db8::1\", port: 80,",
	 "f:16:91: virtual_servers[0].pool: dnat needs IPv6 members: 2001:db8::1 is an IPv6 address, member web/rs1 is "
	 "10.0.2.11"},
	{"own_address", "address: 10.0.2.12", "address: 192.0.2.10",
	 "f:16:88: virtual_servers[0].pool: member web/rs2 has the virtual server's own address 192.0.2.10"},
	{"cookie_twice", "cookie: blue.2", "cookie: rs1",
	 "f:6:49: pools[0].members[1].cookie: cookies call the member in line 5 'rs1', too", good_writing},
	{"cookie_like_a_name", "10.0.2.11}\n      - {name: rs2, address: 10.0.2.12, cookie: blue.2}",
	 "10.0.2.11, cookie: rs2}\n      - {name: rs2, address: 10.0.2.12}",
	 "f:6:16: pools[0].members[1].name: cookies call the member in line 5 'rs2', too", good_writing},
	{"cookie_bad", "cookie: blue.2", "cookie: blue~2",
	 "f:6:49: pools[0].members[1].cookie: 'blue~2' cannot name a member in a cookie; allowed: 1-63 letters, "
	 "digits, \".\", \"_\" and \"-\"",
	 good_writing},
	{"custom_and_secure", "custom_attribute: Priority=High; Partitioned", "custom_attribute: x, secure: true",
	 "f:9:84: persistence[1].secure: custom_attribute takes the place of domain, httponly, secure and samesite: "
	 "set "
	 "one or the others",
	 good_writing},
	{"custom_control", "custom_attribute: Priority=High; Partitioned", "custom_attribute: \"x\\r\\nSet-Cookie: y\"",
	 "f:9:73: persistence[1].custom_attribute: allowed: visible ASCII characters and spaces", good_writing},
	{"custom_long", "custom_attribute: Priority=High; Partitioned", long_attribute.c_str(),
	 "f:9:73: persistence[1].custom_attribute: keyword and attributes have 263 bytes together; allowed: at most "
	 "172",
	 good_writing},
	{"samesite_none", "secure: true, samesite: none", "samesite: none",
	 "f:8:121: persistence[0].samesite: none needs secure: true; browsers refuse such a cookie otherwise",
	 good_writing},
	{"samesite_unknown", "samesite: none", "samesite: some",
	 "f:8:135: persistence[0].samesite: 'some' is not known; allowed: nothing, none, lax, strict", good_writing},
	{"domain_bad", "domain: example.org", "domain: \"example.org; x\"",
	 "f:8:82: persistence[0].domain: 'example.org; x' is not a domain; allowed: letters, digits, \".\" and \"-\"",
	 good_writing},
	{"timeout_of_rewritten", "type: rewrite-cookie", "type: rewrite-cookie, timeout: 5",
	 "f:11:54: persistence[3].timeout: a rule of type rewrite-cookie keeps no sessions and has no such setting",
	 good_writing},
	{"attribute_of_rewritten", "type: rewrite-cookie", "type: rewrite-cookie, secure: true",
	 "f:11:53: persistence[3].secure: a rule of type rewrite-cookie has no such setting", good_writing},
	{"forwarded_for_of_tls", "persistence: inserted", "persistence: LB_PERSIS_SSL_SESS_ID",
	 "f:14:146: virtual_servers[0].x_forwarded_for: a rule of type ssl-session-id does not read HTTP, to whose "
	 "requests a header could be added",
	 good_writing},
	{"forwarded_for_udp", "protocol: udp", "protocol: udp, x_forwarded_for: true",
	 "f:17:89: virtual_servers[1].x_forwarded_for: belongs to protocol tcp only"},
	{"keyword_of_persistent_missing", "persistent-cookie, keyword: sid", "persistent-cookie",
	 "f:5:5: persistence[0].keyword: is required", good_learning},
	{"keyword_of_custom_missing", "custom, keyword: sid", "custom", "f:7:5: persistence[2].keyword: is required",
	 good_learning},
	{"keyword_of_auto", "name: any, type: passive-cookie", "name: any, type: passive-cookie, keyword: x",
	 "f:8:48: persistence[3].keyword: belongs to session_keyword_type custom only", good_learning},
	{"session_keyword_unknown", "CFID+CFTOKEN", "JESSIONID",
	 "f:6:83: persistence[1].session_keyword_type: 'JESSIONID' is not known; allowed: auto, PHPSESSID, JSESSIONID, "
	 "CFID+CFTOKEN, ASP.NET_SessionId, custom",
	 good_learning},
	{"keyword_of_ssl", "ssl-session-id, timeout: 7", "ssl-session-id, match_across: true",
	 "f:9:53: persistence[4].match_across: a rule of type ssl-session-id has no such setting", good_learning},
	{"keyword_missing", "http-header-hash, keyword: X-User", "http-header-hash",
	 "f:6:5: persistence[0].keyword: is required", good_streams},
	{"keyword_bad", "keyword: X-User", "keyword: \"X User\"",
	 "f:6:53: persistence[0].keyword: 'X User' is not the name of a header; allowed: 1-63 letters, digits and "
	 "!#$%&'*+-.^_`|~",
	 good_streams},
	{"keyword_of_rdp", "rdp-cookie, timeout: 60", "rdp-cookie, keyword: x",
	 "f:9:46: persistence[3].keyword: a rule of type rdp-cookie has no such setting", good_streams},
	{"field_no_key", "fields: [42, 2]", "fields: [42, 4]",
	 "f:10:49: persistence[4].fields: 4 cannot be a key; allowed: 2 3 7 11 12 18 19 20 21 22 23 24 32 33 37 40 41 "
	 "42 52 "
	 "67 68 69 73 74 75 76 77 78 79 80",
	 good_streams},
	{"fields_missing", "fields: [42, 2]", "fields: []",
	 "f:10:49: persistence[4].fields: a rule of this type needs at least one", good_streams},
	{"http_over_udp",
	 "port: 80, protocol: tcp, forwarding: dnat, pool: aaa, persistence: header, server_first: true",
	 "port: 80, protocol: udp, forwarding: dnat, pool: aaa, persistence: header",
	 "f:12:105: virtual_servers[0].persistence: a rule of type http-header-hash needs protocol tcp", good_streams},
	{"protection_of_udp",
	 "port: 81, protocol: tcp, forwarding: dnat, pool: aaa, syn_protection: true, server_first_wait: 2, "
	 "proxy_protocol: v2",
	 "port: 81, protocol: udp, forwarding: dnat, pool: aaa, syn_protection: true",
	 "f:13:108: virtual_servers[1].syn_protection: belongs to protocol tcp only", good_streams},
	{"direct_of_streams", "port: 80, protocol: tcp, forwarding: dnat",
	 "port: 80, protocol: tcp, forwarding: direct",
	 "f:12:75: virtual_servers[0].forwarding: 'direct' cannot serve a rule of type http-header-hash: the members' "
	 "answers would not pass here, and their sequence numbers have to be translated",
	 good_streams},
	{"wait_too_long", "server_first_wait: 2", "server_first_wait: 5",
	 "f:13:133: virtual_servers[1].server_first_wait: 5 s; allowed: less than early_data.timeout, 5 s",
	 good_streams},
	{"proxy_protocol_3", "proxy_protocol: v2", "proxy_protocol: v3",
	 "f:13:152: virtual_servers[1].proxy_protocol: 'v3' is not known; allowed: none, v1, v2", good_streams},
	{"proxy_protocol_of_udp",
	 "protocol: tcp, forwarding: dnat, pool: aaa, syn_protection: true, server_first_wait: 2",
	 "protocol: udp, forwarding: dnat, pool: aaa",
	 "f:13:108: virtual_servers[1].proxy_protocol: belongs to protocol tcp only", good_streams},
	{"share_too_small", "max_bytes_per_client: 100000", "max_bytes_per_client: 20000",
	 "f:2:52: early_data.max_bytes_per_client: 20000 is too little for a head of max_head: 8192; allowed: at least "
	 "25280",
	 good_streams},
	{"sources_missing", ", source_addresses: [10.0.2.5, 10.0.2.6]", "",
	 "f:6:5: virtual_servers[0].source_addresses: is required with forwarding fullnat: what members see as clients",
	 good_forwarding},
	{"sources_empty", "[10.0.2.5, 10.0.2.6]", "[]",
	 "f:6:138: virtual_servers[0].source_addresses: is empty; at least one address is needed", good_forwarding},
	{"sources_no_list", "[10.0.2.5, 10.0.2.6]", "10.0.2.5",
	 "f:6:138: virtual_servers[0].source_addresses: '10.0.2.5' where a list is expected", good_forwarding},
	{"source_twice", "10.0.2.6]", "10.0.2.5]",
	 "f:6:138: virtual_servers[0].source_addresses: 10.0.2.5 is given twice", good_forwarding},
	{"source_family", "10.0.2.6]", "'fd00::6']",
	 "f:6:138: virtual_servers[0].source_addresses: fd00::6 is not of the members' family", good_forwarding},
	{"source_nonsense", "10.0.2.6]", "127.0.0.1]",
	 "f:6:138: virtual_servers[0].source_addresses: '127.0.0.1' is not an address that a host on a network can "
	 "have",
	 good_forwarding},
	{"source_is_virtual", "10.0.2.6]", "192.0.2.11]",
	 "f:6:138: virtual_servers[0].source_addresses: 192.0.2.11 is the address of virtual server 'b'",
	 good_forwarding},
	{"source_is_anothers_member", "10.0.2.6]", "10.0.2.21]",
	 "f:6:138: virtual_servers[0].source_addresses: member db/rs1 has the address 10.0.2.21", good_forwarding},
	{"virtual_is_anothers_member", "address: 192.0.2.11", "address: 10.0.2.21",
	 "f:7:24: virtual_servers[1].address: member db/rs1 has this address", good_forwarding},
	{"source_ports", "2000-2999", "0-2999",
	 "f:6:174: virtual_servers[0].source_ports: '0-2999' is not a range of ports; allowed: 1-65535, as in "
	 "1024-65535",
	 good_forwarding},
	{"sources_of_direct", "own_addresses: false", "source_addresses: [10.0.2.7]",
	 "f:7:126: virtual_servers[1].source_addresses: belongs to forwarding fullnat, nat46 and nat64; with direct "
	 "members see the clients' own addresses",
	 good_forwarding},
	{"direct_and_ports", "192.0.2.11, port: 80", "192.0.2.11, port: 81",
	 "f:7:73: virtual_servers[1].forwarding: 'direct' does not translate ports: member web/rs1 has port 80, the "
	 "virtual server another one; leave the member's out",
	 good_forwarding},
	{"direct_and_streams", "own_addresses: false", "syn_protection: true",
	 "f:7:73: virtual_servers[1].forwarding: 'direct' cannot serve syn_protection, server_first, proxy_protocol or "
	 "x_forwarded_for: the members' answers would not pass here, and their sequence numbers have to be translated",
	 good_forwarding},
	{"direct_and_cookies", "own_addresses: false", "persistence: LB_PERSIS_HASH_COOKIE",
	 "f:7:73: virtual_servers[1].forwarding: 'direct' cannot serve a rule of type cookie-hash: the members' "
	 "answers "
	 "would not pass here, and their sequence numbers have to be translated",
	 good_forwarding},
	{"radius_over_tcp", "port: 1812-1813, protocol: udp", "port: 1812-1813, protocol: tcp",
	 "f:10:115: virtual_servers[1].persistence: a rule of type radius-attribute needs protocol udp",
	 good_datagrams},
	{"connection_limit", "connection_limit: 7", "connection_limit: 1048577",
	 "f:3:77: pools[0].members[0].connection_limit: 1048577 is out of range; allowed: 0-1048576", good_datagrams},
	{"mask_of_sip", "timeout: 100", "ipv4_mask_bits: 24",
	 "f:5:54: persistence[0].ipv4_mask_bits: a rule of type sip-call-id has no such setting", good_datagrams},
	{"across_of_sip", "timeout: 100", "match_across: true",
	 "f:5:52: persistence[0].match_across: a rule of type sip-call-id has no such setting", good_datagrams},
	{"relation", "relation: or", "relation: xor",
	 "f:6:53: persistence[1].relation: 'xor' is not known; allowed: and, or", good_datagrams},
	{"attribute_name", "type: User-Name", "type: User-Nmae",
	 "f:7:26: persistence[1].attributes[0].type: 'User-Nmae' is not a RADIUS attribute; allowed: 1-255, or a name "
	 "as in User-Name",
	 good_datagrams},
	{"attribute_number", "type: 44", "type: 256",
	 "f:7:45: persistence[1].attributes[1].type: '256' is not a RADIUS attribute; allowed: 1-255, or a name as in "
	 "User-Name",
	 good_datagrams},
	{"attribute_zero", "type: 44", "type: 0",
	 "f:7:45: persistence[1].attributes[1].type: '0' is not a RADIUS attribute; allowed: 1-255, or a name as in "
	 "User-Name",
	 good_datagrams},
	{"attribute_empty", "type: 44", "type: ''",
	 "f:7:45: persistence[1].attributes[1].type: '' is not a RADIUS attribute; allowed: 1-255, or a name as in "
	 "User-Name",
	 good_datagrams},
	{"attribute_missing", "{type: 44}", "{}", "f:7:38: persistence[1].attributes[1].type: is required",
	 good_datagrams},
	{"protocol_unknown", "port: 5060, protocol: udp", "port: 5060, protocol: upd",
	 "f:9:60: virtual_servers[0].protocol: 'upd' is not known; allowed: tcp, udp", good_datagrams},
	{"attribute_twice", "type: 44", "type: 1",
	 "f:7:45: persistence[1].attributes[1].type: User-Name is given twice", good_datagrams},
	{"attribute_secret", "type: 44", "type: 2",
	 "f:7:45: persistence[1].attributes[1].type: 2 (User-Password) differs from packet to packet and cannot be a "
	 "key",
	 good_datagrams},
	{"attribute_unknown_key", "type: 44", "type: 44, vender_id: 9",
	 "f:7:49: persistence[1].attributes[1].vender_id: is not known; allowed: type", good_datagrams},
	{"vendor_of_no_vendor", "type: 44", "type: 44, vendor_id: 9",
	 "f:7:60: persistence[1].attributes[1].vendor_id: belongs to type 26 (Vendor-Specific) only", good_datagrams},
	{"vendor_without_type", "vendor_id: 9, vendor_type: 1", "vendor_id: 9",
	 "f:7:50: persistence[1].attributes[2].vendor_type: vendor_id and vendor_type go together; both 0: the whole "
	 "attribute",
	 good_datagrams},
	{"vendor_id", "vendor_id: 9", "vendor_id: 16777216",
	 "f:7:72: persistence[1].attributes[2].vendor_id: 16777216 is out of range; allowed: 0-16777215",
	 good_datagrams},
	{"vendor_type", "vendor_type: 1", "vendor_type: 256",
	 "f:7:88: persistence[1].attributes[2].vendor_type: 256 is out of range; allowed: 0-255", good_datagrams},
	{"attributes_none",
	 "[{type: User-Name}, {type: 44}, {type: 26, vendor_id: 9, vendor_type: 1}, {type: 26, vendor_id: 0}]", "[]",
	 "f:7:18: persistence[1].attributes: 0 of them; allowed: 1-4", good_datagrams},
	{"attributes_five", "{type: 44}", "{type: 44}, {type: 45}",
	 "f:7:18: persistence[1].attributes: 5 of them; allowed: 1-4", good_datagrams},
};

INSTANTIATE_TEST_SUITE_P(Table, BrokenConfig, testing::ValuesIn(broken),
			 [](const auto &test) { return std::string(test.param.name); });

TEST(Config, ReportsAllErrorsAtOnceInOrder)
{
	const ConfigResult result = parse_config("version: 3\ninterfaces: x\npools:\n  - {name: '!', members: []}\n");
	ASSERT_TRUE(std::holds_alternative<ConfigErrors>(result));
	const auto &errors = std::get<ConfigErrors>(result);

	ASSERT_EQ(errors.size(), 4U);
	EXPECT_EQ(errors[0].line, 1);
	EXPECT_EQ(errors[1].line, 2);
	EXPECT_EQ(errors[2].path, "pools[0].name");
	EXPECT_EQ(errors[3].text("f"), "f:4:26: pools[0].members: a pool needs at least one member");
}

TEST(Config, FindsAnOverlapBehindALargeRange)
{
	const ConfigResult result = parse_config(R"(version: 1
pools: [{name: p, members: [{name: m, address: 10.0.0.1}]}]
virtual_servers:
  - {name: all, address: 192.0.2.1, port: 1-9000, protocol: tcp, forwarding: dnat, pool: p}
  - {name: one, address: 192.0.2.1, port: 80, protocol: tcp, forwarding: dnat, pool: p}
  - {name: two, address: 192.0.2.1, port: 443, protocol: tcp, forwarding: dnat, pool: p}
)");
	ASSERT_TRUE(std::holds_alternative<ConfigErrors>(result));
	EXPECT_EQ(std::get<ConfigErrors>(result).size(), 2U);
}

TEST(Config, TakesOneDocument)
{
	EXPECT_TRUE(std::holds_alternative<Config>(parse_config("# comment\n--- # begins\nversion: 1\n")));
	const ConfigResult two = parse_config("version: 1\n---\nversion: 1\n");
	ASSERT_TRUE(std::holds_alternative<ConfigErrors>(two));
	EXPECT_EQ(std::get<ConfigErrors>(two).front().text("f"), "f:2:1: a second document; one is allowed");
}

TEST(Config, AliasesCannotMakeASmallFileLarge)
{
	std::string text = "version: 1\npools:\n  - &p {name: p, members: [&m {name: m, address: 10.0.0.1}";

	for (int i = 0; i < 2000; i++)
		text += ", *m";
	text += "]}\n";
	for (int i = 0; i < 2000; i++)
		text += "  - *p\n";
	const ConfigResult result = parse_config(text);
	ASSERT_TRUE(std::holds_alternative<ConfigErrors>(result));
	EXPECT_EQ(std::get<ConfigErrors>(result).size(), 10001U);
}

TEST(Config, TenThousandErrorsAreAnsweredAtOnce)
{
	std::string text = "version: 1\npersistence:\n";

	for (int i = 0; i < 10000; i++)
		text += "  - {name: r" + std::to_string(i) + ", type: source-address, timeout: 0, wrong: 1}\n";
	const auto began = std::chrono::steady_clock::now();
	const ConfigResult result = parse_config(text);
	const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
	ASSERT_TRUE(std::holds_alternative<ConfigErrors>(result));
	const auto &errors = std::get<ConfigErrors>(result);
	EXPECT_GE(errors.size(), 100U);
	EXPECT_EQ(errors.front().message.substr(0, 4), "more");
	const char *slowness = std::getenv("HOLDFAST_TEST_SLOWNESS");
	EXPECT_LT(took.count(), 1 * (slowness ? std::atof(slowness) : 1)) << errors.size();
}

TEST(Config, HugeInputsAreRefusedQuickly)
{
	std::string nested(100000, '[');

	EXPECT_TRUE(std::holds_alternative<ConfigErrors>(parse_config(nested)));
	EXPECT_TRUE(std::holds_alternative<ConfigErrors>(parse_config("")));
	EXPECT_TRUE(std::holds_alternative<ConfigErrors>(parse_config("- 1\n- 2\n")));
	EXPECT_TRUE(std::holds_alternative<ConfigErrors>(parse_config(std::string("\0\1\2", 3))));
}

} // namespace
} // namespace holdfast
