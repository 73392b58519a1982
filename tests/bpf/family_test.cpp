// SPDX-License-Identifier: GPL-2.0
// nat46 and nat64: headers of one family become the other's, and back. What is expected
// is put together from nothing.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <random>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf/splice_fixture.h"

namespace holdfast::test
{
namespace
{

class Family : public SpliceTest
{
protected:
	bool has_ipv4_members() const override { return !ipv4(); }
	std::string source() const { return ipv4() ? "fd00::9:1" : "10.0.9.1"; }
	std::string router() const { return ipv4() ? "10.0.7.1" : "fd00::7:1"; }
	std::string inner_router() const { return ipv4() ? "fd00::7:1" : "10.0.7.1"; }

	std::string with(const std::string &server, const std::string &rules = "", int members = 1) const
	{
		std::string yaml =
			config(server + fmt::format(", source_addresses: [\"{}\"]", source()), rules, members);

		yaml.replace(yaml.find("forwarding: dnat"), 16, ipv4() ? "forwarding: nat46" : "forwarding: nat64");
		return yaml;
	}

	// What both families have.
	struct Header {
		uint8_t hops = 64;
		uint8_t tos = 0;
		uint16_t offset = 0; // of a fragment, in 8 bytes
		bool more = false;
		uint32_t id = 0;
		bool whole = true;
	};

	Packet network(const std::string &from, const std::string &to, const Header &header, uint8_t protocol) const
	{
		if (from.find(':') == std::string::npos) {
			const auto fragment = static_cast<uint16_t>((header.more ? 0x2000 : 0) | header.offset);

			return Ethernet{} / Ipv4{.source = from,
						 .destination = to,
						 .ttl = header.hops,
						 .identification = static_cast<uint16_t>(header.id),
						 .fragment = header.whole ? uint16_t{0x4000} : fragment,
						 .protocol = protocol,
						 .tos = header.tos};
		}
		const Packet plain = Ethernet{} / Ipv6{.source = from,
						       .destination = to,
						       .hop_limit = header.hops,
						       .flow = static_cast<uint32_t>(header.tos) << 20};
		if (header.whole)
			return plain;
		const auto field = static_cast<uint16_t>(header.offset << 3 | (header.more ? 1 : 0));
		return plain /
		       Extension{.type = 44,
				 .body = {uint8_t(field >> 8), uint8_t(field), uint8_t(header.id >> 24),
					  uint8_t(header.id >> 16), uint8_t(header.id >> 8), uint8_t(header.id)},
				 .length = 0};
	}

	// What may be fragmented has an identification of the translator's choice.
	Bytes expected(const Bytes &packet, const Bytes &sent) const
	{
		Bytes wanted = expected_link(packet);

		if (wanted.at(12) != 0x08 || wanted.size() - 14 > 1260 || sent.size() != wanted.size())
			return wanted;
		std::copy_n(sent.begin() + 18, 2, wanted.begin() + 18);
		std::fill_n(wanted.begin() + 20, 2, 0);
		std::fill_n(wanted.begin() + 24, 2, 0);
		uint32_t sum = 0;
		for (size_t i = 14; i < 34; i += 2)
			sum += static_cast<uint32_t>(wanted[i] << 8 | wanted[i + 1]);
		while (sum >> 16)
			sum = (sum & 0xffff) + (sum >> 16);
		wanted[24] = static_cast<uint8_t>(~sum >> 8);
		wanted[25] = static_cast<uint8_t>(~sum);
		return wanted;
	}

	void expect_becomes(Testbed &bed, const Bytes &packet, const Bytes &wanted) const
	{
		const Outcome outcome = run(bed, packet);

		ASSERT_TRUE(sent(hook(), outcome)) << describe(packet);
		ASSERT_EQ(outcome.packet, expected(wanted, outcome.packet))
			<< describe(outcome.packet) << describe(wanted);
	}

	// A handshake, whose client keeps its port.
	void open_connection(Testbed &bed, uint16_t port) const
	{
		run(bed, tcp(client(), port, vip(), 80, syn, 1000));
		run(bed, tcp(member(1), 8080, source(), port, syn | ack, 5000, 1001));
		ASSERT_TRUE(sent(hook(), run(bed, tcp(client(), port, vip(), 80, ack, 1001, 5001))));
	}

