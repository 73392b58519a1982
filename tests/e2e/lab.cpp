// SPDX-License-Identifier: GPL-2.0
#include "e2e/lab.h"

#include <algorithm>
#include <arpa/inet.h>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <stdexcept>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace holdfast::test
{

namespace
{

int labs_made = 0;

} // namespace

double slowness()
{
	const char *text = std::getenv("HOLDFAST_TEST_SLOWNESS");

	return text ? std::atof(text) : 1.0;
}

Ran shell(const std::string &command)
{
	FILE *pipe = ::popen(fmt::format("( {} ) 2>&1", command).c_str(), "r");
	Ran ran;
	char buffer[4096];

	if (!pipe)
		throw std::runtime_error("popen");
	while (size_t count = std::fread(buffer, 1, sizeof(buffer), pipe))
		ran.output.append(buffer, count);
	const int status = ::pclose(pipe);
	ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return ran;
}

std::string program(const std::string &name)
{
	return std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
}

std::string source_directory()
{
	return HOLDFAST_SOURCE_DIRECTORY;
}

Lab::Lab(int clients)
{
	prefix_ = fmt::format("ht{}-{}", ::getpid(), ++labs_made);
	const Ran made =
		shell(fmt::format("bash -euc '. {}/scripts/lab; lab_up {} {} >&2; echo \"directory=$lab_directory\"'",
				  source_directory(), prefix_, clients));
	const size_t at = made.output.rfind("directory=");
	if (made.status != 0 || at == std::string::npos)
		throw std::runtime_error("lab_up: " + made.output);
	directory_ = made.output.substr(at + 10, made.output.find('\n', at) - at - 10);
	pins_ = "/sys/fs/bpf/holdfast-test-" + prefix_;
}

Lab::~Lab()
{
	if (daemon_)
		stop_daemon(SIGTERM);
	while (!children_.empty())
		stop(children_.back(), SIGKILL);
	run("balancer", fmt::format("{} --detach --pin-dir {}", program("holdfastd"), pins_));
	shell(fmt::format("rm -rf /sys/fs/bpf/{}-*", prefix_));
	for (const std::string &name : namespaces_)
		shell(fmt::format("ip netns del {}-{}", prefix_, name));
	shell(fmt::format("bash -c 'lab_prefix={} lab_directory={}; . {}/scripts/lab; lab_down'", prefix_, directory_,
			  source_directory()));
}

void Lab::add_namespace(const std::string &name)
{
	shell(fmt::format("ip netns add {}-{}", prefix_, name));
	run(name, "ip link set lo up");
	namespaces_.push_back(name);
}

std::string Lab::in(const std::string &where, const std::string &command) const
{
	return fmt::format("nsenter --net=/run/netns/{}-{} {}", prefix_, where, command);
}

pid_t Lab::start(const std::string &where, const std::string &command, const std::string &log)
{
	const std::string line = "exec " + in(where, command);
	const pid_t pid = ::fork();

	if (pid == 0) {
		const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
		const int in = ::open("/dev/null", O_RDONLY);

		::dup2(in, 0);
		::dup2(out, 1);
		::dup2(out, 2);
		::execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
		::_exit(127);
	}
	children_.push_back(pid);
	return pid;
}

void Lab::stop(pid_t pid, int signal)
{
	auto found = std::find(children_.begin(), children_.end(), pid);

	if (found == children_.end())
		return;
	children_.erase(found);
	::kill(pid, signal);
	::waitpid(pid, nullptr, 0);
}

void Lab::write_config(const std::string &yaml) const
{
	std::ofstream(directory_ + "/holdfast.yaml") << yaml;
}

void Lab::start_daemon(const std::string &yaml)
{
	write_config(yaml);
	start_daemon();
}

std::string Lab::daemon_command(const std::string &socket) const
{
	return fmt::format("{} --config {}/holdfast.yaml --socket {}/{} --pin-dir {} --state-dir {}/state",
			   program("holdfastd"), directory_, directory_, socket, pins_, directory_);
}

void Lab::start_daemon()
{
	daemon_ = start("balancer", daemon_command(), directory_ + "/daemon.log");
	const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(60 * slowness());

	while (holdfast("status").status != 0) {
		if (::waitpid(daemon_, nullptr, WNOHANG) == daemon_ || std::chrono::steady_clock::now() > deadline) {
			children_.erase(std::find(children_.begin(), children_.end(), daemon_));
			daemon_ = 0;
			throw std::runtime_error("the daemon does not start:\n" + daemon_log());
		}
		std::this_thread::sleep_for(std::chrono::milliseconds(20));
	}
}

void Lab::stop_daemon(int signal)
{
	stop(daemon_, signal);
	daemon_ = 0;
}

std::string Lab::daemon_log() const
{
	return shell("cat " + directory_ + "/daemon.log").output;
}

Ran Lab::holdfast(const std::string &arguments) const
{
	return shell(fmt::format("{} --socket {}/holdfast.sock {}", program("holdfast"), directory_, arguments));
}

nlohmann::json Lab::query(const std::string &arguments) const
{
	const Ran ran = holdfast("--json " + arguments);

	if (ran.status != 0)
		throw std::runtime_error(fmt::format("holdfast {}: {}", arguments, ran.output));
	return nlohmann::json::parse(ran.output);
}

std::string Lab::client_address(bool ipv4, int client)
{
	return ipv4 ? fmt::format("192.0.2.{}", 100 + client) : fmt::format("2001:db8::{:x}", 100 + client);
}

std::string Lab::member_address(bool ipv4, int number)
{
	return ipv4 ? fmt::format("10.0.2.1{}", number) : fmt::format("fd00:2::1{}", number);
}

std::string Lab::ask_tcp(bool ipv4, int client, int port) const
{
	const Ran ran = run("client", fmt::format("curl -s --max-time {} --interface {} http://{}:{}/", 3 * slowness(),
						  client_address(ipv4, client), vip_url(ipv4), port));

	return ran.status == 0 ? ran.output.substr(0, ran.output.find('\n')) : "";
}

namespace
{

struct Endpoint {
	sockaddr_storage storage{};
	socklen_t length = 0;

	Endpoint(bool ipv4, const std::string &address, int port)
	{
		auto *v4 = reinterpret_cast<sockaddr_in *>(&storage);
		auto *v6 = reinterpret_cast<sockaddr_in6 *>(&storage);

		if (ipv4) {
			v4->sin_family = AF_INET;
			v4->sin_port = htons(static_cast<uint16_t>(port));
			inet_pton(AF_INET, address.c_str(), &v4->sin_addr);
			length = sizeof(*v4);
		} else {
			v6->sin6_family = AF_INET6;
			v6->sin6_port = htons(static_cast<uint16_t>(port));
			inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr);
			length = sizeof(*v6);
		}
	}
	const sockaddr *get() const { return reinterpret_cast<const sockaddr *>(&storage); }
};

// Asks again after a second: a datagram may be lost while a neighbour is resolved.
std::string exchange_datagram(const Endpoint &from, const Endpoint &to, const std::string &text)
{
	const int fd = ::socket(from.storage.ss_family, SOCK_DGRAM, 0), on = 1;
	char buffer[256];
	std::string answer;

	::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (::bind(fd, from.get(), from.length) == 0 && ::connect(fd, to.get(), to.length) == 0) {
		for (int attempt = 0; attempt < 3 && answer.empty(); attempt++) {
			pollfd ready{fd, POLLIN, 0};

			if (::send(fd, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()) ||
			    ::poll(&ready, 1, static_cast<int>(1000 * slowness())) != 1)
				continue;
			const ssize_t length = ::recv(fd, buffer, sizeof(buffer), 0);
			if (length > 0)
				answer.assign(buffer, static_cast<size_t>(length));
		}
	}
	::close(fd);
	return answer.substr(0, answer.find('\n'));
}

// A process in the server's namespace that answers every datagram with its name.
pid_t start_name_service(const std::string &network, const std::string &name)
{
	const pid_t pid = ::fork();
	if (pid != 0)
		return pid;

	const Endpoint any(false, "::", 5353);
	const int net = ::open(network.c_str(), O_RDONLY), off = 0, on = 1;
	const int fd = ::setns(net, CLONE_NEWNET) == 0 ? ::socket(AF_INET6, SOCK_DGRAM, 0) : -1;
	::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	::setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
	if (::bind(fd, any.get(), any.length))
		::_exit(1);
	for (;;) {
		sockaddr_storage from{};
		char buffer[8192], control[256];
		iovec data{buffer, sizeof(buffer)};
		msghdr message{&from, sizeof(from), &data, 1, control, sizeof(control), 0};

		// The answer comes from the address that was asked.
		if (::recvmsg(fd, &message, 0) < 0)
			continue;
		std::memcpy(buffer, name.data(), name.size());
		data.iov_len = name.size();
		message.msg_flags = 0;
		::sendmsg(fd, &message, 0);
	}
}

} // namespace

