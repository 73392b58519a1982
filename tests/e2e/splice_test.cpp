// SPDX-License-Identifier: GPL-2.0
// The splice engine with real clients and servers: what arrives is what was sent,
// whatever happens on the way.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <set>
#include <sys/stat.h>
#include <thread>

#include "e2e/lab.h"
#include "e2e/messages.h"
#include "holdfast/limits.h"
#include "support/packet.h"
#include "util/hex.h"

namespace holdfast::test
{
namespace
{

struct Place {
	bool ipv4;
	std::string hook;
};

std::string place_name(const testing::TestParamInfo<Place> &info)
{
	std::string name = fmt::format("{}_{}", info.param.ipv4 ? "ipv4" : "ipv6", info.param.hook);

	std::replace(name.begin(), name.end(), '-', '_');
	return name;
}

const Place places[] = {{true, "xdp"},  {true, "tc"},  {true, "xdp-generic"},
			{false, "xdp"}, {false, "tc"}, {false, "xdp-generic"}};

class Splice : public testing::TestWithParam<Place>
{
protected:
	bool ipv4() const { return GetParam().ipv4; }

	// Virtual servers with a rule that reads cookies: nginx on 80, echo on 9000; more in `servers`.
	std::string config(const std::string &servers = "", const std::string &top = "") const
	{
		std::string yaml =
			Lab::base_config(GetParam().hook) + top +
			"persistence:\n  - {name: rule, type: cookie-hash, keyword: sid}\nvirtual_servers:\n";

		for (const auto &[name, pool, port] : {std::tuple("web", "web", 80), {"echo", "echo", 9000}})
			yaml += server(name, port, pool, "persistence: rule");
		return yaml + servers;
	}

	std::string server(const std::string &name, int port, const std::string &pool, const std::string &more) const
	{
		return fmt::format("  - {{name: {}, address: \"{}\", port: {}, protocol: tcp, forwarding: dnat, pool: "
				   "{}{}, {}}}\n",
				   name, Lab::vip(ipv4()), port, pool, ipv4() ? 4 : 6, more);
	}

	std::string url(const std::string &path = "/") const { return "http://" + Lab::vip_url(ipv4()) + path; }

	// What curl prints, with a cookie.
	Ran curl(const Lab &lab, const std::string &cookie, const std::string &more = "", int client = 1) const
	{
		return lab.run("client", fmt::format("curl -sS --max-time 60 -H 'Cookie: sid={}' --interface {} {} {}",
						     cookie, Lab::client_address(ipv4(), client), more,
						     more.find("http://") == std::string::npos ? url() : ""));
	}

	// A request head, and `size` bytes behind it, through the echo service and back: whole?
	void expect_echo(const Lab &lab, size_t size, uint8_t seed) const
	{
		const std::string file = fmt::format("{}/echo-{}", lab.directory(), size);
		const Payload payload(size, seed);

		std::ofstream(file, std::ios::binary) << "POST / HTTP/1.1\r\nHost: h\r\nCookie: sid=" << size
						      << "\r\nContent-Length: " << size << "\r\n\r\n"
						      << std::string(payload.bytes.begin(), payload.bytes.end());
		EXPECT_EQ(lab.echo_hash(ipv4(), 1, 9000, file), shell("sha256sum " + file).output.substr(0, 64))
			<< size << " bytes there and back: "
			<< shell(fmt::format("ls -l {0} {1}/echoed; cmp {0} {1}/echoed", file, lab.directory())).output;
		shell("rm " + file);
	}

	// nginx has a file of `size` bytes under /files; its SHA-256.
	static std::string make_file(const Lab &lab, size_t size)
	{
		const std::string file = fmt::format("{}/files/{}", lab.directory(), size);

		shell(fmt::format(
			"mkdir -p {}/files; chmod 755 {} {}/files; head -c {} /dev/urandom > {}; chmod 644 {}",
			lab.directory(), lab.directory(), lab.directory(), size, file, file));
		return shell("sha256sum " + file).output.substr(0, 64);
	}

