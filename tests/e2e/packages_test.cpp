// SPDX-License-Identifier: GPL-2.0
// The Debian package in a clean root: installed, run as its unit says, upgraded under
// traffic, removed.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "e2e/lab.h"

namespace holdfast::test
{
namespace
{

using namespace std::chrono_literals;

std::string file_text(const std::string &path)
{
	std::ifstream file(path);
	std::ostringstream text;

	text << file.rdbuf();
	return text.str();
}

class Packages : public testing::Test
{
protected:
	~Packages() override
	{
		if (system_)
			lab_.stop(system_, SIGTERM);
	}

	void make_package()
	{
		const Ran made =
			shell(fmt::format("cpack --config {} -B {} 2>&1", program("../CPackConfig.cmake"), packages_));
		ASSERT_EQ(made.status, 0) << made.output;
		package_ = shell("ls " + packages_ + "/*.deb").output;
		package_.erase(package_.find_last_not_of('\n') + 1);
		ASSERT_NE(package_, "");
	}

	// The next version: other programs, as far as they name their version.
	std::string next_package() const
	{
		const std::string directory = packages_ + "/next", file = packages_ + "/next.deb";

		shell(fmt::format(
			"dpkg-deb -R {0} {1} && sed -i 's/^Version: .*/Version: 9.9.9-1/' {1}/DEBIAN/control && "
			"perl -pi -e 's/\\b0\\.1\\.0\\b/9.9.9/g' {1}/usr/sbin/holdfastd {1}/usr/bin/holdfast && "
			"dpkg-deb -b {1} {2}",
			package_, directory, file));
		return file;
	}

	// A Debian with systemd as its first process, in the balancer's network.
	void make_root()
	{
		const Ran made = shell(fmt::format(
			"debootstrap --variant=minbase --include=systemd,systemd-sysv,curl bookworm {} $(apt-get "
			"indextargets --format '$(SITE)' 'CODENAME: bookworm' | head -1) 2>&1",
			root_));
		ASSERT_EQ(made.status, 0) << made.output;
		// Where this host has its packages from.
		shell(fmt::format("rm -f {0}/etc/apt/sources.list; for part in sources.list sources.list.d apt.conf.d "
				  "trusted.gpg.d; do [ -e /etc/apt/$part ] && cp -r /etc/apt/$part {0}/etc/apt/; done; "
				  "cp /usr/share/keyrings/*.gpg {0}/usr/share/keyrings/; cp /etc/resolv.conf {0}/etc/",
				  root_));
		system_ = lab_.start("balancer", fmt::format("{}/tests/e2e/boot_root {}", source_directory(), root_),
				     lab_.directory() + "/boot.log");
		for (int i = 0; i < 200 * slowness() && !first_; i++) {
			std::this_thread::sleep_for(100ms);
			first_ = std::atoi(
				shell(fmt::format("pgrep -x systemd -P $(pgrep -P {})", system_)).output.c_str());
		}
		ASSERT_NE(first_, 0) << file_text(lab_.directory() + "/boot.log");
		Ran state;
		for (int i = 0; i < 200 * slowness() && state.output != "running\n"; i++) {
			std::this_thread::sleep_for(100ms);
			state = in_root("systemctl is-system-running");
		}
		ASSERT_EQ(state.output, "running\n") << in_root("systemctl --failed --no-pager").output;
	}

	// In the root, as its processes see it; in the balancer's network, or this host's.
	Ran in_root(const std::string &command, bool balancer = true) const
	{
		const std::string line = fmt::format(
			"nsenter -t {} --mount --pid --cgroup --ipc --uts --root --wd env -i "
			"PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C {} 2>&1",
			first_, command);

		return balancer ? lab_.run("balancer", line) : shell(line);
	}

	std::string journal() const { return in_root("journalctl --no-pager -u holdfast").output; }

	pid_t service() const
	{
		return std::atoi(in_root("systemctl show --value --property MainPID holdfast").output.c_str());
	}

	std::string traces() const
	{
		return shell(fmt::format("cd {} && find etc usr lib var/lib/holdfast var/lib/systemd -iname "
					 "'*holdfast*' 2>/dev/null; grep holdfast etc/group etc/passwd",
					 root_))
			       .output +
		       in_root("sh -c 'ls -d /run/*holdfast* 2>/dev/null; ls /sys/fs/bpf | grep -v [.]debug$'").output;
	}

