// SPDX-License-Identifier: GPL-2.0
// Whole packets, in and out, against packets that were built from nothing.
#include <fmt/format.h>

#include <bpf/bpf.h>

#include "bpf/datapath_test.h"
#include "datapath/encode.h"

namespace holdfast::test
{
namespace
{

class Translate : public DatapathTest
{
protected:
	const std::string tcp_server = "port: 80, protocol: tcp, persistence: by-address";
	const std::string udp_server = "port: 53, protocol: udp, persistence: by-address";
	const std::string rule = "  - {name: by-address, type: source-address}\n";
};

INSTANTIATE_TEST_SUITE_P(Datapath, Translate, testing::ValuesIn(all_places), place_name);

TEST_P(Translate, TcpBothWays)
{
	Testbed bed(config(tcp_server, rule, 1));
	const Payload payload("GET / HTTP/1.1\r\n\r\n");

	ASSERT_EQ(connect(bed, client(), 40000), 1);
	const Outcome request = run(bed, tcp(client(), 40000, vip(), 80, ack | psh, 1001, 5001) / payload);
	ASSERT_TRUE(sent(hook(), request));
	EXPECT_EQ(request.packet, expected_link((ip(client(), member(1), 63) /
						 Tcp{.source = 40000,
						     .destination = 8080,
						     .sequence = 1001,
						     .acknowledgement = 5001,
						     .flags = ack | psh} /
						 payload)
							.build()))
		<< describe(request.packet);

	const Payload body(1000);
	const Outcome response = run(bed, tcp(member(1), 8080, client(), 40000, ack, 5001, 1019) / body);
	ASSERT_TRUE(sent(hook(), response));
	EXPECT_EQ(response.packet, expected_link((ip(vip(), client(), 63) /
						  Tcp{.source = 80,
						      .destination = 40000,
						      .sequence = 5001,
						      .acknowledgement = 1019,
						      .flags = ack} /
						  body)
							 .build()))
		<< describe(response.packet);
}

TEST_P(Translate, UdpBothWays)
{
	Testbed bed(config(udp_server, rule, 1));
	const Payload query("query"), answer("answer!");

	const Outcome request = run(bed, ip(client(), vip()) / Udp{.source = 4000, .destination = 53} / query);
	ASSERT_TRUE(sent(hook(), request));
	EXPECT_EQ(request.packet,
		  expected_link(
			  (ip(client(), member(1), 63) / Udp{.source = 4000, .destination = 8080} / query).build()));
	const Outcome response = run(bed, ip(member(1), client()) / Udp{.source = 8080, .destination = 4000} / answer);
	ASSERT_TRUE(sent(hook(), response));
	EXPECT_EQ(response.packet,
		  expected_link((ip(vip(), client(), 63) / Udp{.source = 53, .destination = 4000} / answer).build()));
}

TEST_P(Translate, EveryPayloadLengthAndValueKeepsItsChecksum)
{
	Testbed bed(config(tcp_server, rule, 1));

	ASSERT_EQ(connect(bed, client(), 40000), 1);
	for (size_t length = 0; length < 300; length++) {
		const Outcome outcome =
			run(bed, tcp(client(), 40000, vip(), 80, ack, static_cast<uint32_t>(length * 77777)) /
					 Payload(length, static_cast<uint8_t>(length)));

		ASSERT_TRUE(sent(hook(), outcome)) << length;
	}
}

TEST_P(Translate, AWrongChecksumStaysAsWrongAsItWas)
{
	Testbed bed(config(tcp_server, rule, 1));

	ASSERT_EQ(connect(bed, client(), 40000), 1);
	Bytes packet = tcp(client(), 40000, vip(), 80, ack, 1001, 5001) / Payload("data");
	packet.back() ^= 0x55;
	const Outcome outcome = bed.run(hook(), packet);
	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_NE(check_packet(outcome.packet), "") << "an error on the wire must stay visible";
}

// A driver may give the sum over the whole packet: it has to follow every change.
TEST_P(Translate, TheSumOfTheWholePacketFollows)
{
	constexpr uint32_t test_checksum_complete = 1U << 2; // BPF_F_TEST_SKB_CHECKSUM_COMPLETE, Linux 6.18
	Testbed bed(config(tcp_server, rule, 1));
	const Bytes packet = tcp(client(), 40000, vip(), 80, syn) / Payload(33);
	Bytes out(packet.size() + 64);
	LIBBPF_OPTS(bpf_test_run_opts, options);

	if (hook() != Hook::tc)
		return; // XDP has no such sum
	options.data_in = packet.data();
	options.data_size_in = static_cast<uint32_t>(packet.size());
	options.data_out = out.data();
	options.data_size_out = static_cast<uint32_t>(out.size());
	options.repeat = 1;
	options.flags = test_checksum_complete;
	const int failed = bpf_prog_test_run_opts(bed.programs->tc(), &options);
	if (failed == -EINVAL)
		GTEST_SKIP() << "this kernel cannot check it";
	EXPECT_EQ(failed, 0) << "-EBADMSG: the kernel finds the sum wrong";
	EXPECT_EQ(options.retval, tc_redirect);
}

TEST_P(Translate, UdpWithoutChecksum)
{
	if (!ipv4())
		return; // an IPv6 datagram must have one (RFC 8200, 8.1): covered by UdpBothWays
	Testbed bed(config(udp_server, rule, 1));
	const Outcome outcome =
		run(bed, ip(client(), vip()) / Udp{.source = 4000, .destination = 53, .checksum = 0} / Payload("q"));

	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(outcome.packet, expected_link((ip(client(), member(1), 63) /
						 Udp{.source = 4000, .destination = 8080, .checksum = 0} / Payload("q"))
							.build()));
}

TEST_P(Translate, UdpChecksumNeverBecomesZero)
{
	Testbed bed(config(udp_server, rule, 1));

	// Among all values of two bytes there is one for which the translated sum is 0.
	for (int value = 0; value < 65536; value += 1) {
		Bytes two = {static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
		Payload payload(two.size());
		payload.bytes = two;
		const Outcome outcome =
			bed.run(hook(), ip(client(), vip()) / Udp{.source = 4000, .destination = 53} / payload);
		const size_t at = (ipv4() ? 34 : 54) + 6;

		ASSERT_TRUE(sent(hook(), outcome));
		ASSERT_FALSE(outcome.packet[at] == 0 && outcome.packet[at + 1] == 0) << "payload " << value;
		if (outcome.packet[at] == 0xff && outcome.packet[at + 1] == 0xff) {
			ASSERT_EQ(check_packet(outcome.packet), "");
			return; // met
		}
	}
	FAIL() << "the case was not met";
}

TEST_P(Translate, Ipv4OptionsStay)
{
	if (!ipv4())
		return; // the extension headers below are IPv6's options
	Testbed bed(config(tcp_server, rule, 1));
	const Bytes options = {1, 1, 1, 1, 0x94, 4, 0, 0};
	const Packet packet = Ethernet{} / Ipv4{.source = client(), .destination = vip(), .options = options} /
			      Tcp{.source = 40000, .destination = 80, .flags = syn};
	const Outcome outcome = run(bed, packet);

	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(outcome.packet,
		  expected_link((Ethernet{} /
				 Ipv4{.source = client(), .destination = member(1), .ttl = 63, .options = options} /
				 Tcp{.source = 40000, .destination = 8080, .flags = syn})
					.build()));
}

TEST_P(Translate, Ipv6ExtensionHeadersStay)
{
	if (ipv4())
		return;
	Testbed bed(config(tcp_server, rule, 1));
	const Extension hop_by_hop{.type = 0, .body = Bytes(6, 1)}, destination{.type = 60, .body = Bytes(14, 2)};
	const Extension routing{.type = 43, .body = {4, 0, 0, 0, 0, 0}};
	const Outcome outcome = run(bed, ip(client(), vip()) / hop_by_hop / routing / destination /
						 Tcp{.source = 40000, .destination = 80, .flags = syn});

	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(outcome.packet, expected_link((ip(client(), member(1), 63) / hop_by_hop / routing / destination /
						 Tcp{.source = 40000, .destination = 8080, .flags = syn})
							.build()));
}

TEST_P(Translate, TcpOptionsStay)
{
	Testbed bed(config(tcp_server, rule, 1));
	const Bytes options = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7};
	const Tcp segment{.source = 40000, .destination = 80, .flags = syn, .options = options};
	Tcp translated = segment;

	translated.destination = 8080;
	const Outcome outcome = run(bed, ip(client(), vip()) / segment);
	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(outcome.packet, expected_link((ip(client(), member(1), 63) / translated).build()));
}

// Tags in front of the packet, and tags that the next hop wants.
TEST_P(Translate, VlanTags)
{
	struct Tags {
		std::vector<Vlan> in;
		uint16_t wanted;
	};
	const Tags cases[] = {
		{{{10, 0x8100}}, 0},
		{{{10, 0x8100}}, 20},
		{{}, 20},
		{{{5, 0x88a8}, {10, 0x8100}}, 0},
		{{{5, 0x88a8}, {10, 0x8100}}, 20},
	};
	const auto headers = [&](const std::vector<Vlan> &tags) {
		Packet packet(Ethernet{});
		for (const Vlan &tag : tags)
			packet = packet / tag;
		return packet;
	};
	const auto with_ip = [&](const Packet &packet, const std::string &from, const std::string &to, uint8_t ttl) {
		return ipv4() ? packet / Ipv4{.source = from, .destination = to, .ttl = ttl}
			      : packet / Ipv6{.source = from, .destination = to, .hop_limit = ttl};
	};

	for (const Tags &one : cases) {
		Testbed bed(config(tcp_server, rule, 1));

		bed.maps->next_hops.live(1)->vlan_tci = to_network(one.wanted);
		bed.maps->next_hops.live(1)->vlan_protocol = to_network(one.wanted ? uint16_t{0x8100} : uint16_t{0});
		const Outcome outcome = bed.run(hook(), with_ip(headers(one.in), client(), vip(), 64) /
								Tcp{.source = 40000, .destination = 80, .flags = syn});
		ASSERT_TRUE(sent(hook(), outcome)) << one.in.size() << " tags in, " << one.wanted;
		// TC keeps the outermost tag beside the packet, where TEST_RUN does not show it.
		const bool tag_visible = hook() == Hook::xdp && one.wanted;
		const std::vector<Vlan> out =
			tag_visible ? std::vector<Vlan>{{one.wanted, 0x8100}} : std::vector<Vlan>{};
		Packet expected(Ethernet{.destination = gateway_mac, .source = wire_mac});
		for (const Vlan &tag : out)
			expected = expected / tag;
		EXPECT_EQ(outcome.packet, (with_ip(expected, client(), member(1), 63) /
					   Tcp{.source = 40000, .destination = 8080, .flags = syn})
						  .build())
			<< one.in.size() << " tags in, wanted " << one.wanted << "\n"
			<< describe(outcome.packet);
	}
}

TEST_P(Translate, MembersWithoutPortGetTheClientsPort)
{
	std::string yaml = config("port: 8000-8099, protocol: tcp", rule, 1);
	const size_t at = yaml.find(", port: 8080");

	yaml.erase(at, std::string(", port: 8080").size());
	Testbed bed(yaml);
	const Outcome outcome = run(bed, tcp(client(), 40000, vip(), 8042, syn));
	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(outcome.packet,
		  expected_link((ip(client(), member(1), 63) / Tcp{.source = 40000, .destination = 8042, .flags = syn})
					.build()));
}

TEST_P(Translate, PortRanges)
{
	Testbed bed(fmt::format(
		"version: 1\npools: [{{name: web, members: [{{name: rs1, address: \"{}\", port: 8080}}]}}]\n"
		"virtual_servers:\n"
		"  - {{name: a, address: \"{}\", port: 100-199, protocol: tcp, forwarding: dnat, pool: web}}\n"
		"  - {{name: b, address: \"{}\", port: 250, protocol: tcp, forwarding: dnat, pool: web}}\n"
		"  - {{name: c, address: \"{}\", port: 300-300, protocol: tcp, forwarding: dnat, pool: web}}\n"
		"  - {{name: d, address: \"{}\", port: 400-65535, protocol: tcp, forwarding: dnat, pool: web}}\n",
		member(1), vip(), vip(), vip(), vip()));
	const std::pair<uint16_t, const char *> expected[] = {{99, ""},  {100, "a"}, {150, "a"}, {199, "a"},
							      {200, ""}, {250, "b"}, {251, ""},  {300, "c"},
							      {301, ""}, {399, ""},  {400, "d"}, {65535, "d"}};

	uint16_t source = 40000; // of one port, all would want one tuple at the member
	for (const auto &[port, name] : expected) {
		const Outcome outcome = run(bed, tcp(client(), source++, vip(), port, syn));
		uint32_t server = 0;

		EXPECT_EQ(sent(hook(), outcome), *name != '\0') << port;
		if (!*name)
			continue;
		ASSERT_TRUE(bed.maps->embryonic_connections.each([&](const hf_flow_key &key, const auto &embryo) {
			if (key.destination_port == to_network(port))
				server = embryo.connection.virtual_server;
			return true;
		}));
		EXPECT_EQ(server, bed.server_id(name)) << port;
	}
}

TEST_P(Translate, TheLastHopIsNotSpent)
{
	Testbed bed(config(tcp_server, rule, 1));

	for (const uint8_t ttl : {uint8_t{0}, uint8_t{1}}) {
		const Outcome outcome =
			run(bed, ip(client(), vip(), ttl) / Tcp{.source = 40000, .destination = 80, .flags = syn});
		EXPECT_TRUE(sent(hook(), outcome)) << "its sender is told";
	}
	EXPECT_EQ(bed.reason(HF_REASON_hop_limit), 2U);
	EXPECT_TRUE(
		sent(hook(), run(bed, ip(client(), vip(), 2) / Tcp{.source = 40000, .destination = 80, .flags = syn})));
}

TEST_P(Translate, PacketsLargerThanTheNextHopTakesAreCounted)
{
	Testbed bed(config(tcp_server, rule, 1));

	ASSERT_EQ(connect(bed, client(), 40000), 1);
	bed.maps->next_hops.live(1)->mtu = 1000;
	EXPECT_EQ(addressee(run(bed, tcp(client(), 40000, vip(), 80, ack, 1001, 5001) / Payload(1000))), 0);
	EXPECT_EQ(bed.reason(HF_REASON_too_big), 1U);
	EXPECT_TRUE(sent(hook(), run(bed, tcp(client(), 40000, vip(), 80, ack, 1001, 5001) / Payload(900))));
}

TEST_P(Translate, TrafficIsCounted)
{
	Testbed bed(config(tcp_server, rule, 1));

	ASSERT_EQ(connect(bed, client(), 40000), 1);
	const hf_traffic server = bed.maps->virtual_server_counters.sum(bed.server_id("shop"));
	const hf_traffic member = bed.maps->member_counters.sum(bed.member_id("web", "rs1"));
	const uint64_t header = ipv4() ? 40 : 60;
	EXPECT_EQ(server.forward_packets, 2U);
	EXPECT_EQ(server.forward_bytes, 2 * header);
	EXPECT_EQ(server.reply_packets, 1U);
	EXPECT_EQ(server.reply_bytes, header);
	EXPECT_EQ(server.connections, 1U);
	EXPECT_EQ(server.sessions, 1U);
	EXPECT_EQ(member.forward_packets, 2U);
	EXPECT_EQ(member.connections, 1U);
}

TEST_P(Translate, HairpinLeavesByTx)
{
	if (hook() != Hook::xdp)
		return; // TC always redirects
	Testbed tx(config(tcp_server, rule, 1)), redirect(config(tcp_server, rule, 1), {.hairpin_by_redirect = true});
	const Bytes packet = tcp(client(), 40000, vip(), 80, syn);

	for (Testbed *bed : {&tx, &redirect})
		bed->maps->next_hops.live(1)->interface = 1; // TEST_RUN's packets come from there
	EXPECT_EQ(tx.run(hook(), packet).verdict, xdp_tx);
	EXPECT_EQ(redirect.run(hook(), packet).verdict, xdp_redirect);
}

} // namespace
} // namespace holdfast::test