	static Payload quote(const Bytes &frame)
	{
		Payload payload(0);

		payload.bytes.assign(frame.begin() + 14, frame.end());
		return payload;
	}
};

INSTANTIATE_TEST_SUITE_P(Datapath, Family, testing::ValuesIn(all_places), place_name);

// There and back, of whatever shape.
TEST_P(Family, PacketsThereAndBack)
{
	std::mt19937 random(7915);
	auto any = [&](uint32_t below) { return static_cast<uint32_t>(random() % below); };
	Testbed bed(with("port: 80, protocol: tcp"));

	open_connection(bed, 40000);
	for (int i = 0; i < 400; i++) {
		const Header header{.hops = static_cast<uint8_t>(2 + any(254)), .tos = static_cast<uint8_t>(any(256))};
		const Header after{.hops = static_cast<uint8_t>(header.hops - 1), .tos = header.tos};
		const Payload payload(any(4) ? any(1380) : any(3), static_cast<uint8_t>(any(256)));
		Bytes options = any(2) ? stamps(any(1U << 31), any(1U << 31)) : Bytes{};
		const bool back = any(2);
		auto segment = [&](const Packet &in, uint16_t from, uint16_t to) {
			return Bytes(in /
				     Tcp{.source = from,
					 .destination = to,
					 .sequence = static_cast<uint32_t>(i) * 7919,
					 .acknowledgement = static_cast<uint32_t>(i) * 104729,
					 .flags = static_cast<uint8_t>(ack | (i % 3 ? psh : 0)),
					 .options = options} /
				     payload);
		};

		if (back)
			expect_becomes(bed, segment(network(member(1), source(), header, 6), 8080, 40000),
				       segment(network(vip(), client(), after, 6), 80, 40000));
		else
			expect_becomes(bed, segment(network(client(), vip(), header, 6), 40000, 80),
				       segment(network(source(), member(1), after, 6), 40000, 8080));
	}
	EXPECT_EQ(bed.reason(HF_REASON_packet_resize), 0U);
}

// Options, extension headers and tags end here.
TEST_P(Family, WhatTheOtherFamilyHasNotIsLeftOut)
{
	Testbed bed(with("port: 80, protocol: tcp"));
	const Tcp segment{.source = 40000, .destination = 80, .sequence = 1001, .acknowledgement = 5001, .flags = ack};
	Tcp wanted = segment;

	open_connection(bed, 40000);
	wanted.destination = 8080;
	const Bytes plain = network(source(), member(1), {.hops = 63}, 6) / wanted / Payload(1000);
	if (ipv4()) {
		const Ipv4 with_options{.source = client(), .destination = vip(), .options = Bytes(8, 1)};

		expect_becomes(bed, Ethernet{} / with_options / segment / Payload(1000), plain);
		expect_becomes(bed, Ethernet{} / Vlan{10} / with_options / segment / Payload(1000), plain);
	} else {
		const Ipv6 header{.source = client(), .destination = vip(), .flow = 0x12345};

		expect_becomes(bed, Ethernet{} / header / Extension{} / segment / Payload(1000), plain);
		expect_becomes(bed, Ethernet{} / Vlan{10} / header / Extension{} / segment / Payload(1000), plain);
		// An atomic fragment (RFC 6946) is whole.
		expect_becomes(bed,
			       Ethernet{} / header / Extension{.type = 44, .body = Bytes(6, 0), .length = 0} / segment /
				       Payload(1000),
			       plain);
	}
}

TEST_P(Family, Datagrams)
{
	Testbed bed(with("port: 53, protocol: udp"));
	auto datagram = [&](const std::string &from, uint16_t from_port, const std::string &to, uint16_t to_port,
			    uint8_t hops, size_t size) {
		return Bytes(network(from, to, {.hops = hops}, 17) / Udp{.source = from_port, .destination = to_port} /
			     Payload(size));
	};

	for (const size_t size : {0U, 1U, 2U, 511U, 512U, 1400U}) {
		expect_becomes(bed, datagram(client(), 5000, vip(), 53, 64, size),
			       datagram(source(), 5000, member(1), 8080, 63, size));
		expect_becomes(bed, datagram(member(1), 8080, source(), 5000, 64, size),
			       datagram(vip(), 53, client(), 5000, 63, size));
	}
	if (!ipv4())
		return;
	// IPv6 has no datagrams without a checksum.
	for (const size_t size : {0U, 1U, 503U, 504U, 505U, 1024U, 1399U}) {
		const Udp unsummed{.source = 5000, .destination = 53, .checksum = 0};

		expect_becomes(bed, network(client(), vip(), {}, 17) / unsummed / Payload(size),
			       datagram(source(), 5000, member(1), 8080, 63, size));
	}
	// Of which a fragment says too little.
	EXPECT_TRUE(dropped(hook(),
			    run(bed, network(client(), vip(), {.more = true, .id = 9, .whole = false}, 17) /
					     Udp{.source = 5000, .destination = 53, .checksum = 0} / Payload(800))));
	EXPECT_EQ(bed.reason(HF_REASON_checksum_missing), 1U);
}

TEST_P(Family, FragmentsStayFragments)
{
	Testbed bed(with("port: 53, protocol: udp"));
	auto part = [&](const std::string &from, uint16_t from_port, const std::string &to, uint16_t to_port,
			uint8_t hops, bool first, uint32_t id) {
		const Bytes whole = ip(from, to) / Udp{.source = from_port, .destination = to_port} / Payload(1000);
		const auto begin = whole.end() - 1008, middle = begin + 520;
		Payload payload(0);

		payload.bytes.assign(first ? begin : middle, first ? middle : whole.end());
		Bytes built = network(from, to,
				      {.hops = hops,
				       .offset = static_cast<uint16_t>(first ? 0 : 65),
				       .more = first,
				       .id = id,
				       .whole = false},
				      17) /
			      payload;
		if (from.find(':') != std::string::npos)
			built[54] = 17; // what follows the fragment header
		return built;
	};

	// The upper half, where there is one, tells those apart who share the source.
	auto identified = [&](uint32_t id, uint32_t sender) {
		return ipv4() ? (sender * 0x9e3779b1U & 0xffff0000U) | id : id;
	};
	for (const bool first : {true, false}) {
		const Outcome asked = bed.run(hook(), part(client(), 5000, vip(), 53, 64, first, 0xabcd));
		const uint32_t id = identified(0xabcd, 0xc6336401); // 198.51.100.1

		ASSERT_TRUE(sent(hook(), asked));
		EXPECT_EQ(asked.packet, expected_link(part(source(), 5000, member(1), 8080, 63, first, id)));
	}
	for (const bool first : {true, false}) {
		// Only the lower half of an IPv6 identification fits.
		const uint32_t id = ipv4() ? 0x7777beef : 0xbeef;
		const uint32_t becomes = ipv4() ? 0xbeef : (0x0a00020bU * 0x9e3779b1U & 0xffff0000U) | 0xbeef;
		const Outcome answered = bed.run(hook(), part(member(1), 8080, source(), 5000, 64, first, id));

		ASSERT_TRUE(sent(hook(), answered));
		EXPECT_EQ(answered.packet, expected_link(part(vip(), 53, client(), 5000, 63, first, becomes)));
	}
}

// IPv6's header is 20 bytes longer: so much less, or more, is what a sender may send.
TEST_P(Family, WhatIsTooBigIsToldInItsSendersTerms)
{
	Testbed bed(with("port: 80, protocol: tcp"));
	const size_t headers = ipv4() ? 40 : 60, most = ipv4() ? 1480 : 1520;
	auto whole = [&](size_t length) {
		return Bytes(network(client(), vip(), {}, 6) /
			     Tcp{.source = 40000,
				 .destination = 80,
				 .sequence = 1001,
				 .acknowledgement = 5001,
				 .flags = ack} /
			     Payload(length - headers));
	};

	open_connection(bed, 40000);
	EXPECT_EQ(addressee(run(bed, whole(most))), 1);
	EXPECT_EQ(bed.reason(HF_REASON_too_big), 0U);
	const Outcome told = run(bed, whole(most + 1));
	EXPECT_EQ(bed.reason(HF_REASON_too_big), 1U);
	ASSERT_TRUE(sent(hook(), told));
	const size_t at = ipv4() ? 34 : 54;
	EXPECT_EQ(told.packet.at(at), ipv4() ? 3 : 2);
	EXPECT_EQ(told.packet.at(at + 6) << 8 | told.packet.at(at + 7), most);
}

// What came in once more, by the interface that test runs come by.
class Again
{
public:
	Again() : socket_(::socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)))
	{
		sockaddr_ll address{};

		address.sll_family = AF_PACKET;
		address.sll_protocol = htons(ETH_P_ALL);
		address.sll_ifindex = static_cast<int>(if_nametoindex("lo"));
		if (::bind(socket_, reinterpret_cast<sockaddr *>(&address), sizeof(address)))
			throw std::runtime_error("bind");
	}
	~Again() { ::close(socket_); }
	Again(const Again &) = delete;
	Again &operator=(const Again &) = delete;

