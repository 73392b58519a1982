// SPDX-License-Identifier: GPL-2.0
// Cookies that are written on the way, and requests that say who their client is: with
// browsers that compare every byte with what was sent, curl, and nginx as the reader.
#include <chrono>
#include <set>
#include <thread>

#include "e2e/lab.h"
#include "e2e/place.h"

namespace holdfast::test
{
namespace
{

class Cookies : public testing::TestWithParam<Place>
{
protected:
	static constexpr const char *rules[] = {"insert", "rewrite", "embedded"};

	bool ipv4() const { return GetParam().ipv4; }
	int family() const { return ipv4() ? 4 : 6; }

	// Each rule has a port of its own for browsers (7101 ...), and for curl (81 ...).
	std::string config(const std::string &insert = "timeout: 300", const std::string &server = "") const
	{
		std::string yaml = Lab::base_config(GetParam().hook) + Lab::talk_pools() + "persistence:\n";

		for (const std::string rule : rules)
			yaml += fmt::format("  - {{name: {0}, type: {0}-cookie, keyword: sid{1}}}\n", rule,
					    rule == "insert" ? ", " + insert : "");
		yaml += "virtual_servers:\n";
		for (int i = 0; i < 3; i++) {
			for (const auto &[name, pool, port] :
			     {std::tuple("browsed", "browsed", 7101), {"talk", "talk", 7001}, {"web", "web", 81}})
				yaml += fmt::format("  - {{name: {}-{}, address: \"{}\", port: {}, protocol: tcp, "
						    "forwarding: dnat, pool: {}{}, persistence: {}{}}}\n",
						    name, rules[i], Lab::vip(ipv4()), port + i, pool, family(),
						    rules[i], server);
		}
		return yaml;
	}

	// Browsers of the rule with this number.
	nlohmann::json browse(const Lab &lab, int rule, const std::string &more) const
	{
		return lab.browse(Lab::vip(ipv4()), 7101 + rule, fmt::format("--rule {} {}", rules[rule], more));
	}

	void expect_all_right(const nlohmann::json &said, int requests) const
	{
		EXPECT_EQ(said["done"], requests) << said;
		EXPECT_EQ(said["wrong"], 0) << said;
		EXPECT_EQ(said["differ"], 0) << said;
		EXPECT_EQ(said["failed"], 0) << said;
		EXPECT_EQ(said["servers"], 3) << said;
	}