	Lab lab_;
	std::string root_ = lab_.directory() + "/root", packages_ = lab_.directory() + "/packages", package_;
	pid_t system_ = 0, first_ = 0;
};

TEST_F(Packages, ComeRunAndGo)
{
	make_package();
	const Ran lint = shell("lintian --fail-on error,warning,info --allow-root " + package_ + " 2>&1");
	EXPECT_EQ(lint.status, 0) << lint.output;
	EXPECT_EQ(lint.output, "");
	make_root();
	if (HasFatalFailure())
		return;
	shell(fmt::format("cp {} {}/holdfast.deb", package_, root_));
	const Ran updated = in_root("apt-get -qq update", false);
	ASSERT_EQ(updated.status, 0) << updated.output;
	const Ran installed = in_root("apt-get -qq install -y --no-install-recommends /holdfast.deb", false);
	ASSERT_EQ(installed.status, 0) << installed.output;
	EXPECT_EQ(in_root("systemctl is-active holdfast").output, "active\n") << journal();

	// What is there, and works.
	for (const char *path :
	     {"/usr/sbin/holdfastd", "/usr/bin/holdfast", "/usr/share/man/man1/holdfast.1.gz",
	      "/usr/share/man/man8/holdfastd.8.gz", "/usr/share/bash-completion/completions/holdfast",
	      "/usr/share/zsh/vendor-completions/_holdfast", "/etc/holdfast/holdfast.yaml",
	      "/usr/share/doc/holdfast/examples/holdfast-alerts.yaml"})
		EXPECT_EQ(shell("test -e " + root_ + path).status, 0) << path;
	EXPECT_EQ(in_root("getent group holdfast", false).status, 0);
	EXPECT_EQ(in_root("holdfast check /etc/holdfast/holdfast.yaml", false).status, 0);
	EXPECT_NE(in_root("holdfast --version", false).output.find("holdfast 0."), std::string::npos);
	EXPECT_EQ(in_root("test -L /etc/systemd/system/multi-user.target.wants/holdfast.service", false).status, 0)
		<< "it starts with the host";
	const Ran verified = shell(fmt::format(
		"systemd-analyze --root={} --man=no verify holdfast.service 2>&1 | grep -i holdfast", root_));
	EXPECT_EQ(verified.output, "");
	// The tool's own measure, of 100: the lower, the less a broken daemon could do.
	const Ran secure = shell(fmt::format(
		"systemd-analyze security --no-pager --offline=true --root={} --threshold=30 holdfast.service 2>&1",
		root_));
	EXPECT_EQ(secure.status, 0) << secure.output;
	fmt::print("{}", secure.output.substr(secure.output.rfind("Overall")));

	// Its owner edits one file, and it serves.
	const std::string config = root_ + "/etc/holdfast/holdfast.yaml";
	std::ofstream(config) << Lab::base_config("auto")
			      << "persistence:\n  - {name: by-address, type: source-address}\nvirtual_servers:\n"
			      << "  - {name: shop, address: \"" << Lab::vip(true)
			      << "\", port: 80, protocol: tcp, forwarding: dnat, pool: web4, persistence: "
				 "by-address}\n";
	EXPECT_EQ(in_root("systemctl reload holdfast").status, 0) << journal();
	const std::string server = lab_.ask_tcp(true, 1);
	EXPECT_NE(server, "") << journal();
	EXPECT_EQ(in_root("stat -c '%a %U:%G' /run/holdfast/holdfast.sock").output, "660 root:holdfast\n");
	EXPECT_EQ(in_root("holdfast status").status, 0);
	// Everything that a daemon does at some time, behind the unit's filter of system calls, with its
	// capabilities, in its file system: what it may not do would be in the journal.
	EXPECT_EQ(in_root("grep -c '^Seccomp:\t2$' /proc/" + std::to_string(service()) + "/status").output, "1\n");
	std::ofstream(config, std::ios::app)
		<< "health_checks:\n  - {name: ping, type: icmp, interval: 1}\n"
		   "  - {name: open, type: tcp, interval: 1}\n"
		   "  - {name: page, type: http, interval: 1}\n"
		   "  - {name: secret, type: https, port: 443, verify: false, interval: 1}\n"
		   "  - {name: names, type: udp, interval: 1}\n"
		   "metrics: {listen: \"127.0.0.1:9150\"}\nadvice: {remember: 60}\n"
		   "state: {snapshot: /var/lib/holdfast/sessions, snapshot_interval: 10}\n";
	shell(fmt::format("sed -i 's/^  - name: web4/&\\n    health_checks: [ping, open, page]/; s/^  - name: "
			  "name4/&\\n    health_checks: [names, secret]/' {}",
			  config));
	EXPECT_EQ(in_root("systemctl reload holdfast").status, 0) << journal();
	EXPECT_EQ(in_root("curl -s http://127.0.0.1:9150/metrics").output.substr(0, 6), "# HELP") << journal();
	const auto checks = [&](const std::string &name) {
		const auto status = nlohmann::json::parse(in_root("holdfast status --json").output);

		for (const auto &member : status["members"]) {
			if (member["name"] == name)
				return member["health"]["checks"];
		}
		return nlohmann::json();
	};
	const auto all_known = [&](const std::string &name) {
		const auto now = checks(name);

		return std::all_of(now.begin(), now.end(), [](const auto &check) { return check["known"] == true; });
	};
	for (int i = 0; i < 100 * slowness() && !(all_known("web4/rs1") && all_known("name4/rs1")); i++)
		std::this_thread::sleep_for(100ms);
	for (const auto &check : checks("web4/rs1")) {
		EXPECT_EQ(check["known"], true) << check;
		EXPECT_EQ(check["up"], true) << check;
		EXPECT_EQ(check["last_problem"], "") << check;
		EXPECT_GT(check["latency_ms"], 0) << check;
	}
	ASSERT_EQ(checks("web4/rs1").size(), 3U);
	EXPECT_EQ(checks("name4/rs1")[1]["last_problem"], "connecting: Connection refused") << "nobody has this port";
	EXPECT_EQ(in_root("holdfast doctor").status, 0) << in_root("holdfast doctor").output;
	EXPECT_EQ(journal().find("ermission denied"), std::string::npos) << journal();
	EXPECT_EQ(journal().find("not permitted"), std::string::npos) << journal();
	// The journal can be asked by what a line is about.
	Ran about;
	for (int i = 0; i < 100 * slowness() && about.output.empty(); i++) {
		std::this_thread::sleep_for(100ms);
		about = in_root("journalctl --quiet --no-pager -o json HOLDFAST_MEMBER=name4/rs1 PRIORITY=4");
	}
	const auto entry = nlohmann::json::parse(about.output.substr(0, about.output.find('\n')), nullptr, false);
	ASSERT_TRUE(entry.is_object()) << about.output;
	const std::string check = entry.value("HOLDFAST_CHECK", ""), problem = entry.value("HOLDFAST_PROBLEM", "");
	EXPECT_TRUE(check == "names" || check == "secret") << about.output;
	EXPECT_EQ(entry.value("MESSAGE", ""), fmt::format("member name4/rs1 is down: check {}: {}", check, problem));
	EXPECT_EQ(entry.value("_SYSTEMD_UNIT", ""), "holdfast.service") << about.output;
	// A file that is wrong is refused, and the one who asked is told.
	shell(fmt::format("cp {0} {0}.good; echo 'wrong: 1' >> {0}", config));
	EXPECT_NE(in_root("systemctl reload holdfast").status, 0);
	EXPECT_NE(journal().find("holdfast.yaml:"), std::string::npos) << journal();
	EXPECT_EQ(lab_.ask_tcp(true, 1), server) << "nothing was changed";
	shell(fmt::format("mv {0}.good {0}", config));

	// Upgraded under traffic: no request fails, and nobody moves.
	const std::string log = lab_.directory() + "/requests";
	const pid_t client = lab_.start(
		"client",
		fmt::format("sh -c 'while :; do curl -s --max-time 5 --interface {} http://{}/ | head -1; done'",
			    Lab::client_address(true, 1), Lab::vip(true)),
		log);
	std::this_thread::sleep_for(500ms);
	shell(fmt::format("cp {} {}/next.deb", next_package(), root_));
	const pid_t before = service();
	const std::string programs = lab_.run("balancer", "bpftool net show").output;
	const Ran upgraded = in_root("apt-get -qq install -y --no-install-recommends /next.deb");
	ASSERT_EQ(upgraded.status, 0) << upgraded.output;
	EXPECT_NE(in_root("dpkg-query -W holdfast").output.find("9.9.9-1"), std::string::npos);
	EXPECT_EQ(in_root("systemctl is-active holdfast").output, "active\n") << journal();
	EXPECT_NE(service(), before) << "the new one runs";
	EXPECT_EQ(in_root(fmt::format("/proc/{}/exe --version", service())).output, "holdfastd 9.9.9\n");
	EXPECT_NE(lab_.run("balancer", "bpftool net show").output, programs) << "in the kernel, too";
	std::this_thread::sleep_for(500ms);
	lab_.stop(client, SIGTERM);
	std::istringstream answers(file_text(log));
	int asked = 0;
	for (std::string line; std::getline(answers, line); asked++)
		EXPECT_EQ(line, server);
	EXPECT_GE(asked, 20);
	EXPECT_NE(journal().find("adopted the maps"), std::string::npos) << journal();
	EXPECT_NE(file_text(config).find("name: shop"), std::string::npos) << "the configuration is its owner's";

	// Removed: nothing is left, not in the kernel either.
	EXPECT_EQ(in_root("systemctl stop holdfast").status, 0);
	EXPECT_EQ(in_root("test -s /var/lib/holdfast/sessions").status, 0) << "sessions are kept: " << journal();
	EXPECT_EQ(lab_.ask_tcp(true, 1), server) << "the kernel goes on";
	EXPECT_EQ(in_root("systemctl start holdfast").status, 0) << journal();
	const Ran removed = in_root("apt-get -qq purge -y holdfast");
	EXPECT_EQ(removed.status, 0) << removed.output;
	EXPECT_EQ(traces(), "");
	EXPECT_EQ(lab_.ask_tcp(true, 1), "");
	EXPECT_EQ(lab_.run("balancer", "ip -d link show | grep -c 'prog/xdp'").output, "0\n");
	EXPECT_EQ(lab_.run("balancer", "bpftool net show | grep -c holdfast").output, "0\n");
}

} // namespace
} // namespace holdfast::test
