// SPDX-License-Identifier: GPL-2.0
// Datagrams in pieces: later fragments go where the first one went, in both
// directions, and what arrives is the whole datagram with a right checksum.
#include <algorithm>
#include <fmt/format.h>
#include <map>

#include "bpf/datapath_test.h"

namespace holdfast::test
{
namespace
{

class Fragment : public DatapathTest
{
protected:
	const std::string rules = "  - {name: calls, type: sip-call-id}\n";
	const std::string server = "port: 5060, protocol: udp, persistence: calls";

	size_t header() const { return 14 + (ipv4() ? 20U : 40U); }

	// The frame cut into pieces of `size` bytes of payload (a multiple of 8).
	std::vector<Bytes> cut(const Bytes &frame, size_t size, uint32_t id) const
	{
		const std::vector<uint8_t> payload(frame.begin() + static_cast<ptrdiff_t>(header()), frame.end());
		std::vector<Bytes> pieces;

		for (size_t at = 0; at < payload.size(); at += size) {
			const size_t end = std::min(at + size, payload.size());
			Payload part("");

			part.bytes.assign(payload.begin() + static_cast<ptrdiff_t>(at),
					  payload.begin() + static_cast<ptrdiff_t>(end));
			pieces.push_back(piece(frame, part, at / 8, end < payload.size(), id));
		}
		return pieces;
	}

	Bytes piece(const Bytes &frame, const Payload &part, size_t offset, bool more, uint32_t id) const
	{
		Bytes built;

		if (ipv4()) {
			built = Ethernet{} /
				Ipv4{.source = "192.0.2.1",
				     .destination = "192.0.2.2",
				     .identification = static_cast<uint16_t>(id),
				     .fragment = static_cast<uint16_t>(offset | (more ? 0x2000 : 0)),
				     .protocol = 17} /
				part;
			patch(built, 26, Bytes(frame.begin() + 26, frame.begin() + 34));
			fix_ipv4_checksum(built);
			return built;
		}
		const auto field = static_cast<uint16_t>(offset << 3 | more);
		Bytes body = {static_cast<uint8_t>(field >> 8), static_cast<uint8_t>(field), 0, 0,
			      static_cast<uint8_t>(id >> 8),    static_cast<uint8_t>(id)};
		built = Ethernet{} / Ipv6{.source = "fd00::1", .destination = "fd00::2"} /
			Extension{.type = 44, .body = body, .length = 0} / part;
		patch(built, 22, Bytes(frame.begin() + 22, frame.begin() + 54));
		built[54] = 17; // what follows the fragment header
		return built;
	}

	static void patch(Bytes &frame, size_t at, const Bytes &bytes)
	{
		std::copy(bytes.begin(), bytes.end(), frame.begin() + static_cast<ptrdiff_t>(at));
	}

	static void fix_ipv4_checksum(Bytes &frame)
	{
		uint32_t sum = 0;

		frame[24] = frame[25] = 0;
		for (size_t i = 14; i < 34; i += 2)
			sum += static_cast<uint32_t>(frame[i] << 8 | frame[i + 1]);
		while (sum >> 16)
			sum = (sum & 0xffff) + (sum >> 16);
		frame[24] = static_cast<uint8_t>(~sum >> 8);
		frame[25] = static_cast<uint8_t>(~sum);
	}

	// What a receiver makes of the pieces: one frame without fragment fields.
	Bytes join(const std::vector<Bytes> &pieces) const
	{
		const size_t extra = ipv4() ? 0 : 8;
		Bytes whole(pieces[0].begin(), pieces[0].begin() + static_cast<ptrdiff_t>(header()));

		for (const Bytes &one : pieces)
			whole.insert(whole.end(), one.begin() + static_cast<ptrdiff_t>(header() + extra), one.end());
		const size_t length = whole.size() - (ipv4() ? 14 : 54);
		const size_t at = ipv4() ? 16 : 18;
		whole[at] = static_cast<uint8_t>(length >> 8);
		whole[at + 1] = static_cast<uint8_t>(length);
		if (ipv4()) {
			// As in a datagram that was not cut.
			patch(whole, 18, {0x12, 0x34, 0x40, 0});
			fix_ipv4_checksum(whole);
		} else {
			whole[20] = 17;
		}
		return whole;
	}

	static std::string invite(const std::string &call_id, size_t before = 0)
	{
		return "INVITE sip:bob SIP/2.0\r\nSubject: " + std::string(before, 's') + "\r\nCall-ID: " + call_id +
		       "\r\n\r\n" + std::string(2500, 'b');
	}