	Bytes next() const
	{
		Bytes frame(65536);
		pollfd ready{socket_, POLLIN, 0};

		if (::poll(&ready, 1, 1000) != 1)
			return {};
		const ssize_t length = ::recv(socket_, frame.data(), frame.size(), 0);
		frame.resize(static_cast<size_t>(std::max<ssize_t>(length, 0)));
		return frame;
	}

private:
	int socket_;
};

// An IPv4 packet that its sender allows to be fragmented, is (RFC 7915, 4.1): into what its way takes.
TEST_P(Family, WhatBecomesTooLongIsCut)
{
	if (!ipv4())
		return;
	Testbed bed(with("port: 53, protocol: udp"));
	bed.maps->next_hops.live(1)->mtu = 1500;
	const Again again;
	struct Case {
		size_t size;     // of the datagram, with its header
		uint16_t offset; // of this fragment of it
		bool more, summed;
	};
	constexpr size_t piece = 1448;
	uint64_t cuts = 0;
	uint16_t id = 100;

	// Whole ones, fragments of larger ones, and one that is cut again; 1452 would fit.
	for (const Case &one : {Case{1480, 0, false, true},
				{1480, 0, false, false},
				{1473, 0, false, true},
				{1480, 0, true, true},
				{1480, 185, true, true},
				{1480, 185, false, true},
				{3000, 0, false, true}}) {
		auto datagram = [&](const std::string &from, const std::string &to, uint16_t port, bool summed) {
			Udp udp{.source = 5000, .destination = port};

			if (!summed)
				udp.checksum = 0;
			const Bytes frame = network(from, to, {}, 17) / udp / Payload(one.size - 8);
			return Bytes(frame.end() - static_cast<long>(one.size), frame.end());
		};
		// Of IPv4, what comes and comes again; of IPv6, what the member gets.
		auto ipv4_part = [&](const Bytes &all, size_t begin, size_t end, bool more, bool never = false) {
			Payload part(0);

			part.bytes.assign(all.begin() + static_cast<long>(begin), all.begin() + static_cast<long>(end));
			return Bytes(network(client(), vip(),
					     {.offset = static_cast<uint16_t>(one.offset + begin / 8),
					      .more = more,
					      .id = id,
					      .whole = never},
					     17) /
				     part);
		};
		auto ipv6_part = [&](const Bytes &all, size_t begin, size_t end, bool more) {
			Payload part(0);

			part.bytes.assign(all.begin() + static_cast<long>(begin), all.begin() + static_cast<long>(end));
			Bytes built = network(source(), member(1),
					      {.hops = 63,
					       .offset = static_cast<uint16_t>(one.offset + begin / 8),
					       .more = more,
					       .id = (0xc6336401U * 0x9e3779b1U & 0xffff0000U) | id,
					       .whole = false},
					      17) /
				      part;
			built[54] = 17;
			return expected_link(built);
		};

		id++;
		if (one.offset) {
			const Packet first = network(client(), vip(), {.more = true, .id = id, .whole = false}, 17) /
					     Udp{.source = 5000, .destination = 53} / Payload(800);

			ASSERT_TRUE(sent(hook(), bed.run(hook(), Bytes(first)))) << "what it follows";
		}
		const Bytes asked = datagram(client(), vip(), 53, one.summed);
		const Bytes summed = one.offset ? asked : datagram(client(), vip(), 53, true);
		const Bytes becomes = one.offset ? asked : datagram(source(), member(1), 8080, true);
		Bytes left = ipv4_part(asked, 0, one.size, one.more);
		for (size_t begin = 0; begin < one.size;) {
			const bool last = one.size - begin <= 1452;
			const size_t end = last ? one.size : begin + piece;

			Bytes frame = left;
			if (!last) {
				const Outcome outcome = bed.run(hook(), left);
				if (hook() == Hook::xdp) {
					ASSERT_TRUE(passed(hook(), outcome)) << "TC cuts it";
					break;
				}
				cuts++;
				ASSERT_EQ(outcome.verdict, static_cast<uint32_t>(TC_ACT_REDIRECT));
				frame = again.next();
				ASSERT_EQ(frame, ipv4_part(summed, begin, end, true)) << describe(frame);
				left = outcome.packet;
				ASSERT_EQ(left, ipv4_part(summed, end, one.size, one.more)) << describe(left);
			}
			const Outcome outcome = bed.run(hook(), frame);
			ASSERT_TRUE(sent(hook(), outcome)) << describe(frame);
			ASSERT_EQ(outcome.packet, ipv6_part(becomes, begin, end, !last || one.more))
				<< describe(outcome.packet);
			begin = end;
		}
		// Who forbids it is told.
		if (!one.offset && !one.more) {
			const uint64_t told = bed.reason(HF_REASON_too_big);
			const Outcome outcome = bed.run(hook(), ipv4_part(asked, 0, one.size, false, true));

			ASSERT_TRUE(sent(hook(), outcome));
			EXPECT_EQ(outcome.packet.at(34) << 8 | outcome.packet.at(35), 0x0304);
			EXPECT_EQ(bed.reason(HF_REASON_too_big), told + 1);
		}
	}
	EXPECT_EQ(bed.reason(HF_REASON_fragmented), cuts);
	EXPECT_EQ(cuts, hook() == Hook::xdp ? 0U : 8U);
	// Also where only the FIB knows the way.
	bed.maps->members.live(1)->next_hop = 0;
	bed.maps->next_hops.set(1, {});
	const Bytes other = network(client(), vip(), {.id = 1, .whole = false}, 17) /
			    Udp{.source = 5001, .destination = 53} / Payload(1472);
	const uint64_t told = bed.reason(HF_REASON_too_big);
	EXPECT_EQ(passed(hook(), bed.run(hook(), other)), hook() == Hook::xdp);
	EXPECT_EQ(bed.reason(HF_REASON_fragmented), cuts + (hook() == Hook::xdp ? 0 : 1));
	EXPECT_EQ(bed.reason(HF_REASON_too_big), told);
}