	std::string fetch_hash(const Lab &lab, size_t size, const std::string &more = "") const
	{
		return lab
			.run("client",
			     fmt::format("sh -c \"curl -sS --max-time 100 -H 'Cookie: sid=f' {} {} | sha256sum\"", more,
					 url(fmt::format("/files/{}", size))))
			.output.substr(0, 64);
	}

	static uint64_t counter(const Lab &lab, const std::string &reason) { return lab.counter(reason); }
	static void expect_no_damage(const Lab &lab) { lab.expect_no_damage(); }
};

INSTANTIATE_TEST_SUITE_P(EndToEnd, Splice, testing::ValuesIn(places), place_name);

// Heads of one segment and of many, up to the limit: at once, and to the cookie's server.
TEST_P(Splice, HeadsOfAnySize)
{
	Lab lab(2);
	std::map<int, std::string> servers;

	lab.start_daemon(config());
	curl(lab, "1"); // neighbours, and what the members can do
	for (const size_t size : {0, 100, 1300, 1400, 1500, 2900, 6000, 12000, 17000, 25000, 32000}) {
		for (const int user : {1, 2, 3}) {
			const std::string file = lab.directory() + "/head";
			std::ofstream(file) << "X-Pad: " << std::string(size, 'p') << "\n";
			const Ran ran =
				curl(lab, std::to_string(user), fmt::format("-H @{} -w '%{{time_total}}'", file));
			const std::string name = ran.output.substr(0, 3);

			ASSERT_TRUE(name.starts_with("rs")) << size << ": " << ran.output;
			EXPECT_EQ(servers.emplace(user, name).first->second, name) << size;
			EXPECT_LT(std::atof(ran.output.c_str() + 4), 0.15 * slowness())
				<< size << ": waited for a repetition";
		}
	}
	// Beyond the limit: counted, and served.
	std::ofstream(lab.directory() + "/head") << "X-Pad: " << std::string(45000, 'p') << "\n";
	const Ran late = lab.run("client", fmt::format("curl -sS --max-time 9 -H @{}/head -H 'Cookie: sid=late' {}",
						       lab.directory(), url()));
	EXPECT_TRUE(late.output.starts_with("rs")) << late.output;
	EXPECT_EQ(counter(lab, "head_over_limit"), 1U);
	expect_no_damage(lab);
}

TEST_P(Splice, BodiesBothWays)
{
	Lab lab(2);

	lab.start_services();
	lab.start_daemon(config());
	for (const size_t size : {1UL, 100UL, 1448UL, 5000UL, 20000UL, 60000UL, 1000000UL, 100000000UL})
		expect_echo(lab, size, static_cast<uint8_t>(size));
	for (const size_t size : {1UL, 1000UL, 100000000UL}) {
		const std::string hash = make_file(lab, size);

		EXPECT_EQ(fetch_hash(lab, size), hash) << size;
	}
	expect_no_damage(lab);
}

TEST_P(Splice, ExplainsWhatThenHappens)
{
	Lab lab(2);

	lab.start_daemon(config());
	for (int user = 1; user <= 6; user++) {
		const auto explained =
			lab.query(fmt::format("explain --virtual-server web --client {} --cookie a=b --cookie sid={}",
					      Lab::client_address(ipv4(), 1), user));

		EXPECT_EQ(explained["by"], "hash");
		EXPECT_EQ(explained["member"],
			  fmt::format("web{}/{}", ipv4() ? 4 : 6, curl(lab, std::to_string(user)).output.substr(0, 3)));
	}
	const auto keyless = lab.query(fmt::format("explain --virtual-server web --client {} --url /a?b=c --header X:y",
						   Lab::client_address(ipv4(), 1)));
	EXPECT_EQ(keyless["by"], "method");
}

// What explain says of every way to name a message is what then happens to it.
TEST_P(Splice, ExplainsEveryKindOfMessage)
{
	Lab lab(2);
	std::string yaml = Lab::base_config(GetParam().hook) +
			   "persistence:\n  - {name: by-header, type: http-header-hash, keyword: X-Key}\n"
			   "  - {name: by-url, type: http-request-hash, keyword: uid}\n"
			   "  - {name: by-user, type: rdp-cookie}\n"
			   "  - {name: by-card, type: iso8583-bitmap, fields: [41, 42]}\nvirtual_servers:\n" +
			   server("header", 80, "web", "persistence: by-header") +
			   server("url", 81, "web", "persistence: by-url") +
			   server("user", 3389, "desk", "persistence: by-user") +
			   server("card", 8583, "cards", "persistence: by-card");
	const std::string client = Lab::client_address(ipv4(), 1);
	auto explained = [&](const std::string &name, const std::string &message) {
		const auto answer =
			lab.query(fmt::format("explain --virtual-server {} --client {} {}", name, client, message));
		const std::string member = answer["member"].is_string() ? answer["member"].get<std::string>() : "";

		return std::pair(answer["by"].get<std::string>(), member.substr(member.find('/') + 1));
	};
	auto hex_file = [&](const std::string &bytes) {
		std::ofstream(lab.directory() + "/message") << hex(bytes);
		return "--hex " + lab.directory() + "/message";
	};

	lab.start_services();
	lab.start_daemon(yaml);
	for (int key = 1; key <= 4; key++) {
		const auto by_header = explained("header", fmt::format("--header X-Key:{:04}", key));
		const auto by_url = explained("url", fmt::format("--url '/?a=1&uid={:04}'", key));

		EXPECT_EQ(by_header.first, "hash");
		EXPECT_EQ(by_url.first, "hash");
		EXPECT_EQ(lab.ask_stream(ipv4(), 1, 80, first_message(HF_RULE_HTTP_HEADER_HASH, key), true),
			  by_header.second);
		EXPECT_EQ(lab.ask_stream(ipv4(), 1, 81, first_message(HF_RULE_HTTP_REQUEST_HASH, key), true),
			  by_url.second);
		for (const auto &[name, port, type] :
		     {std::tuple("user", 3389, HF_RULE_RDP_COOKIE), {"card", 8583, HF_RULE_ISO8583_BITMAP}}) {
			const std::string message = first_message(type, key);

			EXPECT_EQ(explained(name, hex_file(message)).first, "method");
			const std::string first = lab.ask_stream(ipv4(), 1, port, message);
			EXPECT_EQ(explained(name, hex_file(message)), std::pair(std::string("session"), first));
		}
	}
}

// A routing token names a server: that one it is. One that names nobody leaves it to the method.
TEST_P(Splice, RoutingTokens)
{
	Lab lab(3);
	const std::string yaml = Lab::base_config(GetParam().hook) +
				 "persistence:\n  - {name: rule, type: rdp-cookie}\nvirtual_servers:\n" +
				 server("desk", 3389, "desk", "persistence: rule");
	std::set<std::string> used;

	lab.start_services();
	lab.start_daemon(yaml);
	for (int round = 1; round <= 3; round++) {
		for (int number = 1; number <= 3; number++) {
			const std::string token = rdp_token(Lab::member_address(true, number), 3389);
			const std::string server = lab.ask_stream(ipv4(), round, 3389, rdp_request(token));

			/* A token has room for an IPv4 address only. */
			if (ipv4()) {
				EXPECT_EQ(server, fmt::format("rs{}", number)) << token;
			} else {
				EXPECT_TRUE(server.starts_with("rs")) << server;
			}
		}
		used.insert(lab.ask_stream(ipv4(), round, 3389, rdp_request(rdp_token("203.0.113.9", 3389))));
		used.insert(lab.ask_stream(ipv4(), round, 3389,
					   rdp_request(rdp_token(Lab::member_address(true, 1), 3390))));
	}
	EXPECT_GE(used.size(), 2U) << "tokens of nobody";
	EXPECT_EQ(lab.query("show sessions")["matched"], 0) << "a token is no session";
	EXPECT_EQ(counter(lab, "key_absent"), ipv4() ? 6U : 15U);
}

// One connection, many requests; then very many connections at once.
TEST_P(Splice, ManyConnections)
{
	Lab lab(4);

	lab.start_daemon(config());
	curl(lab, "1");
	const std::string kept = curl(lab, "a",
				      fmt::format("-w '%{{num_connects}}' {}",
						  [&] {
							  std::string all;
							  for (int i = 0; i < 50; i++)
								  all += url() + " ";
							  return all;
						  }()))
					 .output;
	EXPECT_EQ(std::count(kept.begin(), kept.end(), 'r'), 50) << kept;
	const Ran wrk =
		lab.run("client",
			fmt::format("sh -c \"ulimit -n 20000; wrk -t2 -c2000 -d4 -T10 -H 'Cookie: sid=b' {}\"", url()));
	EXPECT_EQ(wrk.output.find("Socket errors"), std::string::npos) << wrk.output;
	EXPECT_EQ(wrk.output.find("Non-2xx"), std::string::npos) << wrk.output;
	const Ran closing =
		lab.run("client", fmt::format("wrk -t2 -c100 -d4 -H 'Cookie: sid=c' -H 'Connection: close' {}", url()));
	EXPECT_NE(closing.output.find("requests in"), std::string::npos) << closing.output;
	EXPECT_EQ(closing.output.find("Socket errors"), std::string::npos) << closing.output;
	expect_no_damage(lab);
}

// Loss, doubles and reordering on every hop, both ways: nothing hangs, nothing is corrupted.
TEST_P(Splice, BadWires)
{
	Lab lab(4);

	lab.start_services();
	lab.start_daemon(config());
	curl(lab, "1");
	const std::string hash = make_file(lab, 2000000);
	for (const int percent : {1, 3, 5}) {
		for (const auto &[host, interface] : {std::pair("client", "wire"),
						      {"balancer", "clients"},
						      {"rs1", "wire"},
						      {"rs2", "wire"},
						      {"rs3", "wire"},
						      {"switch", "uplink"}}) {
			// On the balancer in front of Holdfast's own filter, and only where TC sees the packets first.
			if (std::string(host) == "balancer" && GetParam().hook != "tc")
				continue;
			lab.make_wire_bad(host, interface, percent * 10);
		}
		for (const size_t size : {10, 3000, 9000}) {
			std::ofstream(lab.directory() + "/head") << "X-Pad: " << std::string(size, 'p') << "\n";
			for (int i = 0; i < 15; i++) {
				const Ran ran = curl(lab, "1", fmt::format("-H @{}/head", lab.directory()));

				ASSERT_TRUE(ran.output.starts_with("rs"))
					<< percent << " %, " << size << ": " << ran.output;
			}
		}
		EXPECT_EQ(fetch_hash(lab, 2000000), hash) << percent << " %";
		expect_echo(lab, 300000, 3);
	}
	expect_no_damage(lab);
}

// Every TCP option of client and servers on and off.
TEST_P(Splice, EveryCombinationOfOptions)
{
	Lab lab(2);
	const std::string hash = make_file(lab, 3000000);

	lab.start_services();
	lab.start_daemon(config());
	for (int mask = 0; mask < 64; mask++) {
		auto set = [&](const char *host, int bits) {
			lab.run(host, fmt::format("sysctl -qw net.ipv4.tcp_sack={} net.ipv4.tcp_timestamps={} "
						  "net.ipv4.tcp_window_scaling={}",
						  bits & 1, bits >> 1 & 1, bits >> 2 & 1));
		};
		// The members' side is learnt: it changes with each new set of them.
		set("client", mask & 7);
		if (mask % 8 == 0) {
			for (const char *server : {"rs1", "rs2", "rs3"})
				set(server, mask >> 3);
		}
		std::ofstream(lab.directory() + "/head") << "X-Pad: " << std::string(3000, 'p') << "\n";
		EXPECT_EQ(fetch_hash(lab, 3000000, fmt::format("-H @{}/head", lab.directory())), hash)
			<< "client " << (mask & 7) << ", servers " << (mask >> 3);
		if (mask % 9 == 0)
			expect_echo(lab, 200000, static_cast<uint8_t>(mask));
	}
	expect_no_damage(lab);
}

TEST_P(Splice, SmallAndLargeFrames)
{
	for (const int mtu : {1280, 9000}) {
		Lab lab(2);

		if (mtu == 9000 && GetParam().hook == "xdp-generic")
			continue; // such frames do not fit into a page: the kernel refuses them there
		for (const auto &[host, interface] : {std::pair("client", "wire"),
						      {"balancer", "clients"},
						      {"balancer", "servers"},
						      {"switch", "uplink"},
						      {"switch", "port1"},
						      {"switch", "port2"},
						      {"switch", "port3"},
						      {"switch", "bridge"},
						      {"rs1", "wire"},
						      {"rs2", "wire"},
						      {"rs3", "wire"}})
			lab.run(host, fmt::format("ip link set {} mtu {}", interface, mtu));
		lab.start_services();
		lab.start_daemon(config());
		const std::string hash = make_file(lab, 3000000);
		EXPECT_EQ(fetch_hash(lab, 3000000), hash) << mtu;
		std::ofstream(lab.directory() + "/head") << "X-Pad: " << std::string(20000, 'p') << "\n";
		EXPECT_EQ(fetch_hash(lab, 3000000, fmt::format("-H @{}/head", lab.directory())), hash) << mtu;
		expect_echo(lab, 1000000, 1);
		expect_no_damage(lab);
	}
}

// The client ends its half first, with and without data; the server answers until its own end.
TEST_P(Splice, HalfClose)
{
	Lab lab(2);

	lab.start_services();
	lab.start_daemon(config());
	// socat sends FIN behind its input, and waits for the echo's end.
	expect_echo(lab, 10, 1);
	expect_echo(lab, 4000, 1);
	// A head that ends in the middle: no key, but a connection.
	const std::string file = lab.directory() + "/part";
	std::ofstream(file) << "GET / HTTP/1.1\r\nCookie: si";
	EXPECT_EQ(lab.echo_hash(ipv4(), 1, 9000, file), shell("sha256sum " + file).output.substr(0, 64));
	EXPECT_EQ(counter(lab, "key_malformed"), 1U);
}

TEST_P(Splice, AServerThatRefuses)
{
	Lab lab(2);

	lab.start_daemon(config(server("closed", 81, "echo", "persistence: rule")));
	const auto began = std::chrono::steady_clock::now();
	const Ran ran = curl(lab, "1", "http://" + Lab::vip_url(ipv4()) + ":81/");
	EXPECT_NE(ran.status, 0);
	EXPECT_NE(ran.output.find("reset"), std::string::npos) << ran.output;
	EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5));
	EXPECT_GE(counter(lab, "member_refused"), 1U);
}

