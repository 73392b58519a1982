// SPDX-License-Identifier: GPL-2.0
// The way to virtual servers, and what routers on it say: addresses that the daemon
// owns, pings, paths with a smaller MTU, members that nobody listens at.
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>

#include "e2e/lab.h"
#include "e2e/place.h"
#include "support/packet.h"

namespace holdfast::test
{
namespace
{

class Path : public testing::TestWithParam<Place>
{
protected:
	bool ipv4() const { return GetParam().ipv4; }

	// The modes in which errors have to be translated.
	std::vector<std::string> modes() const { return {"dnat", "fullnat", ipv4() ? "nat46" : "nat64"}; }
	bool has_ipv4_members(const std::string &forwarding) const
	{
		return forwarding == "nat64" || (ipv4() && forwarding != "nat46");
	}
	std::string sources(const std::string &forwarding) const
	{
		return forwarding == "dnat" ? ""
					    : fmt::format(", source_addresses: [\"{}\"]",
							  Lab::source_address(has_ipv4_members(forwarding)));
	}

	std::string config(const std::string &forwarding, const std::string &more = "") const
	{
		const std::string family = has_ipv4_members(forwarding) ? "4" : "6";
		std::string yaml = Lab::base_config(GetParam().hook) +
				   "persistence:\n  - {name: by-cookie, type: cookie-hash, keyword: sid}\n"
				   "  - {name: written, type: insert-cookie, keyword: SRV, custom_attribute: \"" +
				   std::string(150, 'x') +
				   "\"}\n"
				   "virtual_servers:\n";

		for (const auto &[name, port, rule] : {std::tuple("plain", 80, ""),
						       {"read", 81, ", persistence: by-cookie"},
						       {"edited", 82, ", persistence: written, x_forwarded_for: true"}})
			yaml += fmt::format("  - {{name: {}, address: \"{}\", port: {}, protocol: tcp, forwarding: {}, "
					    "pool: web{}{}{}{}}}\n",
					    name, Lab::vip(ipv4()), port, forwarding, family, rule, sources(forwarding),
					    more);
		return yaml + fmt::format("  - {{name: datagrams, address: \"{}\", port: 5353, protocol: udp, "
					  "forwarding: {}, pool: name{}{}{}}}\n",
					  Lab::vip(ipv4()), forwarding, family, sources(forwarding), more);
	}

	// Behind a host two routers and a far host (198.18.2.2), with a link of 1300 bytes between the
	// routers, that neither end knows of.
	void make_far_host(Lab &lab, const std::string &behind) const
	{
		lab.add_namespace("relay");
		lab.add_namespace("far");
		lab.run(behind,
			"sh -c 'ip link add near type veth peer name far-end; ip link set near mtu 1300 up; "
			"ip link set far-end mtu 1300; ip addr add 198.18.1.1/24 dev near; "
			"ip -6 addr add 2001:db8:1::1/64 dev near nodad; ip route add 198.18.2.0/24 via 198.18.1.2; "
			"ip -6 route add 2001:db8:2::/64 via 2001:db8:1::2; "
			"sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1'");
		lab.move_interface(behind, "far-end", "relay");
		lab.run("relay", "sh -c 'ip link set far-end mtu 1300 up; ip addr add 198.18.1.2/24 dev far-end; "
				 "ip -6 addr add 2001:db8:1::2/64 dev far-end nodad; "
				 "ip link add home type veth peer name far; ip link set home up; "
				 "ip addr add 198.18.2.1/24 dev home; ip -6 addr add 2001:db8:2::1/64 dev home nodad; "
				 "ip route add default via 198.18.1.1; ip -6 route add default via 2001:db8:1::1; "
				 "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1'");
		lab.move_interface("relay", "far", "far");
		lab.run("far", "sh -c 'ip link set far up; ip addr add 198.18.2.2/24 dev far; "
			       "ip -6 addr add 2001:db8:2::2/64 dev far nodad; ip route add default via 198.18.2.1; "
			       "ip -6 route add default via 2001:db8:2::1'");
	}

