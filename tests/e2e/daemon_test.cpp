// SPDX-License-Identifier: GPL-2.0
// The daemon and its commands, on real traffic: what survives, what is refused,
// what changes live.
#include <chrono>
#include <csignal>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "e2e/lab.h"

namespace holdfast::test
{
namespace
{

using namespace std::chrono_literals;

std::string shop(const std::string &rule, int members = 3, const std::string &mode = "auto")
{
	std::string yaml = Lab::base_config(mode, members) + "persistence:\n" + rule + "virtual_servers:\n";

	for (const bool ipv4 : {true, false})
		yaml += fmt::format(
			"  - {{name: shop{}, address: \"{}\", port: 80, protocol: tcp, forwarding: dnat, pool: web{}, "
			"persistence: rule}}\n",
			ipv4 ? 4 : 6, Lab::vip(ipv4), ipv4 ? 4 : 6);
	return yaml;
}

const size_t pools = 16; // of the lab's base configuration
const std::string by_address = "  - {name: rule, type: source-address, timeout: 300}\n";

class Daemon : public testing::Test
{
protected:
	// A file of 10 MB that every nginx serves slowly enough to run across a restart.
	void serve_slow_file()
	{
		ASSERT_EQ(shell(fmt::format("head -c 10485760 /dev/urandom > {}/big", lab_.directory())).status, 0);
		for (int number = 1; number <= 3; number++) {
			const std::string name = fmt::format("rs{}", number);
			const std::string path = fmt::format("{}/{}/nginx.conf", lab_.directory(), name);
			ASSERT_EQ(shell(fmt::format(
						"chmod 755 {} && chmod 644 {}/big && sed -i 's#location / {{#location "
						"/big "
						"{{ root {}; limit_rate 2500k; }} location / {{#' {} && nginx -c {} -e "
						"{}/{}/error.log -s reload",
						lab_.directory(), lab_.directory(), lab_.directory(), path, path,
						lab_.directory(), name))
					  .status,
				  0);
			// The reload is over when the new worker answers, and the old one has gone.
			const std::string pid = fmt::format("{}/{}/pid", lab_.directory(), name);
			const std::string ready =
				lab_.in(name, fmt::format("curl -sfI http://{}:8080/big | grep -q 10485760 && "
							  "test $(pgrep -cP $(cat {})) = 1",
							  Lab::member_address(true, number), pid));
			ASSERT_EQ(shell(fmt::format("timeout 10 sh -c 'until {}; do sleep 0.05; done'", ready)).status,
				  0);
		}
	}

	std::map<std::string, std::string> ask_all(int clients)
	{
		std::map<std::string, std::string> answers;

		for (const bool ipv4 : {true, false}) {
			for (int client = 1; client <= clients; client++)
				answers[Lab::client_address(ipv4, client)] = lab_.ask_tcp(ipv4, client);
		}
		return answers;
	}