// On a thread of its own, which goes into the client's namespace.
std::string Lab::ask_udp(bool ipv4, int client, int port, int source_port, const std::string &text) const
{
	std::string answer;

	std::thread([&] {
		const int fd = ::open(fmt::format("/run/netns/{}-client", prefix_).c_str(), O_RDONLY);

		if (::setns(fd, CLONE_NEWNET) == 0)
			answer = exchange_datagram(Endpoint(ipv4, client_address(ipv4, client), source_port),
						   Endpoint(ipv4, vip(ipv4), port), text);
		::close(fd);
	}).join();
	return answer;
}

namespace
{

std::string exchange_stream(const Endpoint &from, const Endpoint &to, const std::string &bytes, bool to_the_end)
{
	const int fd = ::socket(from.storage.ss_family, SOCK_STREAM, 0);
	const timeval patience{static_cast<time_t>(3 * slowness()), 0};
	std::string answer;
	char buffer[4096];

	::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (::bind(fd, from.get(), from.length) == 0 && ::connect(fd, to.get(), to.length) == 0 &&
	    ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size())) {
		while (to_the_end || answer.find('\n') == std::string::npos) {
			const ssize_t length = ::recv(fd, buffer, sizeof(buffer), 0);

			if (length <= 0)
				break;
			answer.append(buffer, static_cast<size_t>(length));
		}
	}
	::close(fd);
	if (!to_the_end)
		return answer.substr(0, answer.find('\n'));
	while (!answer.empty() && answer.back() == '\n')
		answer.pop_back();
	return answer.substr(answer.rfind('\n') + 1);
}

} // namespace