// A datagram whose key may lie at its end is not: its sender is told, and so is that of a segment.
TEST_P(Family, WhatIsReadIsNotCut)
{
	if (!ipv4())
		return;
	const Packet header = network(client(), vip(), {.id = 1, .whole = false}, 17);
	{
		Testbed bed(
			with("port: 5060, protocol: udp, persistence: rule", "  - {name: rule, type: sip-call-id}\n"));
		const Payload call("INVITE sip:b@c SIP/2.0\r\nCall-ID: 1@c\r\nX: " + std::string(1420, 'x') +
				   "\r\n\r\n");

		ASSERT_TRUE(
			sent(hook(), bed.run(hook(), Bytes(header / Udp{.source = 5000, .destination = 5060} / call))));
		EXPECT_EQ(bed.reason(HF_REASON_too_big), 1U);
		EXPECT_EQ(bed.reason(HF_REASON_fragmented), 0U);
	}
	Testbed bed(with("port: 80, protocol: tcp"));
	open_connection(bed, 40000);
	const Bytes segment =
		network(client(), vip(), {.id = 1, .whole = false}, 6) /
		Tcp{.source = 40000, .destination = 80, .sequence = 1001, .acknowledgement = 5001, .flags = ack} /
		Payload(1460);
	ASSERT_TRUE(sent(hook(), bed.run(hook(), segment)));
	EXPECT_EQ(bed.reason(HF_REASON_too_big), 1U);
	EXPECT_EQ(bed.reason(HF_REASON_fragmented), 0U);
}