	std::string curl(const Lab &lab, int port, const std::string &path, const std::string &more = "") const
	{
		const Ran ran = lab.run("client", fmt::format("curl -sS --max-time 30 {} 'http://{}:{}{}'", more,
							      Lab::vip_url(ipv4()), port, path));

		EXPECT_EQ(ran.status, 0) << ran.output;
		return ran.output;
	}
};

INSTANTIATE_TEST_SUITE_P(EndToEnd, Cookies, testing::ValuesIn(all_places), place_name);

// What takes its time.
class CookiesInTime : public Cookies
{
};

INSTANTIATE_TEST_SUITE_P(EndToEnd, CookiesInTime, testing::Values(Place{true, "xdp"}, Place{false, "tc"}), place_name);

// Segments of any size, heads in parts, bodies that look like heads: nothing differs but the cookie.
TEST_P(Cookies, NothingElseDiffers)
{
	// Of the six variants, two at length.
	const bool generic = GetParam().hook == "xdp-generic";
	const int requests = !generic && ipv4() == (GetParam().hook == "xdp") ? 400 : 60;
	Lab lab(2);

	lab.start_talk();
	lab.start_daemon(config());
	for (int rule = 0; rule < 3; rule++) {
		const auto said = browse(lab, rule, fmt::format("--connections 4 --requests {}", requests));

		expect_all_right(said, 4 * requests);
		if (HasFailure())
			FAIL() << lab.holdfast("show counters").output << lab.query("show connections --limit 100");
		EXPECT_GT(said["moves"], requests / 2) << said;
	}
	lab.expect_no_damage();
	EXPECT_GT(lab.counter("stream_edited"), requests * 5U / 2);
	EXPECT_EQ(lab.counter("cookie_skipped"), 0U);
}

TEST_P(Cookies, OverBadWires)
{
	Lab lab(2);

	lab.start_talk();
	lab.start_daemon(config());
	for (const char *where : {"client", "rs1", "rs2", "rs3"})
		lab.make_wire_bad(where, "wire", 10);
	for (int rule = 0; rule < 3; rule++) {
		const auto said =
			browse(lab, rule, "--connections 8 --requests 25 --users 2 --pieces 0,0,0,1400,300,20");

		expect_all_right(said, 200);
		if (HasFailure())
			ADD_FAILURE() << lab.holdfast("show counters").output
				      << lab.query("show connections --limit 100");
	}
	lab.expect_no_damage();
}

// The header of the client's own is not the last one: nginx believes the last.
TEST_P(Cookies, ServersAreToldTheirClient)
{
	Lab lab(2);
	auto addresses = [](const std::string &output) {
		std::istringstream lines(output);
		std::multiset<std::string> all;
		std::string server, address, method;

		while (lines >> server >> address >> method)
			all.insert(address + " " + method);
		return all;
	};

	lab.start_talk();
	lab.start_daemon(config("timeout: 300", ", x_forwarded_for: true"));
	const std::string client = Lab::client_address(ipv4(), 1), from = " --interface " + client;
	for (int rule = 0; rule < 3; rule++) {
		EXPECT_EQ(
			addresses(curl(lab, 81 + rule, "/client",
				       "-H 'X-Forwarded-For: 9.9.9.9, 8.8.8.8' -H 'x-forwarded-for: 7.7.7.7'" + from)),
			(std::multiset<std::string>{client + " GET"}));
		// All of a connection's requests.
		EXPECT_EQ(addresses(curl(lab, 81 + rule, "/client?[1-20]", "-d x=y" + from)).count(client + " POST"),
			  20U);
		// And every byte of it.
		std::string full = client;
		if (!ipv4())
			full = lab.run("client", "python3 -c 'import ipaddress; print(ipaddress.ip_address(\"" +
							 client + "\").exploded, end=\"\")'")
				       .output;
		const auto said =
			browse(lab, rule, "--connections 2 --requests 60 --forwarded " + full + " --source " + client);
		EXPECT_EQ(said["differ"], 0) << said;
		EXPECT_EQ(said["wrong"], 0) << said;
		EXPECT_EQ(said["failed"], 0) << said;
		if (HasFailure())
			FAIL() << lab.holdfast("show counters").output << lab.query("show connections --limit 100");
	}
	lab.expect_no_damage();
}

std::string set_cookie(const std::string &head)
{
	const size_t at = head.find("Set-Cookie: sid=");

	return at == std::string::npos ? "" : head.substr(at + 16, head.find(';', at) - at - 16);
}

// A cookie is given once, renewed after half of its time, and forgotten after all of it.
TEST_P(CookiesInTime, AgeAndAreRenewed)
{
	Lab lab(2);
	auto ask = [&](const std::string &value) {
		return curl(lab, 81, "/", value.empty() ? "-i" : "-i -b 'sid=" + value + "'");
	};

	lab.start_daemon(config("timeout: 20"));
	std::string value = set_cookie(ask(""));
	const std::string server = value.substr(0, 3);
	ASSERT_TRUE(value.starts_with("rs")) << value;
	std::string answer = ask(value);
	EXPECT_EQ(set_cookie(answer), "") << answer;
	EXPECT_NE(answer.find(server + "\n"), std::string::npos) << answer;
	// Dates are in units of four seconds: half of the time is over after 13 to 16 seconds, all of it after 20 to 24.
	std::this_thread::sleep_for(std::chrono::milliseconds(16500));
	answer = ask(value);
	const std::string renewed = set_cookie(answer);
	EXPECT_TRUE(renewed.starts_with(server + "|")) << answer;
	EXPECT_NE(renewed, value);
	EXPECT_NE(answer.find(server + "\n"), std::string::npos) << answer;
	std::this_thread::sleep_for(std::chrono::milliseconds(9000));
	const uint64_t stale = lab.counter("cookie_stale");
	EXPECT_NE(set_cookie(ask(value)), "") << "it has expired";
	EXPECT_EQ(lab.counter("cookie_stale"), stale + 1);
	EXPECT_NE(ask(renewed).find(server + "\n"), std::string::npos) << "this one has not";
	// `explain` says the same.
	const auto told = lab.query(fmt::format("explain --virtual-server web-insert --client {} --cookie 'sid={}'",
						Lab::client_address(ipv4(), 1), renewed));
	EXPECT_EQ(told["by"], "cookie") << told;
	EXPECT_EQ(told["member"], fmt::format("web{}/{}", family(), server)) << told;
}

// A client's member is disabled: it gets another one, and its cookie says so; when it is back, it stays.
TEST_P(Cookies, FollowTheirMembers)
{
	Lab lab(2);

	lab.start_daemon(config());
	const std::string jar = "-i -b " + lab.directory() + "/jar -c " + lab.directory() + "/jar";
	const std::string first = set_cookie(curl(lab, 81, "/", jar)).substr(0, 3);
	for (int i = 0; i < 10; i++)
		EXPECT_NE(curl(lab, 81, "/", jar).find(first + "\n"), std::string::npos);
	EXPECT_EQ(lab.holdfast(fmt::format("member drain web{}/{}", family(), first)).status, 0);
	EXPECT_NE(curl(lab, 81, "/", jar).find(first + "\n"), std::string::npos) << "who is there may stay";
	EXPECT_EQ(lab.holdfast(fmt::format("member disable web{}/{}", family(), first)).status, 0);
	const std::string answer = curl(lab, 81, "/", jar), second = set_cookie(answer).substr(0, 3);
	EXPECT_NE(second, first);
	EXPECT_NE(answer.find(second + "\n"), std::string::npos) << answer;
	EXPECT_EQ(lab.holdfast(fmt::format("member enable web{}/{}", family(), first)).status, 0);
	for (int i = 0; i < 10; i++)
		EXPECT_NE(curl(lab, 81, "/", jar).find(second + "\n"), std::string::npos);
	EXPECT_EQ(set_cookie(curl(lab, 81, "/", jar)), "") << "it has one that is good for long";
}

// The cookie behind everything else of a head of nearly 32 KB, and large bodies behind heads that change.
TEST_P(Cookies, LongHeadsAndLargeBodies)
{
	Lab lab(2);
	auto hash = [&](int port, const std::string &path) {
		return lab
			.run("client",
			     fmt::format("sh -c \"curl -sS --max-time 60 -H 'Cookie: sid=rs2' 'http://{}:{}{}' | "
					 "sha256sum\"",
					 Lab::vip_url(ipv4()), port, path))
			.output;
	};

	lab.start_talk();
	lab.start_daemon(config());
	for (const int pad : {1300, 5000, 20000, 32000}) {
		const std::string path = fmt::format("/?pad={}&set=sid=666&size=50", pad);
		const std::string rewritten = curl(lab, 7002, path, "-i"), embedded = curl(lab, 7003, path, "-i");

		EXPECT_EQ(set_cookie(rewritten).substr(0, 2), "rs") << pad;
		EXPECT_EQ(set_cookie(rewritten).size(), 3U) << pad;
		EXPECT_EQ(set_cookie(embedded).substr(3), "~666") << pad;
	}
	EXPECT_EQ(lab.counter("head_over_limit"), 0U);
	// As they are without a rule.
	const std::string path = "/?size=10000000&set=sid=a-long-session-of-the-servers-own";
	const std::string wanted = lab.run("rs1", fmt::format("sh -c \"curl -sS 'http://{}:7000{}' | sha256sum\"",
							      ipv4() ? "127.0.0.1" : "[::1]", path))
					   .output;
	for (const int port : {7001, 7002, 7003})
		EXPECT_EQ(hash(port, path), wanted) << port;
	lab.expect_no_damage();
}

// Chromium logs in to an application whose servers know nothing of each other, and stays logged in:
// with a cookie of ours, or with the application's own.
TEST_P(CookiesInTime, ChromiumStaysLoggedIn)
{
	Lab lab(2);
	std::string pool = fmt::format("  - name: app\n    members:\n");

	for (const int number : {1, 2, 3})
		pool += fmt::format("      - {{name: rs{}, address: \"{}\", port: 7200}}\n", number,
				    Lab::member_address(ipv4(), number));
	const char *rule = ipv4() ? "insert-cookie, keyword: SRV" : "embedded-cookie, keyword: app";
	const std::string yaml =
		Lab::base_config(GetParam().hook) + pool +
		fmt::format("persistence:\n  - {{name: rule, type: {}}}\nvirtual_servers:\n"
			    "  - {{name: app, address: \"{}\", port: 7201, protocol: tcp, forwarding: dnat, pool: app, "
			    "persistence: rule}}\n",
			    rule, Lab::vip(ipv4()));

	for (const int number : {1, 2, 3})
		lab.start(fmt::format("rs{}", number),
			  fmt::format("{}/tests/e2e/login_app serve rs{} 7200", source_directory(), number));
	for (const int number : {1, 2, 3})
		lab.wait_for_port(fmt::format("rs{}", number), 7200);
	lab.start_daemon(yaml);
	const Ran ran =
		lab.run("client", fmt::format("timeout 300 {}/tests/e2e/login_app use http://{}:7201/ {}/chromium "
					      "ann bob cem",
					      source_directory(), Lab::vip_url(ipv4()), lab.directory()));
	ASSERT_EQ(ran.status, 0) << ran.output;
	const auto told = nlohmann::json::parse(ran.output.substr(ran.output.rfind("{\"ann\"")));
	std::set<std::string> servers;
	for (const auto &[name, seen] : told.items()) {
		EXPECT_EQ(seen["reloads"], 101) << name << told;
		EXPECT_EQ(seen["servers"].size(), 1U) << name << told;
		EXPECT_EQ(seen["torn"], 0) << name << told;
		EXPECT_EQ(seen["strangers"], 0) << name << told;
		servers.insert(seen["servers"][0]);
	}
	EXPECT_GE(servers.size(), 2U) << told;
	lab.expect_no_damage();
}

} // namespace
} // namespace holdfast::test
