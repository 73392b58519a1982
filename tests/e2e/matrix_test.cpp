// SPDX-License-Identifier: GPL-2.0
// Every legal combination of rule type, forwarding mode, family and hook, with
// real TCP and UDP traffic. The combinations are derived from what the model
// knows: one that has no scenario here fails.
#include <fmt/format.h>
#include <fstream>
#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <set>

#include "e2e/datagram_lab.h"
#include "e2e/lab.h"
#include "e2e/messages.h"
#include "model/model.h"
#include "support/packet.h"

namespace holdfast::test
{
namespace
{

struct Combination {
	hf_rule_type rule;
	hf_forwarding forwarding;
	bool ipv4;
	std::string hook;
};

constexpr hf_protocol protocols[] = {HF_PROTOCOL_TCP, HF_PROTOCOL_UDP};

// With `direct` nothing is translated: clients use the members' own port.
int web_port(const Combination &one)
{
	return one.forwarding == HF_FORWARDING_DIRECT ? 8080 : 80;
}

bool has_ipv4_members(const Combination &one)
{
	return one.ipv4 != changes_family(one.forwarding);
}

std::vector<Combination> legal_combinations()
{
	std::vector<Combination> all;

	for (const hf_rule_type rule : rule_types()) {
		for (const hf_forwarding forwarding : forwardings()) {
			const bool legal =
				std::any_of(std::begin(protocols), std::end(protocols), [&](hf_protocol protocol) {
					return serves(rule, protocol) && can_forward(forwarding, rule, protocol);
				});

			for (const bool ipv4 : {true, false}) {
				if (!legal || !serves_family(forwarding, ipv4))
					continue;
				for (const char *hook : {"xdp", "tc"})
					all.push_back({rule, forwarding, ipv4, hook});
			}
		}
	}
	return all;
}

std::string combination_name(const testing::TestParamInfo<Combination> &test)
{
	std::string name = fmt::format("{}_{}_{}_{}", word(test.param.rule), word(test.param.forwarding),
				       test.param.ipv4 ? "ipv4" : "ipv6", test.param.hook);

	std::replace(name.begin(), name.end(), '-', '_');
	return name;
}

class Matrix : public testing::TestWithParam<Combination>
{
protected:
	static constexpr int clients = 6, rounds = 3;