// A server that speaks first: at once where the virtual server says so, else when the wait is over.
TEST_P(Splice, ServersThatSpeakFirst)
{
	Lab lab(2);

	lab.start_services();
	lab.start_daemon(config(server("first", 3000, "desk", "persistence: rule, server_first: true") +
				server("waits", 3001, "desk", "persistence: rule, server_first_wait: 1")));
	auto began = std::chrono::steady_clock::now();
	EXPECT_TRUE(lab.ask_stream(ipv4(), 1, 3000, "").starts_with("rs"));
	EXPECT_LT(std::chrono::steady_clock::now() - began, 0.9 * slowness() * std::chrono::seconds(1));
	began = std::chrono::steady_clock::now();
	EXPECT_TRUE(lab.ask_stream(ipv4(), 1, 3001, "").starts_with("rs"));
	EXPECT_GT(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(900));
	EXPECT_EQ(counter(lab, "server_first"), 1U);
}

// The SYN-cookie front for rules that know only addresses, and for none.
TEST_P(Splice, SynProtection)
{
	Lab lab(6);

	lab.start_services();
	lab.start_daemon(
		config(server("by-address", 3000, "desk", "persistence: LB_PERSIS_SRC_ADDR, syn_protection: true") +
		       server("by-turn", 3001, "desk", "syn_protection: true")));
	for (int client = 1; client <= 6; client++) {
		const std::string first = lab.ask_stream(ipv4(), client, 3000, "");

		EXPECT_TRUE(first.starts_with("rs"));
		for (int i = 0; i < 3; i++)
			EXPECT_EQ(lab.ask_stream(ipv4(), client, 3000, "hello"), first);
	}
	std::set<std::string> used;
	for (int i = 0; i < 6; i++)
		used.insert(lab.ask_stream(ipv4(), 1, 3001, ""));
	EXPECT_EQ(used.size(), 3U);
	EXPECT_EQ(lab.query("show sessions")["matched"], 6);
}

