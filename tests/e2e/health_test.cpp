// SPDX-License-Identifier: GPL-2.0
// Health checks, on real servers that are killed, stopped, cut off, and that have the
// wrong certificate.
#include <chrono>
#include <csignal>
#include <fmt/format.h>
#include <fstream>
#include <functional>
#include <gtest/gtest.h>
#include <regex>
#include <set>
#include <thread>

#include "e2e/lab.h"

namespace holdfast::test
{
namespace
{

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

class Health : public testing::Test
{
protected:
	// The lab's configuration, in which these pools have these checks.
	static std::string checked(const std::string &checks, const std::map<std::string, std::string> &pools,
				   const std::string &method = "round-robin", const std::string &members = "")
	{
		std::string yaml = Lab::base_config("auto");

		for (const auto &[pool, settings] : pools) {
			const std::string line = fmt::format("  - name: {}\n", pool);

			yaml.insert(yaml.find(line) + line.size(), fmt::format("    {}\n", settings));
		}
		if (!members.empty())
			yaml = std::regex_replace(yaml, std::regex("port: 8080\\}"), "port: 8080, " + members + "}");
		yaml += "health_checks:\n" + checks +
			"persistence:\n  - {name: rule, type: source-address, timeout: 300}\nvirtual_servers:\n";
		for (const bool ipv4 : {true, false}) {
			for (const auto &[name, port, pool, protocol] :
			     {std::tuple("shop", 80, "web", "tcp"), {"names", 53, "name", "udp"}})
				yaml += fmt::format("  - {{name: {}{}, address: \"{}\", port: {}, protocol: {}, "
						    "forwarding: dnat, method: {}, pool: {}{}, persistence: rule}}\n",
						    name, ipv4 ? 4 : 6, Lab::vip(ipv4), port, protocol,
						    pool == std::string("web") ? method : "round-robin", pool,
						    ipv4 ? 4 : 6);
		}
		return yaml;
	}

	nlohmann::json member(const std::string &name) const
	{
		const nlohmann::json all = lab_.query("show members");

		for (const auto &one : all["members"]) {
			if (one["name"] == name)
				return one;
		}
		return {};
	}

	std::string state(const std::string &name) const { return member(name).value("state", "?"); }

	// How long it took until that was so.
	static double wait(const std::function<bool()> &so, double seconds)
	{
		const auto began = Clock::now();
		const auto passed = [&] { return std::chrono::duration<double>(Clock::now() - began).count(); };

		while (!so() && passed() < seconds * slowness())
			std::this_thread::sleep_for(20ms);
		return passed();
	}

	void expect_state(const std::string &name, const std::string &wanted, double seconds) const
	{
		wait([&] { return state(name) == wanted; }, seconds);
		EXPECT_EQ(state(name), wanted) << name << ": " << member(name).dump();
	}

	void expect_known(const std::string &name) const
	{
		wait([&] { return member(name)["health"]["checks"][0]["known"] == true; }, 5);
		EXPECT_EQ(state(name), "up") << member(name).dump();
	}

	std::string problem(const std::string &name, size_t check = 0) const
	{
		return member(name)["health"]["checks"][check]["last_problem"];
	}

	void nginx(const std::string &server, const std::string &signal) const
	{
		ASSERT_EQ(shell(fmt::format("kill -{} $(cat {}/{}/pid) $(pgrep -P $(cat {}/{}/pid))", signal,
					    lab_.directory(), server, lab_.directory(), server))
				  .status,
			  0);
	}

	void start_nginx(const std::string &server) const
	{
		const std::string directory = lab_.directory() + "/" + server;

		ASSERT_EQ(lab_.run(server, fmt::format("nginx -c {}/nginx.conf -e {}/error.log", directory, directory))
				  .status,
			  0);
	}