	Bytes datagram(const std::string &payload, uint16_t port) const
	{
		return ip(client(), vip()) / Udp{.source = port, .destination = 5060} / Payload(payload);
	}

	// Sends the pieces; they must all leave, and be one good datagram together.
	Bytes send_all(Testbed &bed, const std::vector<Bytes> &pieces) const
	{
		std::vector<Bytes> out;

		for (const Bytes &one : pieces) {
			const Outcome outcome = bed.run(hook(), one);

			EXPECT_TRUE(sent(hook(), outcome)) << describe(one);
			out.push_back(outcome.packet);
		}
		const Bytes whole = join(out);
		EXPECT_EQ(check_packet(whole), "");
		return whole;
	}
};

INSTANTIATE_TEST_SUITE_P(Datapath, Fragment, testing::ValuesIn(all_places), place_name);

TEST_P(Fragment, LaterOnesFollowTheFirst)
{
	Testbed bed(config(server, rules));
	std::map<std::string, int> members;

	for (int i = 0; i < 6; i++) {
		const std::string id = fmt::format("call{}@x", i % 3);
		const auto port = static_cast<uint16_t>(3000 + i);
		const Bytes out = send_all(bed, cut(datagram(invite(id), port), 1000, static_cast<uint32_t>(100 + i)));
		const int number = addressee({0, out});

		ASSERT_NE(number, 0);
		EXPECT_EQ(out, expected_link(ip(client(), member(number), 63) /
					     Udp{.source = port, .destination = 8080} / Payload(invite(id))))
			<< "as if it had come whole";
		EXPECT_EQ(members.emplace(id, number).first->second, number) << "by its Call-ID";
	}
	EXPECT_NE(members["call0@x"], members["call1@x"]);
	EXPECT_NE(members["call1@x"], members["call2@x"]);
}

TEST_P(Fragment, AnAnswerInPiecesReachesItsClient)
{
	Testbed bed(config(server, rules));
	const Outcome outcome = bed.run(hook(), datagram("INVITE x SIP/2.0\r\ni: a\r\n\r\n", 3000));
	const int number = addressee(outcome);
	const std::string text(3000, 'r');
	const Bytes answer = ip(member(number), client()) / Udp{.source = 8080, .destination = 3000} / Payload(text);

	EXPECT_EQ(send_all(bed, cut(answer, 1400, 77)),
		  expected_link(ip(vip(), client(), 63) / Udp{.source = 5060, .destination = 3000} / Payload(text)));
}

TEST_P(Fragment, BeforeItsFirstItIsDroppedAndCounted)
{
	Testbed bed(config(server, rules));
	const auto pieces = cut(datagram(invite("a"), 3000), 1000, 5);

	EXPECT_TRUE(dropped(hook(), bed.run(hook(), pieces[1])));
	EXPECT_EQ(bed.reason(HF_REASON_fragment_early), 1U);
	send_all(bed, pieces);
	EXPECT_TRUE(dropped(hook(), bed.run(hook(), cut(datagram(invite("a"), 3000), 1000, 6)[1])))
		<< "another datagram's";
	EXPECT_EQ(bed.reason(HF_REASON_fragment_early), 2U);
}

TEST_P(Fragment, AKeyInALaterOneIsOutOfReach)
{
	Testbed bed(config(server, rules));

	send_all(bed, cut(datagram(invite("far@away", 1200), 3000), 1000, 9));
	EXPECT_EQ(bed.reason(HF_REASON_key_out_of_reach), 1U);
	// One that straddles the end of the first fragment is, too.
	send_all(bed, cut(datagram(invite("straddling@x", 1000 - 8 - 24 - 9 - 2 - 9 - 4), 3001), 1000, 10));
	EXPECT_EQ(bed.reason(HF_REASON_key_out_of_reach), 2U);
}

TEST_P(Fragment, TheHostsOwnArePassed)
{
	Testbed bed(config(server, rules));
	const Bytes frame = ip(client(), vip()) / Udp{.source = 1, .destination = 9} / Payload(2000);

	for (const Bytes &one : cut(frame, 1000, 8)) {
		const Outcome outcome = bed.run(hook(), one);

		EXPECT_TRUE(passed(hook(), outcome));
		EXPECT_EQ(outcome.packet, one);
	}
}

} // namespace
} // namespace holdfast::test
