// SPDX-License-Identifier: GPL-2.0
// The judge of the other tests is judged here.
#include "support/packet.h"

#include <gtest/gtest.h>

namespace holdfast::test
{
namespace
{

TEST(PacketCheck, AcceptsARealPacket)
{
	// A DNS query as it was on a wire (a public example): its checksums are somebody else's work.
	const Bytes frame = {0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x02,
			     0x08, 0x00, 0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
			     0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};
	// Only the header of this well-known example is given; its checksum is 0xb861.
	Bytes padded = frame;
	padded.resize(14 + 0x73);
	EXPECT_EQ(check_packet(padded), ""); // UDP checksum field is zero: none
	padded[14 + 12] ^= 1;
	EXPECT_NE(check_packet(padded), "");
}

TEST(PacketCheck, FindsEveryFlippedByteThatAChecksumCovers)
{
	const Bytes packet = Ethernet{} / Ipv4{.source = "192.0.2.1", .destination = "10.0.0.1"} /
			     Tcp{.source = 1, .destination = 2, .flags = ack} / Payload(33);

	ASSERT_EQ(check_packet(packet), "");
	for (size_t at = 14 + 12; at < packet.size(); at++) {
		Bytes broken = packet;

		broken[at] ^= 0x10;
		EXPECT_NE(check_packet(broken), "") << "byte " << at;
	}
}

TEST(PacketCheck, KnowsIpv6AndVlan)
{
	Bytes packet = Ethernet{} / Vlan{5} / Vlan{6} / Ipv6{.source = "2001:db8::1", .destination = "fd00::1"} /
		       Extension{} / Udp{.source = 1, .destination = 2} / Payload("hello");

	EXPECT_EQ(check_packet(packet), "");
	packet.back() ^= 1;
	EXPECT_NE(check_packet(packet), "");
}

} // namespace
} // namespace holdfast::test