// Slow senders hold what they may, and for as long as they may; others are served meanwhile.
TEST_P(Splice, SlowSenders)
{
	Lab lab(4);

	lab.start_daemon(config("", "early_data: {max_head: 4096, max_bytes_per_client: 20000, timeout: 4}\n"));
	curl(lab, "1");
	lab.start("client",
		  fmt::format("sh -c 'for i in $(seq 40); do (printf \"GET / HTTP/1.1\\r\\nX: \"; sleep 30) | "
			      "socat - TCP{}:{}:80,bind={} & done; wait'",
			      ipv4() ? 4 : 6, Lab::vip_url(ipv4()),
			      ipv4() ? Lab::client_address(true, 2) : "[" + Lab::client_address(false, 2) + "]"));
	std::this_thread::sleep_for(std::chrono::milliseconds(1500));
	const auto connections = lab.query("show connections --limit 1000");
	size_t collecting = 0, held = 0;
	for (const auto &one : connections["connections"]) {
		if (one["state"] == "collecting") {
			collecting++;
			held += one["held"].get<size_t>() ? 1 : 0;
		}
	}
	EXPECT_GT(held, 2U);
	EXPECT_LE(held, 20000U / HF_PIECE_BYTES);
	EXPECT_GE(counter(lab, "early_client_full"), 1U);
	// Of IPv6, another /64: one is one client's.
	const std::string other = ipv4() ? Lab::client_address(true, 1) : "2001:db8:b::5";
	if (!ipv4()) {
		lab.run("client", "ip -6 addr add 2001:db8:b::5/128 dev wire nodad");
		lab.run("balancer", "ip -6 route add 2001:db8:b::/64 dev clients");
	}
	EXPECT_TRUE(lab.run("client", fmt::format("curl -sS --max-time 10 --interface {} {}", other, url()))
			    .output.starts_with("rs"))
		<< "another client";
	std::this_thread::sleep_for(std::chrono::milliseconds(5500));
	const auto later = lab.query("show connections --limit 1000");
	for (const auto &one : later["connections"])
		EXPECT_FALSE(one["state"] == "collecting" && one["age"] > 5) << one;
	EXPECT_GE(counter(lab, "early_timeout"), held);
}

