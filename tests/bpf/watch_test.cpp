// SPDX-License-Identifier: GPL-2.0
// Protocols whose answers interleave: a connection stays with its first message's member,
// and messages of other keys are counted, wherever they lie in the stream.
#include "bpf/splice_fixture.h"

namespace holdfast::test
{
namespace
{

std::string sip_message(const std::string &call, const std::string &length = "Content-Length: 0\r\n",
			const std::string &body = "")
{
	return "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP c;branch=z9hG4bK1\r\nCall-ID: " + call + "\r\n" + length +
	       "\r\n" + body;
}

// Field 2, a card; two bytes of length in front.
std::string card_message(const std::string &card)
{
	const std::string message =
		"0200" + std::string("\x40\0\0\0\0\0\0\0", 8) + fmt::format("{:02}", card.size()) + card;

	return std::string{'\0', static_cast<char>(message.size())} + message;
}

class Watch : public SpliceTest
{
protected:
	// A connection that was bound by what begins with this message; its member has it,
	// and what came `later`, but before that member had accepted.
	void begin(Testbed &bed, const std::string &message, const std::string &later = "")
	{
		const uint32_t cookie = ask(bed);

		admit(bed, cookie);
		const Outcome connecting =
			open(bed, from_client(ack | psh, client_isn + 1, cookie + 1, stamps(client_clock + 2, 0)) /
					  Payload(message));
		ASSERT_TRUE(sent(Hook::tc, connecting));
		member_ = addressee(connecting);
		acknowledgement_ = cookie + 1;
		next_ = client_isn + 1 + static_cast<uint32_t>(message.size());
		if (!later.empty())
			open(bed, from_client(ack | psh, next_, acknowledgement_, stamps(client_clock + 2, 0)) /
					  Payload(later));
		next_ += static_cast<uint32_t>(later.size());
		ASSERT_TRUE(sent(Hook::tc, open(bed, from_member(member_, syn | ack, member_isn, client_isn + 1,
								 words({0x020405b4, 0x0402080a, member_clock,
									client_clock + 2, 0x01030307})))));
		bed.run(Hook::tc,
			from_member(member_, ack, member_isn + 1, next_, stamps(member_clock + 1, client_clock)));
	}

	// The client goes on: to the same member, whatever it says.
	void say(Testbed &bed, const std::string &bytes)
	{
		const Bytes packet =
			from_client(ack | psh, next_, acknowledgement_, stamps(client_clock + 3, member_clock)) /
			Payload(bytes);
		Outcome outcome = bed.run(hook(), packet);

		if (hook() == Hook::xdp && passed(Hook::xdp, outcome))
			outcome = bed.run(Hook::tc, packet);
		EXPECT_EQ(check_packet(outcome.packet), "") << describe(outcome.packet);
		EXPECT_EQ(addressee(outcome), member_);
		EXPECT_EQ(look(outcome.packet).payload, bytes);
		next_ += static_cast<uint32_t>(bytes.size());
	}

	static uint64_t others(const Testbed &bed) { return bed.reason(HF_REASON_key_of_another); }
	static uint64_t unclear(const Testbed &bed) { return bed.reason(HF_REASON_stream_unframed); }

	int member_ = 0;
	uint32_t next_ = 0, acknowledgement_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Datapath, Watch, testing::ValuesIn(all_places), place_name);

TEST_P(Watch, SipCalls)
{
	Testbed bed(
		config("port: 80, protocol: tcp, persistence: by-call", "  - {name: by-call, type: sip-call-id}\n"));

	begin(bed, sip_message("one"));
	say(bed, sip_message("one"));
	EXPECT_EQ(others(bed), 0U);
	say(bed, sip_message("two"));
	EXPECT_EQ(others(bed), 1U);
	// A body that looks like a message is none.
	const std::string body = sip_message("three");
	say(bed, sip_message("one", fmt::format("l: {}\r\n", body.size()), body));
	EXPECT_EQ(others(bed), 1U);
	// Several in a segment; one over several segments; line ends between them, which keep the connection open.
	say(bed, sip_message("one") + sip_message("two") + "\r\n\r\n" + sip_message("three") + sip_message("one"));
	EXPECT_EQ(others(bed), 3U);
	const std::string last = sip_message("four");
	for (size_t at = 0; at < last.size(); at += 25)
		say(bed, last.substr(at, 25));
	EXPECT_EQ(others(bed), 4U);
	EXPECT_EQ(unclear(bed), 0U);
	// Two lengths: nobody knows where the next one begins.
	say(bed, sip_message("one", "Content-Length: 1\r\nl: 2\r\n", "xy"));
	EXPECT_EQ(unclear(bed), 1U);
	say(bed, sip_message("five"));
	EXPECT_EQ(others(bed), 4U);
	EXPECT_EQ(unclear(bed), 1U);
	EXPECT_EQ(bed.reason(HF_REASON_request_moved), 0U);
}

// A client that does not wait: what it says before its member has accepted counts likewise.
TEST_P(Watch, WhatComesBeforeTheMemberHasAccepted)
{
	const std::string cut = sip_message("three", "Content-Length: 5\r\n", "12345");

	for (size_t at = 0; at <= cut.size(); at += 7) {
		Testbed bed(config("port: 80, protocol: tcp, persistence: by-call",
				   "  - {name: by-call, type: sip-call-id}\n"));

		begin(bed, sip_message("one") + sip_message("two"), sip_message("one") + cut.substr(0, at));
		EXPECT_EQ(others(bed), at == cut.size() || at + 5 >= cut.size() ? 2U : 1U) << at;
		if (at < cut.size())
			say(bed, cut.substr(at));
		EXPECT_EQ(others(bed), 2U) << at;
		say(bed, sip_message("one") + sip_message("four"));
		EXPECT_EQ(others(bed), 3U) << at;
		EXPECT_EQ(unclear(bed), 0U);
	}
}

// More than are read: nothing is guessed about what follows.
TEST_P(Watch, TooManyAtOnce)
{
	Testbed bed(config("port: 80, protocol: tcp, persistence: by-card",
			   "  - {name: by-card, type: iso8583-bitmap, fields: [2]}\n"));
	std::string many;

	for (int i = 0; i < 40; i++)
		many += card_message("4111111111111111");
	begin(bed, many.substr(0, many.size() / 2), many.substr(many.size() / 2));
	EXPECT_EQ(unclear(bed), 1U);
	say(bed, card_message("5500000000000004"));
	EXPECT_EQ(others(bed), 0U);
}

TEST_P(Watch, Cards)
{
	Testbed bed(config("port: 80, protocol: tcp, persistence: by-card",
			   "  - {name: by-card, type: iso8583-bitmap, fields: [2]}\n"));

	begin(bed, card_message("4111111111111111"));
	say(bed, card_message("4111111111111111"));
	EXPECT_EQ(others(bed), 0U);
	say(bed, card_message("5500000000000004") + card_message("4111111111111111") + card_message("340000000000009"));
	EXPECT_EQ(others(bed), 2U);
	const std::string cut = card_message("30000000000004");
	say(bed, cut.substr(0, 1));
	say(bed, cut.substr(1, 20));
	say(bed, cut.substr(21));
	EXPECT_EQ(others(bed), 3U);
	EXPECT_EQ(unclear(bed), 0U);
	say(bed, "no message at all");
	EXPECT_EQ(bed.reason(HF_REASON_key_malformed), 1U);
	say(bed, card_message("5500000000000004"));
	EXPECT_EQ(others(bed), 3U);
}

} // namespace
} // namespace holdfast::test
