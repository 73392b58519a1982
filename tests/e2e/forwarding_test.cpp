// SPDX-License-Identifier: GPL-2.0
// What the forwarding modes meet beside the plain way of the matrix: one arm, several
// interfaces, sources that run out, packets that GRO has put on lists, and changes from
// one mode to another while connections are under way.
#include <chrono>
#include <fmt/format.h>
#include <fstream>
#include <future>
#include <gtest/gtest.h>
#include <set>
#include <sstream>
#include <thread>

#include "e2e/lab.h"
#include "e2e/place.h"
#include "support/packet.h"

namespace holdfast::test
{
namespace
{

struct Mode {
	std::string word;
	int first_port; // virtual servers' ports: http, echo, name, and http that is read
};

class Forwarding : public testing::TestWithParam<Place>
{
protected:
	bool ipv4() const { return GetParam().ipv4; }
	std::string other_family() const { return ipv4() ? "nat46" : "nat64"; }
	std::vector<Mode> translating() const { return {{"dnat", 1000}, {"fullnat", 2000}, {other_family(), 3000}}; }
	bool has_ipv4_members(const std::string &forwarding) const
	{
		return forwarding == "nat64" || (ipv4() && forwarding != "nat46");
	}
	std::string sources(const std::string &forwarding, const std::string &ports = "") const
	{
		if (forwarding == "dnat" || forwarding == "direct")
			return "";
		return fmt::format(", source_addresses: [\"{}\"]{}", source(forwarding),
				   ports.empty() ? "" : ", source_ports: " + ports);
	}
	// What the members see.
	std::string source(const std::string &forwarding) const
	{
		return Lab::source_address(has_ipv4_members(forwarding));
	}

	std::string server(const std::string &name, const std::string &vip, int port, const std::string &protocol,
			   const std::string &forwarding, const std::string &pool, const std::string &more) const
	{
		return fmt::format("  - {{name: {}, address: \"{}\", port: {}, protocol: {}, forwarding: {}, pool: "
				   "{}{}{}}}\n",
				   name, vip, port, protocol, forwarding, pool, has_ipv4_members(forwarding) ? 4 : 6,
				   more);
	}

	// Of every mode the services of plain connections, datagrams and a rule that reads streams.
	std::string config(const std::string &vip) const
	{
		std::string yaml = Lab::base_config(GetParam().hook) +
				   "persistence:\n  - {name: by-address, type: source-address}\n"
				   "  - {name: by-cookie, type: cookie-hash, keyword: sid}\nvirtual_servers:\n";

		for (const auto &[forwarding, port] : translating()) {
			const std::string more = ", persistence: by-address" + sources(forwarding);

			yaml += server(forwarding + "-web", vip, port, "tcp", forwarding, "web", more);
			yaml += server(forwarding + "-echo", vip, port + 1, "tcp", forwarding, "echo", more);
			yaml += server(forwarding + "-name", vip, port + 2, "udp", forwarding, "name", more);
			yaml += server(forwarding + "-read", vip, port + 3, "tcp", forwarding, "web",
				       ", persistence: by-cookie" + sources(forwarding));
		}
		return yaml;
	}

	std::string url(const std::string &vip) const { return ipv4() ? vip : "[" + vip + "]"; }

	// The server that answers, and the client that it sees.
	std::pair<std::string, std::string> ask(const Lab &lab, const std::string &from, const std::string &vip,
						int port, const std::string &more = "") const
	{
		const Ran ran =
			lab.run("client", fmt::format("curl -sS --max-time 10 --interface {} {} http://{}:{}/client",
						      from, more, url(vip), port));
		std::istringstream words(ran.output);
		std::string who, client;

		words >> who >> client;
		EXPECT_EQ(ran.status, 0) << from << " " << port << ": " << ran.output;
		EXPECT_TRUE(who.starts_with("rs")) << from << " " << port << ": " << ran.output;
		return {who, client};
	}

