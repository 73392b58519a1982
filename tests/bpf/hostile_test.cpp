// SPDX-License-Identifier: GPL-2.0
// Truncated, lying and random packets: PASS, or a counted drop, never a wrong rewrite.
#include <fmt/format.h>
#include <random>

#include "bpf/datapath_test.h"
#include "datapath/encode.h"

namespace holdfast::test
{
namespace
{

class Hostile : public DatapathTest
{
protected:
	void SetUp() override
	{
		std::string yaml = config("port: 80, protocol: tcp");

		yaml += fmt::format(
			"  - {{name: dns, address: \"{}\", port: 53, protocol: udp, forwarding: dnat, pool: web}}\n",
			vip());
		bed_ = std::make_unique<Testbed>(yaml);
	}

	uint64_t drops() const
	{
		uint64_t sum = 0;

		for (const hf_reason reason :
		     {HF_REASON_malformed, HF_REASON_fragment_early, HF_REASON_routing_header, HF_REASON_hop_limit,
		      HF_REASON_too_big, HF_REASON_no_route, HF_REASON_table_full, HF_REASON_tuple_in_use,
		      HF_REASON_packet_resize, HF_REASON_rejected_reset, HF_REASON_not_yet_open,
		      HF_REASON_no_usable_member, HF_REASON_no_connection, HF_REASON_member_full,
		      HF_REASON_stage_missing})
			sum += bed_->reason(reason);
		return sum;
	}

	// Every drop is counted; a packet that passes is untouched; what is sent is sound.
	void expect_sane(const Bytes &packet)
	{
		const uint64_t before = drops();
		const Outcome outcome = bed_->run(hook(), packet);

		if (passed(hook(), outcome)) {
			ASSERT_EQ(outcome.packet, packet);
		} else if (dropped(hook(), outcome)) {
			ASSERT_GT(drops(), before) << "an uncounted drop\n" << describe(packet);
		} else {
			ASSERT_TRUE(sent(hook(), outcome)) << outcome.verdict;
		}
	}

	void expect_dropped(const Bytes &packet, hf_reason reason, const std::string &what)
	{
		const uint64_t before = bed_->reason(reason);
		const Outcome outcome = bed_->run(hook(), packet);

		EXPECT_TRUE(dropped(hook(), outcome)) << what;
		EXPECT_EQ(bed_->reason(reason), before + 1) << what;
		EXPECT_EQ(outcome.packet, packet) << what;
	}

