// SPDX-License-Identifier: GPL-2.0
#include "bpf/datapath_test.h"

#include <arpa/inet.h>
#include <fmt/format.h>

namespace holdfast::test
{

namespace
{

constexpr uint16_t member_port = 8080;

} // namespace

std::string place_name(const testing::TestParamInfo<Place> &info)
{
	return fmt::format("{}_{}", info.param.hook == Hook::xdp ? "xdp" : "tc", info.param.ipv4 ? "ipv4" : "ipv6");
}

std::string DatapathTest::client(int number) const
{
	return ipv4() ? fmt::format("198.51.100.{}", number) : fmt::format("2001:db8:c::{:x}", number);
}

std::string DatapathTest::member(int number) const
{
	return has_ipv4_members() ? fmt::format("10.0.2.{}", 10 + number) : fmt::format("fd00::{:x}", 0x10 + number);
}

std::string DatapathTest::config(const std::string &server, const std::string &rules, int members) const
{
	std::string yaml =
		"version: 1\ntables: {sessions: 4096, connections: 8192}\npools:\n  - name: web\n    members:\n";

	for (int i = 1; i <= members; i++)
		yaml += fmt::format("      - {{name: rs{}, address: \"{}\", port: {}}}\n", i, member(i), member_port);
	yaml += "persistence:\n" + rules;
	yaml += fmt::format("virtual_servers:\n  - {{name: shop, address: \"{}\", forwarding: dnat, pool: web, {}}}\n",
			    vip(), server);
	return yaml;
}

Packet DatapathTest::ip(const std::string &source, const std::string &destination, uint8_t ttl) const
{
	if (source.find(':') == std::string::npos)
		return Ethernet{} / Ipv4{.source = source, .destination = destination, .ttl = ttl};
	return Ethernet{} / Ipv6{.source = source, .destination = destination, .hop_limit = ttl};
}

Packet DatapathTest::tcp(const std::string &source, uint16_t source_port, const std::string &destination,
			 uint16_t destination_port, uint8_t flags, uint32_t sequence, uint32_t acknowledgement) const
{
	return ip(source, destination) / Tcp{.source = source_port,
					     .destination = destination_port,
					     .sequence = sequence,
					     .acknowledgement = acknowledgement,
					     .flags = flags};
}

Outcome DatapathTest::run(Testbed &bed, const Bytes &packet) const
{
	Outcome outcome = bed.run(hook(), packet);

	if (sent(hook(), outcome)) {
		EXPECT_EQ(check_packet(outcome.packet), "") << describe(outcome.packet);
	} else {
		EXPECT_EQ(outcome.packet, packet) << "a packet that is not sent must not be changed";
	}
	return outcome;
}

int DatapathTest::addressee(const Outcome &outcome) const
{
	const bool is_ipv4 = has_ipv4_members();
	const size_t length = is_ipv4 ? 4 : 16, at = is_ipv4 ? 14 + 16 : 14 + 24;

	for (int number = 1; number <= 9; number++) {
		Bytes address(length);

		inet_pton(is_ipv4 ? AF_INET : AF_INET6, member(number).c_str(), address.data());
		if (outcome.packet.size() >= at + length &&
		    std::equal(address.begin(), address.end(), outcome.packet.begin() + static_cast<ptrdiff_t>(at)))
			return number;
	}
	return 0;
}

int DatapathTest::connect(Testbed &bed, const std::string &from, uint16_t port, uint16_t to) const
{
	constexpr uint32_t client_sequence = 1000, server_sequence = 5000;
	const Outcome opened = run(bed, tcp(from, port, vip(), to, syn, client_sequence));

	if (!sent(hook(), opened))
		return 0;
	const int number = addressee(opened);
	EXPECT_TRUE(sent(hook(), run(bed, tcp(member(number), member_port, from, port, syn | ack, server_sequence,
					      client_sequence + 1))));
	EXPECT_TRUE(sent(hook(), run(bed, tcp(from, port, vip(), to, ack, client_sequence + 1, server_sequence + 1))));
	return number;
}

Bytes DatapathTest::expected_link(const Bytes &packet) const
{
	const Bytes link = Packet(Ethernet{.destination = gateway_mac, .source = wire_mac, .type = 0});
	Bytes result = packet;

	std::copy_n(link.begin(), 12, result.begin());
	return result;
}

} // namespace holdfast::test