// The client talks to a server itself from the same port: both go on.
TEST_P(Splice, ATalkWithAMemberFromTheSamePort)
{
	Lab lab(2);
	const std::string member = ipv4() ? Lab::member_address(true, 1) : "[" + Lab::member_address(false, 1) + "]";
	const std::string family = ipv4() ? "4" : "6";
	std::string yaml = Lab::base_config(GetParam().hook, 1) +
			   "persistence:\n  - {name: rule, type: cookie-hash, keyword: sid}\nvirtual_servers:\n" +
			   server("echo", 9000, "echo", "persistence: rule");

	lab.start_services();
	lab.run("client",
		ipv4() ? "ip route add 10.0.2.0/24 via 192.0.2.1" : "ip -6 route add fd00:2::/64 via 2001:db8::1");
	lab.start_daemon(yaml);
	// One line now, one later.
	lab.start("client",
		  fmt::format("sh -c '(echo direct one; sleep 4; echo direct two; sleep 1) | socat -t 3 - "
			      "TCP{}:{}:9000,sourceport=45678,reuseaddr'",
			      family, member),
		  lab.directory() + "/direct");
	std::this_thread::sleep_for(std::chrono::milliseconds(500));
	const Ran spliced = lab.run(
		"client",
		fmt::format(
			"sh -c '(printf \"GET / HTTP/1.1\\r\\nCookie: sid=1\\r\\n\\r\\n\"; sleep 1) | timeout 10 socat "
			"-t 3 - TCP{}:{}:9000,sourceport=45678,reuseaddr'",
			family, Lab::vip_url(ipv4())));
	std::this_thread::sleep_for(std::chrono::milliseconds(5000));
	EXPECT_EQ(shell("cat " + lab.directory() + "/direct").output, "direct one\ndirect two\n");
	EXPECT_GE(counter(lab, "member_in_other_talk"), 1U);
	// From another port, and later from this one, all is well.
	EXPECT_EQ(lab.ask_stream(ipv4(), 1, 9000, "GET / HTTP/1.1\r\nCookie: sid=1\r\n\r\n"), "GET / HTTP/1.1\r");
}

