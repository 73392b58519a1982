// SPDX-License-Identifier: GPL-2.0
// A bound connection goes to another member between two requests, packet by packet.
#include <chrono>
#include <thread>

#include "bpf/splice_fixture.h"

namespace holdfast::test
{
namespace
{

class Rebind : public SpliceTest
{
protected:
	static constexpr uint32_t new_isn = 5550000, new_clock = 40;
	const std::string response = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";

	// A connection whose first request is answered, and what comes next of either side.
	struct Talk {
		int member = 0;
		uint32_t cookie = 0, client = 0, server = 0, acknowledged = 0; // server: the member's own number
		uint32_t shift = 0;
	};

	static std::string ask_for(int key, const std::string &more = "")
	{
		return fmt::format("GET /{0} HTTP/1.1\r\nHost: h\r\nCookie: sid=key{0}\r\n{1}\r\n", key, more);
	}

	Outcome feed(Testbed &bed, const Bytes &packet) const
	{
		if (hook() == Hook::xdp) {
			Outcome first = bed.run(Hook::xdp, packet);

			if (!passed(Hook::xdp, first))
				return first;
		}
		return bed.run(Hook::tc, packet);
	}

	void answer(Testbed &bed, Talk &talk) const
	{
		const Outcome outcome = feed(bed, from_member(talk.member, ack | psh, talk.server, talk.client,
							      stamps(member_clock + 5, client_clock + 2)) /
							  Payload(response));

		ASSERT_TRUE(sent(hook(), outcome));
		EXPECT_EQ(look(outcome.packet).sequence, talk.server + talk.shift);
		talk.server += static_cast<uint32_t>(response.size());
		talk.acknowledged = talk.server + talk.shift;
	}

	Talk begin(Testbed &bed) const
	{
		Talk talk;

		talk.cookie = bind(bed, talk.member);
		talk.shift = talk.cookie - member_isn;
		talk.client = client_isn + 1 + static_cast<uint32_t>(request.size());
		talk.server = member_isn + 1;
		answer(bed, talk);
		return talk;
	}

	Packet say(const Talk &talk, const std::string &text, uint8_t flags = ack | psh, uint32_t behind = 0) const
	{
		return from_client(flags, talk.client + behind, talk.acknowledged, stamps(client_clock + 9, 0)) /
		       Payload(text);
	}

