// SPDX-License-Identifier: GPL-2.0
// What an operator does to a running daemon: rules in bulk, events, metrics, restarts of
// the host, and changes without end while traffic flows.
#include <chrono>
#include <csignal>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <regex>
#include <set>
#include <sstream>
#include <thread>

#include "e2e/lab.h"

namespace holdfast::test
{
namespace
{

using namespace std::chrono_literals;

class Operate : public testing::Test
{
protected:
	static std::string shop(const std::string &rule, const std::string &server = "", const std::string &top = "")
	{
		std::string yaml = Lab::base_config("auto") + top + "persistence:\n" + rule + "virtual_servers:\n";

		for (const bool ipv4 : {true, false})
			yaml += fmt::format("  - {{name: shop{}, address: \"{}\", port: 80, protocol: tcp, forwarding: "
					    "dnat, pool: web{}, persistence: rule{}}}\n",
					    ipv4 ? 4 : 6, Lab::vip(ipv4), ipv4 ? 4 : 6, server);
		return yaml;
	}

	std::string write(const std::string &name, const std::string &text) const
	{
		std::ofstream(lab_.directory() + "/" + name) << text;
		return lab_.directory() + "/" + name;
	}

	std::string curl(const std::string &options) const
	{
		return lab_.run("balancer", "curl -s --max-time 5 " + options).output;
	}

	static constexpr const char *by_address = "  - {name: rule, type: source-address, timeout: 300}\n";