	std::string config() const
	{
		const Combination &one = GetParam();
		const bool ipv4_members = has_ipv4_members(one);
		std::string yaml = Lab::base_config(one.hook) + Lab::talk_pools();

		yaml += fmt::format("persistence:\n  - {{name: rule, type: {}{}}}\nvirtual_servers:\n", word(one.rule),
				    rule_settings(one.rule));
		const std::string sources = has_sources(one.forwarding) ? fmt::format(", source_addresses: [\"{}\"]",
										      Lab::source_address(ipv4_members))
									: "";
		for (const auto &[name, pool, port, protocol] : {std::tuple("web", "web", web_port(one), "tcp"),
								 {"echo", "echo", 9000, "tcp"},
								 {"desk", "desk", 3389, "tcp"},
								 {"cards", "cards", 8583, "tcp"},
								 {"requests", "talk", 7000, "tcp"},
								 {"browsers", "browsed", 7100, "tcp"},
								 {"tls", "tls", 7443, "tcp"},
								 {"calls", "sip", 5060, "tcp"},
								 {"talk", "desk", 5061, "tcp"},
								 {"name", "name", 5353, "udp"},
								 {"sip", "sip", 5060, "udp"},
								 {"auth", "radius", 1812, "udp"},
								 {"acct", "radius", 1813, "udp"}}) {
			const auto transport = std::string(protocol) == "tcp" ? HF_PROTOCOL_TCP : HF_PROTOCOL_UDP;
			// Datagrams of another protocol than the rule's are no test of it.
			// It translates the port, which `direct` cannot.
			if (one.forwarding == HF_FORWARDING_DIRECT && port == 5061)
				continue;
			const bool ruled = serves(one.rule, transport) &&
					   can_forward(one.forwarding, one.rule, transport) &&
					   (!reads_datagrams(one.rule) || transport == HF_PROTOCOL_TCP || port != 5353);

			yaml += fmt::format("  - {{name: {}, address: \"{}\", port: {}, protocol: {}, forwarding: {}, "
					    "pool: {}{}{}{}}}\n",
					    name, Lab::vip(one.ipv4), port, protocol, word(one.forwarding), pool,
					    ipv4_members ? 4 : 6, ruled ? ", persistence: rule" : "", sources);
		}
		return yaml;
	}
};

INSTANTIATE_TEST_SUITE_P(EndToEnd, Matrix, testing::ValuesIn(legal_combinations()), combination_name);

// A client is always with the server of its first connection; not all are with one.
void expect_clients_stay(const Lab &lab, const Combination &one, int clients, int rounds)
{
	std::map<int, std::string> tcp, udp;
	std::set<std::string> used;

	for (int round = 0; round < rounds; round++) {
		for (int client = 1; client <= clients; client++) {
			const std::string by_tcp = lab.ask_tcp(one.ipv4, client, web_port(one));
			const std::string by_udp = lab.ask_udp(one.ipv4, client, 5353, 20000 + round * 100 + client);

			ASSERT_NE(by_tcp, "") << "client " << client;
			ASSERT_NE(by_udp, "") << "client " << client;
			ASSERT_EQ(tcp.emplace(client, by_tcp).first->second, by_tcp) << "client " << client;
			ASSERT_EQ(udp.emplace(client, by_udp).first->second, by_udp) << "client " << client;
			used.insert(by_tcp);
		}
	}
	EXPECT_GE(used.size(), 2U);
	// And `explain` knows, by the tables and by trial.
	for (const auto &[name, of] : {std::pair("web", &tcp), {"name", &udp}}) {
		const auto told = lab.query(
			fmt::format("explain --virtual-server {} --client {}", name, Lab::client_address(one.ipv4, 1)));

		EXPECT_EQ(told["member"], fmt::format("{}{}/{}", name, has_ipv4_members(one) ? 4 : 6, of->at(1)));
		EXPECT_EQ(told["trial"]["member"], told["member"]) << told;
		EXPECT_EQ(told["trial"]["outcome"], "forwarded") << told;
	}
	// Of a socket that has a connection, too.
	const std::string client = Lab::client_address(one.ipv4, 1);
	const auto socket = lab.query(
		fmt::format("explain --virtual-server name --client {}:20001", one.ipv4 ? client : "[" + client + "]"));
	EXPECT_EQ(socket["trial"]["member"], fmt::format("name{}/{}", has_ipv4_members(one) ? 4 : 6, udp.at(1)))
		<< socket;
	EXPECT_EQ(socket["trial"]["outcome"], "forwarded") << socket;
}

// The port is part of the key: the same port is the same server, others are not all.
void expect_ports_stay(const Lab &lab, const Combination &one, int, int rounds)
{
	std::map<int, std::string> by_port;
	std::set<std::string> used;

	for (int round = 0; round < rounds; round++) {
		for (int port = 20001; port <= 20010; port++) {
			const std::string server = lab.ask_udp(one.ipv4, 1, 5353, port);

			ASSERT_NE(server, "") << "port " << port;
			ASSERT_EQ(by_port.emplace(port, server).first->second, server) << "port " << port;
			used.insert(server);
		}
		ASSERT_NE(lab.ask_tcp(one.ipv4, 1, web_port(one)), "");
	}
	EXPECT_GE(used.size(), 2U);
}

// Real SIP calls: all requests of a dialog, each from another port, reach one server.
void expect_dialogs_stay(Lab &lab, const Combination &one, int, int)
{
	constexpr int calls = 60;
	const SipServers servers(lab, has_ipv4_members(one));
	const auto numbers = make_sip_calls(lab, one.ipv4, calls, 60);

	EXPECT_EQ(numbers.at("status"), 0);
	EXPECT_EQ(numbers.at("SuccessfulCall(C)"), calls);
	EXPECT_EQ(servers.sum("orphans"), 0);
	for (const auto &[name, invites] : servers.column("invites"))
		EXPECT_GT(invites, 0) << name;
}

// A key of a stream's first message leads to one server, from whatever client and port.
void expect_keys_stay(Lab &lab, const Combination &one, int clients, int rounds)
{
	const bool http = reads_http(one.rule);
	const int port = http                              ? 80
			 : one.rule == HF_RULE_RDP_COOKIE  ? 3389
			 : one.rule == HF_RULE_SIP_CALL_ID ? 5061
							   : 8583;
	std::map<int, std::string> servers;
	std::set<std::string> used;

	for (int round = 0; round < rounds; round++) {
		for (int key = 1; key <= 12; key++) {
			const std::string server = lab.ask_stream(one.ipv4, 1 + (key + round) % clients, port,
								  first_message(one.rule, key), http);

			ASSERT_TRUE(server.starts_with("rs")) << "key " << key << ": " << server;
			ASSERT_EQ(servers.emplace(key, server).first->second, server) << "key " << key;
			used.insert(server);
		}
	}
	EXPECT_GE(used.size(), 2U);
}

// And requests of several clients on one connection: each is served by its own.
void expect_requests_stay(Lab &lab, const Combination &one, int clients, int rounds)
{
	const std::string cookie = one.rule == HF_RULE_PASSIVE_COOKIE ? " --cookie PHPSESSID" : "";

	lab.start_talk();
	if (one.rule != HF_RULE_PASSIVE_COOKIE)
		expect_keys_stay(lab, one, clients, rounds);
	const auto said = lab.talk(Lab::vip(one.ipv4), 7000, "--requests 150 --keys 12 --prefix k" + cookie);
	EXPECT_EQ(said["done"], 150) << said;
	EXPECT_EQ(said["wrong"], 0) << said;
	EXPECT_EQ(said["corrupt"], 0) << said;
	EXPECT_GE(said["servers"], 2) << said;
	EXPECT_GT(said["moves"], 20) << said;
	// From elsewhere, too.
	const auto again =
		lab.talk(Lab::vip(one.ipv4), 7000,
			 fmt::format("--requests 50 --keys 12 --prefix k --connections 2 --seed 5 --source {}{}",
				     Lab::client_address(one.ipv4, 2), cookie));
	EXPECT_EQ(again["wrong"], 0) << again;
	for (const auto &[key, server] : again["of_key"].items()) {
		if (said["of_key"].contains(key)) {
			EXPECT_EQ(server, said["of_key"][key]) << key;
		}
	}
}

// Browsers keep their servers by cookies that are written on the way; nothing else differs.
void expect_browsers_stay(Lab &lab, const Combination &one, int, int)
{
	const std::string type = word(one.rule), rule = type.substr(0, type.find('-'));

	lab.start_talk();
	const auto said = lab.browse(Lab::vip(one.ipv4), 7100,
				     fmt::format("--rule {} --connections 3 --requests 150 --pieces 0", rule));
	EXPECT_EQ(said["done"], 450) << said;
	EXPECT_EQ(said["wrong"], 0) << said;
	EXPECT_EQ(said["differ"], 0) << said;
	EXPECT_EQ(said["servers"], 3) << said;
	EXPECT_GT(said["moves"], 40) << said;
	if (one.rule == HF_RULE_INSERT_COOKIE) {
		EXPECT_GE(said["written"], 15) << said;
	}
}

// TLS sessions are resumed: only the server that has given one can do that.
void expect_tls_sessions_stay(Lab &lab, const Combination &one, int, int rounds)
{
	const std::string to = one.ipv4 ? Lab::vip(true) + ":7443" : "[" + Lab::vip(false) + "]:7443";
	auto connect = [&](const std::string &how, int session) {
		return lab
			.run("client", fmt::format("sh -c '(sleep 0.3; echo) | timeout 10 openssl s_client -connect {} "
						   "-tls1_2 -no_ticket {} {}/session-{} 2>&1; true'",
						   to, how, lab.directory(), session))
			.output;
	};

	lab.start_tls();
	for (int session = 1; session <= 4; session++) {
		EXPECT_NE(connect("-sess_out", session).find("New, TLSv1.2"), std::string::npos);
		for (int round = 0; round < rounds; round++)
			EXPECT_NE(connect("-sess_in", session).find("Reused, TLSv1.2"), std::string::npos) << session;
	}
	EXPECT_EQ(lab.query("show sessions")["matched"], 4);
}

// The same over TCP, each call a connection.
void expect_calls_stay(Lab &lab, const Combination &one, int clients, int rounds)
{
	constexpr int calls = 60;

	expect_dialogs_stay(lab, one, clients, rounds);
	if (!can_forward(one.forwarding, one.rule, HF_PROTOCOL_TCP))
		return;
	expect_keys_stay(lab, one, clients, rounds);
	const SipServers servers(lab, has_ipv4_members(one), true);
	const auto numbers = make_sip_calls(lab, one.ipv4, calls, 60, 1, true);

	EXPECT_EQ(numbers.at("status"), 0);
	EXPECT_EQ(numbers.at("SuccessfulCall(C)"), calls);
	EXPECT_EQ(servers.sum("orphans"), 0);
	for (const auto &[name, invites] : servers.column("invites"))
		EXPECT_GT(invites, 0) << name;
}

// Real RADIUS: users of one source port, each with one server, also for accounting.
void expect_users_stay(Lab &lab, const Combination &one, int, int)
{
	const RadiusServers servers(lab);
	std::vector<std::string> users;
	std::set<std::string> used;

	for (int i = 0; i < 30; i++)
		users.push_back(fmt::format("user{}", i));
	EXPECT_EQ(ask_radius(lab, one.ipv4, "auth", users), 30);
	EXPECT_EQ(ask_radius(lab, one.ipv4, "acct", users), 30);
	const auto authenticated = servers.seen("Access-Request"), accounted = servers.seen("Accounting-Request");
	EXPECT_EQ(authenticated.size(), 30U);
	EXPECT_EQ(authenticated, accounted);
	for (const auto &[user, where] : authenticated) {
		EXPECT_EQ(where.size(), 1U) << user;
		used.insert(where.begin(), where.end());
	}
	EXPECT_EQ(used.size(), 3U);
}

const std::map<hf_rule_type, std::function<void(Lab &, const Combination &, int, int)>> scenarios = {
	{HF_RULE_SOURCE_ADDRESS, expect_clients_stay},
	{HF_RULE_SOURCE_ADDRESS_HASH, expect_clients_stay},
	{HF_RULE_SOURCE_ADDRESS_PORT_HASH, expect_ports_stay},
	{HF_RULE_SIP_CALL_ID, expect_calls_stay},
	{HF_RULE_RADIUS_ATTRIBUTE, expect_users_stay},
	{HF_RULE_HTTP_HEADER_HASH, expect_requests_stay},
	{HF_RULE_HTTP_REQUEST_HASH, expect_requests_stay},
	{HF_RULE_COOKIE_HASH, expect_requests_stay},
	{HF_RULE_PERSISTENT_COOKIE, expect_requests_stay},
	{HF_RULE_PASSIVE_COOKIE, expect_requests_stay},
	{HF_RULE_INSERT_COOKIE, expect_browsers_stay},
	{HF_RULE_REWRITE_COOKIE, expect_browsers_stay},
	{HF_RULE_EMBEDDED_COOKIE, expect_browsers_stay},
	{HF_RULE_SSL_SESSION_ID, expect_tls_sessions_stay},
	{HF_RULE_RDP_COOKIE, expect_keys_stay},
	{HF_RULE_ISO8583_BITMAP, expect_keys_stay},
};

TEST_P(Matrix, ClientsStayAndPayloadsArriveWhole)
{
	const Combination &one = GetParam();
	auto scenario = scenarios.find(one.rule);
	ASSERT_NE(scenario, scenarios.end()) << "no scenario for rule type " << word(one.rule);
	Lab lab(clients);

	if (one.forwarding == HF_FORWARDING_DIRECT)
		lab.make_direct();
	if (has_sources(one.forwarding))
		lab.forget_gateways();
	lab.start_services();
	lab.start_daemon(config());
	const auto status = lab.query("status");
	for (const auto &interface : status["interfaces"])
		ASSERT_EQ(interface["mode"], one.hook);
	scenario->second(lab, one, clients, rounds);

	const std::string file = lab.directory() + "/payload";
	const Payload payload(10 * 1024 * 1024);
	std::ofstream(file, std::ios::binary)
		<< (reads_streams(one.rule) ? first_message(one.rule, 1, payload.bytes.size()) : "");
	std::ofstream(file, std::ios::binary | std::ios::app)
		.write(reinterpret_cast<const char *>(payload.bytes.data()),
		       static_cast<std::streamsize>(payload.bytes.size()));
	EXPECT_EQ(lab.echo_hash(one.ipv4, 1, 9000, file), shell("sha256sum " + file).output.substr(0, 64))
		<< "10 MB there and back";
	// A member whose acknowledgement is late repeats its answer (a tail loss probe, RFC 8985 7)
	// just after the client's next request has moved away from it.
	const int repeated = reads_streams(one.rule) ? 5 : 0;
	const auto counters = lab.query("show counters");
	for (const auto &counter : counters["counters"]) {
		if (counter["kind"] != "fallback") {
			EXPECT_LE(counter["packets"], counter["reason"] == "member_left" ? repeated : 0)
				<< counter["reason"];
		}
	}
}

} // namespace
} // namespace holdfast::test