	Lab lab_;
};

const std::string web = "  - {name: web, type: http, interval: 1, timeout: 1, healthy_threshold: 2, "
			"unhealthy_threshold: 2}\n";
const std::map<std::string, std::string> web_pools = {{"web4", "health_checks: [web]"},
						      {"web6", "health_checks: [web]"}};

TEST_F(Health, AKilledServerGetsNobodyNewInTime)
{
	constexpr double bound = 1 * 2 + 1; // interval x unhealthy_threshold + timeout

	lab_.start_daemon(checked(web, web_pools));
	for (const char *name : {"web4/rs1", "web4/rs2", "web6/rs2"})
		expect_known(name);
	std::map<std::string, std::string> before, after;
	for (const bool ipv4 : {true, false}) {
		for (int client = 1; client <= 6; client++)
			before[Lab::client_address(ipv4, client)] = lab_.ask_tcp(ipv4, client);
	}
	nginx("rs2", "KILL");
	const double took = wait([&] { return state("web4/rs2") == "down" && state("web6/rs2") == "down"; }, 10);
	EXPECT_LE(took, bound + 0.5 * slowness());
	fmt::print("from a server's death to no new connection: {:.2f} s (at most {})\n", took, bound);
	for (const bool ipv4 : {true, false}) {
		for (int client = 1; client <= 12; client++) {
			const std::string address = Lab::client_address(ipv4, client);
			after[address] = lab_.ask_tcp(ipv4, client);

			EXPECT_NE(after[address], "rs2") << address;
			EXPECT_NE(after[address], "") << address;
			if (client <= 6 && before[address] != "rs2") {
				EXPECT_EQ(after[address], before[address]) << "need not move";
			}
		}
	}
	EXPECT_NE(problem("web4/rs2").find("refused"), std::string::npos) << problem("web4/rs2");
	const std::string why = lab_.holdfast("explain --virtual-server shop4 --client 192.0.2.200").output;
	EXPECT_NE(why.find("web4/rs2 is passed over: it is down: its health checks say so"), std::string::npos) << why;

	// A daemon that comes back knows at once.
	lab_.stop_daemon(SIGKILL);
	lab_.start_daemon();
	EXPECT_EQ(state("web4/rs2"), "down");
	std::this_thread::sleep_for(1500ms);
	EXPECT_EQ(state("web4/rs2"), "down");
	EXPECT_EQ(state("web4/rs1"), "up");

	start_nginx("rs2");
	expect_state("web4/rs2", "up", 10);
	expect_state("web6/rs2", "up", 10);
	for (const bool ipv4 : {true, false}) {
		for (int client = 1; client <= 6; client++)
			EXPECT_EQ(lab_.ask_tcp(ipv4, client), after[Lab::client_address(ipv4, client)])
				<< "moved sessions stay where they are";
	}
	std::set<std::string> used;
	lab_.holdfast("session flush --all");
	for (int client = 1; client <= 12; client++)
		used.insert(lab_.ask_tcp(true, client));
	EXPECT_EQ(used.size(), 3U) << "and new clients come to it";
}

TEST_F(Health, RelationsOfChecks)
{
	const std::string port = "  - {name: port, type: tcp, interval: 1, timeout: 1, healthy_threshold: 1, "
				 "unhealthy_threshold: 2}\n";

	lab_.start_daemon(checked(web + port, {{"web4", "health_checks: [web, port]"},
					       {"web6", "health_checks: [port, web]\n    health_relation: or"}}));
	for (const char *name : {"web4/rs1", "web6/rs1"})
		expect_known(name);
	// A stopped process still has its connections accepted, by its kernel: only a question finds out.
	nginx("rs1", "STOP");
	expect_state("web4/rs1", "down", 10);
	EXPECT_NE(problem("web4/rs1").find("reading the answer: no answer within 1 s"), std::string::npos)
		<< problem("web4/rs1");
	EXPECT_EQ(member("web4/rs1")["health"]["checks"][1]["up"], true);
	wait([&] { return member("web6/rs1")["health"]["checks"][1]["up"] == false; }, 5);
	EXPECT_EQ(member("web6/rs1")["health"]["checks"][1]["up"], false);
	EXPECT_EQ(state("web6/rs1"), "up") << "one that passes is enough";
	nginx("rs1", "CONT");
	expect_state("web4/rs1", "up", 10);
}

TEST_F(Health, WhoIsCutOffIsDownAndWhoIsDrainedStaysSo)
{
	const std::string ping = "  - {name: ping, type: icmp, interval: 1, timeout: 1, healthy_threshold: 1, "
				 "unhealthy_threshold: 2}\n";

	lab_.start_daemon(checked(web + ping, {{"web4", "health_checks: [web]"},
					       {"web6", "health_checks: [ping]"},
					       {"echo4", "health_checks: [ping]"}}));
	for (const char *name : {"web4/rs3", "web6/rs3", "echo4/rs3"})
		expect_known(name);
	EXPECT_GT(member("web6/rs3")["health"]["checks"][0]["latency_ms"].get<double>(), 0);
	ASSERT_EQ(lab_.holdfast("member drain web4/rs3").status, 0);
	ASSERT_EQ(lab_.holdfast("member disable echo4/rs3").status, 0);
	// Blackholed: packets are dropped, nobody says anything.
	ASSERT_EQ(lab_.run("rs3", "nft 'add table inet cut; add chain inet cut in { type filter hook input priority 0; "
				  "policy drop; }; add rule inet cut in icmpv6 type { nd-neighbor-solicit, "
				  "nd-neighbor-advert } accept'")
			  .status,
		  0);
	for (const char *name : {"web4/rs3", "web6/rs3"}) {
		expect_state(name, "down", 10);
		EXPECT_NE(problem(name).find("no answer within 1 s"), std::string::npos) << problem(name);
	}
	EXPECT_EQ(state("echo4/rs3"), "disabled") << "whatever the checks say";
	ASSERT_EQ(lab_.run("rs3", "nft delete table inet cut").status, 0);
	expect_state("web4/rs3", "draining", 10);
	expect_state("web6/rs3", "up", 10);
}

TEST_F(Health, DatagramServers)
{
	const std::string checks =
		"  - {name: port, type: udp, interval: 1, timeout: 1, healthy_threshold: 1, unhealthy_threshold: 2}\n"
		"  - {name: talk, type: udp, interval: 1, timeout: 1, healthy_threshold: 1, unhealthy_threshold: 2, "
		"send_hex: 77686f, expect_hex: 7273}\n"
		"  - {name: other, type: udp, interval: 1, timeout: 1, healthy_threshold: 1, unhealthy_threshold: 2, "
		"send_hex: 77686f, expect_hex: 6161}\n";

	lab_.start_services();
	lab_.start_daemon(checked(checks, {{"name4", "health_checks: [port, talk]"},
					   {"name6", "health_checks: [port]"},
					   {"sip4", "health_checks: [port]"},
					   {"web4", "health_checks: [port]"}}));
	for (const char *name : {"name4/rs1", "name6/rs1"})
		expect_known(name);
	// Nobody has these ports.
	expect_state("sip4/rs1", "down", 10);
	EXPECT_NE(problem("sip4/rs1").find("nobody has this port"), std::string::npos) << problem("sip4/rs1");
	wait([&] { return member("name4/rs1")["health"]["checks"][1]["passed"] > 1; }, 5);
	EXPECT_EQ(member("name4/rs1")["health"]["checks"][1]["up"], true) << member("name4/rs1").dump();

	std::ofstream(lab_.directory() + "/next.yaml") << checked(checks, {{"name4", "health_checks: [other]"}});
	ASSERT_EQ(lab_.holdfast("apply " + lab_.directory() + "/next.yaml").status, 0);
	expect_state("name4/rs1", "down", 10);
	EXPECT_NE(problem("name4/rs1").find("has not the expected bytes"), std::string::npos) << problem("name4/rs1");
	EXPECT_EQ(member("sip4/rs1")["state"], "up") << "it is not checked any more";
	EXPECT_FALSE(member("sip4/rs1").contains("health"));
}

// What a SIP server sends by itself leaves as the virtual server's: its answer to a check is for this host.
TEST_F(Health, AnswersOfServersThatBeginThemselves)
{
	const std::string check = "  - {name: talk, type: udp, interval: 1, timeout: 1, healthy_threshold: 1, "
				  "unhealthy_threshold: 2, send_hex: 77686f, expect_hex: 7273}\n";
	std::string yaml = checked(check, {{"name4", "health_checks: [talk]"}, {"name6", "health_checks: [talk]"}});

	// The name service stands for one that speaks SIP.
	yaml.insert(yaml.find("persistence:\n") + 13, "  - {name: calls, type: sip-call-id}\n");
	for (const std::string pool : {"pool: name4, persistence: rule", "pool: name6, persistence: rule"})
		yaml.replace(yaml.find(pool), pool.size(), pool.substr(0, 11) + ", persistence: calls");
	lab_.start_services();
	lab_.start_daemon(yaml);
	for (const char *name : {"name4/rs1", "name6/rs1"}) {
		expect_known(name);
		wait([&] { return member(name)["health"]["checks"][0]["passed"] > 2; }, 6);
		EXPECT_EQ(member(name)["health"]["checks"][0]["failed"], 0) << member(name).dump();
	}
}

TEST_F(Health, CertificatesAreVerifiedUnlessToldOtherwise)
{
	const std::string directory = lab_.directory();
	// Signed by themselves, for a span of time that `ca` alone lets one choose.
	std::ofstream(directory + "/ca.conf")
		<< "[ca]\ndefault_ca = here\n[here]\ndatabase = index\nnew_certs_dir = .\nserial = serial\n"
		   "default_md = sha256\npolicy = any\nx509_extensions = names\n[any]\ncommonName = supplied\n"
		   "[names]\nsubjectAltName = DNS:shop.example\n";
	const auto make = [&](const std::string &name, const std::string &from, const std::string &to) {
		const Ran made = shell(fmt::format(
			"cd {0} && : > index && echo 01 > serial && "
			"openssl req -new -newkey rsa:2048 -nodes -keyout {1}.key -out {1}.csr -subj /CN={1} && "
			"openssl ca -batch -selfsign -config ca.conf -keyfile {1}.key -in {1}.csr -out {1}.pem -notext "
			"-startdate {2} -enddate {3}",
			directory, name, from, to));

		ASSERT_EQ(made.status, 0) << made.output;
	};

	make("good", "20200101000000Z", "20491231235959Z");
	make("expired", "20200101000000Z", "20210101000000Z");
	for (int number = 1; number <= 3; number++) {
		const std::string server = fmt::format("rs{}", number);

		lab_.start(server, fmt::format("openssl s_server -accept 8443 -www -cert {0}/{1}.pem -key {0}/{1}.key",
					       directory, number == 2 ? "expired" : "good"));
		lab_.wait_for_port(server, 8443);
	}
	const auto check = [&](const std::string &name, const std::string &settings) {
		return fmt::format("  - {{name: {}, type: https, port: 8443, interval: 1, timeout: 2, "
				   "healthy_threshold: 1, unhealthy_threshold: 1, method: GET, {}}}\n",
				   name, settings);
	};
	const std::string both = fmt::format("ca_file: {}/both.pem", directory);
	ASSERT_EQ(shell(fmt::format("cd {0} && cat good.pem expired.pem > both.pem", directory)).status, 0);
	lab_.start_daemon(checked(check("strict", both + ", sni: shop.example") + check("lax", "verify: false") +
					  check("unknown", "host: shop.example") +
					  check("other", both + ", host: other.example"),
				  {{"web4", "health_checks: [strict]"},
				   {"web6", "health_checks: [lax]"},
				   {"echo4", "health_checks: [unknown]"},
				   {"echo6", "health_checks: [other]"}}));
	expect_known("web4/rs1");
	expect_state("web4/rs2", "down", 10);
	EXPECT_EQ(problem("web4/rs2"), "certificate: certificate has expired");
	expect_known("web6/rs2");
	expect_state("echo4/rs1", "down", 10);
	EXPECT_NE(problem("echo4/rs1").find("self"), std::string::npos) << problem("echo4/rs1");
	expect_state("echo6/rs1", "down", 10);
	EXPECT_NE(problem("echo6/rs1").find("certificate"), std::string::npos) << problem("echo6/rs1");

	// What cannot be carried out is refused, and changes nothing.
	std::ofstream(directory + "/next.yaml") << checked(check("strict", "ca_file: /nonexistent"), {});
	const Ran refused = lab_.holdfast("apply " + directory + "/next.yaml");
	EXPECT_EQ(refused.status, 1);
	EXPECT_NE(refused.output.find("ca_file: '/nonexistent'"), std::string::npos) << refused.output;
	EXPECT_EQ(state("web4/rs2"), "down");
}

TEST_F(Health, NewClientsGoToWhoAnswersFastest)
{
	std::ofstream(lab_.directory() + "/slow.py") << "import http.server, sys, time\n"
							"class Slow(http.server.BaseHTTPRequestHandler):\n"
							"    def do_HEAD(self):\n"
							"        time.sleep(float(sys.argv[1]))\n"
							"        self.send_response(204)\n"
							"        self.end_headers()\n"
							"class Server(http.server.ThreadingHTTPServer):\n"
							"    address_family = __import__('socket').AF_INET6\n"
							"Server(('::', 8090), Slow).serve_forever()\n";
	pid_t fast = 0;
	for (const auto &[server, seconds] : {std::pair("rs3", 0.03), {"rs2", 0.03}, {"rs1", 0.0}}) {
		fast = lab_.start(server, fmt::format("python3 {}/slow.py {}", lab_.directory(), seconds));
		lab_.wait_for_port(server, 8090);
	}
	const std::string slow = "  - {name: web, type: http, port: 8090, interval: 1, timeout: 1, "
				 "healthy_threshold: 2, unhealthy_threshold: 2}\n";
	lab_.start_daemon(checked(slow, web_pools, "fastest-response"));
	for (const char *name : {"web4/rs1", "web4/rs2", "web4/rs3", "web6/rs1", "web6/rs2", "web6/rs3"})
		expect_known(name);
	std::this_thread::sleep_for(2500ms);
	for (const bool ipv4 : {true, false}) {
		for (int client = 1; client <= 6; client++)
			EXPECT_EQ(lab_.ask_tcp(ipv4, client), "rs1") << client;
	}
	EXPECT_GE(member("web4/rs2")["health"]["checks"][0]["latency_ms"].get<double>(), 30);
	// When it is gone, new clients go to the next fastest.
	lab_.stop(fast, SIGKILL);
	expect_state("web4/rs1", "down", 10);
	for (int client = 1; client <= 12; client++) {
		const std::string server = lab_.ask_tcp(true, client);

		EXPECT_NE(server, "rs1");
		EXPECT_NE(server, "");
	}
}

TEST_F(Health, WhoComesBackIsSparedForAWhile)
{
	lab_.start_daemon(checked(web, web_pools, "round-robin", "recover: 3"));
	expect_known("web4/rs1");
	nginx("rs1", "KILL");
	expect_state("web4/rs1", "down", 10);
	start_nginx("rs1");
	expect_state("web4/rs1", "up", 10);
	lab_.holdfast("session flush --all");
	for (int client = 1; client <= 6; client++)
		EXPECT_NE(lab_.ask_tcp(true, client), "rs1") << "recover";
	std::this_thread::sleep_for(3500ms);
	lab_.holdfast("session flush --all");
	std::set<std::string> used;
	for (int client = 1; client <= 12; client++)
		used.insert(lab_.ask_tcp(true, client));
	EXPECT_TRUE(used.contains("rs1"));
}

} // namespace
} // namespace holdfast::test