// ISO 8583 messages of an independent encoder: a card's messages go to one server.
TEST_P(Splice, Iso8583OfAnotherEncoder)
{
	Lab lab(4);
	std::string yaml =
		Lab::base_config(GetParam().hook) +
		"persistence:\n  - {name: cards, type: iso8583-bitmap, fields: [2, 41]}\nvirtual_servers:\n" +
		server("cards", 8583, "cards", "persistence: cards");
	std::map<std::string, std::string> servers;
	std::set<std::string> used;

	lab.start_services();
	lab.start_daemon(yaml);
	for (int round = 0; round < 3; round++) {
		for (const char *card : {"4111111111111111", "5500000000000004", "340000000000009", "6011000000000004",
					 "30000000000004", "201400000000009"}) {
			const Ran made = shell(fmt::format("node {}/tests/e2e/iso8583_message.js {} {}",
							   source_directory(), card, 100000 + round));
			ASSERT_EQ(made.status, 0) << made.output;
			const auto bytes = bytes_of_hex(made.output.substr(0, made.output.find('\n')));
			ASSERT_TRUE(bytes) << made.output;
			const std::string name = lab.ask_stream(ipv4(), 1 + round, 8583, *bytes);
			ASSERT_TRUE(name.starts_with("rs")) << card;
			EXPECT_EQ(servers.emplace(card, name).first->second, name) << card;
			used.insert(name);
		}
	}
	EXPECT_EQ(used.size(), 3U);
	EXPECT_EQ(lab.query("show sessions")["matched"], 6);
}

