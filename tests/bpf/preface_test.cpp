// SPDX-License-Identifier: GPL-2.0
// The member's stream begins with a preface: numbers in front of the client's first one.
#include <chrono>
#include <thread>

#include "bpf/splice_fixture.h"

namespace holdfast::test
{
namespace
{

class Preface : public SpliceTest
{
protected:
	// Bytes of the preface of version 2; of version 1 those of "PROXY TCP4 client vip 40000 80".
	uint32_t length(int version) const
	{
		if (version == 2)
			return ipv4() ? 28 : 52;
		return static_cast<uint32_t>(
			ipv4() ? fmt::format("PROXY TCP4 {} {} 40000 80\r\n", client(), vip()).size()
			       : 12 + 2 * 39 + 1 + std::string(" 40000 80\r\n").size() - 1);
	}

	// The member gets both, in one segment.
	void expect_preface(const Bytes &packet, uint32_t first, int version) const
	{
		const Seen seen = look(packet);

		EXPECT_EQ(seen.sequence, first) << version;
		EXPECT_EQ(seen.payload.size(), length(version) + request.size());
		EXPECT_TRUE(seen.payload.ends_with(request)) << seen.payload;
		EXPECT_TRUE(
			seen.payload.starts_with(version == 1 ? (ipv4() ? "PROXY TCP4 " : "PROXY TCP6 ") : "\r\n\r\n"))
			<< seen.payload;
	}

	Packet accepted(int member, uint32_t first) const
	{
		return from_member(member, syn | ack, member_isn, first,
				   words({0x020405b4, 0x0402080a, member_clock, client_clock + 2, 0x01030307}));
	}
};

INSTANTIATE_TEST_SUITE_P(Datapath, Preface, testing::ValuesIn(all_places), place_name);

TEST_P(Preface, NumbersInFrontOfTheClients)
{
	for (const int version : {1, 2}) {
		Testbed bed(config(web + fmt::format(", proxy_protocol: v{}", version), rule));
		const uint32_t cookie = ask(bed), first = client_isn + 1 - length(version);

		admit(bed, cookie);
		const Outcome connecting =
			open(bed, from_client(ack | psh, client_isn + 1, cookie + 1, stamps(client_clock + 2, 0)) /
					  Payload(request));
		ASSERT_EQ(look(connecting.packet).flags, syn);
		EXPECT_EQ(look(connecting.packet).sequence, first - 1) << version;
		const int member = addressee(connecting);
		// The answer to a SYN without a preface is not ours.
		EXPECT_FALSE(sent(Hook::tc, bed.run(Hook::tc, accepted(member, client_isn + 1))));
		const Outcome bound = open(bed, accepted(member, first));
		ASSERT_TRUE(sent(Hook::tc, bound));
		expect_preface(bound.packet, first, version);
		EXPECT_EQ(look(bound.packet).acknowledgement, member_isn + 1);

		// The preface was lost: the client, which knows nothing of it, is told no more than it knows.
		auto repeated = [&](uint32_t number) {
			const Packet packet = from_member(member, ack, member_isn + 1, number,
							  stamps(member_clock + 1, client_clock + 2));
			Outcome outcome = bed.run(hook(), packet);

			if (hook() == Hook::xdp && passed(Hook::xdp, outcome))
				outcome = bed.run(Hook::tc, packet);
			EXPECT_EQ(check_packet(outcome.packet), "") << describe(outcome.packet);
			return outcome;
		};
		EXPECT_EQ(look(repeated(first).packet).acknowledgement, client_isn + 1);
		EXPECT_EQ(bed.reason(HF_REASON_replayed_again), 0U) << "it has just been sent";
		std::this_thread::sleep_for(std::chrono::milliseconds(80));
		// What has been announced stays, whatever members are to get from now on.
		bed.apply(config(web + fmt::format(", proxy_protocol: v{}", 3 - version), rule));
		const Outcome again = repeated(first);
		EXPECT_EQ(addressee(again), member);
		expect_preface(again.packet, first, version);
		EXPECT_EQ(bed.reason(HF_REASON_replayed_again), 1U);
		// What is in front of it is about something else.
		EXPECT_FALSE(sent(hook(), bed.run(hook(), from_member(member, ack, member_isn + 1, first - 1,
								      stamps(member_clock + 1, client_clock + 2)))));
		// It has arrived, and then all of the request.
		EXPECT_EQ(look(repeated(client_isn + 1).packet).acknowledgement, client_isn + 1);
		const uint32_t end = client_isn + 1 + static_cast<uint32_t>(request.size());
		EXPECT_EQ(look(repeated(end).packet).acknowledgement, end);
		EXPECT_EQ(pieces(bed), 0U);
	}
}

} // namespace
} // namespace holdfast::test