	static void write_payload(const std::string &file, size_t size)
	{
		const Payload payload(size);

		std::ofstream(file, std::ios::binary)
			.write(reinterpret_cast<const char *>(payload.bytes.data()),
			       static_cast<std::streamsize>(payload.bytes.size()));
	}
};

INSTANTIATE_TEST_SUITE_P(EndToEnd, Path, testing::ValuesIn(all_places), place_name);

// The member learns of a smaller MTU that lies behind the client: its segments shrink, and all arrive.
TEST_P(Path, SmallMtuBehindTheClient)
{
	for (const std::string &forwarding : modes()) {
		Lab lab(2);
		const std::string file = lab.directory() + "/files/large";

		make_far_host(lab, "client");
		lab.run("client",
			"sh -c 'ip route add default via 192.0.2.1; ip -6 route add default via 2001:db8::1'");
		lab.run("balancer", "sh -c 'ip route add 198.18.0.0/16 via 192.0.2.101; "
				    "ip -6 route add 2001:db8:2::/64 via 2001:db8::65'");
		if (forwarding != "dnat")
			lab.forget_gateways();
		shell(fmt::format("mkdir -p {0}/files; chmod 755 {0} {0}/files", lab.directory()));
		write_payload(file, 3 * 1024 * 1024);
		lab.start_daemon(config(forwarding));
		const std::string wanted = shell("sha256sum " + file).output.substr(0, 64);
		// Of a connection that is edited, what a router quotes has other numbers than the member's.
		for (const int port : {80, 81, 82}) {
			const Ran ran = lab.run("far", fmt::format("sh -c \"curl -s --max-time 30 -H 'Cookie: sid=x' "
								   "http://{}:{}/files/large | sha256sum\"",
								   Lab::vip_url(ipv4()), port));
			EXPECT_EQ(ran.output.substr(0, 64), wanted) << forwarding << " " << port;
		}
		EXPECT_GE(lab.counter("icmp_translated"), 1U) << forwarding;
		lab.expect_no_damage();
	}
}

// And the client of one that lies in front of a member, which a router leads to.
TEST_P(Path, SmallMtuInFrontOfTheMembers)
{
	for (const std::string &forwarding : modes()) {
		Lab lab(2);
		const std::string file = lab.directory() + "/upload";

		make_far_host(lab, "rs1");
		lab.run("balancer", "sh -c 'ip route add 198.18.0.0/16 via 10.0.2.11; "
				    "ip -6 route add 2001:db8:2::/64 via fd00:2::11'");
		lab.start("far", "socat -b 65536 TCP6-LISTEN:9000,ipv6only=0,fork,reuseaddr EXEC:cat");
		lab.wait_for_port("far", 9000);
		write_payload(file, 1024 * 1024);
		std::string yaml = config(forwarding);
		const size_t at = yaml.find("persistence:");
		yaml.insert(at,
			    fmt::format("  - {{name: far, members: [{{name: far, address: \"{}\", port: 9000}}]}}\n",
					has_ipv4_members(forwarding) ? "198.18.2.2" : "2001:db8:2::2"));
		yaml += fmt::format(
			"  - {{name: echo, address: \"{}\", port: 9000, protocol: tcp, forwarding: {}, pool: "
			"far{}}}\n",
			Lab::vip(ipv4()), forwarding, sources(forwarding));
		lab.start_daemon(yaml);
		EXPECT_EQ(lab.echo_hash(ipv4(), 1, 9000, file), shell("sha256sum " + file).output.substr(0, 64))
			<< forwarding;
		EXPECT_GE(lab.counter("icmp_translated"), 1U) << forwarding;
	}
}

// Segments that the balancer's own next hop does not take: their sender is told by it.
TEST_P(Path, SmallMtuOfTheBalancer)
{
	Lab lab(2);
	const std::string file = lab.directory() + "/upload";

	make_far_host(lab, "rs1");
	lab.run("balancer", "sh -c 'ip route add 198.18.0.0/16 via 10.0.2.11; ip -6 route add 2001:db8:2::/64 via "
			    "fd00:2::11; ip link set servers mtu 1290'");
	lab.run("switch", "ip link set uplink mtu 1290");
	lab.start("far", "socat -u TCP6-LISTEN:9000,ipv6only=0,fork,reuseaddr OPEN:" + lab.directory() +
				 "/received,creat,append");
	lab.wait_for_port("far", 9000);
	write_payload(file, 1024 * 1024);
	std::string yaml = config("dnat");
	yaml.insert(yaml.find("persistence:"),
		    fmt::format("  - {{name: far, members: [{{name: far, address: \"{}\", port: 9000}}]}}\n",
				ipv4() ? "198.18.2.2" : "2001:db8:2::2"));
	yaml += fmt::format("  - {{name: sink, address: \"{}\", port: 9000, protocol: tcp, forwarding: dnat, pool: "
			    "far}}\n",
			    Lab::vip(ipv4()));
	lab.start_daemon(yaml);
	lab.run("client", fmt::format("timeout 60 socat -u OPEN:{} TCP:{}:9000", file, Lab::vip_url(ipv4())));
	// The client is done when its kernel has taken all, which is before the server has it.
	shell(fmt::format("for i in $(seq 300); do cmp -s {} {}/received && break; sleep 0.1; done", file,
			  lab.directory()));
	EXPECT_EQ(shell("sha256sum " + lab.directory() + "/received").output.substr(0, 64),
		  shell("sha256sum " + file).output.substr(0, 64));
	EXPECT_GE(lab.counter("too_big"), 1U);
}

TEST_P(Path, PingsAndClosedPorts)
{
	Lab lab(2);

	lab.start_daemon(config("dnat"));
	const Ran ping = lab.run("client", fmt::format("ping -c 3 -i 0.2 -W 2 {}", Lab::vip(ipv4())));
	EXPECT_EQ(ping.status, 0) << ping.output;
	EXPECT_EQ(lab.counter("echo_answered"), 3U);
	// Nobody serves names here: the member's host says so, and the client's socket hears it at once.
	const Ran refused = lab.run(
		"client", fmt::format("python3 -c 'import socket; s = socket.socket(socket.{}, socket.SOCK_DGRAM); "
				      "s.settimeout(5); s.connect((\"{}\", 5353)); s.send(b\"x\"); s.recv(10)'",
				      ipv4() ? "AF_INET" : "AF_INET6", Lab::vip(ipv4())));
	EXPECT_NE(refused.output.find("ConnectionRefusedError"), std::string::npos) << refused.output;
	for (int number = 1; number <= 3; number++)
		EXPECT_EQ(lab.holdfast(fmt::format("member disable name{}/rs{}", ipv4() ? 4 : 6, number)).status, 0);
	const Ran nobody = lab.run(
		"client", fmt::format("python3 -c 'import socket; s = socket.socket(socket.{}, socket.SOCK_DGRAM); "
				      "s.settimeout(5); s.connect((\"{}\", 5353)); s.send(b\"x\"); s.recv(10)'",
				      ipv4() ? "AF_INET" : "AF_INET6", Lab::vip(ipv4())));
	EXPECT_NE(nobody.output.find("ConnectionRefusedError"), std::string::npos) << nobody.output;
	EXPECT_GE(lab.counter("no_usable_member"), 1U);
}

// Nobody has given the host the address: neighbours find it all the same, until it is detached.
TEST_P(Path, AddressesAreOwned)
{
	Lab lab(2);
	auto owned = [&] {
		return lab.run("balancer", "ip -o addr show dev clients").output.find(Lab::vip(ipv4()) + "/") !=
		       std::string::npos;
	};

	lab.run("balancer", fmt::format("ip addr del {}/{} dev clients", Lab::vip(ipv4()), ipv4() ? 32 : 128));
	ASSERT_FALSE(owned());
	lab.start_daemon(config("dnat", ", own_addresses: false"));
	EXPECT_FALSE(owned());
	lab.write_config(config("dnat"));
	EXPECT_EQ(lab.holdfast("apply " + lab.directory() + "/holdfast.yaml").status, 0);
	EXPECT_TRUE(owned());
	EXPECT_TRUE(lab.ask_tcp(ipv4(), 1).starts_with("rs"));
	// It stays while packets are forwarded, also without a daemon, and is known again.
	lab.stop_daemon(SIGKILL);
	EXPECT_TRUE(owned());
	EXPECT_TRUE(lab.ask_tcp(ipv4(), 2).starts_with("rs"));
	lab.start_daemon();
	EXPECT_TRUE(owned());
	lab.write_config(config("dnat", ", own_addresses: false"));
	EXPECT_EQ(lab.holdfast("apply " + lab.directory() + "/holdfast.yaml").status, 0);
	EXPECT_FALSE(owned());
	lab.write_config(config("dnat"));
	EXPECT_EQ(lab.holdfast("apply " + lab.directory() + "/holdfast.yaml").status, 0);
	EXPECT_TRUE(owned());
	lab.stop_daemon(SIGTERM);
	lab.run("balancer", program("holdfastd") + " --detach --pin-dir " + lab.pins());
	EXPECT_FALSE(owned());
	// An address that somebody else has given to the host stays.
	lab.run("balancer", fmt::format("ip addr add {}/{} dev clients", Lab::vip(ipv4()), ipv4() ? 32 : 128));
	lab.start_daemon();
	lab.stop_daemon(SIGTERM);
	lab.run("balancer", program("holdfastd") + " --detach --pin-dir " + lab.pins());
	EXPECT_TRUE(owned());
}

} // namespace
} // namespace holdfast::test