// For as long as HOLDFAST_SOAK_SECONDS says, one second without: requests of every kind over
// wires that lose, double and reorder one packet in a hundred each. Nothing is left over.
TEST_P(Splice, Soak)
{
	const char *text = std::getenv("HOLDFAST_SOAK_SECONDS");
	const int seconds = text ? std::atoi(text) / static_cast<int>(std::size(places)) : 1;
	Lab lab(4);

	lab.start_services();
	lab.start_talk();
	lab.start_daemon(config(server("talk", 7000, "talk", "persistence: rule"),
				Lab::talk_pools() + "early_data: {timeout: 4}\n"));
	curl(lab, "1");
	const std::string hash = make_file(lab, 300000);
	for (const auto &[host, interface] :
	     {std::pair("client", "wire"), {"rs1", "wire"}, {"rs2", "wire"}, {"rs3", "wire"}, {"switch", "uplink"}})
		lab.make_wire_bad(host, interface, 10);
	const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
	int rounds = 0;
	do {
		lab.run("client", fmt::format("wrk -t1 -c50 -d2 -T20 -H 'Cookie: sid={}' {}", rounds, url()));
		lab.run("client", fmt::format("wrk -t1 -c50 -d2 -T20 -H 'Cookie: sid={}' -H 'Connection: close' {}",
					      rounds, url()));
		ASSERT_EQ(fetch_hash(lab, 300000), hash);
		expect_echo(lab, 100000, static_cast<uint8_t>(rounds));
		const auto said = lab.talk(
			Lab::vip(ipv4()), 7000,
			fmt::format("--requests 60 --connections 6 --keys 20 --mixed --largest 100000 --seed {}",
				    rounds));
		EXPECT_TRUE(said["done"] == 360 && said["wrong"] == 0 && said["corrupt"] == 0 && said["failed"] == 0)
			<< said << lab.holdfast("show counters").output;
		rounds++;
	} while (std::chrono::steady_clock::now() < end);
	// When all is over, no slot, no piece and no place is held.
	std::this_thread::sleep_for(std::chrono::seconds(10));
	for (const char *host : {"client", "rs1", "rs2", "rs3"})
		lab.run(host, "ss -K state all >/dev/null");
	const auto left = lab.query("show connections --limit 1000");
	for (const auto &one : left["connections"])
		EXPECT_FALSE(one["state"] == "collecting" || one["state"] == "connecting") << one;
	EXPECT_EQ(shell(fmt::format("bpftool -j map dump pinned {}/early_data | python3 -c 'import sys,json; "
				    "print(len(json.load(sys.stdin)))'",
				    lab.pins()))
			  .output,
		  "0\n");
	expect_no_damage(lab);
}