	std::unique_ptr<Testbed> bed_;
};

INSTANTIATE_TEST_SUITE_P(Datapath, Hostile, testing::ValuesIn(all_places), place_name);

TEST_P(Hostile, NetworkLengthsThatLie)
{
	const Tcp segment{.source = 1, .destination = 80, .flags = syn};

	if (ipv4()) {
		const auto with = [&](Ipv4 header) {
			header.source = client();
			header.destination = vip();
			return (Ethernet{} / header / segment / Payload(20)).build();
		};
		expect_dropped(with({.total_length = 61}), HF_REASON_malformed, "longer than the frame");
		expect_dropped(with({.total_length = 65535}), HF_REASON_malformed, "much longer");
		expect_dropped(with({.total_length = 19}), HF_REASON_malformed, "shorter than its header");
		expect_dropped(with({.total_length = 0}), HF_REASON_malformed, "zero");
		expect_dropped(with({.total_length = 39}), HF_REASON_malformed, "no room for the TCP header");
		expect_dropped(with({.version_and_length = 0x44}), HF_REASON_malformed, "header of 16 bytes");
		expect_dropped(with({.version_and_length = 0x4f}), HF_REASON_malformed, "header of 60 bytes");
		expect_dropped(with({.version_and_length = 0x65}), HF_REASON_malformed,
			       "version 6 in IPv4's frame type");
	} else {
		const auto with = [&](uint16_t length) {
			return (Ethernet{} / Ipv6{.source = client(), .destination = vip(), .payload_length = length} /
				segment / Payload(20))
				.build();
		};
		expect_dropped(with(41), HF_REASON_malformed, "longer than the frame");
		expect_dropped(with(65535), HF_REASON_malformed, "much longer");
		expect_dropped(with(19), HF_REASON_malformed, "no room for the TCP header");
		expect_dropped(with(0), HF_REASON_malformed, "zero");
		Bytes version = with(40);
		version[14] = 0x45;
		expect_dropped(version, HF_REASON_malformed, "version 4 in IPv6's frame type");
	}
}

TEST_P(Hostile, TransportLengthsThatLie)
{
	for (const uint8_t offset : {uint8_t{0}, uint8_t{4}, uint8_t{11}, uint8_t{15}})
		expect_dropped((ip(client(), vip()) /
				Tcp{.source = 1, .destination = 80, .flags = syn, .data_offset = offset} / Payload(20))
				       .build(),
			       HF_REASON_malformed, fmt::format("data offset {}", offset));
	for (const uint16_t length : {uint16_t{0}, uint16_t{7}, uint16_t{29}, uint16_t{65535}})
		expect_dropped(
			(ip(client(), vip()) / Udp{.source = 1, .destination = 53, .length = length} / Payload(20))
				.build(),
			HF_REASON_malformed, fmt::format("UDP length {}", length));
}

TEST_P(Hostile, Ipv6ExtensionHeadersThatLie)
{
	if (ipv4())
		return;
	const Tcp segment{.source = 1, .destination = 80, .flags = syn};

	expect_dropped((ip(client(), vip()) / Extension{.length = 200} / segment).build(), HF_REASON_malformed,
		       "extension header that reaches beyond the packet");
	Packet many = ip(client(), vip());
	for (int i = 0; i < HF_EXTENSION_HEADERS + 1; i++)
		many = many / Extension{};
	expect_dropped((many / segment).build(), HF_REASON_malformed, "too many extension headers");
	expect_dropped((ip(client(), vip()) / Extension{.type = 43, .body = {4, 1, 0, 0, 0, 0}} / segment).build(),
		       HF_REASON_routing_header, "segments left");
}

TEST_P(Hostile, FragmentsWithoutTheirFirstAreRefusedAndCounted)
{
	if (ipv4()) {
		for (const uint16_t fragment : {uint16_t{0x2001}, uint16_t{0x0001}})
			expect_dropped(
				(Ethernet{} / Ipv4{.source = client(), .destination = vip(), .fragment = fragment} /
				 Udp{.source = 1, .destination = 53} / Payload(24))
					.build(),
				HF_REASON_fragment_early, fmt::format("fragment field {:#x}", fragment));
	} else {
		for (const uint8_t low : {uint8_t{9}, uint8_t{8}})
			expect_dropped((ip(client(), vip()) / Extension{.type = 44, .body = {0, low, 0, 0, 0, 9}} /
					Udp{.source = 1, .destination = 53} / Payload(24))
					       .build(),
				       HF_REASON_fragment_early, fmt::format("fragment field {:#x}", low));
	}
}

TEST_P(Hostile, WhatIsNotOursPasses)
{
	const std::string other = ipv4() ? "192.0.2.99" : "2001:db8::99";
	const Packet packets[] = {
		tcp(client(), 1, other, 80, syn),
		tcp(client(), 1, vip(), 81, syn),
		ip(client(), vip()) / Udp{.source = 1, .destination = 80} / Payload("x"),
		ip(client(), client(2)) / Icmp{},
		tcp(member(1), 22, client(), 5000, ack),
		Ethernet{.type = 0x0806} / Payload(46),
		Ethernet{.type = 0x88cc} / Payload(46),
		Ethernet{} / Vlan{1} / Vlan{2} / Vlan{3} / Ipv4{.source = "198.51.100.1", .destination = "192.0.2.10"} /
			Tcp{.source = 1, .destination = 80, .flags = syn},
	};

	for (const Packet &packet : packets)
		EXPECT_TRUE(passed(hook(), run(*bed_, packet))) << describe(packet);
	EXPECT_EQ(drops(), 0U);
}

TEST_P(Hostile, MappedAddressesAreNobodys)
{
	if (ipv4())
		return;
	const Packet packet = Ethernet{} / Ipv6{.source = "::ffff:198.51.100.1", .destination = "::ffff:192.0.2.10"} /
			      Tcp{.source = 1, .destination = 80, .flags = syn};
	Testbed bed("version: 1\npools: [{name: p, members: [{name: m, address: 10.0.2.11}]}]\nvirtual_servers:\n"
		    "  - {name: v, address: 192.0.2.10, port: 80, protocol: tcp, forwarding: dnat, pool: p}\n");

	EXPECT_TRUE(passed(hook(), run(bed, packet)));
}

TEST_P(Hostile, AnAddressThatOnlyLooksLikeAVirtualOneInTheFilterPasses)
{
	if (!ipv4())
		return;
	// Found by search: another address in the same slot of the filter as 192.0.2.10.
	std::string other;
	const uint16_t slot = address_filter_slot(*Address::parse(vip()));
	for (int i = 0; i < 65536 * 8 && other.empty(); i++) {
		const std::string candidate = fmt::format("203.{}.{}.{}", i >> 16 & 255, i >> 8 & 255, i & 255);
		if (address_filter_slot(*Address::parse(candidate)) == slot)
			other = candidate;
	}
	ASSERT_NE(other, "");
	EXPECT_TRUE(passed(hook(),
			   run(*bed_, Ethernet{} / Ipv4{.source = client(), .destination = other, .fragment = 0x2000} /
					      Udp{.source = 1, .destination = 53} / Payload(24))));
	EXPECT_TRUE(passed(hook(),
			   run(*bed_, Ethernet{} / Ipv4{.source = client(), .destination = other, .total_length = 0} /
					      Tcp{.source = 1, .destination = 80, .flags = syn})));
}

TEST_P(Hostile, CutAtEveryLength)
{
	const Bytes whole = tcp(client(), 1, vip(), 80, syn) / Payload(100);
	const size_t least = hook() == Hook::xdp ? 14 : ipv4() ? 34 : 54;

	for (size_t length = least; length <= whole.size(); length++) {
		Bytes cut = whole;

		cut.resize(length);
		expect_sane(cut);
	}
}

TEST_P(Hostile, RandomBytesAtEveryLength)
{
	std::mt19937 random(20240229);
	const size_t least = hook() == Hook::xdp ? 14 : 34;

	for (size_t length = least; length <= 200; length++) {
		for (int i = 0; i < 20; i++) {
			Bytes packet(length);

			for (uint8_t &byte : packet)
				byte = static_cast<uint8_t>(random());
			// Half of them look like IP at first sight.
			if (i % 2) {
				packet[12] = ipv4() ? 0x08 : 0x86;
				packet[13] = ipv4() ? 0x00 : 0xdd;
			}
			if (hook() == Hook::tc && i % 2 && !ipv4() && length < 54)
				continue; // the kernel takes no shorter IPv6 packet
			expect_sane(packet);
		}
	}
}

// Real packets, a few bytes wrong: what gets through must be as sound as it was.
TEST_P(Hostile, MutatedPackets)
{
	std::mt19937 random(4711);
	const Packet originals[] = {
		tcp(client(), 1000, vip(), 80, syn) / Payload(40),
		tcp(client(), 1000, vip(), 80, ack) / Payload(40),
		ip(client(), vip()) / Udp{.source = 1, .destination = 53} / Payload(40),
		tcp(member(1), 8080, client(), 1000, ack) / Payload(40),
		ipv4() ? Ethernet{} / Vlan{1} /
				 Ipv4{.source = client(), .destination = vip(), .options = Bytes(12, 1)} /
				 Tcp{.source = 9, .destination = 80, .flags = syn}
		       : Ethernet{} / Vlan{1} / Ipv6{.source = client(), .destination = vip()} / Extension{} /
				 Extension{.type = 0} / Tcp{.source = 9, .destination = 80, .flags = syn},
	};

	for (int i = 0; i < 20000; i++) {
		Bytes packet = originals[i % std::size(originals)];

		for (unsigned change = 0; change < 1 + random() % 3; change++)
			packet[12 + random() % (packet.size() - 12)] = static_cast<uint8_t>(random());
		if (random() % 8 == 0)
			packet.resize(std::max<size_t>(hook() == Hook::xdp ? 14 : 60, packet.size() - random() % 60));
		expect_sane(packet);
		if (HasFatalFailure())
			return;
	}
}

} // namespace
} // namespace holdfast::test