	Lab lab_;
};

TEST_F(Daemon, ADownloadRunsAcrossKillAndRestart)
{
	lab_.start_daemon(shop(by_address));
	serve_slow_file();
	const auto before = ask_all(6);
	const pid_t download = lab_.start(
		"client", fmt::format("curl -s --max-time 60 -o {}/got http://192.0.2.10/big", lab_.directory()));

	std::this_thread::sleep_for(1s);
	lab_.stop_daemon(SIGKILL);
	EXPECT_NE(lab_.ask_tcp(true, 7), "") << "new clients are served while nothing runs";
	EXPECT_EQ(ask_all(6), before) << "and nobody's session is lost";
	lab_.start_daemon();
	EXPECT_NE(lab_.daemon_log().find("adopted the maps"), std::string::npos);
	EXPECT_EQ(ask_all(6), before);
	lab_.stop_daemon(SIGTERM);
	EXPECT_EQ(ask_all(6), before);
	lab_.start_daemon();
	for (int i = 0;
	     i < 600 &&
	     shell(fmt::format("kill -0 {} && ! grep -q '^State:.Z' /proc/{}/status", download, download)).status == 0;
	     i++)
		std::this_thread::sleep_for(50ms);
	EXPECT_EQ(shell(fmt::format("cmp {}/big {}/got", lab_.directory(), lab_.directory())).output, "");
	EXPECT_EQ(ask_all(6), before);
}

TEST_F(Daemon, MasksPutNetworksTogether)
{
	lab_.start_daemon(shop("  - {name: rule, type: source-address, ipv4_mask_bits: 24, ipv6_mask_bits: 64}\n"));
	const auto answers = ask_all(12);
	std::set<std::string> used4, used6;

	for (const auto &[client, server] : answers)
		(client.find(':') == std::string::npos ? used4 : used6).insert(server);
	EXPECT_EQ(used4.size(), 1U);
	EXPECT_EQ(used6.size(), 1U);
	EXPECT_FALSE(used4.contains(""));
	EXPECT_EQ(lab_.query("show sessions")["matched"], 2);
	EXPECT_EQ(lab_.query("show sessions --key 192.0.2.105")["sessions"][0]["key"], "192.0.2.0");
}

TEST_F(Daemon, IdleSessionsExpireAndBusyOnesDoNot)
{
	lab_.start_daemon(shop("  - {name: rule, type: source-address, timeout: 3}\n"));
	serve_slow_file();
	const std::string idle = lab_.ask_tcp(true, 1), busy = lab_.ask_tcp(true, 2);
	ASSERT_NE(idle, "");
	// Client 2 downloads for four seconds; client 1 is silent.
	const Ran download = lab_.run(
		"client", fmt::format("curl -s --max-time 60 --interface {} -o /dev/null http://192.0.2.10/big",
				      Lab::client_address(true, 2)));
	ASSERT_EQ(download.status, 0);
	EXPECT_EQ(lab_.query("show sessions --key 192.0.2.101")["matched"], 0);
	EXPECT_EQ(lab_.query("show sessions --key 192.0.2.102")["matched"], 1);
	EXPECT_EQ(lab_.ask_tcp(true, 2), busy);
	std::set<std::string> later;
	for (int i = 0; i < 3; i++) {
		std::this_thread::sleep_for(4500ms);
		later.insert(lab_.ask_tcp(true, 1));
	}
	EXPECT_EQ(later.size(), 3U) << "each time a new client, each time the next in turn";
}

TEST_F(Daemon, MembersComeAndGoWhileTrafficFlows)
{
	lab_.start_daemon(shop(by_address, 3));
	const auto before = ask_all(9);
	std::ofstream(lab_.directory() + "/two.yaml") << shop(by_address, 2);
	std::ofstream(lab_.directory() + "/three.yaml") << shop(by_address, 3);
	// A client that belongs to a server that stays asks without a pause.
	int steady = 0;
	for (int client = 1; client <= 9 && !steady; client++)
		steady = before.at(Lab::client_address(true, client)) == "rs1" ? client : 0;
	const pid_t traffic = lab_.start("client",
					 fmt::format("sh -c 'while :; do curl -s --max-time 3 --interface {} "
						     "http://192.0.2.10/ || echo failed; done'",
						     Lab::client_address(true, steady)),
					 lab_.directory() + "/traffic");

	for (int i = 0; i < 5; i++) {
		ASSERT_EQ(lab_.holdfast("apply " + lab_.directory() + "/two.yaml").status, 0);
		const auto with_two = ask_all(9);
		for (const auto &[client, server] : with_two) {
			EXPECT_NE(server, "");
			EXPECT_NE(server, "rs3");
			if (before.at(client) != "rs3") {
				EXPECT_EQ(server, before.at(client)) << client;
			}
		}
		ASSERT_EQ(lab_.holdfast("apply " + lab_.directory() + "/three.yaml").status, 0);
		EXPECT_EQ(ask_all(9), with_two) << "adding a member moves nobody";
	}
	lab_.stop(traffic, SIGTERM);
	const std::string seen = shell(fmt::format("sort {}/traffic | uniq", lab_.directory())).output;
	EXPECT_EQ(seen, "rs1\n") << "no request failed or moved";
}

TEST_F(Daemon, MemberCommandsWorkAndSurviveARestart)
{
	lab_.start_daemon(shop(by_address));
	const auto before = ask_all(6);

	ASSERT_EQ(lab_.holdfast("member drain web4/rs2").status, 0);
	ASSERT_EQ(lab_.holdfast("member disable web6/rs2").status, 0);
	for (const auto &[client, server] : ask_all(6)) {
		const bool ipv4 = client.find(':') == std::string::npos;

		if (ipv4)
			EXPECT_EQ(server, before.at(client)) << "draining keeps sessions";
		else
			EXPECT_NE(server, "rs2") << "disabled moves them";
	}
	for (int client = 7; client <= 12; client++)
		EXPECT_NE(lab_.ask_tcp(true, client), "rs2") << "no new clients";
	lab_.stop_daemon(SIGKILL);
	lab_.start_daemon();
	std::map<std::string, std::string> status;
	const auto restarted = lab_.query("show members");
	for (const auto &member : restarted["members"])
		status[member["name"]] = member["status"];
	EXPECT_EQ(status["web4/rs2"], "maintain");
	EXPECT_EQ(status["web6/rs2"], "disable");
	ASSERT_EQ(lab_.holdfast("member reset web6/rs2").status, 0);
	ASSERT_EQ(lab_.holdfast("member weight web6/rs2 256").status, 0);
	const auto changed = lab_.query("show members");
	for (const auto &member : changed["members"]) {
		if (member["name"] == "web6/rs2") {
			EXPECT_EQ(member["status"], "enable");
			EXPECT_EQ(member["weight"], 256);
		}
	}
	int to_heavy = 0;
	lab_.holdfast("session flush --all");
	for (int client = 1; client <= 12; client++)
		to_heavy += lab_.ask_tcp(false, client) == "rs2";
	EXPECT_GE(to_heavy, 11);
}

TEST_F(Daemon, SessionsCanBeSeenAndDeleted)
{
	lab_.start_daemon(shop(by_address));
	const auto answers = ask_all(6);

	EXPECT_EQ(lab_.query("show sessions")["matched"], 12);
	const auto one = lab_.query("show sessions --key 192.0.2.103")["sessions"];
	ASSERT_EQ(one.size(), 1U);
	EXPECT_EQ(one[0]["member"], "web4/" + answers.at("192.0.2.103"));
	EXPECT_EQ(one[0]["rule"], "rule");
	EXPECT_LE(one[0]["left"], 300);
	EXPECT_EQ(lab_.query("show sessions --virtual-server shop6")["matched"], 6);
	EXPECT_EQ(lab_.query("show sessions --member web4/rs1")["matched"], 2);
	EXPECT_EQ(lab_.query("show sessions --limit 3")["shown"], 3);
	EXPECT_GE(lab_.query("show connections")["matched"], 12);
	EXPECT_EQ(lab_.query("session delete --key 192.0.2.103")["deleted"], 1);
	EXPECT_EQ(lab_.query("session flush --member web4/rs1")["deleted"],
		  lab_.query("show sessions --virtual-server shop4")["matched"] == 4 ? 1 : 2);
	EXPECT_EQ(lab_.holdfast("session delete").status, 2);
	EXPECT_EQ(lab_.holdfast("session delete --key ''").status, 2) << "an empty filter is none";
	for (const char *what : {"virtual-servers", "pools", "members", "rules", "interfaces", "counters --all",
				 "sessions", "connections"}) {
		const Ran shown = lab_.holdfast(std::string("show ") + what);

		EXPECT_EQ(shown.status, 0) << what;
		EXPECT_NE(shown.output.find('\n'), std::string::npos) << what;
	}
	lab_.query("session flush --all");
	EXPECT_EQ(lab_.query("show sessions")["matched"], 0);

	const std::string dump = shell(fmt::format("bpftool map dump pinned {}/connections", lab_.pins())).output;
	for (const char *field : {"\"source\"", "\"member\"", "\"last_seen\"", "\"virtual_server\"", "\"state\""})
		EXPECT_NE(dump.find(field), std::string::npos) << field;
}

TEST_F(Daemon, ExplainSaysWhatThenHappens)
{
	lab_.start_daemon(shop(by_address));
	for (const bool ipv4 : {true, false}) {
		const std::string question = fmt::format("explain --virtual-server shop{} --client ", ipv4 ? 4 : 6),
				  client = Lab::client_address(ipv4, 1);

		// Whose turn it is, the data path's own program says, as often as it is asked.
		const auto before = lab_.query("show counters"), connections = lab_.query("show connections");
		auto written = [&] {
			std::string dumps;

			for (const char *map :
			     {"members", "next_hops", "routes", "pool_turns", "sessions", "connections",
			      "embryonic_connections", "member_connections", "member_rates"})
				dumps += shell(fmt::format("bpftool map dump pinned {}/{} | sha256sum", lab_.pins(),
							   map))
						 .output;
			return dumps;
		};
		const auto first = lab_.query(question + client);
		EXPECT_EQ(first["by"], "method");
		EXPECT_EQ(first["trial"]["outcome"], "forwarded") << first;
		// Asking changes nothing. (That neighbours come and go does, so it is looked at more than once.)
		std::string maps, asked;
		for (int i = 0; i < 5 && (i == 0 || asked != maps); i++) {
			maps = written();
			EXPECT_EQ(lab_.query(question + client)["trial"], first["trial"]);
			asked = written();
		}
		EXPECT_EQ(asked, maps);
		EXPECT_EQ(lab_.query("show counters"), before);
		EXPECT_EQ(lab_.query("show connections")["matched"], connections["matched"]);
		const std::string server = lab_.ask_tcp(ipv4, 1);
		EXPECT_EQ(first["trial"]["member"], fmt::format("web{}/{}", ipv4 ? 4 : 6, server)) << first;
		const auto answer = lab_.query(question + client);
		EXPECT_EQ(answer["trial"]["member"], answer["member"]) << answer;
		EXPECT_EQ(answer["by"], "session");
		EXPECT_EQ(answer["member"], fmt::format("web{}/{}", ipv4 ? 4 : 6, server));
		EXPECT_EQ(lab_.holdfast(question + "nobody").status, 1);
		EXPECT_EQ(lab_.holdfast(question + Lab::client_address(!ipv4, 1)).status, 1);
	}
	// An open connection decides before its session does.
	serve_slow_file();
	const pid_t download = lab_.start(
		"client",
		"curl -s --max-time 60 --local-port 45000 --interface 192.0.2.103 -o /dev/null http://192.0.2.10/big");
	const std::string socket = "explain --virtual-server shop4 --client 192.0.2.103:45000";
	for (int i = 0; i < 100 && lab_.query(socket)["by"] != "connection"; i++)
		std::this_thread::sleep_for(20ms);
	const auto bound = lab_.query(socket);
	EXPECT_EQ(bound["by"], "connection");
	EXPECT_EQ(bound["trial"]["member"], bound["member"]) << bound;
	EXPECT_EQ(bound["member"], lab_.query("explain --virtual-server shop4 --client 192.0.2.103")["member"]);
	::kill(download, SIGKILL);

	std::ofstream(lab_.directory() + "/hash.yaml") << shop("  - {name: rule, type: source-address-hash}\n");
	lab_.query("apply " + lab_.directory() + "/hash.yaml");
	for (int client = 4; client <= 9; client++) {
		for (const bool ipv4 : {true, false}) {
			const auto answer = lab_.query(fmt::format("explain --virtual-server shop{} --client {}",
								   ipv4 ? 4 : 6, Lab::client_address(ipv4, client)));
			EXPECT_EQ(answer["by"], "hash");
			EXPECT_EQ(answer["member"], fmt::format("web{}/{}", ipv4 ? 4 : 6, lab_.ask_tcp(ipv4, client)));
			EXPECT_EQ(answer["trial"]["member"], answer["member"]) << answer;
		}
	}
	// Why nobody gets it is told by the counters that it would move.
	for (int i = 1; i <= 3; i++)
		EXPECT_EQ(lab_.holdfast(fmt::format("member disable web4/rs{}", i)).status, 0);
	const auto nobody = lab_.query("explain --virtual-server shop4 --client 192.0.2.104");
	EXPECT_EQ(nobody["trial"]["outcome"], "not forwarded") << nobody;
	EXPECT_EQ(nobody["trial"]["member"], nullptr) << nobody;
	EXPECT_EQ(nobody["trial"]["reasons"][0], "no_usable_member") << nobody;
	EXPECT_EQ(lab_.counter("no_usable_member"), 0U);
	EXPECT_EQ(lab_.query("explain --virtual-server shop4 --client 192.0.2.104 --tables-only")["trial"], nullptr);
}

TEST_F(Daemon, TheSecretStaysAndADamagedOneIsRefused)
{
	const std::string file = lab_.directory() + "/state/secret";

	lab_.start_daemon(shop(by_address));
	const std::string secret = shell("cat " + file).output;
	EXPECT_EQ(secret.size(), 33U);
	lab_.stop_daemon(SIGTERM);
	lab_.start_daemon();
	EXPECT_EQ(shell("cat " + file).output, secret);
	lab_.stop_daemon(SIGTERM);
	// Lost: the maps still have it.
	shell("rm " + file);
	lab_.start_daemon();
	EXPECT_EQ(shell("cat " + file).output, secret);
	lab_.stop_daemon(SIGTERM);
	for (const std::string &damaged :
	     {std::string(), std::string("1 2"), secret.substr(0, 20), secret.substr(0, 32) + "0"}) {
		std::ofstream(file) << damaged;
		const Ran refused = lab_.run("balancer", "timeout 20 " + lab_.daemon_command("second.sock"));

		EXPECT_EQ(refused.status, 1) << damaged;
		EXPECT_NE(refused.output.find("secret: is not 32 hexadecimal digits"), std::string::npos)
			<< refused.output;
	}
}

TEST_F(Daemon, ApplySaysWhatItDoesAndADryRunDoesNothing)
{
	lab_.start_daemon(shop(by_address));
	std::ofstream(lab_.directory() + "/next.yaml")
		<< shop("  - {name: rule, type: source-address, timeout: 60}\n", 2);
	const Ran dry = lab_.holdfast("apply --dry-run " + lab_.directory() + "/next.yaml");

	EXPECT_EQ(dry.status, 0);
	EXPECT_NE(dry.output.find("remove member web4/rs3"), std::string::npos) << dry.output;
	EXPECT_NE(dry.output.find("change persistence rule rule"), std::string::npos) << dry.output;
	EXPECT_EQ(lab_.query("show members")["members"].size(), 3 * pools);
	const auto report = lab_.query("apply " + lab_.directory() + "/next.yaml");
	EXPECT_EQ(report["changes"].size(), pools + 1) << report.dump();
	EXPECT_EQ(lab_.query("show members")["members"].size(), 2 * pools);
	EXPECT_EQ(lab_.query("apply " + lab_.directory() + "/next.yaml")["writes"], 0)
		<< "nothing differs, nothing is written";
	EXPECT_TRUE(lab_.query("status")["daemon"]["config_differs"]);

	std::ofstream(lab_.directory() + "/bad.yaml") << shop("  - {name: rule, type: source-address, timeout: 0}\n");
	const Ran bad = lab_.holdfast("apply " + lab_.directory() + "/bad.yaml");
	EXPECT_EQ(bad.status, 1);
	EXPECT_NE(bad.output.find("bad.yaml:"), std::string::npos);
	EXPECT_NE(bad.output.find("timeout: 0 is out of range; allowed: 1-86400"), std::string::npos) << bad.output;
	EXPECT_EQ(lab_.query("show rules")["rules"].back()["timeout"], 60) << "nothing changed";
}

TEST_F(Daemon, SighupReadsTheFileAgain)
{
	lab_.start_daemon(shop(by_address));
	lab_.write_config(shop(by_address, 1));
	const int pid = lab_.query("status")["daemon"]["pid"];

	::kill(pid, SIGHUP);
	for (int i = 0; i < 100 && lab_.query("show members")["members"].size() != pools; i++)
		std::this_thread::sleep_for(50ms);
	EXPECT_EQ(lab_.query("show members")["members"].size(), pools);
	lab_.write_config("nonsense");
	::kill(pid, SIGHUP);
	for (int i = 0; i < 100 && lab_.daemon_log().find("nothing was changed") == std::string::npos; i++)
		std::this_thread::sleep_for(50ms);
	EXPECT_NE(lab_.daemon_log().find("nothing was changed"), std::string::npos);
	EXPECT_EQ(lab_.ask_tcp(true, 1), "rs1");
}

TEST_F(Daemon, ASecondDaemonIsRefused)
{
	lab_.start_daemon(shop(by_address));
	const Ran same = lab_.run("balancer", lab_.daemon_command("second.sock"));
	EXPECT_EQ(same.status, 1);
	EXPECT_NE(same.output.find("another holdfastd uses it"), std::string::npos) << same.output;
	const Ran same_pins = lab_.run(
		"balancer",
		fmt::format("{} --config {}/holdfast.yaml --socket {}/other.sock --pin-dir {} --state-dir {}/other",
			    program("holdfastd"), lab_.directory(), lab_.directory(), lab_.pins(), lab_.directory()));
	EXPECT_EQ(same_pins.status, 1);
	EXPECT_NE(same_pins.output.find(lab_.pins() + ": another holdfastd uses it"), std::string::npos)
		<< same_pins.output;
	const Ran detach =
		lab_.run("balancer", fmt::format("{} --detach --pin-dir {}", program("holdfastd"), lab_.pins()));
	EXPECT_EQ(detach.status, 1);
	EXPECT_NE(detach.output.find("stop the daemon first"), std::string::npos) << detach.output;
	EXPECT_EQ(lab_.ask_tcp(true, 1), "rs1");
}

TEST_F(Daemon, WithoutNativeXdp)
{
	lab_.run("balancer", "ip link add plain type bridge");
	lab_.start_daemon("version: 1\ninterfaces: [{name: plain, mode: auto}]\n");
	const auto interfaces = lab_.query("show interfaces")["interfaces"];

	EXPECT_EQ(interfaces[0]["mode"], "tc");
	EXPECT_EQ(interfaces[0]["note"], "its driver has no native XDP");
	EXPECT_EQ(lab_.run("balancer", "ip link show plain").output.find("xdp"), std::string::npos)
		<< "never generic by accident";

	std::ofstream(lab_.directory() + "/xdp.yaml") << "version: 1\ninterfaces: [{name: plain, mode: xdp}]\n";
	const Ran refused = lab_.holdfast("apply " + lab_.directory() + "/xdp.yaml");
	EXPECT_EQ(refused.status, 1);
	EXPECT_NE(refused.output.find(
			  "interface plain: mode xdp: its driver has no native XDP; mode auto takes TC in such a case"),
		  std::string::npos)
		<< refused.output;
	EXPECT_EQ(lab_.query("show interfaces")["interfaces"][0]["mode"], "tc") << "as it was";

	std::ofstream(lab_.directory() + "/generic.yaml")
		<< "version: 1\ninterfaces: [{name: plain, mode: xdp-generic}]\n";
	EXPECT_EQ(lab_.holdfast("apply " + lab_.directory() + "/generic.yaml").status, 0);
	EXPECT_EQ(lab_.query("show interfaces")["interfaces"][0]["mode"], "xdp-generic");
	EXPECT_NE(lab_.run("balancer", "ip link show plain").output.find("xdpgeneric"), std::string::npos);
}

TEST_F(Daemon, WhatIsMissingIsSaid)
{
	const auto expect = [&](const Ran &ran, const std::string &words) {
		EXPECT_EQ(ran.status, 1) << words;
		EXPECT_NE(ran.output.find(words), std::string::npos) << ran.output;
	};

	lab_.write_config("version: 1\ninterfaces: [{name: nowhere}]\n");
	expect(lab_.run("balancer", lab_.daemon_command()),
	       "interface nowhere: there is no such interface in this network namespace");
	shell("rm -rf " + lab_.directory() + "/state");
	lab_.write_config("version: 1\ninterfaces: 5\n");
	expect(lab_.run("balancer", lab_.daemon_command()),
	       "holdfast.yaml:2:13: interfaces: '5' where a list is expected");
	shell("rm -rf " + lab_.directory() + "/state");
	lab_.write_config(shop(by_address));
	expect(lab_.run("balancer", "setpriv --bounding-set -bpf --inh-caps -bpf --reuid 65534 --clear-groups " +
					    lab_.daemon_command()),
	       "CAP_BPF is needed");
	expect(shell(fmt::format("unshare -m sh -c 'umount /sys/fs/bpf; {} --config {}/holdfast.yaml --pin-dir "
				 "/tmp/pins --state-dir "
				 "{}/state2'",
				 program("holdfastd"), lab_.directory(), lab_.directory())),
	       "not on a BPF file system");
	EXPECT_EQ(shell(program("holdfast") + " --socket /nowhere status").status, 3);
	EXPECT_EQ(shell(program("holdfast") + " statos").status, 2);
	EXPECT_EQ(shell(program("holdfastd") + " --nonsense").status, 2);
	EXPECT_EQ(shell(program("holdfast") + " --help").status, 0);
	EXPECT_EQ(shell(program("holdfast") + " check " + lab_.directory() + "/holdfast.yaml").status, 0);
	EXPECT_EQ(shell(program("holdfast") + " check /nowhere").status, 1);
}

TEST_F(Daemon, MountsABpfFileSystemWhereThereIsNone)
{
	lab_.write_config("version: 1\n");
	const Ran ran = lab_.run(
		"balancer", fmt::format("unshare -m sh -c 'umount /sys/fs/bpf; timeout 5 {}'", lab_.daemon_command()));

	EXPECT_NE(ran.output.find("mounted a BPF file system at /sys/fs/bpf"), std::string::npos) << ran.output;
	EXPECT_NE(ran.output.find("ready"), std::string::npos) << ran.output;
}

TEST_F(Daemon, DetachLeavesNothing)
{
	lab_.start_daemon(shop(by_address));
	ASSERT_NE(lab_.ask_tcp(true, 1), "");
	lab_.stop_daemon(SIGTERM);
	EXPECT_EQ(shell(fmt::format("{} detach --pin-dir {}", lab_.in("balancer", program("holdfast")), lab_.pins()))
			  .status,
		  0);
	EXPECT_EQ(shell("ls " + lab_.pins()).status, 2);
	for (const char *interface : {"clients", "servers"}) {
		EXPECT_EQ(lab_.run("balancer", fmt::format("ip link show {}", interface)).output.find("xdp"),
			  std::string::npos);
		EXPECT_EQ(lab_.run("balancer", fmt::format("tc qdisc show dev {}", interface)).output.find("clsact"),
			  std::string::npos);
	}
	EXPECT_EQ(lab_.ask_tcp(true, 1), "");
}

TEST_F(Daemon, AForeignFilterSurvivesDetach)
{
	lab_.run("balancer", "tc qdisc add dev clients clsact");
	ASSERT_EQ(lab_.run("balancer", "tc filter add dev clients egress prio 7 bpf bytecode 1,6\\ 0\\ 0\\ 0,").status,
		  0);
	lab_.start_daemon(shop(by_address));
	lab_.stop_daemon(SIGTERM);
	lab_.run("balancer", fmt::format("{} --detach --pin-dir {}", program("holdfastd"), lab_.pins()));
	EXPECT_NE(lab_.run("balancer", "tc filter show dev clients egress").output.find("pref 7"), std::string::npos);
}

TEST_F(Daemon, ABadRequestDoesNotHurt)
{
	lab_.start_daemon(shop(by_address));
	const auto request = [&](const std::string &arguments) {
		return shell(fmt::format("curl -s -o /dev/null -w '%{{http_code}}' --max-time 5 --unix-socket "
					 "{}/holdfast.sock {}",
					 lab_.directory(), arguments))
			.output;
	};

	EXPECT_EQ(request("http://x/v1/nothing"), "404");
	EXPECT_EQ(request("-X POST http://x/v1/status"), "405");
	EXPECT_EQ(request("-X PATCH -d '{\"status\": 5}' http://x/v1/members/web4/rs1"), "400");
	EXPECT_EQ(request("-X PATCH -d '{\"weight\": 1e300}' http://x/v1/members/web4/rs1"), "400");
	EXPECT_EQ(request("-X PATCH -d '{\"weight\": 257}' http://x/v1/members/web4/rs1"), "400");
	EXPECT_EQ(request("-X PATCH -d '[[[' http://x/v1/members/web4/rs1"), "400");
	EXPECT_EQ(request("-X PATCH -d '{\"weight\": 2}' http://x/v1/members/web4/nobody"), "404");
	EXPECT_EQ(request("-X PUT -d 'version: 9' http://x/v1/config"), "422");
	EXPECT_EQ(request("-X DELETE http://x/v1/sessions"), "400");
	for (const char *query : {"limit=1", "member=", "all=0", "all=1&rule=rule"})
		EXPECT_EQ(request(fmt::format("-X DELETE 'http://x/v1/sessions?{}'", query)), "400") << query;
	EXPECT_EQ(request("'http://x/v1/connections?rule=rule'"), "400");
	EXPECT_EQ(request("'http://x/v1/sessions?limit=0'"), "400");
	EXPECT_EQ(request("'http://x/v1/sessions?colour=red'"), "400");
	EXPECT_EQ(request("'http://x/v1/sessions?member=no/body'"), "404");
	shell(fmt::format("printf 'nonsense\\r\\n\\r\\n' | socat -t 1 - UNIX-CONNECT:{}/holdfast.sock",
			  lab_.directory()));
	EXPECT_EQ(request("http://x/v1/status"), "200");
}

// Before it touches anything, a daemon says that it cannot take these maps over.
TEST_F(Daemon, MapsOfAnotherLayoutAreRefusedAndServe)
{
	lab_.start_daemon(shop(by_address));
	const std::string server = lab_.ask_tcp(true, 1);
	ASSERT_NE(server, "");
	lab_.stop_daemon(SIGTERM);
	const std::string installation = lab_.pins() + "/installation";
	auto value = nlohmann::json::parse(
		shell(fmt::format("bpftool -j map lookup pinned {} key 0 0 0 0", installation)).output)["value"];
	auto write = [&](const std::string &first) {
		value[0] = first;
		std::string bytes;
		for (const auto &byte : value)
			bytes += " " + byte.get<std::string>();
		return shell(fmt::format("bpftool map update pinned {} key 0 0 0 0 value{}", installation, bytes))
			.status;
	};
	const std::string layout = value[0];

	ASSERT_EQ(write("0xfe"), 0);
	const Ran refused = lab_.run(
		"balancer",
		fmt::format("timeout 30 {} --config {}/holdfast.yaml --socket {}/holdfast.sock --pin-dir {} "
			    "--state-dir {}/state",
			    program("holdfastd"), lab_.directory(), lab_.directory(), lab_.pins(), lab_.directory()));
	EXPECT_EQ(refused.status, 1);
	EXPECT_NE(refused.output.find("the maps there have layout 254"), std::string::npos) << refused.output;
	EXPECT_NE(refused.output.find("holdfastd --detach"), std::string::npos) << refused.output;
	EXPECT_EQ(lab_.ask_tcp(true, 1), server) << "the kernel goes on";
	ASSERT_EQ(write(layout), 0);
	lab_.start_daemon();
	EXPECT_EQ(lab_.ask_tcp(true, 1), server);
}

TEST_F(Daemon, AnotherDaemonsSocketAndFiltersAreLeftAlone)
{
	lab_.start_daemon(shop(by_address, 3, "tc"));
	const std::string other = fmt::format("{} --config {}/holdfast.yaml --pin-dir {}-2 --state-dir {}/state2",
					      program("holdfastd"), lab_.directory(), lab_.pins(), lab_.directory());
	const Ran same_socket =
		lab_.run("balancer", fmt::format("{} --socket {}/holdfast.sock", other, lab_.directory()));
	EXPECT_EQ(same_socket.status, 1);
	EXPECT_NE(same_socket.output.find("another daemon answers there"), std::string::npos) << same_socket.output;
	const Ran same_filters = lab_.run("balancer", fmt::format("{} --socket {}/2.sock", other, lab_.directory()));
	EXPECT_EQ(same_filters.status, 1);
	EXPECT_NE(same_filters.output.find("another installation of Holdfast"), std::string::npos)
		<< same_filters.output;
	EXPECT_EQ(lab_.run("balancer", fmt::format("{} --detach --pin-dir {}-2", program("holdfastd"), lab_.pins()))
			  .status,
		  0);
	EXPECT_EQ(lab_.run("balancer", fmt::format("{} --detach --pin-dir {}-typo", program("holdfastd"), lab_.pins()))
			  .status,
		  0);
	EXPECT_NE(lab_.ask_tcp(true, 1), "") << "still served";
	const Ran odd =
		lab_.run("balancer", fmt::format("{} --socket {}/{}", other, lab_.directory(), std::string(120, 'x')));
	EXPECT_EQ(odd.status, 1);
	EXPECT_NE(odd.output.find("at most 107 characters"), std::string::npos) << odd.output;
}

TEST_F(Daemon, AnInterfaceMadeAgainIsAttachedAgain)
{
	lab_.start_daemon(shop(by_address));
	lab_.run("balancer", "ip link add again type veth peer name peer");
	std::ofstream(lab_.directory() + "/with.yaml") << "version: 1\ninterfaces: [{name: again}]\n";
	ASSERT_EQ(lab_.holdfast("apply " + lab_.directory() + "/with.yaml").status, 0);
	lab_.run("balancer", "ip link del again");
	lab_.run("balancer", "ip link add again type veth peer name peer");
	bool attached = false;
	for (int i = 0; i < 60 && !attached; i++) {
		std::this_thread::sleep_for(50ms);
		attached = lab_.run("balancer", "ip link show again").output.find("xdp") != std::string::npos;
	}
	EXPECT_TRUE(attached);
}

TEST_F(Daemon, ALostStateDirectoryMovesNobody)
{
	lab_.start_daemon(shop(by_address));
	const auto before = ask_all(6);
	lab_.stop_daemon(SIGKILL);
	shell("rm -rf " + lab_.directory() + "/state");
	// Another order in the file: numbers must come from the maps, not from the file.
	std::vector<std::string> lines;
	std::istringstream input(shop(by_address));
	for (std::string line; std::getline(input, line);)
		lines.push_back(line);
	for (size_t i = 0; i + 2 < lines.size(); i++) {
		if (lines[i].find("{name: rs1,") != std::string::npos) {
			std::swap(lines[i], lines[i + 2]);
			i += 2; // where that line is now
		}
	}
	std::string yaml;
	for (const std::string &line : lines)
		yaml += line + "\n";
	lab_.start_daemon(yaml);
	EXPECT_EQ(ask_all(6), before);
}

TEST_F(Daemon, MembersNeighboursAreKeptResolvedAndReleased)
{
	lab_.start_daemon(shop(by_address));
	const auto managed = [&] { return lab_.run("balancer", "ip neigh show 10.0.2.11 dev servers").output; };
	const auto wait_for = [&](const char *word) {
		for (int i = 0; i < 100 && managed().find(word) == std::string::npos; i++)
			std::this_thread::sleep_for(50ms);
		return managed();
	};

	EXPECT_NE(wait_for("managed").find("managed"), std::string::npos);
	lab_.run("balancer", "ip neigh flush dev servers");
	EXPECT_NE(wait_for("managed").find("managed"), std::string::npos) << "asked for again";
	lab_.run("balancer", "ip neigh replace 10.0.2.11 lladdr 02:00:00:00:02:11 dev servers nud permanent");
	std::this_thread::sleep_for(500ms);
	EXPECT_NE(managed().find("PERMANENT"), std::string::npos) << "an administrator's entry is left alone";
	lab_.stop_daemon(SIGTERM);
	lab_.run("balancer", fmt::format("{} --detach --pin-dir {}", program("holdfastd"), lab_.pins()));
	EXPECT_EQ(lab_.run("balancer", "ip neigh show dev servers").output.find("managed"), std::string::npos);
}

TEST_F(Daemon, ARefusedApplyChangesNothing)
{
	const auto hashed = [](const char *name, int timeout) {
		std::string yaml = "version: 1\ntables: {selection: 262144}\npools:\n";
		for (int i = 1; i <= 3; i++)
			yaml += fmt::format("  - {{name: p{}, members: [{{name: {}, address: 10.0.2.11}}, {{name: b, "
					    "address: 10.0.2.12}}]}}\n",
					    i, name);
		yaml += fmt::format(
			"persistence: [{{name: rule, type: source-address, timeout: {}}}]\nvirtual_servers:\n",
			timeout);
		for (int i = 1; i <= 3; i++)
			yaml += fmt::format(
				"  - {{name: v{}, address: 192.0.2.10, port: {}, protocol: tcp, forwarding: dnat, "
				"method: source-hash, pool: p{}, persistence: rule}}\n",
				i, i, i);
		return yaml;
	};
	lab_.start_daemon(hashed("a", 300));
	std::ofstream(lab_.directory() + "/next.yaml") << hashed("c", 30);
	for (const char *arguments : {"--dry-run ", ""}) {
		const Ran refused = lab_.holdfast(std::string("apply ") + arguments + lab_.directory() + "/next.yaml");
		EXPECT_EQ(refused.status, 1);
		EXPECT_NE(refused.output.find("tables.selection"), std::string::npos) << refused.output;
	}
	EXPECT_EQ(lab_.query("show rules")["rules"].back()["timeout"], 300);
	const std::string dump =
		shell(fmt::format("bpftool map dump pinned {}/rules | grep -c '\"timeout\": 30,'", lab_.pins())).output;
	EXPECT_EQ(dump, "0\n");
	lab_.stop_daemon(SIGKILL);
	lab_.start_daemon();
	EXPECT_EQ(lab_.query("show members")["members"].size(), 6U);
}

// Only the programs that the configuration needs are loaded; those that a change needs come with it.
TEST_F(Daemon, AChangeBringsTheProgramsThatItNeeds)
{
	// Programs in a hook's slots.
	auto loaded = [&](const char *hook) {
		const std::string shown =
			lab_.run("balancer", fmt::format("sh -c 'for map in {}/stages/{}-*; do bpftool -j map dump "
							 "pinned $map; done 2>/dev/null'",
							 lab_.pins(), hook))
				.output;
		size_t count = 0;

		for (size_t at = shown.find("\"value\":["); at != std::string::npos;
		     at = shown.find("\"value\":[", at + 1))
			count++;
		return count;
	};

	for (const char *mode : {"tc", "auto"}) {
		lab_.start_daemon(shop(by_address, 3, mode));
		ASSERT_NE(lab_.ask_tcp(true, 1), "");
		EXPECT_EQ(loaded("tc"), 1U) << "ICMP alone";
		EXPECT_EQ(loaded("xdp"), std::string(mode) == "auto" ? 1U : 0U);
		// From rules by addresses to one by cookies, and on a hook that was not there.
		std::ofstream(lab_.directory() + "/next.yaml")
			<< shop("  - {name: rule, type: cookie-hash, keyword: sid}\n");
		ASSERT_EQ(lab_.holdfast("apply " + lab_.directory() + "/next.yaml").status, 0);
		EXPECT_GT(loaded("tc"), 10U) << mode;
		EXPECT_GT(loaded("xdp"), 5U) << mode;
		for (int client = 1; client <= 3; client++)
			EXPECT_NE(lab_.ask_tcp(true, client), "") << mode;
		EXPECT_EQ(lab_.counter("stage_missing"), 0U);
		for (const auto &interface : lab_.query("status")["interfaces"])
			EXPECT_EQ(interface["mode"], "xdp") << mode;
		lab_.stop_daemon(SIGTERM);
		lab_.run("balancer", fmt::format("{} --detach --pin-dir {}", program("holdfastd"), lab_.pins()));
		shell("rm -rf " + lab_.directory() + "/state");
	}
}

TEST_F(Daemon, TablesFitAndColoursAreForTerminals)
{
	lab_.start_daemon(shop(by_address));
	auto on_a_terminal = [&](const std::string &environment) {
		return shell(fmt::format("env {} script -qec '{} --socket {}/holdfast.sock status' /dev/null",
					 environment, program("holdfast"), lab_.directory()))
			.output;
	};

	EXPECT_EQ(lab_.holdfast("status").output.find('\x1b'), std::string::npos);
	ASSERT_NE(lab_.ask_tcp(true, 1), "");
	for (const char *table :
	     {"members", "pools", "rules", "interfaces", "virtual-servers", "sessions", "connections"}) {
		std::istringstream lines(lab_.holdfast(std::string("show ") + table).output);

		for (std::string line; std::getline(lines, line);)
			EXPECT_LE(line.size(), 80U) << table << ": " << line;
	}
	EXPECT_NE(on_a_terminal("TERM=xterm").find("\x1b[32mup\x1b[0m"), std::string::npos)
		<< on_a_terminal("TERM=xterm");
	EXPECT_EQ(on_a_terminal("TERM=xterm NO_COLOR=1").find('\x1b'), std::string::npos);
	EXPECT_EQ(on_a_terminal("TERM=dumb").find('\x1b'), std::string::npos);
}

TEST_F(Daemon, DoctorNamesWhatIsWrongAndTheRemedy)
{
	lab_.start_daemon(shop(by_address, 3, "tc"));
	ASSERT_NE(lab_.ask_tcp(true, 1), "");
	Ran said = lab_.holdfast("doctor");
	EXPECT_EQ(said.output.find("forwarding is off"), std::string::npos) << said.output;
	EXPECT_EQ(said.output.find("is on this host"), std::string::npos) << said.output;
	EXPECT_NE(said.output.find("note: what this host itself sends"), std::string::npos) << said.output;
	EXPECT_EQ(said.status, 0) << said.output;

	// The network's: another host with the virtual address, a way out that nobody watches, no way at all.
	lab_.run("client", fmt::format("ip addr add {}/32 dev lo", Lab::vip(true)));
	lab_.run("balancer", "sh -c 'ip link add aside type veth peer name aside-peer; ip link set aside up; ip link "
			     "set clients mtu 1400; "
			     "ip route add 10.0.2.11/32 dev aside; ip route add unreachable 10.0.2.13/32'");
	said = lab_.holdfast("doctor");
	EXPECT_EQ(said.status, 1);
	for (const char *what :
	     {"on clients answers for it, too", "error: member web4/rs1 (10.0.2.11): its way leads over aside",
	      "error: member web4/rs3 (10.0.2.13): there is no route to it",
	      "note: interface clients: its MTU, 1400, is smaller than that of servers, 1500"})
		EXPECT_NE(said.output.find(what), std::string::npos) << what << ":\n" << said.output;
	lab_.run("client", fmt::format("ip addr del {}/32 dev lo", Lab::vip(true)));
	lab_.run("balancer", "sh -c 'ip link del aside; ip link set clients mtu 1500; ip route del unreachable "
			     "10.0.2.13/32'");
	// The way is found again, when the kernel has asked for its neighbour.
	for (int i = 0; i < 100 * slowness() && (said = lab_.holdfast("doctor")).status; i++)
		std::this_thread::sleep_for(100ms);
	EXPECT_EQ(said.status, 0) << said.output;

	lab_.run("balancer", "sysctl -qw net.ipv4.conf.servers.forwarding=0");
	lab_.run("balancer", "ip addr add 10.0.2.12/32 dev servers");
	said = lab_.holdfast("doctor");
	EXPECT_EQ(said.status, 1);
	EXPECT_NE(said.output.find("error: interface servers: ipv4 forwarding is off"), std::string::npos)
		<< said.output;
	EXPECT_NE(said.output.find("remedy: sysctl -w net.ipv4.conf.servers.forwarding=1"), std::string::npos);
	EXPECT_NE(said.output.find("error: member web4/rs2 (10.0.2.12) is on this host"), std::string::npos)
		<< said.output;
	EXPECT_EQ(lab_.holdfast("--json doctor").status, 1);

	// And before there is a daemon.
	lab_.stop_daemon(SIGTERM);
	const std::string config = lab_.directory() + "/holdfast.yaml";
	auto examine = [&](const std::string &file) {
		return lab_.run("balancer", fmt::format("{} --socket {}/nobody doctor --config {}", program("holdfast"),
							lab_.directory(), file));
	};
	said = examine(config);
	EXPECT_EQ(said.status, 1);
	for (const char *what : {"error: no daemon answers", "remedy: systemctl start holdfast",
				 "error: interface servers: ipv4 forwarding is off", "is on this host"})
		EXPECT_NE(said.output.find(what), std::string::npos) << what << ":\n" << said.output;
	lab_.run("balancer", "ip link set clients down");
	shell("sed -i 's/name: servers,/name: serverz,/' " + config);
	said = examine(config);
	EXPECT_NE(said.output.find("error: interface clients: it is down"), std::string::npos) << said.output;
	EXPECT_NE(said.output.find("error: interface serverz: there is none"), std::string::npos) << said.output;
	shell("echo 'wrong: 1' >> " + config);
	said = examine(config);
	EXPECT_NE(said.output.find("error: " + config + ":"), std::string::npos) << said.output;
	EXPECT_NE(said.output.find("wrong: is not known"), std::string::npos) << said.output;
	EXPECT_NE(examine("/nowhere").output.find("/nowhere"), std::string::npos);
}

// The rest of a network: tagged VLANs, where the kernel has them. In every mode in which answers come back here.
TEST_F(Daemon, ServersBehindAVlan)
{
	if (lab_.run("balancer", "ip link add link servers name servers.10 type vlan id 10").status != 0)
		GTEST_SKIP() << "this kernel has no VLAN devices";
	lab_.run("balancer", "sh -c 'ip addr flush dev servers; ip addr add 10.0.2.1/24 dev servers.10; "
			     "ip -6 addr add fd00:2::1/64 dev servers.10 nodad; ip link set servers.10 up; "
			     "sysctl -qw net.ipv4.conf.servers/10.forwarding=1'");
	for (const int number : {1, 2, 3})
		lab_.run(fmt::format("rs{}", number),
			 fmt::format(
				 "sh -c 'ip link add link wire name wire.10 type vlan id 10; ip addr flush dev wire; "
				 "ip addr add {}/24 dev wire.10; ip -6 addr add {}/64 dev wire.10 nodad; "
				 "ip link set wire.10 up; ip route replace default via 10.0.2.1; "
				 "ip -6 route replace default via fd00:2::1'",
				 Lab::member_address(true, number), Lab::member_address(false, number)));
	struct Mode {
		const char *forwarding;
		bool ipv4, ipv4_members;
		int port;
	};
	const Mode modes[] = {{"dnat", true, true, 80},      {"dnat", false, false, 81}, {"fullnat", true, true, 82},
			      {"fullnat", false, false, 83}, {"nat46", true, false, 84}, {"nat64", false, true, 85}};
	for (const char *hook : {"xdp", "tc"}) {
		std::string yaml = Lab::base_config(hook) + "persistence:\n" + by_address + "virtual_servers:\n";

		for (const auto &[forwarding, ipv4, ipv4_members, port] : modes)
			yaml += fmt::format("  - {{name: shop{}, address: \"{}\", port: {}, protocol: tcp, forwarding: "
					    "{}, pool: web{}, persistence: rule{}}}\n",
					    port, Lab::vip(ipv4), port, forwarding, ipv4_members ? 4 : 6,
					    std::string(forwarding) == "dnat"
						    ? ""
						    : fmt::format(", source_addresses: [\"{}\"]",
								  Lab::source_address(ipv4_members)));
		lab_.start_daemon(yaml);
		for (const auto &[forwarding, ipv4, ipv4_members, port] : modes) {
			std::set<std::string> used;

			for (int client = 1; client <= 4; client++) {
				const std::string first = lab_.ask_tcp(ipv4, client, port);

				used.insert(first);
				EXPECT_NE(first, "") << forwarding << " " << hook << " " << port;
				EXPECT_EQ(lab_.ask_tcp(ipv4, client, port), first) << forwarding;
			}
			EXPECT_EQ(used.size(), 3U) << forwarding << " " << hook << " " << port;
		}
		lab_.stop_daemon(SIGTERM);
		lab_.run("balancer", fmt::format("{} --detach --pin-dir {}", program("holdfastd"), lab_.pins()));
		shell("rm -rf " + lab_.directory() + "/state");
	}
}

} // namespace
} // namespace holdfast::test