TEST_P(Family, TheLastHopIsTold)
{
	Testbed bed(with("port: 80, protocol: tcp"));

	open_connection(bed, 40000);
	const Outcome told =
		run(bed, network(client(), vip(), {.hops = 1}, 6) / Tcp{.source = 40000, .destination = 80});
	ASSERT_TRUE(sent(hook(), told));
	EXPECT_EQ(told.packet.at(ipv4() ? 34 : 54), ipv4() ? 11 : 3);
	EXPECT_EQ(bed.reason(HF_REASON_hop_limit), 1U);
}

TEST_P(Family, ErrorsReachTheOtherFamily)
{
	struct Case {
		Icmp ipv4, ipv6;
		bool there = true, back = true; // from IPv4 to IPv6, and from IPv6 to IPv4
	};
	const std::vector<Case> cases = {
		{{3, 0, 0}, {1, 0, 0}, true, false},
		{{3, 1, 0}, {1, 0, 0}},
		{{3, 1, 0}, {1, 2, 0}, false},
		{{3, 1, 0}, {1, 3, 0}, false},
		{{3, 3, 0}, {1, 4, 0}},
		{{3, 10, 0}, {1, 1, 0}},
		{{3, 13, 0}, {1, 1, 0}, true, false},
		{{3, 4, 1400}, {2, 0, 1420}},
		{{3, 4, 600}, {2, 0, 1280}, true, false},
		{{3, 2, 0}, {4, 1, 6}, true, false},
		{{3, 2, 0}, {4, 1, 40}, false},
		{{11, 0, 0}, {3, 0, 0}},
		{{11, 1, 0}, {3, 1, 0}},
		{{12, 0, 8U << 24}, {4, 0, 7}},
		{{12, 0, 9U << 24}, {4, 0, 6}},
		{{12, 0, 16U << 24}, {4, 0, 24}},
		{{12, 0, 2U << 24}, {4, 0, 4}},
		{{12, 2, 1U << 24}, {4, 0, 1}, true, false},
	};
	Testbed bed(with("port: 80, protocol: tcp"));
	auto segment = [&](const std::string &from, uint16_t from_port, const std::string &to, uint16_t to_port) {
		return Bytes(network(from, to, {.hops = 60, .tos = 8}, 6) /
			     Tcp{.source = from_port,
				 .destination = to_port,
				 .sequence = 5001,
				 .acknowledgement = 1001,
				 .flags = ack} /
			     Payload(20));
	};
	uint64_t translated = 0;

	open_connection(bed, 40000);
	// What lies in a CPU's memory from before is in no error.
	EXPECT_TRUE(sent(hook(), run(bed, network(client(), vip(), {}, 6) / Tcp{.source = 40000, .destination = 80} /
						  Payload(1500))));
	EXPECT_EQ(bed.reason(HF_REASON_too_big), 1U);
	for (const Case &one : cases) {
		// From a router, or the host itself, about what a member, or a client, has sent.
		for (const bool to_member : {true, false}) {
			const bool from_ipv4 = to_member == ipv4();

			if (from_ipv4 ? !one.there : !one.back)
				continue;
			const Icmp was = from_ipv4 ? one.ipv4 : one.ipv6, becomes = from_ipv4 ? one.ipv6 : one.ipv4;
			for (const std::string &from :
			     to_member ? std::vector{router(), client()} : std::vector{inner_router(), member(1)}) {
				const Bytes packet =
					to_member ? ip(from, vip()) / was / quote(segment(vip(), 80, client(), 40000))
						  : ip(from, source()) / was /
							    quote(segment(source(), 40000, member(1), 8080));
				const Bytes quoted = to_member ? segment(member(1), 8080, source(), 40000)
							       : segment(client(), 40000, vip(), 80);
				const Outcome outcome = run(bed, packet);
				const Bytes wanted =
					network(to_member ? source() : vip(), to_member ? member(1) : client(),
						{.hops = 63}, from_ipv4 ? 58 : 1) /
					becomes / quote(quoted);

				ASSERT_TRUE(sent(hook(), outcome)) << describe(packet);
				EXPECT_EQ(outcome.packet, expected_link(wanted))
					<< describe(outcome.packet) << describe(wanted);
				translated++;
			}
		}
	}
	EXPECT_EQ(bed.reason(HF_REASON_icmp_translated), translated);
	// What the other family has not.
	const Icmp nothing = ipv4() ? Icmp{3, 14, 0} : Icmp{4, 2, 0};
	EXPECT_TRUE(
		dropped(hook(), run(bed, ip(router(), vip()) / nothing / quote(segment(vip(), 80, client(), 40000)))));
	EXPECT_EQ(bed.reason(HF_REASON_icmp_untranslated), 1U);
}

