// SPDX-License-Identifier: GPL-2.0
// The Debian package in a clean root: installed, run as its unit says, upgraded under
// traffic, removed.
#include <chrono>
#include <csignal>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <regex>
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
		for (const char *mount : {"sys/fs/bpf", "sys", "proc", "dev"})
			shell(fmt::format("mountpoint -q {0}/{1} && umount -l {0}/{1}", root_, mount));
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

	// The same programs, as the next version.
	std::string next_package() const
	{
		const std::string directory = packages_ + "/next", file = packages_ + "/next.deb";

		shell(fmt::format(
			"dpkg-deb -R {0} {1} && sed -i 's/^Version: .*/Version: 9.9.9-1/' {1}/DEBIAN/control && "
			"dpkg-deb -b {1} {2}",
			package_, directory, file));
		return file;
	}

	void make_root()
	{
		const Ran made =
			shell(fmt::format("debootstrap --variant=minbase bookworm {} $(apt-get indextargets --format "
					  "'$(SITE)' 'CODENAME: bookworm' | head -1) 2>&1",
					  root_));
		ASSERT_EQ(made.status, 0) << made.output;
		// Where this host has its packages from.
		shell(fmt::format("rm -f {0}/etc/apt/sources.list; for part in sources.list sources.list.d apt.conf.d "
				  "trusted.gpg.d; do [ -e /etc/apt/$part ] && cp -r /etc/apt/$part {0}/etc/apt/; done; "
				  "cp /usr/share/keyrings/*.gpg {0}/usr/share/keyrings/; cp /etc/resolv.conf {0}/etc/",
				  root_));
		ASSERT_EQ(
			shell(fmt::format("mount -t proc proc {0}/proc && mount --rbind /dev {0}/dev && mount "
					  "--make-rslave "
					  "{0}/dev && mount -t sysfs sysfs {0}/sys && mount -t bpf bpf {0}/sys/fs/bpf",
					  root_))
				.status,
			0);
	}

	// In the root; in the balancer's network, or this host's.
	Ran in_root(const std::string &command, bool balancer = true) const
	{
		const std::string line = fmt::format("env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "
						     "DEBIAN_FRONTEND=noninteractive LC_ALL=C chroot {} {} 2>&1",
						     root_, command);

		return balancer ? lab_.run("balancer", line) : shell(line);
	}

	std::string setting(const std::string &name) const
	{
		const std::string unit = file_text(root_ + "/lib/systemd/system/holdfast.service");
		std::smatch match;

		return std::regex_search(unit, match, std::regex("\n" + name + "=([^\n]*)")) ? match[1].str() : "";
	}

	// As the unit says: its command, its capabilities, its directories; until it says that it is ready.
	pid_t start_service()
	{
		std::string capabilities = setting("CapabilityBoundingSet");

		for (size_t at = capabilities.find("CAP_"); at != std::string::npos; at = capabilities.find("CAP_"))
			capabilities.replace(at, 4, "+");
		std::replace(capabilities.begin(), capabilities.end(), ' ', ',');
		std::transform(capabilities.begin(), capabilities.end(), capabilities.begin(),
			       [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
		shell(fmt::format(
			"mkdir -p {0}/run/holdfast {0}/var/lib/holdfast && chmod 700 {0}/var/lib/holdfast && rm -f "
			"{0}/run/notify {0}/run/notified",
			root_));
		listener_ = lab_.start("balancer",
				       fmt::format("socat -u UNIX-RECV:{0}/run/notify OPEN:{0}/run/notified,creat,"
						   "append",
						   root_));
		for (int i = 0; i < 100 && shell("test -S " + root_ + "/run/notify").status; i++)
			std::this_thread::sleep_for(20ms);
		const pid_t pid = lab_.start("balancer",
					     fmt::format("env -i PATH=/usr/sbin:/usr/bin NOTIFY_SOCKET=/run/notify "
							 "chroot {} setpriv --bounding-set "
							 "-all,{} --no-new-privs {}",
							 root_, capabilities, setting("ExecStart")),
					     root_ + "/run/holdfastd.log");
		for (int i = 0; i < 500 * slowness() && !notified("READY=1"); i++)
			std::this_thread::sleep_for(20ms);
		EXPECT_TRUE(notified("READY=1")) << file_text(root_ + "/run/holdfastd.log");
		return pid;
	}

	void stop_service(pid_t pid)
	{
		lab_.stop(pid, SIGTERM);
		EXPECT_TRUE(notified("STOPPING=1")) << file_text(root_ + "/run/holdfastd.log");
		lab_.stop(listener_, SIGTERM);
	}

	bool notified(const std::string &text) const
	{
		return file_text(root_ + "/run/notified").find(text) != std::string::npos;
	}

	std::string traces() const
	{
		return shell(fmt::format(
				     "cd {} && find etc usr lib var/lib/holdfast run/holdfast var/lib/systemd -iname "
				     "'*holdfast*' ! -name holdfastd.log 2>/dev/null; ls sys/fs/bpf | grep -v "
				     "'[.]debug$'; grep holdfast etc/group etc/passwd",
				     root_))
			.output;
	}

	Lab lab_;
	std::string root_ = lab_.directory() + "/root", packages_ = lab_.directory() + "/packages", package_;
	pid_t listener_ = 0;
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

	// It runs as its unit says, and serves.
	std::ofstream(root_ + "/etc/holdfast/holdfast.yaml")
		<< Lab::base_config("auto")
		<< "persistence:\n  - {name: by-address, type: source-address}\nvirtual_servers:\n"
		<< "  - {name: shop, address: \"" << Lab::vip(true)
		<< "\", port: 80, protocol: tcp, forwarding: dnat, pool: web4, persistence: by-address}\n";
	pid_t service = start_service();
	const std::string server = lab_.ask_tcp(true, 1);
	EXPECT_NE(server, "");
	EXPECT_EQ(in_root("stat -c '%a %U:%G' /run/holdfast/holdfast.sock").output, "660 root:holdfast\n");
	EXPECT_EQ(in_root("holdfast status").status, 0);

	// Upgraded under traffic: no request fails, and nobody moves.
	const std::string log = lab_.directory() + "/requests";
	const pid_t client = lab_.start(
		"client",
		fmt::format("sh -c 'while :; do curl -s --max-time 5 --interface {} http://{}/ | head -1; done'",
			    Lab::client_address(true, 1), Lab::vip(true)),
		log);
	std::this_thread::sleep_for(500ms);
	shell(fmt::format("cp {} {}/next.deb", next_package(), root_));
	const Ran upgraded = in_root("apt-get -qq install -y --no-install-recommends /next.deb");
	ASSERT_EQ(upgraded.status, 0) << upgraded.output;
	EXPECT_NE(in_root("dpkg-query -W holdfast").output.find("9.9.9-1"), std::string::npos);
	stop_service(service); // as the package's scripts have systemd do it
	std::this_thread::sleep_for(500ms);
	service = start_service();
	std::this_thread::sleep_for(500ms);
	lab_.stop(client, SIGTERM);
	std::istringstream answers(file_text(log));
	int asked = 0;
	for (std::string line; std::getline(answers, line); asked++)
		EXPECT_EQ(line, server);
	EXPECT_GE(asked, 20);
	EXPECT_NE(file_text(root_ + "/run/holdfastd.log").find("adopted the maps"), std::string::npos);
	EXPECT_NE(file_text(root_ + "/etc/holdfast/holdfast.yaml").find("name: shop"), std::string::npos)
		<< "the configuration is its owner's";

	// Removed: nothing is left, not in the kernel either.
	stop_service(service);
	EXPECT_EQ(lab_.ask_tcp(true, 1), server) << "the kernel goes on";
	const Ran removed = in_root("apt-get -qq purge -y holdfast");
	EXPECT_EQ(removed.status, 0) << removed.output;
	EXPECT_EQ(traces(), "");
	EXPECT_EQ(lab_.ask_tcp(true, 1), "");
	EXPECT_EQ(lab_.run("balancer", "ip -d link show | grep -c 'prog/xdp'").output, "0\n");
	EXPECT_EQ(lab_.run("balancer", "bpftool net show | grep -c holdfast").output, "0\n");
}

} // namespace
} // namespace holdfast::test
