// SPDX-License-Identifier: GPL-2.0
// The lab of scripts/lab, for tests: real clients and servers in namespaces of
// their own, a real daemon between them. Everything is removed with the object,
// also after a failed test.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <sys/types.h>
#include <vector>

namespace holdfast::test
{

struct Ran {
	int status = 0;
	std::string output; // stdout and stderr
};

// HOLDFAST_TEST_SLOWNESS: on an emulated machine everything takes many times as long.
double slowness();

// Runs a shell command to its end.
Ran shell(const std::string &command);

class Lab
{
public:
	explicit Lab(int clients = 12);
	~Lab();
	Lab(const Lab &) = delete;
	Lab &operator=(const Lab &) = delete;

	// Commands in a namespace: client, balancer, switch, rs1, rs2, rs3.
	std::string in(const std::string &where, const std::string &command) const;
	Ran run(const std::string &where, const std::string &command) const { return shell(in(where, command)); }
	// A process that goes on until the lab ends, or stop() is called.
	pid_t start(const std::string &where, const std::string &command, const std::string &log = "/dev/null");
	void stop(pid_t pid, int signal);

	// The daemon in the balancer's namespace. start_daemon() returns when it answers.
	void write_config(const std::string &yaml) const;
	void start_daemon(const std::string &yaml);
	void start_daemon();
	void stop_daemon(int signal);
	std::string daemon_log() const;
	std::string daemon_command(const std::string &socket = "holdfast.sock") const;
	Ran holdfast(const std::string &arguments) const;
	nlohmann::json query(const std::string &arguments) const;

	// Which server answers a new connection (of HTTP, UDP) of a client; "" if none does.
	std::string ask_tcp(bool ipv4, int client, int port = 80) const;
	std::string ask_udp(bool ipv4, int client, int port, int source_port, const std::string &text = "who") const;
	// The first line that a server sends to a new connection of a client that begins with
	// `bytes`; its last one, where it ends by itself. "" if there is none.
	std::string ask_stream(bool ipv4, int client, int port, const std::string &bytes,
			       bool to_the_end = false) const;
	// Sends `file` through the echo service and returns what came back, as SHA-256.
	std::string echo_hash(bool ipv4, int client, int port, const std::string &file) const;

	// Services on every server beside nginx: TCP echo on 9000, a UDP name service on 5353; on
	// TCP ports 3389 and 8583 one that says its name at once, and takes whatever comes.
	void start_services();

	// Until something in the namespace listens there.
	void wait_for_port(const std::string &where, int port) const;

	// Servers of http_talk on port 7000 of every server, of cookie_talk on 7100, and TLS servers on 7443; their
	// pools (talk4/6, browsed4/6, tls4/6).
	void start_talk();
	void start_tls();
	static std::string talk_pools();
	// What http_talk's client says of its requests (its options: see there).
	nlohmann::json talk(const std::string &host, int port, const std::string &options) const;
	// Likewise, cookie_talk's browsers.
	nlohmann::json browse(const std::string &host, int port, const std::string &options) const;

	// How often the daemon's data path has counted this reason.
	uint64_t counter(const std::string &reason) const;
	// Checksums that a host found wrong, and segments that PAWS refused, anywhere: there are none.
	void expect_no_damage() const;

	// What comes in by an interface is lost, doubled and reordered: each, so many of a thousand packets.
	void make_wire_bad(const std::string &where, const std::string &interface, int per_mille);
	// The client gets an arm in the servers' network, by which it reaches arm_vip(): all of the
	// balancer's packets come and go by one interface.
	void make_one_armed() const;
	// For forwarding direct: servers have the virtual address on lo, and a way of their own to the client.
	void make_direct();
	// For fullnat: servers know no way to the clients.
	void forget_gateways();
	bool hides_clients() const { return hides_clients_; }
	// What they see as clients then.
	static std::string source_address(bool ipv4) { return ipv4 ? "10.0.2.1" : "fd00:2::1"; }
	// What servers are asked at.
	std::string service_address(bool ipv4, int number) const;
	// Another host, with nothing in it.
	void add_namespace(const std::string &name);
	void move_interface(const std::string &from, const std::string &interface, const std::string &to) const;

	static std::string client_address(bool ipv4, int client);
	static std::string vip(bool ipv4) { return ipv4 ? "192.0.2.10" : "2001:db8::10"; }
	// In the servers' network: see make_one_armed().
	static std::string arm_vip(bool ipv4) { return ipv4 ? "10.0.2.100" : "fd00:2::100"; }
	static std::string vip_url(bool ipv4) { return ipv4 ? "192.0.2.10" : "[2001:db8::10]"; }
	static std::string member_address(bool ipv4, int number);

	// The lab's pools (web4 and web6: nginx; echo4/6; name4/6; sip4/6; desk4/6; cards4/6;
	// radius4/6, whose members have no port) and interfaces, in `mode`.
	static std::string base_config(const std::string &mode, int members = 3);

	const std::string &directory() const { return directory_; }
	const std::string &pins() const { return pins_; }

private:
	nlohmann::json said(const std::string &command) const;

	std::string prefix_, directory_, pins_;
	pid_t daemon_ = 0;
	bool bad_wires_ = false;
	bool direct_ = false, hides_clients_ = false;
	std::vector<pid_t> children_;
	std::vector<std::string> namespaces_; // beside the lab's own
};

// Where the programs under test are: beside this test program.
std::string program(const std::string &name);
std::string source_directory();

} // namespace holdfast::test