// A router quotes a first fragment; and somebody lies.
TEST_P(Family, ErrorsAboutFragments)
{
	Testbed bed(with("port: 53, protocol: udp"));
	auto datagram = [&](const std::string &from, uint16_t from_port, const std::string &to, uint16_t to_port,
			    bool whole) {
		Bytes built = network(from, to, {.hops = 60, .more = true, .id = 0xbeef, .whole = whole}, 17) /
			      Udp{.source = from_port, .destination = to_port} / Payload(48);

		if (!whole && from.find(':') != std::string::npos)
			built[54] = 17;
		return built;
	};
	const Icmp was = ipv4() ? Icmp{2, 0, 1400} : Icmp{3, 4, 1400},
		   becomes = ipv4() ? Icmp{3, 4, 1380} : Icmp{2, 0, 1420};

	ASSERT_EQ(addressee(run(bed, ip(client(), vip()) / Udp{.source = 5000, .destination = 53} / Payload(48))), 1);
	// An IPv4 quote stays what it was: the fragment's header is IPv6's own matter.
	const Bytes wanted = network(vip(), client(), {.hops = 63}, ipv4() ? 1 : 58) / becomes /
			     quote(datagram(client(), 5000, vip(), 53, !ipv4()));
	Bytes error = ip(inner_router(), source()) / was / quote(datagram(source(), 5000, member(1), 8080, false));
	const Outcome outcome = run(bed, error);
	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(outcome.packet, expected_link(wanted)) << describe(outcome.packet) << describe(wanted);
	error.back() ^= 1;
	EXPECT_TRUE(dropped(hook(), bed.run(hook(), error))) << "its checksum would become right";
	EXPECT_EQ(bed.reason(HF_REASON_malformed), 1U);
}

