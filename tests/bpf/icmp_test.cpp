// SPDX-License-Identifier: GPL-2.0
// ICMP: pings, errors that pass through, errors that are made here. What is expected is
// put together from nothing, as always.
#include <fmt/format.h>

#include "bpf/datapath_test.h"

namespace holdfast::test
{
namespace
{

class IcmpErrors : public DatapathTest
{
protected:
	std::string router() const { return ipv4() ? "10.0.7.1" : "fd00::7:1"; }
	std::string source() const { return ipv4() ? "10.0.9.1" : "fd00::9:1"; }

	std::string with(const std::string &forwarding, const std::string &server) const
	{
		std::string yaml = config(server, "", 1);

		yaml.replace(yaml.find("forwarding: dnat"), 16, "forwarding: " + forwarding);
		if (forwarding == "direct")
			yaml.replace(yaml.find(", port: 8080}"), 13, "}");
		return yaml;
	}

	// The network packet of a frame.
	static Payload quote(const Bytes &frame, size_t most = 1 << 16)
	{
		Payload payload(0);

		payload.bytes.assign(frame.begin() + 14, frame.end());
		if (payload.bytes.size() > most)
			payload.bytes.resize(most);
		return payload;
	}

	enum Kind { too_big, port_unreachable, hops };
	Icmp error(Kind kind, uint32_t mtu = 0) const
	{
		switch (kind) {
		case too_big:
			return {uint8_t(ipv4() ? 3 : 2), uint8_t(ipv4() ? 4 : 0), mtu};
		case port_unreachable:
			return {uint8_t(ipv4() ? 3 : 1), uint8_t(ipv4() ? 3 : 4), 0};
		default:
			return {uint8_t(ipv4() ? 11 : 3), 0, 0};
		}
	}

	Packet segment(const std::string &from, uint16_t from_port, const std::string &to, uint16_t to_port) const
	{
		return ip(from, to, 63) /
		       Tcp{.source = from_port,
			   .destination = to_port,
			   .sequence = 5001,
			   .acknowledgement = 1001,
			   .flags = ack} /
		       Payload(20);
	}

	void expect_error(Testbed &bed, const Bytes &packet, const Bytes &wanted) const
	{
		const Outcome outcome = run(bed, packet);

		ASSERT_TRUE(sent(hook(), outcome));
		EXPECT_EQ(outcome.packet, expected_link(wanted)) << describe(outcome.packet) << describe(wanted);
	}