std::string Lab::ask_stream(bool ipv4, int client, int port, const std::string &bytes, bool to_the_end) const
{
	std::string answer;

	std::thread([&] {
		const int fd = ::open(fmt::format("/run/netns/{}-client", prefix_).c_str(), O_RDONLY);

		if (::setns(fd, CLONE_NEWNET) == 0)
			answer = exchange_stream(Endpoint(ipv4, client_address(ipv4, client), 0),
						 Endpoint(ipv4, vip(ipv4), port), bytes, to_the_end);
		::close(fd);
	}).join();
	return answer;
}

std::string Lab::echo_hash(bool ipv4, int client, int port, const std::string &file) const
{
	const char *family = ipv4 ? "TCP4" : "TCP6";
	const std::string source = ipv4 ? client_address(ipv4, client) : "[" + client_address(ipv4, client) + "]";
	const Ran ran =
		run("client",
		    fmt::format("sh -c 'socat -t {} -b 65536 STDIO {}:{}:{},bind={} < {} | tee {}/echoed | sha256sum'",
				60 * slowness(), family, vip_url(ipv4), port, source, file, directory_));

	return ran.output.substr(0, 64);
}

void Lab::start_services()
{
	for (const int number : {1, 2, 3}) {
		const std::string where = fmt::format("rs{}", number);

		start(where, "socat -b 65536 TCP6-LISTEN:9000,ipv6only=0,fork,reuseaddr EXEC:cat");
		for (const int port : {3389, 8583})
			start(where, fmt::format("socat TCP6-LISTEN:{},ipv6only=0,fork,reuseaddr,backlog=128 "
						 "SYSTEM:\"echo {}; cat >/dev/null\"",
						 port, where));
		children_.push_back(start_name_service(fmt::format("/run/netns/{}-{}", prefix_, where), where));
	}
	for (const int number : {1, 2, 3}) {
		const std::string where = fmt::format("rs{}", number);

		for (int i = 0; i < 100 && (run(where, "ss -ltnuH").output.find(":9000") == std::string::npos ||
					    run(where, "ss -ltnuH").output.find(":8583") == std::string::npos);
		     i++)
			std::this_thread::sleep_for(std::chrono::milliseconds(20));
	}
}