// The least that has to be quoted, of a datagram; tags end.
TEST_P(Family, ShortErrorsOfDatagrams)
{
	Testbed bed(with("port: 53, protocol: udp"));
	auto datagram = [&](const std::string &from, uint16_t from_port, const std::string &to, uint16_t to_port) {
		Payload cut = quote(network(from, to, {.hops = 60}, 17) /
				    Udp{.source = from_port, .destination = to_port} / Payload(200));

		cut.bytes.resize((from.find(':') == std::string::npos ? 20 : 40) + 8);
		return cut;
	};
	const Icmp was = ipv4() ? Icmp{1, 4, 0} : Icmp{3, 3, 0}, becomes = ipv4() ? Icmp{3, 3, 0} : Icmp{1, 4, 0};

	ASSERT_EQ(addressee(run(bed, ip(client(), vip()) / Udp{.source = 5000, .destination = 53} / Payload(200))), 1);
	const Bytes wanted =
		network(vip(), client(), {.hops = 63}, ipv4() ? 1 : 58) / becomes / datagram(client(), 5000, vip(), 53);
	for (const bool tagged : {false, true}) {
		const Packet link = tagged ? Ethernet{} / Vlan{12} : Packet(Ethernet{});
		const Packet header = ipv4() ? link / Ipv6{.source = member(1), .destination = source()}
					     : link / Ipv4{.source = member(1), .destination = source()};
		const Outcome outcome = run(bed, header / was / datagram(source(), 5000, member(1), 8080));

		ASSERT_TRUE(sent(hook(), outcome));
		EXPECT_EQ(outcome.packet, expected_link(wanted)) << describe(outcome.packet) << describe(wanted);
	}
}

