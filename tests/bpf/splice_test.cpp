// SPDX-License-Identifier: GPL-2.0
// The splice engine packet by packet.
#include <arpa/inet.h>

#include "bpf/splice_fixture.h"

namespace holdfast::test
{
namespace
{

class Splice : public SpliceTest
{
};

INSTANTIATE_TEST_SUITE_P(Datapath, Splice, testing::ValuesIn(all_places), place_name);

TEST_P(Splice, ASynIsAnsweredWithWhatItOffered)
{
	Testbed bed(config(web, rule));

	for (const bool timestamps : {true, false}) {
		for (const bool sack : {true, false}) {
			for (const bool scale : {true, false}) {
				std::vector<uint32_t> options = {0x020405b4};

				if (timestamps)
					options.insert(options.end(),
						       {sack ? 0x0402080aU : 0x0101080aU, client_clock, 0});
				else if (sack)
					options.push_back(0x01010402);
				if (scale)
					options.push_back(0x01030309);
				const Outcome outcome = run(bed, from_client(syn, client_isn, 0, words(options)));
				ASSERT_TRUE(sent(hook(), outcome));
				const Seen seen = look(outcome.packet);
				EXPECT_EQ(seen.flags, syn | ack);
				EXPECT_EQ(seen.acknowledgement, client_isn + 1);
				EXPECT_EQ(seen.sequence & 0xf, scale ? 9U : 15U);
				EXPECT_EQ(seen.sequence >> 4 & 1, sack ? 1U : 0U);
				EXPECT_EQ(seen.sequence >> 5 & 7, 6U) << "MSS 1460";
				// The same options, with our scale and our clock.
				options[0] = ipv4() ? 0x020405b4 : 0x020405a0;
				if (scale)
					options.back() = 0x01030307;
				Bytes expected = words(options);
				if (timestamps) {
					std::copy(seen.options.begin() + 8, seen.options.begin() + 12,
						  expected.begin() + 8);
					const Bytes echo = words({client_clock});
					std::copy(echo.begin(), echo.end(), expected.begin() + 12);
				}
				EXPECT_EQ(seen.options, expected);
			}
		}
	}
	EXPECT_EQ(count(bed), 0U);
}

// Data in the SYN (TCP Fast Open) is not taken; the client sends it again.
TEST_P(Splice, DataInTheSynIsIgnored)
{
	Testbed bed(config(web, rule));
	const Outcome outcome = run(bed, from_client(syn, client_isn, 0, offer()) / Payload(request));

	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(look(outcome.packet).acknowledgement, client_isn + 1);
	EXPECT_EQ(look(outcome.packet).payload, "");
}

TEST_P(Splice, AFloodOfSynsCostsNoEntry)
{
	Testbed bed(config(web, rule));
	Bytes packet = from_client(syn, client_isn, 0, offer());
	uint64_t answered = 0;

	// A million different sources; checksums are not looked at here.
	for (uint32_t i = 0; i < 1000000; i++) {
		const size_t at = ipv4() ? 14 + 12 : 14 + 8 + 12;

		std::memcpy(packet.data() + at, &i, sizeof(i));
		if (ipv4())
			packet[at] = 198;
		answered += sent(hook(), bed.run(hook(), packet));
	}
	EXPECT_EQ(answered, 1000000U);
	EXPECT_EQ(count(bed), 0U);
	EXPECT_EQ(pieces(bed), 0U);
	EXPECT_TRUE(bed.maps->embryonic_connections.each([](const hf_flow_key &, const hf_embryonic_connection &) {
		ADD_FAILURE() << "an embryo";
		return false;
	}));
}

TEST_P(Splice, WhoFitsNoCookieIsTurnedAway)
{
	Testbed bed(config(web, rule));
	const uint32_t cookie = ask(bed);

	// Another sequence number, another port, a cookie of long ago.
	for (const Bytes &packet : {from_client(ack, client_isn + 2, cookie + 1).build(),
				    from_client(ack, client_isn + 1, cookie + 1, {}, 40001).build(),
				    from_client(ack, client_isn + 1, cookie + 1 + 1024).build()})
		EXPECT_TRUE(dropped(hook(), bed.run(hook(), packet)));
	EXPECT_EQ(bed.reason(HF_REASON_cookie_invalid), 3U);
	const Outcome old = run(bed, from_client(ack, client_isn + 1, (cookie ^ 0x200) + 1));
	ASSERT_TRUE(sent(hook(), old)) << "a cookie of another time is nobody's";
	EXPECT_EQ(look(old.packet).flags, rst);
	EXPECT_EQ(count(bed), 0U);
}

TEST_P(Splice, BoundPacketsAreTranslated)
{
	Testbed bed(config(web, rule));
	int number = 0;
	const uint32_t cookie = bind(bed, number);
	const uint32_t shift = cookie - member_isn, next = client_isn + 1 + static_cast<uint32_t>(request.size());

	// The answer.
	Outcome outcome =
		run(bed, from_member(number, ack, member_isn + 1, next, stamps(member_clock + 10, client_clock + 2)) /
				 Payload("HTTP/1.1 200 OK\r\n\r\n"));
	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(outcome.packet, expected_link((ip(vip(), client(), 63) /
						 Tcp{.source = 80,
						     .destination = 40000,
						     .sequence = cookie + 1,
						     .acknowledgement = next,
						     .flags = ack,
						     .window = 300,
						     .options = look(outcome.packet).options} /
						 Payload("HTTP/1.1 200 OK\r\n\r\n"))
							.build()));
	EXPECT_EQ(pieces(bed), 0U) << "the early data was acknowledged";
	// Its timestamps follow those of the SYN-ACK.
	const Bytes stamp = look(outcome.packet).options;
	uint32_t value = 0;
	std::memcpy(&value, stamp.data() + 4, 4);
	value = ntohl(value);
	// The client's acknowledgement, with SACK blocks of the member's numbers.
	const Bytes options = words({0x0101080a, client_clock + 9, value, 0x0101050a, cookie + 500, cookie + 900});
	outcome = run(bed, from_client(ack, next, cookie + 20, options));
	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(outcome.packet,
		  expected_link((ip(client(), member(number), 63) /
				 Tcp{.source = 40000,
				     .destination = 8080,
				     .sequence = next,
				     .acknowledgement = cookie + 20 - shift,
				     .flags = ack,
				     .window = 500,
				     .options = words({0x0101080a, client_clock + 9, member_clock + 10, 0x0101050a,
						       cookie + 500 - shift, cookie + 900 - shift})})
					.build()));
	// The same options at odd places.
	Bytes odd = {1};
	const Bytes rest = words({0x080a0000U | (client_clock + 9) >> 16});
	odd = {1, 1, 1, 8, 10};
	for (const uint8_t byte : words({client_clock + 9, value}))
		odd.push_back(byte);
	odd.resize(16, 0);
	outcome = run(bed, from_client(ack, next, cookie + 20, odd));
	ASSERT_TRUE(sent(hook(), outcome));
	const Bytes echoed = words({member_clock + 10});
	EXPECT_TRUE(std::equal(echoed.begin(), echoed.end(), look(outcome.packet).options.begin() + 9));
}

// Without options, and a member that does not scale: windows are those of the other side.
TEST_P(Splice, WindowsAreScaledForTheOtherSide)
{
	Testbed bed(config(web, rule));
	const uint32_t cookie = ask(bed, words({0x020405b4, 0x01030304})); // scale 4
	open(bed, from_client(ack | psh, client_isn + 1, cookie + 1) / Payload(request));
	const int number = [&] {
		int found = 0;
		EXPECT_TRUE(bed.maps->connections.each([&](const hf_flow_key &, const hf_connection &connection) {
			for (int i = 1; i <= 3; i++) {
				if (connection.member == bed.member_id("web", fmt::format("rs{}", i)))
					found = i;
			}
			return true;
		}));
		return found;
	}();
	const Outcome bound =
		open(bed, from_member(number, syn | ack, member_isn, client_isn + 1, words({0x020405b4})));
	ASSERT_TRUE(sent(Hook::tc, bound));
	EXPECT_EQ(look(bound.packet).window, 500U << 4) << "the member takes windows as they are";
	const Outcome forward =
		run(bed, from_client(ack, client_isn + 1 + static_cast<uint32_t>(request.size()), cookie + 1));
	EXPECT_EQ(look(forward.packet).window, 500U << 4);
	const Outcome reply = run(
		bed, from_member(number, ack, member_isn + 1, client_isn + 1 + static_cast<uint32_t>(request.size())));
	EXPECT_EQ(look(reply.packet).window, 300U >> 7);
	EXPECT_TRUE(bed.maps->pools.get(bed.maps->virtual_server_settings.get(bed.server_id("shop")).pool).tcp_lacking &
		    HF_TCP_WINDOW_SCALE);
}

// Byte by byte, with repetitions that say something else: what came first counts.
TEST_P(Splice, TheFirstByteStoredCounts)
{
	Testbed bed(config(web, rule));
	const uint32_t cookie = ask(bed);
	Outcome outcome;

	for (uint32_t i = 0; i < request.size(); i++) {
		outcome = open(bed, from_client(ack, client_isn + 1 + i, cookie + 1, stamps(client_clock + i, 0)) /
					    Payload(request.substr(i, 1)));
		if (i + 1 < request.size()) {
			open(bed, from_client(ack, client_isn + 1, cookie + 1, stamps(client_clock + i, 0)) /
					  Payload(std::string(i + 1, 'X')));
		}
		if (sent(Hook::tc, outcome) && look(outcome.packet).flags == syn)
			break;
	}
	ASSERT_EQ(look(outcome.packet).flags, syn);
	EXPECT_GT(bed.reason(HF_REASON_early_repeated), 10U);
	const Outcome bound =
		open(bed, from_member(addressee(outcome), syn | ack, member_isn, client_isn + 1, offer()));
	EXPECT_EQ(request.find(look(bound.packet).payload), 0U) << look(bound.packet).payload;
	EXPECT_NE(look(bound.packet).payload.find("sid=abc\r\n"), std::string::npos);
}

TEST_P(Splice, GapsCorruptionAndStraysAreNotStored)
{
	Testbed bed(config(web, rule));
	const uint32_t cookie = ask(bed);
	const Bytes times = stamps(client_clock + 1, 0);

	admit(bed, cookie, 40000, times);
	// Behind a gap.
	EXPECT_TRUE(
		dropped(Hook::tc, open(bed, from_client(ack, client_isn + 5, cookie + 1, times) / Payload(request))));
	EXPECT_EQ(bed.reason(HF_REASON_early_out_of_order), 1U);
	// Corrupt.
	Bytes corrupt = from_client(ack, client_isn + 1, cookie + 1, times) / Payload(request);
	corrupt.back() ^= 1;
	EXPECT_TRUE(dropped(Hook::tc, open(bed, corrupt)));
	EXPECT_EQ(bed.reason(HF_REASON_early_corrupt), 1U);
	EXPECT_EQ(pieces(bed), 0U);
	// It has begun anew. A RST that is not at the next byte, and a SYN, change nothing.
	open(bed, from_client(ack, client_isn + 1, cookie + 1, times) / Payload(request.substr(0, 10)));
	EXPECT_EQ(pieces(bed), 1U);
	EXPECT_TRUE(dropped(Hook::tc, open(bed, from_client(rst, client_isn + 500, 0))));
	EXPECT_EQ(bed.reason(HF_REASON_opening_stray), 1U);
	EXPECT_EQ(pieces(bed), 1U);
	// The right one does.
	EXPECT_TRUE(dropped(Hook::tc, open(bed, from_client(rst, client_isn + 11, 0))));
	EXPECT_EQ(pieces(bed), 0U);
	EXPECT_EQ(count(bed), 0U);
}

TEST_P(Splice, AHeadWithoutEndGoesWhereTheMethodSays)
{
	Testbed bed(config(web, rule));
	const uint32_t cookie = ask(bed);
	uint32_t at = client_isn + 1;
	Outcome outcome;
	bool told = false;

	open(bed, from_client(ack, at, cookie + 1, stamps(client_clock, 0)) / Payload("GET / HTTP/1.1\r\nX: "));
	at += 19;
	for (int i = 0; i < 40 && !(sent(Hook::tc, outcome) && look(outcome.packet).flags == syn); i++) {
		outcome = open(bed, from_client(ack, at, cookie + 1, stamps(client_clock + 1, 0)) /
					    Payload(std::string(1400, 'x')));
		told = told || (sent(Hook::tc, outcome) && look(outcome.packet).flags == ack);
		at += 1400;
	}
	EXPECT_TRUE(told) << "the client was told that its first segments have arrived";
	ASSERT_EQ(look(outcome.packet).flags, syn);
	EXPECT_EQ(bed.reason(HF_REASON_head_over_limit), 1U);
}

TEST_P(Splice, WhatIsNoHttpGoesWhereTheMethodSays)
{
	for (const std::string &bytes : {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 9),
					 std::string("\0\0\0\0", 4), std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")}) {
		Testbed bed(config(web, rule));
		const uint32_t cookie = ask(bed);
		const Outcome outcome = open(bed, from_client(ack | psh, client_isn + 1, cookie + 1) / Payload(bytes));

		ASSERT_TRUE(sent(Hook::tc, outcome));
		EXPECT_EQ(look(outcome.packet).flags, syn);
		EXPECT_EQ(bed.reason(HF_REASON_not_http1), 1U);
	}
}

// A handshake's end may be repeated, doubled, or lost: the SYN-ACK gets the early data each time.
TEST_P(Splice, ARepeatedSynAckIsAnsweredAgain)
{
	Testbed bed(config(web, rule));
	int number = 0;
	bind(bed, number);
	const Outcome again = open(bed, from_member(number, syn | ack, member_isn, client_isn + 1, offer()));

	ASSERT_TRUE(sent(Hook::tc, again));
	EXPECT_EQ(look(again.packet).payload, request);
	EXPECT_EQ(bed.reason(HF_REASON_replayed_again), 1U);
}

// Somebody who only knows addresses and ports cannot end a connection that is over, or not.
TEST_P(Splice, AForgedResetAndSynReplaceNothing)
{
	Testbed bed(config(web, rule));
	int number = 0;
	const uint32_t cookie = bind(bed, number);
	const uint32_t next = client_isn + 1 + static_cast<uint32_t>(request.size());

	run(bed, from_client(rst, client_isn + 99999, 0));
	const Outcome answer = run(bed, from_client(syn, 42, 0, offer()));
	EXPECT_EQ(look(answer.packet).flags, syn | ack) << "a cookie, for whoever can receive it";
	// The member has refused the RST, and goes on.
	const Outcome reply =
		run(bed, from_member(number, ack, member_isn + 1, next, stamps(member_clock + 1, client_clock)) /
				 Payload("HTTP/1.1 200 OK\r\n\r\n"));
	ASSERT_TRUE(sent(hook(), reply));
	EXPECT_EQ(look(reply.packet).sequence, cookie + 1);
	// Who has received the cookie begins anew.
	run(bed, from_client(rst, next, 0));
	const uint32_t second = ask(bed);
	admit(bed, second);
	EXPECT_EQ(count(bed), 1U) << "collecting";
}

TEST_P(Splice, NobodyUsable)
{
	Testbed bed(config(web, rule));

	for (const char *name : {"rs1", "rs2", "rs3"})
		bed.override_member("web", name, MemberStatus::enabled);
	Testbed none(config(web, rule, 1));
	none.override_member("web", "rs1", MemberStatus::disabled);
	const uint32_t cookie = ask(none);
	const Outcome outcome = open(none, from_client(ack | psh, client_isn + 1, cookie + 1) / Payload(request));
	ASSERT_TRUE(sent(Hook::tc, outcome));
	EXPECT_EQ(look(outcome.packet).flags, rst | ack);
	EXPECT_EQ(look(outcome.packet).sequence, cookie + 1);
	EXPECT_EQ(none.reason(HF_REASON_no_usable_member), 1U);
	EXPECT_EQ(count(none), 0U);
	EXPECT_EQ(pieces(none), 0U);
}

} // namespace
} // namespace holdfast::test