	std::string ask_datagram(const Lab &lab, const std::string &from, const std::string &vip, int port,
				 int size = 3) const
	{
		const Ran ran = lab.run(
			"client",
			fmt::format(
				"python3 -c 'import socket; s = socket.socket(socket.{}, socket.SOCK_DGRAM); "
				"s.settimeout(5); s.bind((\"{}\", 0)); s.connect((\"{}\", {})); s.send(b\"w\" * {}); "
				"print(s.recv(9000).split()[0].decode())'",
				ipv4() ? "AF_INET" : "AF_INET6", from, vip, port, size));

		return ran.output.substr(0, ran.output.find('\n'));
	}

	// There and back as it was.
	void expect_echo(const Lab &lab, const std::string &from, const std::string &vip, int port) const
	{
		const std::string file = lab.directory() + "/payload";
		const Payload payload(2 * 1024 * 1024);

		std::ofstream(file, std::ios::binary)
			.write(reinterpret_cast<const char *>(payload.bytes.data()),
			       static_cast<std::streamsize>(payload.bytes.size()));
		const Ran ran = lab.run(
			"client", fmt::format("sh -c 'socat -t 60 -b 65536 STDIO {}:{}:{},bind={} < {} | cmp - {}'",
					      ipv4() ? "TCP4" : "TCP6", url(vip), port, url(from), file, file));
		EXPECT_EQ(ran.status, 0) << from << " " << port << ": " << ran.output;
	}