// The splice engine's own segments, and those that it translates.
TEST_P(Family, SplicesReachMembersOfTheOtherFamily)
{
	Testbed bed(with(web, rule));
	const uint32_t cookie = ask(bed), next = client_isn + 1 + static_cast<uint32_t>(request.size());
	auto to_member = [&](const Bytes &packet) {
		Outcome outcome = open(bed, packet);

		EXPECT_TRUE(sent(Hook::tc, outcome));
		EXPECT_EQ(outcome.packet.at(12), ipv4() ? 0x86 : 0x08) << describe(outcome.packet);
		EXPECT_EQ(addressee(outcome), 1);
		return look(outcome.packet);
	};
	auto says = [&](uint8_t flags, uint32_t sequence, uint32_t acknowledgement, const Bytes &options) {
		return ip(member(1), source()) / Tcp{.source = 8080,
						     .destination = 40000,
						     .sequence = sequence,
						     .acknowledgement = acknowledgement,
						     .flags = flags,
						     .window = 300,
						     .options = options};
	};

	const std::string answer = "HTTP/1.1 200 OK\r\n\r\n";

	admit(bed, cookie);
	const Seen asked = to_member(from_client(ack | psh, client_isn + 1, cookie + 1, stamps(client_clock + 2, 0)) /
				     Payload(request));
	EXPECT_EQ(asked.flags, syn);
	EXPECT_EQ(asked.sequence, client_isn);
	// What fits both ways: an IPv6 packet of 1500 bytes.
	EXPECT_EQ(asked.options.at(2) << 8 | asked.options.at(3), ipv4() ? 1440 : 1460);
	const Seen replayed = to_member(says(
		syn | ack, member_isn, client_isn + 1,
		words({ipv4() ? 0x020405a0U : 0x020405b4U, 0x0402080a, member_clock, client_clock + 2, 0x01030307})));
	EXPECT_EQ(replayed.payload, request);
	EXPECT_EQ(replayed.sequence, client_isn + 1);
	const Outcome answered = run(bed, says(ack, member_isn + 1, next, stamps(member_clock + 10, client_clock + 2)) /
						  Payload(answer));
	ASSERT_TRUE(sent(hook(), answered));
	EXPECT_EQ(answered.packet, expected(network(vip(), client(), {.hops = 63}, 6) /
						    Tcp{.source = 80,
							.destination = 40000,
							.sequence = cookie + 1,
							.acknowledgement = next,
							.flags = ack,
							.window = 300,
							.options = look(answered.packet).options} /
						    Payload(answer),
					    answered.packet));
	const Outcome goes_on = run(
		bed, from_client(ack, next, cookie + 1 + static_cast<uint32_t>(answer.size()),
				 stamps(client_clock + 9, look(answered.packet).options.empty() ? 0 : member_clock)));
	ASSERT_TRUE(sent(hook(), goes_on));
	EXPECT_EQ(look(goes_on.packet).acknowledgement, member_isn + 1 + answer.size());
	EXPECT_EQ(addressee(goes_on), 1);
}

TEST_P(Family, ClientsStay)
{
	Testbed bed(with("port: 80, protocol: tcp, persistence: by-address",
			 "  - {name: by-address, type: source-address, timeout: 100}\n", 3));

	for (int number = 1; number <= 9; number++) {
		const Outcome opened = run(bed, tcp(client(number), 40000, vip(), 80, syn, 1000));
		const int first = addressee(opened);
		const size_t at = ipv4() ? 54 : 34;
		const auto port = static_cast<uint16_t>(opened.packet.at(at) << 8 | opened.packet.at(at + 1));

		ASSERT_NE(first, 0);
		run(bed, tcp(member(first), 8080, source(), port, syn | ack, 5000, 1001));
		ASSERT_EQ(addressee(run(bed, tcp(client(number), 40000, vip(), 80, ack, 1001, 5001))), first);
		ASSERT_EQ(addressee(run(bed, tcp(client(number), 41000, vip(), 80, syn, 1000))), first);
	}
}

} // namespace
} // namespace holdfast::test