	// Requests until one belongs to another member; it has been sent a SYN then.
	Outcome move(Testbed &bed, Talk &talk, int &key) const
	{
		for (key = 1; key < 40; key++) {
			Outcome outcome = feed(bed, say(talk, ask_for(key)));

			if (look(outcome.packet).flags == syn)
				return outcome;
			EXPECT_EQ(addressee(outcome), talk.member);
			talk.client += static_cast<uint32_t>(ask_for(key).size());
			answer(bed, talk);
		}
		ADD_FAILURE() << "nothing has moved";
		return {};
	}
};

INSTANTIATE_TEST_SUITE_P(Datapath, Rebind, testing::ValuesIn(all_places), place_name);

TEST_P(Rebind, ARequestMoves)
{
	Testbed bed(config(web, rule));
	Talk talk = begin(bed);
	int key = 0;
	const Outcome asked = move(bed, talk, key);
	const int next = addressee(asked);

	ASSERT_NE(next, talk.member);
	EXPECT_EQ(check_packet(asked.packet), "");
	EXPECT_EQ(look(asked.packet).sequence, talk.client - 1) << "the client's numbers need no translation";
	EXPECT_EQ(bed.reason(HF_REASON_request_moved), 1U);
	// The old member's late packet is reset, with the number that it expects.
	const Outcome late =
		feed(bed, from_member(talk.member, ack, talk.server, talk.client, stamps(member_clock + 6, 0)) /
				  Payload("late"));
	EXPECT_EQ(look(late.packet).flags, rst);
	EXPECT_EQ(look(late.packet).sequence, talk.client);
	EXPECT_EQ(bed.reason(HF_REASON_member_left), 1U);
	// The new one accepts, and gets the request.
	const Outcome bound =
		feed(bed, from_member(next, syn | ack, new_isn, talk.client,
				      words({0x020405b4, 0x0402080a, new_clock, client_clock + 9, 0x01030307})));
	EXPECT_EQ(check_packet(bound.packet), "");
	EXPECT_EQ(addressee(bound), next);
	EXPECT_EQ(look(bound.packet).payload, ask_for(key));
	EXPECT_EQ(look(bound.packet).sequence, talk.client);
	EXPECT_EQ(look(bound.packet).acknowledgement, new_isn + 1);
	// Its answer follows on the old one's, for the client.
	const uint32_t behind = talk.client + static_cast<uint32_t>(ask_for(key).size());
	const Outcome answered =
		feed(bed, from_member(next, ack | psh, new_isn + 1, behind, stamps(new_clock + 1, client_clock + 9)) /
				  Payload(response));
	ASSERT_TRUE(sent(hook(), answered));
	EXPECT_EQ(check_packet(answered.packet), "");
	EXPECT_EQ(look(answered.packet).sequence, talk.acknowledged);
	EXPECT_EQ(look(answered.packet).payload, response);
	EXPECT_EQ(pieces(bed), 0U);
	// Places: one connection has one.
	int places = 0;
	for (int i = 1; i <= 3; i++)
		places += static_cast<int>(
			bed.maps->member_connections.get(bed.member_id("web", fmt::format("rs{}", i))));
	EXPECT_EQ(places, 1);
}

// A client that says no more behind its request: with the request's segment, or, in a wire
// that reorders, before it. The request moves, and the new member learns of the end.
TEST_P(Rebind, TheLastRequestMoves)
{
	for (const bool overtakes : {false, true}) {
		Testbed bed(config(web, rule));
		int wanted = 0, key = 0;
		{
			Talk first = begin(bed);
			move(bed, first, wanted);
			bed.clear();
		}
		Talk talk = begin(bed);
		for (key = 1; key < wanted; key++) {
			feed(bed, say(talk, ask_for(key)));
			talk.client += static_cast<uint32_t>(ask_for(key).size());
			answer(bed, talk);
		}
		const auto size = static_cast<uint32_t>(ask_for(wanted).size());
		if (overtakes)
			feed(bed, say(talk, "", fin | ack, size));
		const Outcome asked = feed(bed, say(talk, ask_for(wanted), overtakes ? ack | psh : fin | ack | psh));
		ASSERT_EQ(look(asked.packet).flags, syn) << overtakes;
		const int next = addressee(asked);
		EXPECT_NE(next, talk.member);
		const Outcome bound = feed(
			bed, from_member(next, syn | ack, new_isn, talk.client,
					 words({0x020405b4, 0x0402080a, new_clock, client_clock + 9, 0x01030307})));
		EXPECT_EQ(check_packet(bound.packet), "");
		EXPECT_EQ(look(bound.packet).payload, ask_for(wanted));
		EXPECT_EQ(look(bound.packet).flags & fin, overtakes ? 0 : fin);
		// What is not acknowledged comes again.
		const Outcome again = feed(bed, say(talk, "", fin | ack, size));
		EXPECT_EQ(addressee(again), next);
		EXPECT_EQ(look(again.packet).flags & fin, fin);
		EXPECT_EQ(look(again.packet).sequence, talk.client + size);
		EXPECT_EQ(bed.reason(HF_REASON_request_given_up), 0U);
	}
}

// A member that says nothing is asked again; another one, when it has been silent for long.
TEST_P(Rebind, ASilentMemberIsReplaced)
{
	Testbed bed(config(web, rule));
	Talk talk = begin(bed);
	int key = 0;
	const int asked = addressee(move(bed, talk, key));
	const auto began = std::chrono::steady_clock::now();

	for (int again = 0; again < 5; again++) {
		const Outcome repeated = feed(bed, say(talk, ask_for(key)));
		EXPECT_EQ(look(repeated.packet).flags, syn);
		EXPECT_EQ(addressee(repeated), asked);
	}
	EXPECT_EQ(bed.reason(HF_REASON_member_replaced), 0U);
	std::this_thread::sleep_until(began + std::chrono::milliseconds(4100));
	const Outcome other = feed(bed, say(talk, ask_for(key)));
	EXPECT_EQ(look(other.packet).flags, syn);
	EXPECT_NE(addressee(other), asked);
	EXPECT_EQ(bed.reason(HF_REASON_member_replaced), 1U);
}

// Before the answer has arrived whole the request waits; a guess moves nobody.
TEST_P(Rebind, NothingMovesInMidAnswer)
{
	Testbed bed(config(web, rule));
	Talk talk;
	talk.cookie = bind(bed, talk.member);
	talk.shift = talk.cookie - member_isn;
	talk.client = client_isn + 1 + static_cast<uint32_t>(request.size());
	talk.server = member_isn + 1;
	talk.acknowledged = talk.cookie + 1;
	uint64_t held = 0;

	for (int key = 1; key < 12; key++) {
		const Outcome outcome = feed(bed, say(talk, ask_for(key)));
		EXPECT_NE(look(outcome.packet).flags, syn);
		const uint64_t now = bed.reason(HF_REASON_request_held);
		if (now == held) {
			EXPECT_EQ(addressee(outcome), talk.member);
			talk.client += static_cast<uint32_t>(ask_for(key).size());
		}
		held = now;
	}
	EXPECT_GT(held, 2U);
	EXPECT_EQ(bed.reason(HF_REASON_request_moved), 0U);
}

// A head over two segments: the first goes to the present member, and, with the second, to the new one.
TEST_P(Rebind, AHeadOverTwoSegments)
{
	Testbed bed(config(web, rule));
	Talk talk = begin(bed);
	int key = 0;

	for (key = 1; key < 40; key++) {
		const std::string head = ask_for(key, "X-More: 1\r\n"), first = head.substr(0, 20);
		const Outcome forwarded = feed(bed, say(talk, first));
		ASSERT_EQ(addressee(forwarded), talk.member);
		EXPECT_EQ(pieces(bed), 1U);
		const Outcome rest = feed(bed, say(talk, head.substr(20), ack | psh, 20));
		if (look(rest.packet).flags == syn) {
			const int next = addressee(rest);
			const Outcome bound = feed(bed, from_member(next, syn | ack, new_isn, talk.client,
								    words({0x020405b4, 0x0402080a, new_clock,
									   client_clock + 9, 0x01030307})));
			EXPECT_EQ(look(bound.packet).payload, head);
			// The replay was lost. What the client was told has arrived it does not send again.
			const Outcome asked =
				feed(bed, from_member(next, ack, new_isn + 1, talk.client, stamps(new_clock + 1, 0)));
			if (sent(hook(), asked) && addressee(asked) == 0) {
				EXPECT_GE(look(asked.packet).acknowledgement, talk.client + 20);
			}
			return;
		}
		ASSERT_EQ(addressee(rest), talk.member);
		talk.client += static_cast<uint32_t>(head.size());
		answer(bed, talk);
		EXPECT_EQ(pieces(bed), 0U);
	}
	ADD_FAILURE() << "nothing has moved";
}

// The new member refuses: another one is asked, with the same number.
TEST_P(Rebind, AMemberThatRefusesIsReplaced)
{
	Testbed bed(config(web, rule));
	Talk talk = begin(bed);
	int key = 0;
	const Outcome asked = move(bed, talk, key);
	const Outcome again = feed(bed, from_member(addressee(asked), rst | ack, 0, talk.client));

	ASSERT_EQ(look(again.packet).flags, syn);
	EXPECT_NE(addressee(again), addressee(asked));
	EXPECT_EQ(look(again.packet).sequence, talk.client - 1);
	EXPECT_EQ(bed.reason(HF_REASON_member_replaced), 1U);
	int places = 0;
	for (int i = 1; i <= 3; i++)
		places += static_cast<int>(
			bed.maps->member_connections.get(bed.member_id("web", fmt::format("rs{}", i))));
	EXPECT_EQ(places, 1);
}

// The RST to a member was lost, and the connection comes back to it: its challenge ACK is
// answered with a RST, and a SYN.
TEST_P(Rebind, ALostResetIsMadeGood)
{
	Testbed bed(config(web, rule));
	Talk talk = begin(bed);
	int key = 0;
	const Outcome asked = move(bed, talk, key);
	const Outcome challenge =
		feed(bed, from_member(addressee(asked), ack, 123456, talk.client - 300, stamps(new_clock, 0)));

	ASSERT_EQ(look(challenge.packet).flags, syn) << "behind the RST";
	EXPECT_EQ(addressee(challenge), addressee(asked));
	EXPECT_EQ(bed.reason(HF_REASON_member_left), 1U);
}

} // namespace
} // namespace holdfast::test