// The clients, too, are in the servers' network: all packets come and go by one interface.
TEST_P(Splice, OneArm)
{
	Lab lab(2);
	const std::string vip = ipv4() ? Lab::arm_vip(true) : "[" + Lab::arm_vip(false) + "]";
	std::string yaml = Lab::base_config(GetParam().hook);

	lab.make_one_armed();
	yaml += "persistence:\n  - {name: rule, type: cookie-hash, keyword: sid}\nvirtual_servers:\n";
	for (const auto &[name, pool, port] : {std::tuple("web", "web", 80), {"echo", "echo", 9000}})
		yaml += fmt::format(
			"  - {{name: {}, address: \"{}\", port: {}, protocol: tcp, forwarding: dnat, pool: {}{}, "
			"persistence: rule}}\n",
			name, Lab::arm_vip(ipv4()), port, pool, ipv4() ? 4 : 6);
	lab.start_services();
	lab.start_daemon(yaml);
	const std::string hash = make_file(lab, 20000000);
	for (int user = 1; user <= 10; user++) {
		std::ofstream(lab.directory() + "/head")
			<< "X-Pad: " << std::string(static_cast<size_t>(user * 1500), 'p') << "\n";
		const Ran ran = lab.run("client",
					fmt::format("curl -sS --max-time 5 -H @{}/head -H 'Cookie: sid={}' http://{}/",
						    lab.directory(), user, vip));
		EXPECT_TRUE(ran.output.starts_with("rs")) << ran.output;
	}
	EXPECT_EQ(lab.run("client",
			  fmt::format("sh -c \"curl -sS --max-time 60 -H 'Cookie: sid=f' http://{}/files/20000000 | "
				      "sha256sum\"",
				      vip))
			  .output.substr(0, 64),
		  hash);
	expect_no_damage(lab);
}

} // namespace
} // namespace holdfast::test