	Lab lab_;
};

TEST_F(Operate, RulesInBulkComeAndGo)
{
	lab_.start_daemon(shop(by_address));
	const std::string before = lab_.ask_tcp(true, 1);
	const std::string rules = "tcp 8001 8080 10.0.2.11,10.0.2.12\n"
				  "tcp 8002 8080 10.0.2.13\n"
				  "8001 tcp 300 http 8080 1 1 3 3 /\n"
				  "8002 tcp 0 tcp 8080 1 1 3 3\n";
	const std::string file = write("rules.txt", rules);

	EXPECT_NE(lab_.holdfast("import txt --dry-run --address 192.0.2.10 " + file).output.find("dry run"),
		  std::string::npos);
	EXPECT_EQ(lab_.ask_tcp(true, 2, 8001), "");
	const Ran done = lab_.holdfast("import txt --address 192.0.2.10 " + file);
	ASSERT_EQ(done.status, 0) << done.output;
	const std::string server = lab_.ask_tcp(true, 2, 8001);
	EXPECT_TRUE(server == "rs1" || server == "rs2") << server;
	EXPECT_EQ(lab_.ask_tcp(true, 2, 8001), server);
	EXPECT_EQ(lab_.ask_tcp(true, 2, 8002), "rs3");
	EXPECT_EQ(lab_.ask_tcp(true, 1), before) << "nobody else's session is lost";
	ASSERT_EQ(lab_.holdfast("export txt " + lab_.directory() + "/out.txt").status, 0);
	EXPECT_EQ(shell("cat " + lab_.directory() + "/out.txt").output, rules);
	// The same again changes nothing, not even a session.
	EXPECT_NE(lab_.holdfast("import txt --address 192.0.2.10 " + lab_.directory() + "/out.txt")
			  .output.find("nothing differs"),
		  std::string::npos);
	EXPECT_EQ(lab_.ask_tcp(true, 2, 8001), server);
	// One faulty line, and nothing is taken.
	write("bad.txt", "tcp 8003 8080 10.0.2.11\ntcp 8004 99999 10.0.2.11\n8005 tcp 31 tcp 1 1 1 1 1\n");
	const Ran refused = lab_.holdfast("import txt --address 192.0.2.10 " + lab_.directory() + "/bad.txt");
	EXPECT_EQ(refused.status, 1);
	EXPECT_NE(refused.output.find("bad.txt:2: origin-port: '99999'; allowed: 1-65535"), std::string::npos)
		<< refused.output;
	EXPECT_NE(refused.output.find("bad.txt:3: port: there is no rule tcp 8005"), std::string::npos)
		<< refused.output;
	EXPECT_EQ(lab_.ask_tcp(true, 1, 8003), "");
	// It is an applied configuration like any other.
	lab_.stop_daemon(SIGTERM);
	lab_.start_daemon();
	EXPECT_EQ(lab_.ask_tcp(true, 2, 8001), server);
}

TEST_F(Operate, RulesAreCloned)
{
	lab_.start_daemon(shop(by_address));
	ASSERT_EQ(lab_.holdfast("rule clone rule longer timeout=600 ipv4_mask_bits=24").status, 0);
	ASSERT_EQ(lab_.holdfast("rule clone LB_PERSIS_HASH_SRC_ADDR mine").status, 0);
	const auto rules = lab_.query("show rules");
	int found = 0;
	for (const auto &rule : rules["rules"]) {
		if (rule["name"] == "longer") {
			EXPECT_EQ(rule["timeout"], 600);
			EXPECT_EQ(rule["ipv4_mask_bits"], 24);
			found++;
		}
		found += rule["name"] == "mine";
	}
	EXPECT_EQ(found, 2);
	EXPECT_EQ(lab_.holdfast("rule clone rule longer").status, 1) << "the name is taken";
	const Ran wrong = lab_.holdfast("rule clone rule other timeout=0");
	EXPECT_EQ(wrong.status, 1);
	EXPECT_NE(wrong.output.find("timeout: 0 is out of range"), std::string::npos) << wrong.output;
	EXPECT_EQ(lab_.holdfast("rule clone nobody other").status, 1);
	EXPECT_EQ(lab_.holdfast("rule clone rule other timeout").status, 2);
	EXPECT_EQ(lab_.query("show rules")["rules"].size(), rules["rules"].size());
}

TEST_F(Operate, EventsTellWhatHappens)
{
	lab_.start_daemon(shop(by_address));
	const std::string log = lab_.directory() + "/events";
	const pid_t follower = lab_.start(
		"balancer",
		program("holdfast") + " --json --socket " + lab_.directory() + "/holdfast.sock events --follow", log);
	const auto wait = [&](const std::string &text) {
		for (int i = 0; i < 250 && shell(fmt::format("grep -q '{}' {}", text, log)).status; i++)
			std::this_thread::sleep_for(20ms);
		return shell(fmt::format("grep '{}' {}", text, log)).output;
	};

	EXPECT_NE(wait("\"started\""), "");
	const std::string server = lab_.ask_tcp(true, 1);
	auto event = nlohmann::json::parse(wait("session-made"), nullptr, false);
	ASSERT_TRUE(event.is_object()) << shell("cat " + log).output;
	EXPECT_EQ(event["key"], "192.0.2.101");
	EXPECT_EQ(event["member"], "web4/" + server);
	EXPECT_EQ(event["virtual_server"], "shop4");
	ASSERT_EQ(lab_.holdfast("member disable web4/" + server).status, 0);
	EXPECT_NE(wait("member-changed"), "");
	const std::string next = lab_.ask_tcp(true, 1);
	event = nlohmann::json::parse(wait("session-moved"), nullptr, false);
	ASSERT_TRUE(event.is_object()) << shell("cat " + log).output;
	EXPECT_EQ(event["from"], "web4/" + server);
	EXPECT_EQ(event["member"], "web4/" + next);
	// Who goes away is forgotten; what is kept is the daemon's own.
	lab_.stop(follower, SIGTERM);
	const Ran recent = lab_.holdfast("events");
	EXPECT_EQ(recent.status, 0);
	EXPECT_NE(recent.output.find(" started "), std::string::npos) << recent.output;
	EXPECT_NE(recent.output.find(" member-changed "), std::string::npos) << recent.output;
	EXPECT_EQ(recent.output.find("session-made"), std::string::npos) << recent.output;
}

TEST_F(Operate, DrainingTellsHowLongItTakes)
{
	lab_.start_daemon(shop(by_address));
	std::string server;
	for (int client = 1; client <= 6; client++)
		server = lab_.ask_tcp(true, client);
	const Ran drain = lab_.holdfast("member drain web4/" + server);
	EXPECT_EQ(drain.status, 0);
	EXPECT_TRUE(std::regex_search(drain.output, std::regex("draining: 2 sessions, last ends in (29[0-9]|300) s")))
		<< drain.output;
	EXPECT_EQ(lab_.query("member drain web4/" + server)["drain"]["sessions"], 2);
	// A dry run says how many a change would hit.
	const std::string file = write("next.yaml", shop(by_address));
	std::string yaml = shop(by_address);
	for (const std::string address : {"10.0.2.11", "10.0.2.12", "10.0.2.13"}) {
		const std::string line = fmt::format("address: \"{}\", port: 8080", address);

		if (server.back() - '0' == address.back() - '0')
			yaml.insert(yaml.find(line) + line.size(), ", status: disable");
	}
	write("next.yaml", yaml);
	const Ran dry = lab_.holdfast("apply --dry-run " + file);
	EXPECT_NE(dry.output.find("2 sessions would move"), std::string::npos) << dry.output;
}

TEST_F(Operate, AdviceComesFromWhatClientsDo)
{
	lab_.start_daemon(shop("  - {name: rule, type: source-address, timeout: 1}\n", "", "advice: {remember: 60}\n"));
	for (int round = 0; round < 3; round++) {
		lab_.ask_tcp(true, 1);
		std::this_thread::sleep_for(3s);
	}
	EXPECT_EQ(lab_.query("show sessions")["matched"], 0) << "what is remembered is no session";
	const auto advice = lab_.query("advise")["advice"];
	ASSERT_EQ(advice.size(), 2U);
	EXPECT_EQ(advice[0]["virtual_server"], "shop4");
	EXPECT_EQ(advice[0]["returns"], 2);
	EXPECT_EQ(advice[0]["broken"], 1.0);
	EXPECT_EQ(advice[1]["returns"], 0);
	const Ran text = lab_.holdfast("advise");
	EXPECT_NE(text.output.find(
			  "shop4: rule rule (source-address), timeout 1: 0 sessions, 2 returns, 100.0 % of them too "
			  "late"),
		  std::string::npos)
		<< text.output;
	EXPECT_NE(text.output.find("too few to say anything"), std::string::npos) << text.output;
}

// What clients say of themselves is nobody's who reads logs.
TEST_F(Operate, LogsNameNoClient)
{
	const std::string secret = "top-secret-value";
	std::string yaml = shop("  - {name: rule, type: persistent-cookie, keyword: sid, timeout: 100}\n");

	lab_.start_daemon(yaml);
	const std::string socket = lab_.directory() + "/holdfast.sock";
	for (int client = 1; client <= 3; client++)
		lab_.run("client",
			 fmt::format("curl -s -o /dev/null --max-time 5 --interface {} -H 'Cookie: sid={}' http://{}/",
				     Lab::client_address(true, client), secret, Lab::vip(true)));
	lab_.holdfast("show sessions --key " + secret);
	lab_.holdfast("session delete --key " + secret);
	lab_.holdfast("explain --virtual-server shop4 --client 192.0.2.101 --cookie sid=" + secret);
	curl("--unix-socket " + socket + " -H 'Cookie: sid=" + secret + "' 'http://x/v1/" + secret + "?key=" + secret +
	     "'");
	lab_.run("balancer",
		 "printf 'GET /" + secret + " NONSENSE\\r\\n\\r\\n' | timeout 2 socat - UNIX-CONNECT:" + socket);
	ASSERT_EQ(lab_.holdfast("member disable web4/rs1").status, 0);
	const std::string log = lab_.daemon_log();
	EXPECT_NE(log.find("ready"), std::string::npos) << log;
	EXPECT_EQ(log.find(secret), std::string::npos) << log;
	EXPECT_EQ(log.find(Lab::client_address(true, 1)), std::string::npos) << log;
}

TEST_F(Operate, SessionsOutliveTheMaps)
{
	const std::string yaml = shop(by_address, "", "state: {snapshot: true, snapshot_interval: 10}\n");
	std::map<std::string, std::string> before;
	const auto ask_all = [&] {
		std::map<std::string, std::string> answers;

		for (const bool ipv4 : {true, false}) {
			for (int client = 1; client <= 7; client++)
				answers[Lab::client_address(ipv4, client)] = lab_.ask_tcp(ipv4, client);
		}
		return answers;
	};
	const auto reboot = [&] {
		lab_.stop_daemon(SIGTERM);
		ASSERT_EQ(lab_.run("balancer", program("holdfast") + " detach --pin-dir " + lab_.pins()).status, 0);
	};
	const std::string file = lab_.directory() + "/state/sessions.snapshot";

	lab_.start_daemon(yaml);
	before = ask_all();
	std::this_thread::sleep_for(2s);
	reboot();
	lab_.start_daemon();
	EXPECT_NE(lab_.daemon_log().find("14 sessions restored"), std::string::npos) << lab_.daemon_log();
	const auto restored = lab_.query("show sessions --key 192.0.2.101")["sessions"];
	ASSERT_EQ(restored.size(), 1U);
	EXPECT_LE(restored[0]["left"], 298);
	EXPECT_GE(restored[0]["left"], 280);
	EXPECT_EQ(ask_all(), before);

	// A damaged file is kept aside, and is no reason not to start.
	reboot();
	ASSERT_EQ(shell(fmt::format("printf x | dd of={} bs=1 seek=40 conv=notrunc", file)).status, 0);
	lab_.start_daemon();
	EXPECT_NE(lab_.daemon_log().find("it is damaged"), std::string::npos) << lab_.daemon_log();
	EXPECT_EQ(shell("test -e " + file + ".damaged").status, 0);
	EXPECT_EQ(lab_.query("show sessions")["matched"], 0);
	// Without a snapshot in the configuration, none is written, and none is read.
	before = ask_all();
	write("plain.yaml", shop(by_address));
	ASSERT_EQ(lab_.holdfast("apply " + lab_.directory() + "/plain.yaml").status, 0);
	shell("rm -f " + file);
	reboot();
	EXPECT_NE(shell("test -e " + file).status, 0);
}

TEST_F(Operate, MetricsAndTheReadOnlyListener)
{
	lab_.start_daemon(shop(by_address, "", "metrics: {listen: \"10.0.2.1:9420\"}\n"));
	const std::string server = lab_.ask_tcp(true, 1);
	const std::string metrics = curl("http://10.0.2.1:9420/metrics");

	for (const std::string &line :
	     {std::string("holdfast_virtual_server_connections_total{virtual_server=\"shop4\"} 1"),
	      fmt::format("holdfast_member_connections_total{{pool=\"web4\",member=\"{}\"}} 1", server),
	      std::string("holdfast_member_up{pool=\"web4\",member=\"rs1\"} 1"),
	      std::string("holdfast_packets_total{reason=\"malformed\",kind=\"drop\"} 0"),
	      std::string("# TYPE holdfast_packets_total counter")})
		EXPECT_NE(metrics.find(line + "\n"), std::string::npos) << line << "\n" << metrics.substr(0, 2000);
	EXPECT_NE(curl("-i http://10.0.2.1:9420/v1/status").find("200 OK"), std::string::npos);
	// Nothing can be changed there.
	for (const std::string &request :
	     std::vector<std::string>{"-X PATCH -d '{\"status\":\"disable\"}' http://10.0.2.1:9420/v1/members/web4/rs1",
				      "-X DELETE 'http://10.0.2.1:9420/v1/sessions?all=1'",
				      "-X PUT -d 'version: 1' http://10.0.2.1:9420/v1/config",
				      "-X POST -d x http://10.0.2.1:9420/v1/status"})
		EXPECT_NE(curl("-i " + request).find("403 Forbidden"), std::string::npos) << request;
	EXPECT_EQ(lab_.query("show sessions")["matched"], 1);
	// A live change moves it; what a client holds open does not keep the daemon.
	write("next.yaml", shop(by_address, "", "metrics: {listen: \"10.0.2.1:9421\"}\n"));
	ASSERT_EQ(lab_.holdfast("apply " + lab_.directory() + "/next.yaml").status, 0);
	EXPECT_EQ(curl("http://10.0.2.1:9420/metrics"), "");
	EXPECT_NE(curl("http://10.0.2.1:9421/metrics"), "");
}

TEST_F(Operate, BadRequestsChangeNothing)
{
	lab_.start_daemon(shop(by_address));
	const std::string socket = lab_.directory() + "/holdfast.sock";
	const auto status = [&](const std::string &request) {
		return shell(fmt::format("curl -s -o /dev/null -w '%{{http_code}}' --max-time 10 --unix-socket {} {}",
					 socket, request))
			.output;
	};
	const auto before = lab_.query("show members");

	for (const auto &[request, wanted] : std::vector<std::pair<std::string, std::string>>{
		     {"http://x/v1/nothing", "404"},
		     {"-X POST -d x http://x/v1/status", "405"},
		     {"-X PATCH -d 'no json' http://x/v1/members/web4/rs1", "400"},
		     {"-X PATCH -d '{\"status\": 1}' http://x/v1/members/web4/rs1", "400"},
		     {"-X PATCH -d '{\"weight\": 257}' http://x/v1/members/web4/rs1", "400"},
		     {"-X PATCH -d '{\"weight\": 1}' http://x/v1/members/web4/nobody", "404"},
		     {"-X DELETE http://x/v1/sessions", "400"},
		     {"-X PUT -d 'version: 2' http://x/v1/config", "422"},
		     {"-X PUT -d 'version: 1' 'http://x/v1/config?revision=0'", "409"},
		     {"'http://x/v1/events?follow=2'", "400"},
		     {"'http://x/v1/sessions?limit=-1'", "400"}})
		EXPECT_EQ(status(request), wanted) << request;
	// Larger than anything that is expected: the connection ends.
	shell("head -c 200000 /dev/zero > " + lab_.directory() + "/large");
	EXPECT_EQ(status("-X PATCH --data-binary @" + lab_.directory() + "/large http://x/v1/members/web4/rs1"), "000");
	// Half a request, and a client that is gone.
	for (const char *half : {"GET /v1/sta", "PUT /v1/config HTTP/1.1\\r\\nContent-Length: 10\\r\\n\\r\\nvers"})
		shell(fmt::format("printf '{}' | timeout 2 socat - UNIX-CONNECT:{}", half, socket));
	auto after = lab_.query("show members");
	ASSERT_EQ(after["members"].size(), before["members"].size());
	for (size_t i = 0; i < after["members"].size(); i++)
		EXPECT_EQ(after["members"][i]["weight"], before["members"][i]["weight"]);
	EXPECT_NE(lab_.ask_tcp(true, 1), "");
}

TEST_F(Operate, TheDaemonKeepsThreePrivilegesOnly)
{
	lab_.start_daemon(shop(by_address));
	const std::string pid = std::to_string(lab_.query("status")["daemon"]["pid"].get<int>());
	const std::string all = shell("grep -h -E 'Cap(Prm|Eff|Bnd|Inh|Amb)|NoNewPrivs' /proc/" + pid +
				      "/task/*/status | "
				      "sort | uniq")
					.output;

	// CAP_NET_ADMIN 12, CAP_PERFMON 38, CAP_BPF 39: of every thread.
	EXPECT_EQ(all, "CapAmb:\t0000000000000000\nCapBnd:\t000000c000001000\nCapEff:\t000000c000001000\n"
		       "CapInh:\t0000000000000000\nCapPrm:\t000000c000001000\nNoNewPrivs:\t1\n");
	EXPECT_EQ(shell("stat -c %a " + lab_.directory() + "/holdfast.sock").output, "660\n");
	// And that is enough: for another program, another interface mode, another rule.
	write("next.yaml",
	      std::regex_replace(shop("  - {name: rule, type: cookie-hash}\n"), std::regex("mode: auto"), "mode: tc"));
	const Ran applied = lab_.holdfast("apply " + lab_.directory() + "/next.yaml");
	EXPECT_EQ(applied.status, 0) << applied.output;
	EXPECT_NE(lab_.ask_tcp(true, 1), "");
}

TEST_F(Operate, CompletionAndManual)
{
	const std::string holdfast = program("holdfast");

	EXPECT_EQ(shell(holdfast + " completion bash | bash -n").status, 0);
	EXPECT_EQ(shell("bash -c 'source <(" + holdfast +
			" completion bash); COMP_WORDS=(holdfast show se); COMP_CWORD=2; _holdfast; echo "
			"${COMPREPLY[*]}'")
			  .output,
		  "sessions\n");
	EXPECT_EQ(shell(holdfast + " completion zsh | head -1").output, "#compdef holdfast\n");
	EXPECT_EQ(shell(holdfast + " completion fish").status, 2);
	const Ran manual = shell(holdfast + " manual");
	for (const char *part : {".TH HOLDFAST 1", ".SS holdfast member drain", "\\-\\-follow"})
		EXPECT_NE(manual.output.find(part), std::string::npos) << part;
}

// No request fails that no change asked for, and no session moves that need not.
TEST_F(Operate, ChangesWithoutEndWhileTrafficFlows)
{
	const int changes = static_cast<int>(1000 / slowness());
	lab_.start_daemon(shop(by_address));
	std::map<int, std::string> before;
	std::vector<pid_t> traffic;

	for (int client = 1; client <= 6; client++)
		before[client] = lab_.ask_tcp(client % 2, client);
	for (int client = 1; client <= 6; client++)
		traffic.push_back(
			lab_.start("client",
				   fmt::format("sh -c 'while :; do curl -s --max-time 5 --interface {} http://{}/ || "
					       "echo failed; done'",
					       Lab::client_address(client % 2, client), Lab::vip_url(client % 2)),
				   fmt::format("{}/traffic{}", lab_.directory(), client)));
	std::vector<std::string> files;
	int number = 0;
	const auto variant = [&](const std::string &yaml) {
		files.push_back(write(fmt::format("variant{}.yaml", number++), yaml));
	};
	const std::string extra =
		"  - {name: more, address: 192.0.2.10, port: 81, protocol: tcp, forwarding: dnat, pool: "
		"web4, persistence: rule}\n";
	variant(shop(by_address));
	variant(shop(by_address, ", method: least-connections"));
	variant(shop(std::string(by_address) + "  - {name: other, type: source-address-hash}\n"));
	variant(shop(by_address) + extra);
	variant(shop(by_address, ", method: random, idle_timeout: 100"));
	// The mode's addresses are of the virtual server's family.
	std::string fullnat = shop(by_address);
	for (const bool ipv4 : {true, false}) {
		const std::string name = fmt::format("name: shop{}, ", ipv4 ? 4 : 6);
		const size_t at = fullnat.find("forwarding: dnat", fullnat.find(name));
		fullnat.replace(
			at, 16,
			fmt::format("forwarding: fullnat, source_addresses: [\"{}\"]", Lab::source_address(ipv4)));
	}
	variant(fullnat);
	for (int change = 0; change < changes; change++) {
		if (change % 2) {
			const Ran done =
				lab_.holdfast("apply " + files[static_cast<size_t>(change / 2) % files.size()]);
			ASSERT_EQ(done.status, 0) << done.output;
		} else {
			ASSERT_EQ(lab_.holdfast(fmt::format("member weight web{}/rs{} {}", change % 4 ? 4 : 6,
							    1 + change % 3, 1 + change % 7))
					  .status,
				  0);
		}
	}
	write("stop", "");
	std::this_thread::sleep_for(1s);
	for (const pid_t pid : traffic)
		lab_.stop(pid, SIGTERM);
	for (int client = 1; client <= 6; client++) {
		const std::string seen =
			shell(fmt::format("sort {}/traffic{} | uniq -c", lab_.directory(), client)).output;
		std::istringstream words(seen);
		long count = 0;
		std::string server, more;

		words >> count >> server;
		EXPECT_EQ(server, before[client]) << seen;
		EXPECT_FALSE(words >> more) << "a request failed or moved: " << seen;
		EXPECT_GT(count, 50);
	}
	lab_.expect_no_damage();
}

} // namespace
} // namespace holdfast::test
