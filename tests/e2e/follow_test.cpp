// SPDX-License-Identifier: GPL-2.0
// Every request to its own server, on connections that stay open; and what servers say
// is learnt. With real clients and servers.
#include <algorithm>
#include <chrono>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <set>
#include <thread>

#include "e2e/lab.h"

namespace holdfast::test
{
namespace
{

struct Place {
	bool ipv4;
	std::string hook;
};

const Place places[] = {{true, "xdp"}, {true, "tc"}, {false, "xdp"}, {false, "tc"}};

class Follow : public testing::TestWithParam<Place>
{
protected:
	bool ipv4() const { return GetParam().ipv4; }

	// A virtual server on port 7000, whose servers are those of http_talk.
	std::string config(const std::string &rule = "type: cookie-hash, keyword: sid", const std::string &top = "",
			   const std::string &vip = "") const
	{
		return Lab::base_config(GetParam().hook) + Lab::talk_pools() + top +
		       fmt::format("persistence:\n  - {{name: rule, {}}}\nvirtual_servers:\n"
				   "  - {{name: talk, address: \"{}\", port: 7000, protocol: tcp, forwarding: dnat, "
				   "pool: talk{}, persistence: rule}}\n",
				   rule, vip.empty() ? Lab::vip(ipv4()) : vip, ipv4() ? 4 : 6);
	}

	nlohmann::json ask(const Lab &lab, const std::string &more) const
	{
		return lab.talk(Lab::vip(ipv4()), 7000, more);
	}