	// Every service, of every mode, from every client address: sticks, arrives whole, and members see whom they should.
	void expect_all_served(const Lab &lab, const std::vector<std::string> &clients, const std::string &vip) const
	{
		std::set<std::string> used;

		for (const auto &[forwarding, port] : translating()) {
			for (const std::string &client : clients) {
				const auto [first, seen] = ask(lab, client, vip, port);
				const std::string named = ask_datagram(lab, client, vip, port + 2);

				EXPECT_EQ(seen, forwarding == "dnat" ? client : source(forwarding));
				EXPECT_TRUE(named.starts_with("rs")) << forwarding << " " << client << ": " << named;
				for (int i = 0; i < 2; i++) {
					EXPECT_EQ(ask(lab, client, vip, port).first, first) << forwarding;
					EXPECT_EQ(ask_datagram(lab, client, vip, port + 2), named) << forwarding;
				}
				// In fragments, and on.
				EXPECT_EQ(ask_datagram(lab, client, vip, port + 2, 4000), named) << forwarding;
				const std::string read = ask(lab, client, vip, port + 3, "-H 'Cookie: sid=x'").first;
				EXPECT_EQ(ask(lab, clients[0], vip, port + 3, "-H 'Cookie: sid=x'").first, read)
					<< forwarding;
				expect_echo(lab, client, vip, port + 1);
				used.insert(first);
				used.insert(named);
			}
		}
		EXPECT_GE(used.size(), 2U);
		lab.expect_no_damage();
	}
};

const Place places[] = {{true, "xdp"}, {true, "tc"}, {false, "xdp"}, {false, "tc"}};

INSTANTIATE_TEST_SUITE_P(EndToEnd, Forwarding, testing::ValuesIn(places), place_name);

// Everything comes and goes by one interface.
TEST_P(Forwarding, OneArmed)
{
	Lab lab(1);
	const std::string vip = Lab::arm_vip(ipv4()), near = ipv4() ? "10.0.2.200" : "fd00:2::200";

	lab.make_one_armed();
	lab.start_services();
	// The members have the address, too, and tell nobody; who asks is on their network, and is answered past the
	// balancer.
	lab.run("client", "sh -c 'ip addr add 10.0.2.200/32 dev arm-client; ip -6 addr add fd00:2::200/128 dev "
			  "arm-client nodad; ip route add 10.0.2.0/27 dev arm-client; "
			  "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.arm-client.rp_filter=0; "
			  "ip -6 route add fd00:2::/123 dev arm-client'");
	for (const int number : {1, 2, 3})
		lab.run(fmt::format("rs{}", number),
			fmt::format(
				"sh -c 'sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2; "
				"ip addr add {}/32 dev lo; ip -6 addr add {}/128 dev lo nodad'",
				Lab::arm_vip(true), Lab::arm_vip(false)));
	lab.start_daemon(config(vip) +
			 server("direct-web", vip, 8080, "tcp", "direct", "web", ", persistence: by-address") +
			 server("direct-name", vip, 5353, "udp", "direct", "name", ", persistence: by-address"));
	expect_all_served(lab, {ipv4() ? "198.51.100.5" : "2001:db8:a::5"}, vip);
	const auto [first, seen] = ask(lab, near, vip, 8080);
	EXPECT_EQ(seen, near);
	EXPECT_EQ(ask(lab, near, vip, 8080).first, first);
	const std::string named = ask_datagram(lab, near, vip, 5353);
	EXPECT_TRUE(named.starts_with("rs")) << named;
	EXPECT_EQ(ask_datagram(lab, near, vip, 5353, 4000), named);
}

// Two networks of clients, and a member behind an interface of its own.
TEST_P(Forwarding, SeveralInterfaces)
{
	Lab lab(1);
	const std::string here = Lab::client_address(ipv4(), 1), there = ipv4() ? "203.0.113.5" : "2001:db8:c::5";

	lab.run("client",
		"sh -c 'ip link add second type veth peer name seconds; ethtool -K second tx off gro on; "
		"ethtool -K seconds tx off gro on; ip link set second up; ip addr add 203.0.113.5/24 dev second; "
		"ip -6 addr add 2001:db8:c::5/64 dev second nodad; sysctl -qw net.ipv4.conf.all.rp_filter=0 "
		"net.ipv4.conf.second.rp_filter=0; ip rule add from 203.0.113.5 table 7; "
		"ip route add default via 203.0.113.1 table 7; ip -6 rule add from 2001:db8:c::5 table 7; "
		"ip -6 route add default via 2001:db8:c::1 table 7'");
	lab.move_interface("client", "seconds", "balancer");
	lab.run("rs3",
		"sh -c 'ip link del wire; ip link add wire type veth peer name third; ethtool -K wire tx off gro on; "
		"ethtool -K third tx off gro on; ip link set wire up; ip addr add 10.0.3.13/24 dev wire; "
		"ip addr add 10.0.2.13/32 dev wire; ip -6 addr add fd00:3::13/64 dev wire nodad; "
		"ip -6 addr add fd00:2::13/128 dev wire nodad; ip route add default via 10.0.3.1; "
		"ip -6 route add default via fd00:3::1'");
	lab.move_interface("rs3", "third", "balancer");
	lab.run("balancer",
		"sh -c 'ip link set seconds up; ip link set third up; ip addr add 203.0.113.1/24 dev seconds; "
		"ip -6 addr add 2001:db8:c::1/64 dev seconds nodad; ip addr add 10.0.3.1/24 dev third; "
		"ip -6 addr add fd00:3::1/64 dev third nodad; ip route add 10.0.2.13 via 10.0.3.13; "
		"ip -6 route add fd00:2::13 via fd00:3::13'");
	lab.start_services();
	std::string yaml = config(Lab::vip(ipv4()));
	yaml.insert(yaml.find("pools:"),
		    fmt::format("  - {{name: seconds, mode: {0}}}\n  - {{name: third, mode: {0}}}\n", GetParam().hook));
	lab.start_daemon(yaml);
	expect_all_served(lab, {here, there}, Lab::vip(ipv4()));
	// By whichever they come, to the member behind the third one, too.
	for (const char *number : {"1", "2"}) {
		for (const char *family : {"4", "6"})
			ASSERT_EQ(lab.holdfast(fmt::format("member disable web{}/rs{}", family, number)).status, 0);
	}
	for (const Mode &mode : translating()) {
		for (const std::string &client : {here, there})
			EXPECT_EQ(ask(lab, client, Lab::vip(ipv4()), mode.first_port).first, "rs3") << mode.word;
	}
}

// More clients than ports: those that got one are not disturbed, the others are told apart
// by a counter, and get theirs when ports are free again.
TEST_P(Forwarding, SourcesThatRunOut)
{
	constexpr int ports = 10, streams = 16, sockets = 16;
	const std::string forwarding = GetParam().hook == "xdp" ? "fullnat" : other_family();
	Lab lab(1);
	const std::string vip = Lab::vip(ipv4()), script = lab.directory() + "/clients";

	lab.forget_gateways();
	lab.start_services();
	lab.start_daemon(Lab::base_config(GetParam().hook, 1) + "virtual_servers:\n" +
			 server("echo", vip, 9000, "tcp", forwarding, "echo", sources(forwarding, "40000-40009")) +
			 server("name", vip, 5353, "udp", forwarding, "name",
				sources(forwarding, "41000-41009") + ", idle_timeout: 3"));
	std::ofstream(script) << R"(
import json, socket, sys, time
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
streams, refused, echoed, named, later = [], 0, 0, 0, 0
for number in range(int(sys.argv[2])):
    one = socket.socket(family, socket.SOCK_STREAM)
    one.settimeout(0.4 * float(sys.argv[4]))
    try:
        one.connect((sys.argv[1], 9000))
        one.settimeout(5)
        streams.append(one)
        time.sleep(0.1) # the server's backlog is short
    except OSError:
        refused += 1
        one.close()
for round in range(3):
    for number, one in enumerate(streams):
        text = b"%d.%d" % (number, round) * 300
        one.sendall(text)
        got = b""
        while len(got) < len(text):
            got += one.recv(65536) or sys.exit("closed")
        echoed += got == text
def ask(seconds):
    one = socket.socket(family, socket.SOCK_DGRAM)
    one.settimeout(seconds)
    one.connect((sys.argv[1], 5353))
    one.send(b"who")
    try:
        return one.recv(100) == b"rs1"
    except OSError:
        return False
named = sum(ask(0.2 * float(sys.argv[4])) for number in range(int(sys.argv[3])))
until = time.time() + 30
while later < 2 and time.time() < until:
    later += ask(1)
print(json.dumps({"streams": len(streams), "refused": refused, "echoed": echoed, "named": named, "later": later}))
)";
	const Ran ran =
		lab.run("client", fmt::format("python3 {} {} {} {} {}", script, vip, streams, sockets, slowness()));
	ASSERT_EQ(ran.status, 0) << ran.output;
	const auto said = nlohmann::json::parse(ran.output);
	// 32 attempts at random find the last free port of ten in 97 of 100 cases.
	EXPECT_GE(said["streams"], ports - 3) << said;
	EXPECT_LE(said["streams"], ports) << said;
	EXPECT_EQ(said["echoed"], 3 * said["streams"].get<int>()) << said;
	EXPECT_GE(said["named"], ports - 3) << said;
	EXPECT_LE(said["named"], ports) << said;
	EXPECT_EQ(said["later"], 2) << "ports that are free again: " << said;
	// An answer that is late is none; most are not.
	const unsigned without = said["refused"].get<unsigned>() + sockets - said["named"].get<unsigned>();
	EXPECT_GE(lab.counter("ports_exhausted"), without / 2) << said;
	lab.expect_no_damage();
}

// GRO may put packets on a list, of which each has its headers, instead of making one of them.
TEST_P(Forwarding, ListsOfGro)
{
	Lab lab(1);

	for (const char *interface : {"clients", "servers"})
		ASSERT_EQ(lab.run("balancer", fmt::format("ethtool -K {} gro on rx-gro-list on", interface)).status, 0);
	lab.start_services();
	lab.start_daemon(config(Lab::vip(ipv4())));
	expect_all_served(lab, {Lab::client_address(ipv4(), 1)}, Lab::vip(ipv4()));
}

// From one mode to another, and back, while connections are under way: they stay in that in which they
// began, and new ones are in the new mode. Where the members' family is another one, they end at once.
TEST_P(Forwarding, ChangesUnderTraffic)
{
	Lab lab(1);
	const std::string vip = Lab::vip(ipv4()), client = Lab::client_address(ipv4(), 1);
	const std::string file = lab.directory() + "/holdfast.yaml";
	auto yaml = [&](const std::string &forwarding) {
		return Lab::base_config(GetParam().hook) + Lab::talk_pools() +
		       "persistence:\n  - {name: by-cookie, type: cookie-hash, keyword: sid}\nvirtual_servers:\n" +
		       server("web", vip, 80, "tcp", forwarding, "web", sources(forwarding)) +
		       server("echo", vip, 9000, "tcp", forwarding, "echo", sources(forwarding)) +
		       server("talk", vip, 7000, "tcp", forwarding, "talk",
			      ", persistence: by-cookie" + sources(forwarding));
	};
	// What it sends comes back, twenty times a second.
	auto echo = [&](int rounds) {
		return std::async(std::launch::async, [&lab, vip, rounds] {
			return lab
				.run("client", fmt::format("timeout 60 python3 -c 'import socket, sys, time\n"
							   "one = socket.create_connection((\"{}\", 9000), 5)\n"
							   "one.settimeout(10)\n"
							   "for number in range({}):\n"
							   "    text = b\"%d \" % number * 500\n"
							   "    one.sendall(text)\n"
							   "    got = b\"\"\n"
							   "    while len(got) < len(text):\n"
							   "        got += one.recv(65536) or sys.exit(\"closed\")\n"
							   "    assert got == text, number\n"
							   "    time.sleep(0.05)\nprint(\"whole\")'",
							   vip, rounds))
				.output;
		});
	};
	auto wait_for_echo = [&] {
		for (int i = 0; i < 200; i++) {
			if (lab.holdfast("show connections").output.find(":9000 ") != std::string::npos)
				return;
			std::this_thread::sleep_for(std::chrono::milliseconds(50));
		}
		ADD_FAILURE() << "no connection";
	};
	auto change = [&](const std::string &forwarding) {
		std::this_thread::sleep_for(std::chrono::milliseconds(700));
		lab.write_config(yaml(forwarding));
		const Ran trial = lab.holdfast("apply --dry-run " + file), ran = lab.holdfast("apply " + file);

		EXPECT_EQ(trial.status, 0) << trial.output;
		EXPECT_EQ(ran.status, 0) << ran.output;
		EXPECT_EQ(ask(lab, client, vip, 80).second, forwarding == "dnat" ? client : source(forwarding));
		return std::pair(trial.output, ran.output);
	};

	lab.start_services();
	lab.start_talk();
	lab.start_daemon(yaml("dnat"));
	auto slow = echo(100);
	auto asked = std::async(std::launch::async, [&] {
		return lab.talk(vip, 7000, "--requests 1000 --keys 12 --connections 2 --mixed --tame --largest 10000");
	});
	wait_for_echo();
	for (const char *forwarding : {"fullnat", "dnat", "fullnat", "dnat"})
		for (const auto &[foreseen, changed] = change(forwarding);
		     const std::string &text : {foreseen, changed})
			EXPECT_NE(text.find(" 0 connections"), std::string::npos) << forwarding << ": " << text;
	EXPECT_EQ(slow.get(), "whole\n");
	const auto said = asked.get();
	EXPECT_EQ(said["done"], 2000) << said;
	EXPECT_EQ(said["wrong"], 0) << said;
	EXPECT_EQ(said["corrupt"], 0) << said;
	EXPECT_GT(said["moves"], 500) << said;
	lab.expect_no_damage();

	for (const std::string &forwarding : {other_family(), std::string("dnat")}) {
		slow = echo(1000);
		wait_for_echo();
		for (const auto &[foreseen, changed] = change(forwarding);
		     const std::string &text : {foreseen, changed})
			EXPECT_EQ(text.find(" 0 connections"), std::string::npos) << forwarding << ": " << text;
		EXPECT_NE(slow.get().find("ConnectionResetError"), std::string::npos) << forwarding;
	}
}

} // namespace
} // namespace holdfast::test