	// The header of an error that answers a frame: from its destination, by the way that it came.
	Packet back(const std::string &from, const std::string &to) const
	{
		const Ethernet link{.destination = "02:00:00:00:00:02", .source = "02:00:00:00:00:01"};

		if (ipv4())
			return link / Ipv4{.source = from, .destination = to, .identification = 0};
		return link / Ipv6{.source = from, .destination = to, .flow = 0};
	}
};

INSTANTIATE_TEST_SUITE_P(Datapath, IcmpErrors, testing::ValuesIn(all_places), place_name);

TEST_P(IcmpErrors, PingsAreAnswered)
{
	Testbed bed(config("port: 80, protocol: tcp"));
	const uint8_t request = ipv4() ? 8 : 128, reply = ipv4() ? 0 : 129;

	for (const size_t size : {0U, 1U, 56U, 1400U}) {
		const Outcome outcome =
			run(bed, ip(client(), vip(), 3) / Icmp{.type = request, .rest = 0x12340007} / Payload(size));
		Bytes wanted = ip(vip(), client()) / Icmp{.type = reply, .rest = 0x12340007} / Payload(size);

		ASSERT_TRUE(sent(hook(), outcome)) << size;
		for (int i = 0; i < 6; i++)
			std::swap(wanted[i], wanted[i + 6]);
		EXPECT_EQ(outcome.packet, wanted);
	}
	EXPECT_EQ(bed.reason(HF_REASON_echo_answered), 4U);
	// Others are the host's.
	EXPECT_TRUE(passed(hook(), run(bed, ip(client(), client(2)) / Icmp{.type = request})));
	EXPECT_TRUE(passed(hook(), run(bed, ip(client(), vip()) / Icmp{.type = reply})));
	EXPECT_TRUE(passed(hook(), run(bed, ip(client(), member(1)) / Icmp{.type = request})));
}

TEST_P(IcmpErrors, AboutWhatAMemberSentReachIt)
{
	Testbed bed(config("port: 80, protocol: tcp", "", 1));

	ASSERT_EQ(connect(bed, client(), 40000), 1);
	for (const Icmp &what : {error(too_big, 1400), error(hops), error(port_unreachable)}) {
		// From a router in front of the client, and from the client.
		for (const std::string &from : {router(), client()}) {
			expect_error(bed, ip(from, vip()) / what / quote(segment(vip(), 80, client(), 40000)),
				     ip(from, member(1), 63) / what / quote(segment(member(1), 8080, client(), 40000)));
		}
	}
	EXPECT_EQ(bed.reason(HF_REASON_icmp_translated), 6U);
	// As little as has to be quoted, and as much as may be.
	const size_t header = ipv4() ? 20 : 40;
	const Icmp what = error(too_big, 1400);
	Payload least = quote(segment(vip(), 80, client(), 40000), header + 8);
	Payload wanted = quote(segment(member(1), 8080, client(), 40000), header + 8);
	expect_error(bed, ip(router(), vip()) / what / least, ip(router(), member(1), 63) / what / wanted);
	Payload whole = quote(tcp(vip(), 80, client(), 40000, ack, 5001, 1001) / Payload(400));
	wanted = quote(tcp(member(1), 8080, client(), 40000, ack, 5001, 1001) / Payload(400));
	expect_error(bed, ip(router(), vip()) / what / whole, ip(router(), member(1), 63) / what / wanted);
}

TEST_P(IcmpErrors, AboutWhatAClientSentReachIt)
{
	Testbed bed(config("port: 80, protocol: tcp", "", 1));
	const Icmp what = error(too_big, 1400);

	ASSERT_EQ(connect(bed, client(), 40000), 1);
	// A router behind, whose address nobody has told us; and the member, whose own is not to be seen.
	for (const auto &[from, as] : {std::pair(router(), router()), {member(1), vip()}})
		expect_error(bed, ip(from, client()) / what / quote(segment(client(), 40000, member(1), 8080)),
			     ip(as, client(), 63) / what / quote(segment(client(), 40000, vip(), 80)));
}

TEST_P(IcmpErrors, OfDatagrams)
{
	Testbed bed(config("port: 53, protocol: udp", "", 1));
	auto datagram = [&](const std::string &from, uint16_t from_port, const std::string &to, uint16_t to_port) {
		return ip(from, to, 63) / Udp{.source = from_port, .destination = to_port} / Payload(30);
	};

	ASSERT_EQ(addressee(run(bed, ip(client(), vip()) / Udp{.source = 5000, .destination = 53} / Payload(30))), 1);
	// Nobody listens there: also what is not yet a connection is told so.
	expect_error(bed,
		     ip(member(1), client()) / error(port_unreachable) /
			     quote(datagram(client(), 5000, member(1), 8080)),
		     ip(vip(), client(), 63) / error(port_unreachable) / quote(datagram(client(), 5000, vip(), 53)));
	if (!ipv4())
		return;
	// Without a checksum there is none to follow.
	auto unsummed = [&](const std::string &to, uint16_t to_port) {
		return ip(client(), to, 63) / Udp{.source = 5000, .destination = to_port, .checksum = 0} / Payload(30);
	};
	expect_error(bed, ip(member(1), client()) / error(port_unreachable) / quote(unsummed(member(1), 8080)),
		     ip(vip(), client(), 63) / error(port_unreachable) / quote(unsummed(vip(), 53)));
}

TEST_P(IcmpErrors, ThroughFullnat)
{
	Testbed bed(with("fullnat", fmt::format("port: 80, protocol: tcp, source_addresses: [\"{}\"]", source())));
	const Icmp what = error(too_big, 1400);
	const Outcome opened = run(bed, tcp(client(), 40000, vip(), 80, syn, 1000));

	ASSERT_EQ(addressee(opened), 1);
	run(bed, tcp(member(1), 8080, source(), 40000, syn | ack, 5000, 1001));
	run(bed, tcp(client(), 40000, vip(), 80, ack, 1001, 5001));
	expect_error(bed, ip(router(), vip()) / what / quote(segment(vip(), 80, client(), 40000)),
		     ip(router(), member(1), 63) / what / quote(segment(member(1), 8080, source(), 40000)));
	for (const auto &[from, as] : {std::pair(router(), router()), {member(1), vip()}})
		expect_error(bed, ip(from, source()) / what / quote(segment(source(), 40000, member(1), 8080)),
			     ip(as, client(), 63) / what / quote(segment(client(), 40000, vip(), 80)));
}

TEST_P(IcmpErrors, WithDirectGoAsTheyCame)
{
	Testbed bed(with("direct", "port: 80, protocol: tcp"));
	const Packet packet = ip(router(), vip()) / error(too_big, 1400) / quote(segment(vip(), 80, client(), 40000));

	run(bed, tcp(client(), 40000, vip(), 80, syn, 1000));
	run(bed, tcp(client(), 40000, vip(), 80, ack, 1001, 5001));
	const Outcome outcome = run(bed, packet);
	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(outcome.packet, expected_link(ip(router(), vip(), 63) / error(too_big, 1400) /
						quote(segment(vip(), 80, client(), 40000))));
	EXPECT_TRUE(dropped(hook(), run(bed, ip(router(), vip(), 1) / error(too_big, 1400) /
						     quote(segment(vip(), 80, client(), 40000)))));
	EXPECT_EQ(bed.reason(HF_REASON_hop_limit), 1U);
}

TEST_P(IcmpErrors, ThatConcernNobodyAreTheHosts)
{
	Testbed bed(config("port: 80, protocol: tcp", "", 1));
	const Icmp what = error(too_big, 1400);

	ASSERT_EQ(connect(bed, client(), 40000), 1);
	for (const Bytes &packet : {
		     Bytes(ip(router(), vip()) / what / quote(segment(vip(), 80, client(), 40001))),
		     Bytes(ip(router(), vip()) / what / quote(segment(vip(), 81, client(), 40000))),
		     Bytes(ip(router(), client()) / what / quote(segment(client(), 40000, client(2), 80))),
		     Bytes(ip(router(), vip()) / what / Payload(0)),
		     Bytes(ip(router(), vip()) / what / quote(segment(vip(), 80, client(), 40000), 24)),
		     Bytes(ip(router(), vip()) / what / quote(ip(vip(), client()) / Icmp{} / Payload(20))),
		     Bytes(ip(router(), vip()) / Icmp{.type = 250} / quote(segment(vip(), 80, client(), 40000))),
	     })
		EXPECT_TRUE(passed(hook(), run(bed, packet))) << describe(packet);
	EXPECT_EQ(bed.reason(HF_REASON_icmp_translated), 0U);
}

// Cut, lengthened and mutated: never more than a packet that passes or is sound.
TEST_P(IcmpErrors, SurviveNonsense)
{
	Testbed bed(config("port: 80, protocol: tcp", "", 1));
	const Bytes packet = ip(router(), vip()) / error(too_big, 1400) / quote(segment(vip(), 80, client(), 40000));
	uint32_t state = 1;

	ASSERT_EQ(connect(bed, client(), 40000), 1);
	for (size_t size = ipv4() ? 34 : 54; size < packet.size(); size++) {
		const Bytes cut(packet.begin(), packet.begin() + static_cast<ptrdiff_t>(size));
		const Outcome outcome = bed.run(hook(), cut);

		EXPECT_TRUE(passed(hook(), outcome) || dropped(hook(), outcome)) << size;
	}
	for (int i = 0; i < 4000; i++) {
		Bytes mutated = packet;

		for (int n = 0; n < 3; n++) {
			state = state * 1664525 + 1013904223;
			mutated[14 + (state >> 8) % (mutated.size() - 14)] = static_cast<uint8_t>(state >> 24);
		}
		const Outcome outcome = bed.run(hook(), mutated);
		if (passed(hook(), outcome)) {
			ASSERT_EQ(outcome.packet, mutated);
		}
	}
}

TEST_P(IcmpErrors, AreMadeOfWhatIsTooBig)
{
	Testbed bed(config("port: 80, protocol: tcp", "", 1));

	ASSERT_EQ(connect(bed, client(), 40000), 1);
	bed.maps->next_hops.live(1)->mtu = 1300;
	const Bytes packet = tcp(client(), 40000, vip(), 80, ack, 1001, 5001) / Payload(1400);
	const Outcome outcome = run(bed, packet);
	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(outcome.packet, Bytes(back(vip(), client()) / error(too_big, 1300) / quote(packet, 512)));
	EXPECT_EQ(bed.reason(HF_REASON_too_big), 1U);
	// And of a member's: as if the client's host had said so.
	const Bytes answer = tcp(member(1), 8080, client(), 40000, ack, 5001, 1001) / Payload(1400);
	const Outcome told = run(bed, answer);
	ASSERT_TRUE(sent(hook(), told));
	EXPECT_EQ(told.packet, Bytes(back(client(), member(1)) / error(too_big, 1300) / quote(answer, 512)));
}

TEST_P(IcmpErrors, AreMadeWhereNobodyServes)
{
	Testbed bed(config("port: 53, protocol: udp", "", 1));
	const Bytes packet = ip(client(), vip()) / Udp{.source = 5000, .destination = 53} / Payload(100);

	bed.override_member("web", "rs1", MemberStatus::disabled);
	const Outcome outcome = run(bed, packet);
	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(outcome.packet, Bytes(back(vip(), client()) / error(port_unreachable) / quote(packet)));
	EXPECT_EQ(bed.reason(HF_REASON_no_usable_member), 1U);
}

TEST_P(IcmpErrors, AreMadeOfWhatHasNoHopsLeft)
{
	Testbed bed(config("port: 80, protocol: tcp", "", 1));
	const Bytes packet = ip(client(), vip(), 1) / Tcp{.source = 40000, .destination = 80, .flags = syn};
	const Outcome outcome = run(bed, packet);

	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(outcome.packet, Bytes(back(vip(), client()) / error(hops) / quote(packet)));
}

TEST_P(IcmpErrors, AreNotMadeWithoutALimit)
{
	Testbed bed(config("port: 53, protocol: udp", "", 1));
	const Bytes packet = ip(client(), vip()) / Udp{.source = 5000, .destination = 53} / Payload(100);
	int told = 0;

	bed.override_member("web", "rs1", MemberStatus::disabled);
	// Others have had some of this second's.
	const uint32_t before = bed.maps->now();
	while (bed.maps->now() == before)
		continue;
	const uint32_t begun = bed.maps->now();
	for (int i = 0; i < 5000; i++)
		told += sent(hook(), bed.run(hook(), packet));
	const auto seconds = static_cast<int>(bed.maps->now() - begun + 1);
	EXPECT_LE(told, 1000 * seconds);
	EXPECT_GE(told, 1);
	EXPECT_EQ(bed.reason(HF_REASON_no_usable_member), 5000U);
}

} // namespace
} // namespace holdfast::test