	void expect_all_right(const nlohmann::json &said, int requests) const
	{
		EXPECT_EQ(said["done"], requests) << said;
		EXPECT_EQ(said["wrong"], 0) << said;
		EXPECT_EQ(said["corrupt"], 0) << said;
		EXPECT_EQ(said["failed"], 0) << said;
	}
};

INSTANTIATE_TEST_SUITE_P(EndToEnd, Follow, testing::ValuesIn(places), [](const auto &test) {
	return fmt::format("{}_{}", test.param.ipv4 ? "ipv4" : "ipv6", test.param.hook);
});

TEST_P(Follow, EveryRequestIsServedByItsOwn)
{
	Lab lab(2);

	lab.start_talk();
	lab.start_daemon(config());
	const auto said = ask(lab, "--requests 2000 --keys 30");

	expect_all_right(said, 2000);
	EXPECT_EQ(said["servers"], 3);
	EXPECT_GT(said["moves"], 1000);
	EXPECT_LT(said["longest_ms"], 190 * slowness()) << "nobody had to wait for a repetition, which takes 200 ms";
	EXPECT_GE(lab.counter("request_moved"), said["moves"].get<uint64_t>());
	const auto list = lab.query("show connections --limit 100");
	bool told = false;
	for (const auto &one : list["connections"])
		told = told || (one.contains("rebinds") && one["rebinds"] > 1000);
	EXPECT_TRUE(told) << list;
}

// Methods, bodies, chunks, long heads, heads in parts, in every order, on parallel connections.
TEST_P(Follow, RequestsOfEveryKind)
{
	Lab lab(2);

	lab.start_talk();
	lab.start_daemon(config());
	const auto said = ask(lab, "--requests 250 --connections 4 --keys 30 --mixed");

	expect_all_right(said, 1000);
	EXPECT_EQ(said["servers"], 3);
	EXPECT_GT(said["moves"], 300);
	lab.expect_no_damage();
}

TEST_P(Follow, PipelinedRequestsWait)
{
	Lab lab(2);

	lab.start_talk();
	lab.start_daemon(config());
	const auto said = ask(lab, "--requests 60 --keys 6 --pipeline 4");

	expect_all_right(said, 60);
	EXPECT_GT(said["moves"], 10);
	EXPECT_GT(lab.counter("request_held"), 5U);
	// Of one cookie, nobody waits.
	const uint64_t held = lab.counter("request_held");
	const auto one = ask(lab, "--requests 400 --keys 1 --pipeline 4");
	expect_all_right(one, 400);
	EXPECT_EQ(lab.counter("request_held"), held);
}

TEST_P(Follow, OverBadWires)
{
	Lab lab(2);

	lab.start_talk();
	lab.start_daemon(config());
	for (const char *where : {"client", "rs1", "rs2", "rs3"})
		lab.make_wire_bad(where, "wire", 10);
	const auto said = ask(lab, "--requests 100 --connections 6 --keys 20 --mixed --largest 100000 --timeout 60");

	expect_all_right(said, 600);
	if (HasFailure())
		ADD_FAILURE() << lab.holdfast("show counters").output << lab.query("show connections --limit 100");
	EXPECT_GT(said["moves"], 200);
	lab.expect_no_damage();
}

// What servers set is learnt, also in a late response, also where the head comes in parts.
TEST_P(Follow, CookiesThatServersSet)
{
	Lab lab(3);

	lab.start_talk();
	lab.start_daemon(config("type: persistent-cookie, keyword: sid, timeout: 4"));
	std::map<int, std::string> owner;
	for (int user = 1; user <= 6; user++) {
		const std::string pad = user % 2 ? "&pad=2900&slow=20" : "";
		const Ran ran = lab.run(
			"client",
			fmt::format("curl -sS -D - --max-time 20 'http://{0}:7000/[1-99]' -o /dev/null --next -sS -D - "
				    "'http://{0}:7000/?set=sid=user{1}{2}' -o /dev/null -w 'connections: "
				    "%{{num_connects}}'",
				    Lab::vip_url(ipv4()), user, pad));
		EXPECT_TRUE(ran.output.ends_with("connections: 0")) << "the hundredth response of a connection";
		const size_t at = ran.output.rfind("X-Server: ");

		ASSERT_NE(at, std::string::npos) << ran.output;
		ASSERT_NE(ran.output.find("Set-Cookie: sid=user"), std::string::npos) << ran.output;
		owner[user] = ran.output.substr(at + 10, 3);
	}
	EXPECT_EQ(lab.query("show sessions")["matched"], 6);
	EXPECT_EQ(lab.counter("key_learnt"), 6U);
	for (int round = 0; round < 3; round++) {
		const auto said = ask(lab, fmt::format("--requests 30 --keys 7 --prefix user --seed {}", round + 1));
		expect_all_right(said, 30);
		for (const auto &[key, server] : said["of_key"].items()) {
			if (key != "0") {
				EXPECT_EQ(server, owner[std::stoi(key)]) << "user" << key;
			}
		}
	}
	// They expire.
	std::this_thread::sleep_for(std::chrono::milliseconds(5500));
	EXPECT_EQ(lab.query("show sessions")["matched"], 0);
}

// Two cookies that are one session together, in any order.
TEST_P(Follow, CookiesOfAFramework)
{
	Lab lab(3);
	auto served_by = [&](const std::string &more) {
		const Ran ran = lab.run("client", fmt::format("curl -sS -D - -o /dev/null --max-time 5 {} ", more));
		const size_t at = ran.output.rfind("X-Server: ");

		return at == std::string::npos ? "nobody: " + ran.output : ran.output.substr(at + 10, 3);
	};
	const std::string url = fmt::format("http://{}:7000/", Lab::vip_url(ipv4()));

	lab.start_talk();
	lab.start_daemon(config("type: passive-cookie, session_keyword_type: CFID+CFTOKEN"));
	for (int user = 1; user <= 4; user++) {
		const std::string owner = served_by(fmt::format("'{0}?set=CFID={1}&set=CFTOKEN=t{1}'", url, user));

		for (int round = 0; round < 3; round++) {
			EXPECT_EQ(served_by(fmt::format("-H 'Cookie: CFID={0}; a=b; CFTOKEN=t{0}' {1}", user, url)),
				  owner);
			EXPECT_EQ(served_by(fmt::format("-H 'Cookie: CFTOKEN=t{0}; CFID={0}' {1}", user, url)), owner);
		}
	}
	EXPECT_EQ(lab.query("show sessions")["matched"], 4);
}

// Servers that offer less than others: what a connection has agreed on with its client holds for all.
TEST_P(Follow, ServersOfDifferentOptions)
{
	Lab lab(2);

	lab.run("rs1", "sysctl -qw net.ipv4.tcp_timestamps=0");
	lab.run("rs2", "sysctl -qw net.ipv4.tcp_sack=0 net.ipv4.tcp_window_scaling=0");
	lab.start_talk();
	lab.start_daemon(config());
	for (int round = 0; round < 2; round++) {
		const auto said =
			ask(lab, fmt::format("--requests 60 --connections 4 --keys 30 --mixed --seed {}", round));

		expect_all_right(said, 240);
		EXPECT_EQ(said["servers"], 3);
		EXPECT_GT(said["moves"], 80);
	}
	lab.expect_no_damage();
}

// Bodies of 10 MB between moves, both ways.
TEST_P(Follow, LargeBodies)
{
	Lab lab(2);

	lab.start_talk();
	lab.start_daemon(config());
	const auto said = ask(lab, "--requests 40 --connections 2 --keys 20 --mixed --largest 10000000");

	expect_all_right(said, 80);
	EXPECT_GT(said["moves"], 20);
	lab.expect_no_damage();
}

// A session's server is disabled in mid-connection: its requests go elsewhere, and stay there.
TEST_P(Follow, AMemberThatIsDisabledOrRefuses)
{
	Lab lab(2);

	lab.start_talk();
	lab.start_daemon(config("type: passive-cookie"));
	const std::string more = "--requests 60 --keys 8 --cookie PHPSESSID";
	const auto before = ask(lab, more);
	expect_all_right(before, 60);
	EXPECT_EQ(before["servers"], 3);
	const std::string pool = ipv4() ? "talk4" : "talk6";
	EXPECT_EQ(lab.holdfast(fmt::format("member disable {}/rs2", pool)).status, 0);
	const auto after = ask(lab, more);
	expect_all_right(after, 60);
	for (const auto &[key, server] : after["of_key"].items()) {
		EXPECT_NE(server, "rs2");
		if (before["of_key"][key] != "rs2") {
			EXPECT_EQ(server, before["of_key"][key]);
		}
	}
	// One that refuses: the balancing method has another try.
	EXPECT_EQ(lab.holdfast(fmt::format("member enable {}/rs2", pool)).status, 0);
	lab.run("rs3", "nft add table inet refuse");
	lab.run("rs3", "nft 'add chain inet refuse in { type filter hook input priority 0; }'");
	lab.run("rs3", "nft add rule inet refuse in tcp dport 7000 reject with tcp reset");
	const auto refused = ask(lab, more + " --seed 9");
	expect_all_right(refused, 60);
	for (const auto &[key, server] : refused["of_key"].items())
		EXPECT_NE(server, "rs3");
	EXPECT_GE(lab.counter("member_replaced"), 1U);
}

// A connection that has become a tunnel is left alone.
TEST_P(Follow, Upgrades)
{
	Lab lab(2);
	const std::string first = "GET /?uid=1 HTTP/1.1\\r\\nHost: h\\r\\nCookie: sid=1\\r\\n\\r\\n";
	const std::string upgrade = "GET / HTTP/1.1\\r\\nHost: h\\r\\nCookie: sid=2\\r\\nUpgrade: "
				    "echo\\r\\nConnection: Upgrade\\r\\n\\r\\n";

	lab.start_talk();
	lab.start_daemon(config());
	const Ran ran = lab.run(
		"client",
		fmt::format("sh -c '(printf \"{}\"; sleep 1; printf \"{}\"; sleep 1; printf \"{}again\"; sleep 1) "
			    "| timeout 10 socat -t 1 - TCP{}:{}:7000'",
			    first, upgrade, first, ipv4() ? 4 : 6, Lab::vip_url(ipv4())));
	EXPECT_NE(ran.output.find("101 Switching"), std::string::npos) << ran.output;
	EXPECT_TRUE(ran.output.ends_with("Cookie: sid=1\r\n\r\nagain")) << ran.output;
	EXPECT_EQ(lab.counter("stream_tunnel"), 1U);
}

// Two lengths, chunks without a size, headers that contradict: never moved on a guess.
TEST_P(Follow, WhatIsNotClearStays)
{
	Lab lab(2);

	lab.start_talk();
	lab.start_daemon(config());
	uint64_t unclear = 0;
	for (const std::string &lines :
	     {std::string("Content-Length: 0\\r\\nContent-Length: 0\\r\\n"),
	      std::string("Content-Length: 0\\r\\nTransfer-Encoding: chunked\\r\\n"),
	      std::string("Transfer-Encoding: gzip, chunked\\r\\n"), std::string("Content-Length: +0\\r\\n")}) {
		std::set<std::string> servers;
		const std::string unframed = "POST / HTTP/1.1\\r\\nHost: h\\r\\nCookie: sid=1\\r\\n" + lines + "\\r\\n";
		std::string requests;

		for (int key = 1; key <= 9; key++)
			requests += fmt::format(
				"printf \"GET / HTTP/1.1\\r\\nHost: h\\r\\nCookie: sid={}\\r\\n\\r\\n\"; sleep 0.1; ",
				key);
		const Ran ran =
			lab.run("client", fmt::format("sh -c '(printf \"{}\"; sleep 0.3; {}) | timeout 10 socat -t 1 - "
						      "TCP{}:{}:7000'",
						      unframed, requests, ipv4() ? 4 : 6, Lab::vip_url(ipv4())));
		for (size_t at = ran.output.find("X-Server: "); at != std::string::npos;
		     at = ran.output.find("X-Server: ", at + 1))
			servers.insert(ran.output.substr(at + 10, 3));
		EXPECT_LE(servers.size(), 1U) << lines << ran.output;
		EXPECT_EQ(lab.counter("stream_unframed"), ++unclear) << lines;
	}
	EXPECT_EQ(lab.counter("request_moved"), 0U);
	// Of a response, too: the connection is not moved afterwards.
	const Ran ran = lab.run(
		"client",
		fmt::format(
			"curl -sS --max-time 5 -H 'Cookie: sid=1' 'http://{}:7000/?raw=485454502f312e3120323030"
			"204f4b0d0a436f6e74656e742d4c656e6774683a20310d0a436f6e74656e742d4c656e6774683a20310d0a0d0a78'",
			Lab::vip_url(ipv4())));
	EXPECT_EQ(lab.counter("stream_unframed"), unclear + 1) << ran.output;
}

// TLS: session ids are learnt and lead back; tickets and TLS 1.3 pass.
TEST_P(Follow, TlsSessionIds)
{
	Lab lab(3);
	const std::string to =
		fmt::format("-connect {}:7443 -bind {}", Lab::vip_url(ipv4()),
			    ipv4() ? Lab::client_address(true, 1) : "[" + Lab::client_address(false, 1) + "]");
	auto connect = [&](const std::string &options) {
		return lab
			.run("client", fmt::format("sh -c 'echo | timeout 10 openssl s_client -brief {} {} 2>&1; true'",
						   ipv4() ? "-connect " + Lab::vip(true) + ":7443"
							  : "-connect [" + Lab::vip(false) + "]:7443",
						   options))
			.output;
	};
	auto full = [&](const std::string &options) {
		return lab
			.run("client",
			     fmt::format("sh -c '(sleep 0.5; echo) | timeout 10 openssl s_client {} {} 2>&1; true'",
					 ipv4() ? "-connect " + Lab::vip(true) + ":7443"
						: "-connect [" + Lab::vip(false) + "]:7443",
					 options))
			.output;
	};

	lab.start_tls();
	lab.start_daemon(Lab::base_config(GetParam().hook) + Lab::talk_pools() +
			 fmt::format("virtual_servers:\n  - {{name: tls, address: \"{}\", port: 7443, protocol: tcp, "
				     "forwarding: dnat, pool: tls{}, persistence: LB_PERSIS_SSL_SESS_ID}}\n",
				     Lab::vip(ipv4()), ipv4() ? 4 : 6));
	for (int user = 1; user <= 3; user++) {
		const std::string file = fmt::format("{}/session-{}", lab.directory(), user);
		const std::string first = full("-tls1_2 -no_ticket -sess_out " + file);

		EXPECT_NE(first.find("New, TLSv1.2"), std::string::npos) << first;
		for (int again = 0; again < 3; again++) {
			const std::string resumed = full("-tls1_2 -no_ticket -sess_in " + file);

			EXPECT_NE(resumed.find("Reused, TLSv1.2"), std::string::npos)
				<< "only the server that has the session can resume it: " << resumed;
		}
	}
	EXPECT_EQ(lab.query("show sessions")["matched"], 3);
	EXPECT_GE(lab.counter("key_learnt"), 3U);
	// TLS 1.3 repeats what its client makes up: nothing is recorded, and it passes.
	const std::string newest = connect("-tls1_3");
	EXPECT_NE(newest.find("TLSv1.3"), std::string::npos) << newest;
	// With tickets the first hello of the server has no id.
	const std::string ticket = connect("-tls1_2");
	EXPECT_NE(ticket.find("TLSv1.2"), std::string::npos) << ticket;
	EXPECT_EQ(lab.query("show sessions")["matched"], 3);
}

// Many clients over few connections: a proxy in front mixes them. (HAProxy 2.6 itself, directly
// before a server, cuts responses short whose chunks have extensions.)
TEST_P(Follow, BehindAProxyThatMixesClients)
{
	Lab lab(2);

	lab.start_talk();
	lab.start_daemon(config());
	std::ofstream(lab.directory() + "/mix.cfg")
		<< "global\n  maxconn 1000\ndefaults\n  mode http\n  timeout connect 20s\n  timeout client 60s\n"
		   "  timeout server 60s\n  http-reuse always\nfrontend in\n  bind :::7070 v4v6\n  default_backend "
		   "out\n"
		   "backend out\n  server vip "
		<< (ipv4() ? Lab::vip(true) + ":7000" : Lab::vip(false) + ":7000") << " maxconn 4 pool-max-conn 4\n";
	lab.start("client", "haproxy -db -f " + lab.directory() + "/mix.cfg", lab.directory() + "/mix.log");
	std::this_thread::sleep_for(std::chrono::milliseconds(800));
	const Ran ran =
		lab.run("client", fmt::format("{}/tests/e2e/http_talk ask {} 7070 --connections 12 --requests 50 "
					      "--keys 30 --mixed --tame --largest 50000",
					      source_directory(), ipv4() ? "127.0.0.1" : "::1"));
	const size_t at = ran.output.rfind("{\"done\"");
	ASSERT_NE(at, std::string::npos) << ran.output;
	auto said = nlohmann::json::parse(ran.output.substr(at));
	said["trouble"] = ran.output.substr(0, at);
	expect_all_right(said, 600);
	EXPECT_EQ(said["servers"], 3);
	EXPECT_GT(lab.counter("request_moved"), 100U);
}

// The other ways through a host: generic XDP; and one arm, where clients and servers share a network.
class FollowElsewhere : public Follow
{
protected:
	void expect_every_request_at_its_own(Lab &lab, const std::string &vip) const
	{
		const auto said = lab.talk(vip, 7000, "--requests 500 --keys 30");
		expect_all_right(said, 500);
		EXPECT_EQ(said["servers"], 3);
		EXPECT_GT(said["moves"], 200);
		EXPECT_LT(said["longest_ms"], 190 * slowness())
			<< "nobody had to wait for a repetition, which takes 200 ms";
		const auto mixed = lab.talk(vip, 7000, "--requests 60 --connections 4 --keys 30 --mixed");
		expect_all_right(mixed, 240);
		EXPECT_GT(mixed["moves"], 80);
		lab.expect_no_damage();
	}
};

const Place elsewhere[] = {{true, "xdp"}, {true, "xdp-generic"}, {false, "tc"}, {false, "xdp-generic"}};

INSTANTIATE_TEST_SUITE_P(EndToEnd, FollowElsewhere, testing::ValuesIn(elsewhere), [](const auto &test) {
	return fmt::format("{}_{}", test.param.ipv4 ? "ipv4" : "ipv6",
			   test.param.hook == "xdp-generic" ? "xdp_generic" : test.param.hook);
});

TEST_P(FollowElsewhere, TwoArms)
{
	Lab lab(2);

	lab.start_talk();
	lab.start_daemon(config());
	expect_every_request_at_its_own(lab, Lab::vip(ipv4()));
}

TEST_P(FollowElsewhere, OneArm)
{
	Lab lab(2);

	lab.make_one_armed();
	lab.start_talk();
	lab.start_daemon(config("type: cookie-hash, keyword: sid", "", Lab::arm_vip(ipv4())));
	expect_every_request_at_its_own(lab, Lab::arm_vip(ipv4()));
}

} // namespace
} // namespace holdfast::test
