// SPDX-License-Identifier: GPL-2.0
// Openings under odd circumstances: renewed keys, windows that are shut, probes, tags,
// ports that are used again, and many that are slow.
#include "bpf/splice_fixture.h"
#include "holdfast/limits.h"

namespace holdfast::test
{
namespace
{

class Opening : public SpliceTest
{
protected:
	static constexpr uint8_t urg = 32;
	uint32_t next() const { return client_isn + 1 + static_cast<uint32_t>(request.size()); }
};

INSTANTIATE_TEST_SUITE_P(Datapath, Opening, testing::ValuesIn(all_places), place_name);

// The key that is not in use is renewed: cookies that are on their way stay good.
TEST_P(Opening, KeysAreRenewedBehindTheBack)
{
	Testbed bed(config(web, rule));
	const hf_syn_cookie_keys before = bed.maps->syn_cookie_keys.get(0);
	const uint32_t cookie = ask(bed);

	bed.maps->renew_cookie_key(bed.maps->now() >> (HF_COOKIE_SPAN_SHIFT + HF_COOKIE_KEY_SHIFT));
	const hf_syn_cookie_keys after = bed.maps->syn_cookie_keys.get(0);
	int changed = 0;
	for (int i = 0; i < 2; i++)
		changed += std::memcmp(before.keys[i], after.keys[i], sizeof(before.keys[i])) != 0;
	EXPECT_EQ(changed, 1);
	admit(bed, cookie);
	EXPECT_EQ(count(bed), 1U) << "the cookie was given before";
	// Under two other keys it is nobody's.
	hf_syn_cookie_keys others = after;
	for (auto &key : others.keys)
		key[0] ^= 1;
	bed.maps->syn_cookie_keys.set(0, others);
	bed.run(hook(), from_client(ack, client_isn + 1, cookie + 1, {}, 40001));
	EXPECT_EQ(bed.reason(HF_REASON_cookie_invalid), 1U);
	EXPECT_EQ(count(bed), 1U);
}

TEST_P(Opening, AWindowThatIsShutIsShutForTheOtherSide)
{
	Testbed bed(config(web, rule));
	int number = 0;
	const uint32_t cookie = bind(bed, number);
	auto shut = [&](Bytes frame) {
		// Window 0, and the checksum that follows from it.
		const size_t at = (ipv4() ? 34U : 54U) + 14, sum = at + 2;
		uint32_t check = static_cast<uint16_t>(~(frame[sum] << 8 | frame[sum + 1]));
		check += static_cast<uint16_t>(~(frame[at] << 8 | frame[at + 1]));
		check = (check & 0xffff) + (check >> 16);
		check = ~check & 0xffff;
		frame[at] = frame[at + 1] = 0;
		frame[sum] = static_cast<uint8_t>(check >> 8);
		frame[sum + 1] = static_cast<uint8_t>(check);
		return frame;
	};

	Outcome outcome = run(bed, shut(from_member(number, ack, member_isn + 1, next(), stamps(member_clock + 1, 0))));
	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(look(outcome.packet).window, 0);
	// The client probes it, a byte in front of what is next; the member answers.
	outcome = run(bed, from_client(ack, next() - 1, cookie + 1, stamps(client_clock + 3, 0)));
	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(look(outcome.packet).sequence, next() - 1);
	outcome = run(bed, shut(from_client(ack, next(), cookie + 1, stamps(client_clock + 4, 0))));
	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(look(outcome.packet).window, 0);
	outcome = run(bed, from_member(number, ack, member_isn, next(), stamps(member_clock + 2, 0)));
	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(look(outcome.packet).sequence, cookie) << "the member's probe";
}

// A keep-alive probe says nothing new, whatever byte it has: nothing of it is stored.
TEST_P(Opening, ProbesBringNothing)
{
	Testbed bed(config(web, rule));
	const uint32_t cookie = ask(bed);

	admit(bed, cookie);
	for (const char *garbage : {"", "?"})
		EXPECT_TRUE(dropped(Hook::tc,
				    open(bed, from_client(ack, client_isn, cookie + 1, stamps(client_clock + 2, 0)) /
						      Payload(std::string(garbage)))));
	EXPECT_EQ(pieces(bed), 0U);
	EXPECT_EQ(count(bed), 1U);
	const Outcome outcome =
		open(bed, from_client(ack, client_isn + 1, cookie + 1, stamps(client_clock + 3, 0)) / Payload(request));
	EXPECT_EQ(look(outcome.packet).flags, syn) << "the connection is as it was";
}

// Both sides end at the same moment: each gets the other's FIN, and its acknowledgement.
TEST_P(Opening, BothEndAtOnce)
{
	Testbed bed(config(web, rule));
	int number = 0;
	const uint32_t cookie = bind(bed, number);

	Outcome outcome = run(bed, from_client(fin | ack, next(), cookie + 1, stamps(client_clock + 3, 0)));
	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(look(outcome.packet).flags, fin | ack);
	outcome = run(bed, from_member(number, fin | ack, member_isn + 1, next(), stamps(member_clock + 1, 0)));
	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(look(outcome.packet).sequence, cookie + 1);
	outcome = run(bed, from_client(ack, next() + 1, cookie + 2, stamps(client_clock + 4, 0)));
	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(look(outcome.packet).acknowledgement, member_isn + 2);
	outcome = run(bed, from_member(number, ack, member_isn + 2, next() + 1, stamps(member_clock + 2, 0)));
	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(look(outcome.packet).acknowledgement, next() + 1);
	EXPECT_TRUE(bed.maps->connections.each([&](const hf_flow_key &, const hf_connection &connection) {
		EXPECT_EQ(connection.state, HF_CONNECTION_CLOSED);
		return true;
	}));
}

// The client's side is tagged, the member's is not.
TEST_P(Opening, BehindAVlan)
{
	Testbed bed(config(web, rule));
	auto tagged = [&](uint8_t flags, uint32_t acknowledgement, const Bytes &options) {
		const Packet link = Packet(Ethernet{}) / Vlan{10};
		const Packet network = ipv4() ? link / Ipv4{.source = client(), .destination = vip()}
					      : link / Ipv6{.source = client(), .destination = vip()};
		return network / Tcp{.source = 40000,
				     .destination = 80,
				     .sequence = client_isn + (flags != syn),
				     .acknowledgement = acknowledgement,
				     .flags = flags,
				     .options = options};
	};
	const Outcome answer = run(bed, tagged(syn, 0, offer()));
	ASSERT_TRUE(sent(hook(), answer));
	const size_t at = (ipv4() ? 34 : 54) + 4U;
	EXPECT_EQ(answer.packet[12] << 8 | answer.packet[13], 0x8100);
	EXPECT_EQ(answer.packet[15], 10);
	uint32_t cookie = 0;
	for (size_t i = 0; i < 4; i++)
		cookie = cookie << 8 | answer.packet[at + 4 + i];
	EXPECT_TRUE(dropped(hook(), bed.run(hook(), tagged(ack, cookie + 1, stamps(client_clock + 1, 0)))));
	const Outcome connecting = open(bed, tagged(ack, cookie + 1, stamps(client_clock + 2, 0)) / Payload(request));
	ASSERT_TRUE(sent(Hook::tc, connecting));
	EXPECT_EQ(look(connecting.packet).flags, syn);
	const Outcome bound =
		open(bed, from_member(addressee(connecting), syn | ack, member_isn, client_isn + 1, offer()));
	EXPECT_EQ(look(bound.packet).payload, request);
}

// The urgent pointer means nothing to what is stored; of what is bound it is the ends' own.
TEST_P(Opening, UrgentDataIsData)
{
	Testbed bed(config(web, rule));
	const uint32_t cookie = ask(bed);

	admit(bed, cookie);
	const Outcome connecting =
		open(bed, from_client(ack | urg, client_isn + 1, cookie + 1, stamps(client_clock + 2, 0)) /
				  Payload(request));
	ASSERT_EQ(look(connecting.packet).flags, syn);
	const int number = addressee(connecting);
	const Outcome bound = open(bed, from_member(number, syn | ack, member_isn, client_isn + 1, offer()));
	EXPECT_EQ(look(bound.packet).payload, request);
	EXPECT_EQ(look(bound.packet).flags, ack | psh);
	const Outcome later =
		open(bed, from_client(ack | urg, next(), cookie + 1, stamps(client_clock + 3, 0)) / Payload("!"));
	ASSERT_TRUE(sent(Hook::tc, later)) << "a head begins: XDP leaves it to TC";
	EXPECT_EQ(look(later.packet).flags, ack | urg);
	EXPECT_EQ(look(later.packet).payload, "!");
}

// A client that takes its port again, while the old connection is remembered, gets a new one.
TEST_P(Opening, APortIsUsedAgain)
{
	Testbed bed(config(web, rule));
	int number = 0;
	const uint32_t first = bind(bed, number);

	run(bed, from_client(fin | ack, next(), first + 1, stamps(client_clock + 3, 0)));
	run(bed, from_member(number, fin | ack, member_isn + 1, next() + 1, stamps(member_clock + 1, 0)));
	run(bed, from_client(ack, next() + 1, first + 2, stamps(client_clock + 4, 0)));
	constexpr uint32_t isn = client_isn + 5000000;
	const Outcome answer = run(bed, from_client(syn, isn, 0, offer()));
	ASSERT_TRUE(sent(hook(), answer));
	const uint32_t second = look(answer.packet).sequence;
	EXPECT_TRUE(
		dropped(hook(), bed.run(hook(), from_client(ack, isn + 1, second + 1, stamps(client_clock + 5, 0)))));
	const Outcome connecting =
		open(bed, from_client(ack, isn + 1, second + 1, stamps(client_clock + 6, 0)) / Payload(request));
	ASSERT_TRUE(sent(Hook::tc, connecting));
	EXPECT_EQ(look(connecting.packet).flags, syn);
	EXPECT_EQ(look(connecting.packet).sequence, isn);
	EXPECT_EQ(addressee(connecting), number);
	const Outcome bound = open(bed, from_member(number, syn | ack, member_isn + 900000, isn + 1, offer()));
	EXPECT_EQ(look(bound.packet).payload, request);
	EXPECT_EQ(count(bed), 2U);
}

// Slow senders of many addresses leave room for one more: each may have a part of what is free.
TEST_P(Opening, ManySlowSendersLeaveRoom)
{
	Testbed bed(config(web, rule));
	const std::string part(1400, 'x');

	for (int sender = 1; sender <= 150; sender++) {
		for (uint16_t port = 1000; port < 1008; port++) {
			auto packet = [&](uint8_t flags, uint32_t sequence, uint32_t acknowledgement) {
				const std::string from = ipv4() ? fmt::format("198.18.{}.1", sender)
								: fmt::format("2001:db8:{}::1", sender);

				return ip(from, vip()) / Tcp{.source = port,
							     .destination = 80,
							     .sequence = sequence,
							     .acknowledgement = acknowledgement,
							     .flags = flags};
			};
			const Outcome answer = bed.run(Hook::tc, packet(syn, client_isn, 0));
			const uint32_t cookie = look(answer.packet).sequence;
			uint32_t at = client_isn + 1;

			bed.run(Hook::tc, packet(ack, at, cookie + 1) / Payload("GET / HTTP/1.1\r\nX: "));
			at += 19;
			for (int i = 0; i < 22; i++) {
				bed.run(Hook::tc, packet(ack, at, cookie + 1) / Payload(part));
				at += 1400;
			}
		}
	}
	EXPECT_GT(bed.reason(HF_REASON_early_client_full), 100U);
	EXPECT_EQ(bed.reason(HF_REASON_early_full), 0U) << "the table itself was never full";
	EXPECT_LT(pieces(bed), static_cast<size_t>(HF_PIECES));
	int number = 0;
	bind(bed, number);
	EXPECT_NE(number, 0) << "somebody else is served";
}

} // namespace
} // namespace holdfast::test
