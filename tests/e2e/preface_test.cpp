// SPDX-License-Identifier: GPL-2.0
// Members are told who their clients are, by the PROXY protocol; nginx reads it.
#include <set>
#include <sstream>

#include "e2e/lab.h"
#include "e2e/place.h"
#include "model/address.h"

namespace holdfast::test
{
namespace
{

// What nginx says: its name, and what it was told.
struct Told {
	std::string server, client, vip;
	int client_port = 0, vip_port = 0;
};

class Preface : public testing::TestWithParam<Place>
{
protected:
	bool ipv4() const { return GetParam().ipv4; }

	// Both versions; a rule that reads the stream, and none.
	std::string config() const
	{
		std::string yaml =
			Lab::base_config(GetParam().hook) +
			"persistence:\n  - {name: rule, type: cookie-hash, keyword: sid}\nvirtual_servers:\n";
		int port = 81;

		for (const char *more :
		     {"proxy_protocol: v1, persistence: rule", "proxy_protocol: v2, persistence: rule",
		      "proxy_protocol: v1", "proxy_protocol: v2"}) {
			yaml += fmt::format("  - {{name: s{0}, address: \"{1}\", port: {0}, protocol: tcp, forwarding: "
					    "dnat, pool: proxied{2}, {3}}}\n",
					    port, Lab::vip(ipv4()), ipv4() ? 4 : 6, more);
			port++;
		}
		return yaml;
	}

	std::string url(int port) const { return fmt::format("http://{}:{}/", Lab::vip_url(ipv4()), port); }

	static std::vector<Told> told(const std::string &output)
	{
		std::istringstream lines(output);
		std::vector<Told> all;
		Told one;

		while (lines >> one.server >> one.client >> one.client_port >> one.vip >> one.vip_port)
			all.push_back(one);
		return all;
	}

	void expect_right(const Told &one, int client, int client_port, int port) const
	{
		EXPECT_EQ(Address::parse(one.client), Address::parse(Lab::client_address(ipv4(), client)))
			<< one.client;
		EXPECT_EQ(one.client_port, client_port);
		EXPECT_EQ(Address::parse(one.vip), Address::parse(Lab::vip(ipv4()))) << one.vip;
		EXPECT_EQ(one.vip_port, port);
	}

	std::vector<Told> ask(const Lab &lab, int client, int client_port, int port, const std::string &more) const
	{
		const Ran ran =
			lab.run("client", fmt::format("curl -sS --max-time 20 --interface {} --local-port {} {}",
						      Lab::client_address(ipv4(), client), client_port, more));
		const auto all = told(ran.output);

		EXPECT_FALSE(all.empty()) << port << ": " << ran.output;
		for (const Told &one : all)
			expect_right(one, client, client_port, port);
		return all;
	}
};

INSTANTIATE_TEST_SUITE_P(EndToEnd, Preface, testing::ValuesIn(all_places), place_name);

TEST_P(Preface, NginxIsToldWhoTheClientIs)
{
	Lab lab(4);
	int client_port = 20000;

	lab.start_services();
	lab.start_daemon(config());
	for (int port = 81; port <= 84; port++) {
		std::set<std::string> servers;

		for (const int client : {1, 2}) {
			for (int key = 0; key < 12; key++) {
				const auto all = ask(lab, client, client_port += 7, port,
						     fmt::format("-H 'Cookie: sid={}' {}", key, url(port)));
				for (const Told &one : all)
					servers.insert(one.server);
			}
		}
		EXPECT_EQ(servers.size(), 3U) << port;
	}
	lab.expect_no_damage();
}

// Each member that a connection moves to is told, too.
TEST_P(Preface, MovedRequests)
{
	Lab lab(2);
	int client_port = 30000;

	lab.start_services();
	lab.start_daemon(config());
	for (const int port : {81, 82}) {
		std::string more;
		std::set<std::string> servers;

		for (int key = 0; key < 12; key++)
			more += fmt::format(
				"{} -sS --max-time 20 --interface {} --local-port {} -H 'Cookie: sid={}' {} ",
				key ? "--next" : "", Lab::client_address(ipv4(), 1), client_port, key, url(port));
		const auto all = ask(lab, 1, client_port, port, more);
		EXPECT_EQ(all.size(), 12U);
		for (const Told &one : all)
			servers.insert(one.server);
		EXPECT_EQ(servers.size(), 3U);
		client_port += 7;
	}
	EXPECT_GT(lab.counter("request_moved"), 6U);
	lab.expect_no_damage();
}

// What is lost comes again: also what the client knows nothing of.
TEST_P(Preface, OverBadWires)
{
	Lab lab(2);
	int client_port = 40000;

	lab.start_services();
	lab.start_daemon(config());
	for (const char *where : {"client", "rs1", "rs2", "rs3"})
		lab.make_wire_bad(where, "wire", 50);
	for (int round = 0; round < 40; round++)
		ask(lab, 1 + round % 2, client_port += 7, 81 + round % 4,
		    fmt::format("-H 'Cookie: sid={}' {}", round, url(81 + round % 4)));
	lab.expect_no_damage();
}

} // namespace
} // namespace holdfast::test