void Lab::wait_for_port(const std::string &where, int port) const
{
	for (int i = 0; i < 200 && run(where, "ss -ltnH").output.find(fmt::format(":{} ", port)) == std::string::npos;
	     i++)
		std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

void Lab::start_talk()
{
	for (const int number : {1, 2, 3}) {
		for (const auto &[program, port] : {std::pair("http_talk", 7000), {"cookie_talk", 7100}})
			start(fmt::format("rs{}", number),
			      fmt::format("{}/tests/e2e/{} serve rs{} {}", source_directory(), program, number, port));
	}
	for (const int number : {1, 2, 3}) {
		for (const int port : {7000, 7100})
			wait_for_port(fmt::format("rs{}", number), port);
	}
}

void Lab::start_tls()
{
	shell(fmt::format("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=lab -keyout {0}/key.pem -out "
			  "{0}/cert.pem",
			  directory_));
	// One for each family: a session of the one is not the other's.
	for (const int number : {1, 2, 3}) {
		for (const char *family : {"-4", "-6"})
			start(fmt::format("rs{}", number),
			      fmt::format("openssl s_server {1} -accept 7443 -cert {0}/cert.pem -key {0}/key.pem "
					  "-quiet -www",
					  directory_, family));
	}
	for (const int number : {1, 2, 3})
		wait_for_port(fmt::format("rs{}", number), 7443);
}

std::string Lab::talk_pools()
{
	std::string yaml;

	for (const auto &[name, port] : {std::pair("talk", 7000), {"browsed", 7100}, {"tls", 7443}}) {
		for (const bool ipv4 : {true, false}) {
			yaml += fmt::format("  - name: {}{}\n    members:\n", name, ipv4 ? 4 : 6);
			for (int i = 1; i <= 3; i++)
				yaml += fmt::format("      - {{name: rs{}, address: \"{}\", port: {}}}\n", i,
						    member_address(ipv4, i), port);
		}
	}
	return yaml;
}

nlohmann::json Lab::talk(const std::string &host, int port, const std::string &options) const
{
	return said(fmt::format("http_talk ask {} {} {}", host, port, options));
}

nlohmann::json Lab::browse(const std::string &host, int port, const std::string &options) const
{
	return said(fmt::format("cookie_talk browse {} {} {}", host, port, options));
}

nlohmann::json Lab::said(const std::string &command) const
{
	const Ran ran = run("client", fmt::format("timeout 400 {}/tests/e2e/{}", source_directory(), command));
	const size_t at = ran.output.rfind("{\"done\"");

	if (at == std::string::npos)
		throw std::runtime_error(command + ": " + ran.output);
	auto said = nlohmann::json::parse(ran.output.substr(at));
	if (at)
		said["trouble"] = ran.output.substr(0, at);
	return said;
}

uint64_t Lab::counter(const std::string &reason) const
{
	const auto counters = query("show counters --all");

	for (const auto &one : counters["counters"]) {
		if (one["reason"] == reason)
			return one["packets"];
	}
	ADD_FAILURE() << "no counter " << reason;
	return 0;
}

void Lab::expect_no_damage() const
{
	for (const char *host : {"client", "rs1", "rs2", "rs3"}) {
		const std::string numbers =
			run(host, "nstat -asz TcpInSegs TcpInCsumErrors TcpExtPAWSEstab TcpExtPAWSActive").output;
		auto number = [&](const std::string &name) {
			const size_t at = numbers.find("\n" + name + " ");

			return at == std::string::npos ? 0 : std::atol(numbers.c_str() + at + name.size() + 1);
		};

		EXPECT_NE(numbers.find("TcpInCsumErrors"), std::string::npos) << numbers;
		EXPECT_EQ(number("TcpInCsumErrors"), 0) << host << ": " << numbers;
		EXPECT_EQ(number("TcpExtPAWSActive"), 0) << host << ": " << numbers;
		// A wire that doubles and delays brings a segment whose time is over now and then.
		EXPECT_LE(number("TcpExtPAWSEstab"), bad_wires_ ? number("TcpInSegs") / 100 : 0)
			<< host << ": " << numbers;
	}
}

void Lab::make_wire_bad(const std::string &where, const std::string &interface, int per_mille)
{
	const std::string pin = fmt::format("/sys/fs/bpf/{}-{}-{}", prefix_, where, interface);
	bad_wires_ = true;
	// The filter comes before any other on the interface, and stays: only its number changes.
	const Ran ran = shell(fmt::format(
		"set -e; if [ ! -e {0} ]; then mkdir -p {0}; bpftool prog loadall {1} {0} pinmaps {0}; {2} || :; {3}; "
		"fi; "
		"bpftool map update pinned {0}/per_mille key 0 0 0 0 value {4} {5} 0 0",
		pin, program("../tests/e2e/bad_wire.bpf.o"),
		in(where, fmt::format("tc qdisc add dev {} clsact 2>/dev/null", interface)),
		in(where,
		   fmt::format("tc filter add dev {} ingress pref 1 bpf da object-pinned {}/bad_wire", interface, pin)),
		per_mille & 255, per_mille >> 8));

	if (ran.status != 0)
		throw std::runtime_error("make_wire_bad: " + ran.output);
}

void Lab::make_one_armed() const
{
	run("switch", "ip link add arm type veth peer name arm-client");
	run("switch", "sh -c 'ethtool -K arm tx off gro on; ethtool -K arm-client tx off gro on; ip link set arm "
		      "master bridge up'");
	move_interface("switch", "arm-client", "client");
	run("client",
	    "sh -c 'ip link set arm-client up; ip addr add 198.51.100.5/32 dev arm-client; ip -6 addr add "
	    "2001:db8:a::5/128 dev arm-client nodad; ip route add 10.0.2.100/32 dev arm-client src 198.51.100.5; "
	    "ip -6 route add fd00:2::100/128 dev arm-client src 2001:db8:a::5'");
	run("balancer",
	    "sh -c 'ip addr add 10.0.2.100/32 dev servers; ip -6 addr add fd00:2::100/128 dev servers nodad; "
	    "ip route add 198.51.100.0/24 dev servers; ip -6 route add 2001:db8:a::/64 dev servers'");
}

void Lab::make_direct()
{
	run("switch", "ip link add back type veth peer name back-client");
	run("switch", "sh -c 'ethtool -K back tx off gro on; ethtool -K back-client tx off gro on; ip link set back "
		      "master bridge up'");
	move_interface("switch", "back-client", "client");
	run("client", "sh -c 'sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.back-client.rp_filter=0; "
		      "ip link set back-client up; ip addr add 10.0.2.200/24 dev back-client; "
		      "ip -6 addr add fd00:2::200/64 dev back-client nodad'");
	for (const int number : {1, 2, 3})
		run(fmt::format("rs{}", number),
		    fmt::format("sh -c 'ip addr add {}/32 dev lo; ip -6 addr add {}/128 dev lo nodad; "
				"ip route add 192.0.2.0/24 via 10.0.2.200; ip -6 route add 2001:db8::/64 via "
				"fd00:2::200; ip route del default; ip -6 route del default'",
				vip(true), vip(false)));
	direct_ = true;
}

void Lab::forget_gateways()
{
	hides_clients_ = true;
	for (const int number : {1, 2, 3})
		run(fmt::format("rs{}", number), "sh -c 'ip route del default; ip -6 route del default'");
}

std::string Lab::service_address(bool ipv4, int number) const
{
	return direct_ ? vip(ipv4) : member_address(ipv4, number);
}

void Lab::move_interface(const std::string &from, const std::string &interface, const std::string &to) const
{
	shell(in(from, fmt::format("ip link set {} netns /run/netns/{}-{}", interface, prefix_, to)));
}

std::string Lab::base_config(const std::string &mode, int members)
{
	std::string yaml = fmt::format("version: 1\ntables: {{sessions: 65536, connections: 131072}}\ninterfaces:\n"
				       "  - {{name: clients, mode: {}}}\n  - {{name: servers, mode: {}}}\npools:\n",
				       mode, mode);

	for (const auto &[name, port] : {std::pair("web", 8080),
					 {"proxied", 8088},
					 {"echo", 9000},
					 {"name", 5353},
					 {"sip", 5060},
					 {"desk", 3389},
					 {"cards", 8583},
					 {"radius", 0}}) {
		for (const bool ipv4 : {true, false}) {
			yaml += fmt::format("  - name: {}{}\n    members:\n", name, ipv4 ? 4 : 6);
			for (int i = 1; i <= members; i++)
				yaml += fmt::format("      - {{name: rs{}, address: \"{}\"{}}}\n", i,
						    member_address(ipv4, i),
						    port ? fmt::format(", port: {}", port) : "");
		}
	}
	return yaml;
}

} // namespace holdfast::test
