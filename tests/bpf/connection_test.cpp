// SPDX-License-Identifier: GPL-2.0
// The life of connections: handshakes, ends, floods, what is lost and found.
#include <fmt/format.h>

#include "bpf/datapath_test.h"
#include "datapath/encode.h"

namespace holdfast::test
{
namespace
{

class Connection : public DatapathTest
{
protected:
	const std::string rule = "  - {name: by-address, type: source-address, timeout: 100}\n";
	const std::string sticky = "port: 80, protocol: tcp, persistence: by-address";

	struct Counts {
		size_t connections = 0, embryonic = 0;
		bool operator==(const Counts &) const = default;
	};

	static Counts count(Testbed &bed)
	{
		Counts counts;

		EXPECT_TRUE(bed.maps->connections.each(
			[&](const auto &, const auto &) { return ++counts.connections > 0; }));
		EXPECT_TRUE(bed.maps->embryonic_connections.each(
			[&](const auto &, const auto &) { return ++counts.embryonic > 0; }));
		return counts;
	}

	static void age_connections(Testbed &bed, uint32_t seconds)
	{
		std::vector<std::pair<hf_flow_key, hf_connection>> all;

		ASSERT_TRUE(bed.maps->connections.each([&](const hf_flow_key &key, const hf_connection &connection) {
			all.emplace_back(key, connection);
			return true;
		}));
		for (auto &[key, connection] : all) {
			connection.last_seen -= seconds;
			ASSERT_TRUE(bed.maps->connections.set(key, connection));
		}
	}

	// The state that both directions' entries agree on; 0 if they do not, or there is none.
	static int state(Testbed &bed)
	{
		int state = -1;

		EXPECT_TRUE(bed.maps->connections.each([&](const auto &, const hf_connection &connection) {
			state = state == -1 || state == connection.state ? connection.state : 0;
			return true;
		}));
		return state == -1 ? 0 : state;
	}

	Packet forward(uint8_t flags, uint16_t port = 40000) const
	{
		return tcp(client(), port, vip(), 80, flags, 1001, 5001);
	}
	Packet reply(int from, uint8_t flags, uint16_t port = 40000) const
	{
		return tcp(member(from), 8080, client(), port, flags, 5001, 1001);
	}
};

INSTANTIATE_TEST_SUITE_P(Datapath, Connection, testing::ValuesIn(all_places), place_name);

TEST_P(Connection, ASynAloneIsEmbryonic)
{
	Testbed bed(config(sticky, rule));

	ASSERT_TRUE(sent(hook(), run(bed, tcp(client(), 40000, vip(), 80, syn))));
	EXPECT_EQ(count(bed), (Counts{0, 2}));
}

TEST_P(Connection, TheHandshakeMakesIt)
{
	Testbed bed(config(sticky, rule));

	ASSERT_NE(connect(bed, client(), 40000), 0);
	EXPECT_EQ(count(bed), (Counts{2, 0}));
	EXPECT_EQ(state(bed), HF_CONNECTION_ESTABLISHED);
}

TEST_P(Connection, ASynAgainGoesTheSameWay)
{
	Testbed bed(config("port: 80, protocol: tcp"));
	const int first = addressee(run(bed, tcp(client(), 40000, vip(), 80, syn)));

	for (int i = 0; i < 5; i++)
		EXPECT_EQ(addressee(run(bed, tcp(client(), 40000, vip(), 80, syn))), first);
	EXPECT_EQ(count(bed), (Counts{0, 2}));
}

TEST_P(Connection, AnAckThatAcknowledgesNothingOfTheMembersDoesNotOpenIt)
{
	Testbed bed(config(sticky, rule));
	const int to = addressee(run(bed, tcp(client(), 40000, vip(), 80, syn)));

	EXPECT_TRUE(dropped(hook(), run(bed, forward(ack)))) << "before the SYN-ACK";
	ASSERT_TRUE(sent(hook(), run(bed, tcp(member(to), 8080, client(), 40000, syn | ack, 900000, 1001))));
	EXPECT_TRUE(dropped(hook(), run(bed, forward(ack)))) << "acknowledges 5001, not 900001";
	EXPECT_EQ(bed.reason(HF_REASON_not_yet_open), 2U);
	EXPECT_EQ(count(bed).connections, 0U);
	EXPECT_TRUE(sent(hook(), run(bed, tcp(client(), 40000, vip(), 80, ack, 1001, 900001))));
	EXPECT_EQ(count(bed), (Counts{2, 0}));
}

TEST_P(Connection, DataMayComeWithTheAck)
{
	Testbed bed(config(sticky, rule));
	const int to = addressee(run(bed, tcp(client(), 40000, vip(), 80, syn)));

	run(bed, tcp(member(to), 8080, client(), 40000, syn | ack, 5000, 1001));
	EXPECT_EQ(addressee(run(bed, forward(ack | psh) / Payload(500))), to);
	EXPECT_EQ(count(bed), (Counts{2, 0}));
}

TEST_P(Connection, AFloodOfSynsPushesOutNothingThatIsEstablished)
{
	Testbed bed(config(sticky, rule));

	// The tables hold 8192 entries of connections and 4096 sessions.
	for (int number = 1; number <= 50; number++)
		ASSERT_NE(connect(bed, client(number), 40000), 0);
	for (uint32_t i = 0; i < 100000; i++) {
		const std::string attacker = ipv4() ? fmt::format("10.{}.{}.{}", 64 + (i >> 16), i >> 8 & 255, i & 255)
						    : fmt::format("fd00:a::{:x}:{:x}", i >> 16, i & 0xffff);
		bed.run(hook(), tcp(attacker, 1024, vip(), 80, syn));
	}
	EXPECT_EQ(count(bed).connections, 100U);
	size_t sessions = 0;
	ASSERT_TRUE(bed.maps->sessions.each([&](const auto &, const auto &) { return ++sessions > 0; }));
	EXPECT_EQ(sessions, 50U);
}

TEST_P(Connection, AFloodOfAcksOrDatagramsMakesNoConnections)
{
	std::string yaml = config("port: 80, protocol: tcp, persistence: LB_PERSIS_HASH_SRC_ADDR");

	yaml += fmt::format(
		"  - {{name: dns, address: \"{}\", port: 53, protocol: udp, forwarding: dnat, pool: web}}\n", vip());
	Testbed bed(yaml);
	for (uint16_t port = 1; port <= 1000; port++) {
		ASSERT_TRUE(sent(hook(), bed.run(hook(), tcp(client(), port, vip(), 80, ack, 1, 1))));
		ASSERT_TRUE(sent(hook(), bed.run(hook(), ip(client(), vip()) / Udp{.source = port, .destination = 53} /
								 Payload("q"))));
	}
	EXPECT_EQ(count(bed).connections, 0U);
	EXPECT_EQ(bed.reason(HF_REASON_connection_rebuilt), 1000U);
}

TEST_P(Connection, FinsOfBothSidesCloseIt)
{
	Testbed bed(config(sticky, rule));
	const int to = connect(bed, client(), 40000);

	run(bed, forward(fin | ack));
	EXPECT_EQ(state(bed), HF_CONNECTION_HALF_CLOSED);
	EXPECT_EQ(addressee(run(bed, forward(ack))), to);
	EXPECT_TRUE(sent(hook(), run(bed, reply(to, ack) / Payload(100)))) << "half closed is not closed";
	EXPECT_EQ(state(bed), HF_CONNECTION_HALF_CLOSED);
	run(bed, reply(to, fin | ack));
	EXPECT_EQ(state(bed), HF_CONNECTION_CLOSED);
	EXPECT_EQ(addressee(run(bed, forward(ack))), to) << "the last ACK still passes";
}

TEST_P(Connection, ARepeatedFinIsOneSidesFin)
{
	Testbed bed(config(sticky, rule));

	connect(bed, client(), 40000);
	for (int i = 0; i < 3; i++)
		run(bed, forward(fin | ack));
	EXPECT_EQ(state(bed), HF_CONNECTION_HALF_CLOSED);
}

TEST_P(Connection, ARstClosesIt)
{
	for (const bool from_client : {true, false}) {
		Testbed bed(config(sticky, rule));
		const int to = connect(bed, client(), 40000);

		EXPECT_TRUE(sent(hook(), run(bed, from_client ? forward(rst) : reply(to, rst | ack))));
		EXPECT_EQ(state(bed), HF_CONNECTION_CLOSED);
	}
}

TEST_P(Connection, ASynOnAClosedTupleIsDecidedAnew)
{
	Testbed bed(config("port: 80, protocol: tcp"));
	const int first = connect(bed, client(), 40000);

	run(bed, forward(fin | ack));
	run(bed, reply(first, fin | ack));
	const int second = connect(bed, client(), 40000);
	EXPECT_NE(second, 0);
	EXPECT_NE(second, first) << "round robin: the next one";
	EXPECT_EQ(state(bed), HF_CONNECTION_ESTABLISHED);
}

TEST_P(Connection, ASynOnALivingTupleGoesToItsMember)
{
	Testbed bed(config("port: 80, protocol: tcp"));
	const int first = connect(bed, client(), 40000);

	EXPECT_EQ(addressee(run(bed, tcp(client(), 40000, vip(), 80, syn, 99999))), first)
		<< "the member answers it with a challenge ACK";
	EXPECT_EQ(state(bed), HF_CONNECTION_ESTABLISHED);
}

TEST_P(Connection, ClosedOnesLeaveSoonAndIdleOnesByTheirTimeout)
{
	Testbed bed(config("port: 80, protocol: tcp, idle_timeout: 600"));
	const int to = connect(bed, client(), 40000);

	connect(bed, client(2), 40000);
	run(bed, forward(fin | ack));
	run(bed, reply(to, fin | ack));
	auto swept = bed.maps->sweep_connections(HF_SWEEP_EXPIRED);
	ASSERT_TRUE(swept);
	EXPECT_EQ(swept->alive, 2U);
	age_connections(bed, HF_CLOSED_TIMEOUT + 2);
	swept = bed.maps->sweep_connections(HF_SWEEP_EXPIRED);
	ASSERT_TRUE(swept);
	EXPECT_EQ(swept->alive, 1U);
	EXPECT_EQ(swept->deleted, 2U) << "both directions";
	age_connections(bed, 600);
	swept = bed.maps->sweep_connections(HF_SWEEP_EXPIRED);
	ASSERT_TRUE(swept);
	EXPECT_EQ(swept->alive, 0U);
}

TEST_P(Connection, AnExpiredOneIsDecidedAnewBeforeTheSweeperComes)
{
	Testbed bed(config("port: 80, protocol: tcp, idle_timeout: 600"));
	const int first = connect(bed, client(), 40000);

	age_connections(bed, 700);
	const int second = addressee(run(bed, tcp(client(), 40000, vip(), 80, syn)));
	EXPECT_NE(second, first);
	EXPECT_EQ(bed.reason(HF_REASON_connection_expired), 1U);
}

TEST_P(Connection, ALostConnectionIsFoundAgainThroughItsSession)
{
	Testbed bed(config(sticky, rule));
	const int first = connect(bed, client(), 40000);

	ASSERT_TRUE(bed.maps->sweep_connections(HF_SWEEP_ALL));
	EXPECT_EQ(addressee(run(bed, forward(ack) / Payload(10))), first);
	EXPECT_EQ(bed.reason(HF_REASON_connection_rebuilt), 1U);
	EXPECT_TRUE(sent(hook(), run(bed, reply(first, ack))));
	EXPECT_EQ(count(bed), (Counts{2, 0})) << "the member has answered: it is a connection again";
}

TEST_P(Connection, ALostConnectionWithoutASessionIsReset)
{
	Testbed bed(config("port: 80, protocol: tcp"));

	connect(bed, client(), 40000);
	ASSERT_TRUE(bed.maps->sweep_connections(HF_SWEEP_ALL));
	const Outcome outcome = run(bed, forward(ack) / Payload(10));
	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(bed.reason(HF_REASON_no_connection), 1U);
	// RFC 9293, 3.10.7.1: the ACK's number is the RST's sequence.
	const Packet link(Ethernet{.destination = "02:00:00:00:00:02", .source = "02:00:00:00:00:01"});
	const Tcp reset{.source = 80, .destination = 40000, .sequence = 5001, .flags = rst, .window = 0};
	const Bytes expected =
		ipv4() ? (link / Ipv4{.source = vip(), .destination = client(), .identification = 0} / reset).build()
		       : (link / Ipv6{.source = vip(), .destination = client(), .flow = 0} / reset).build();
	EXPECT_EQ(outcome.packet, expected) << describe(outcome.packet);
}

TEST_P(Connection, TheRstOfASynAcknowledgesIt)
{
	Testbed bed(config(sticky, rule, 1));

	bed.override_member("web", "rs1", MemberStatus::disabled);
	const Outcome outcome = run(bed, tcp(client(), 40000, vip(), 80, syn, 77) / Payload(5));
	ASSERT_TRUE(sent(hook(), outcome));
	const Packet link(Ethernet{.destination = "02:00:00:00:00:02", .source = "02:00:00:00:00:01"});
	const Tcp reset{.source = 80,
			.destination = 40000,
			.sequence = 0,
			.acknowledgement = 83,
			.flags = rst | ack,
			.window = 0};
	const Bytes expected =
		ipv4() ? (link / Ipv4{.source = vip(), .destination = client(), .identification = 0} / reset).build()
		       : (link / Ipv6{.source = vip(), .destination = client(), .flow = 0} / reset).build();
	EXPECT_EQ(outcome.packet, expected) << describe(outcome.packet);
}

TEST_P(Connection, ARstIsNeverAnsweredWithARst)
{
	Testbed bed(config("port: 80, protocol: tcp"));

	EXPECT_TRUE(dropped(hook(), run(bed, forward(rst))));
	EXPECT_EQ(bed.reason(HF_REASON_rejected_reset), 1U);
}

TEST_P(Connection, ALostHalfIsHealedByTheOther)
{
	for (const bool lose_reply : {true, false}) {
		Testbed bed(config(sticky, rule));
		const int to = connect(bed, client(), 40000);

		ASSERT_TRUE(bed.maps->connections.each([&](const hf_flow_key &key, const hf_connection &connection) {
			if (static_cast<bool>(connection.flags & HF_CONNECTION_REPLY) == lose_reply)
				bed.maps->connections.erase(key);
			return true;
		}));
		age_connections(bed, 1);
		ASSERT_TRUE(sent(hook(), run(bed, lose_reply ? forward(ack) : reply(to, ack))));
		EXPECT_EQ(bed.reason(HF_REASON_connection_healed), 1U);
		EXPECT_TRUE(sent(hook(), run(bed, reply(to, ack))));
		EXPECT_EQ(addressee(run(bed, forward(ack))), to);
	}
}

TEST_P(Connection, ARefusedClientIsDecidedAnew)
{
	Testbed bed(config(sticky, rule));
	const int first = addressee(run(bed, tcp(client(), 40000, vip(), 80, syn)));

	for (int i = 0; i < 2; i++)
		EXPECT_TRUE(sent(hook(), run(bed, tcp(member(first), 8080, client(), 40000, rst | ack, 0, 1001))))
			<< "also a repeated RST is translated";
	EXPECT_NE(connect(bed, client(), 40001), first);
	EXPECT_NE(connect(bed, client(), 40000), 0) << "the same port begins anew";
}

TEST_P(Connection, AClientsOwnRstDoesNotMoveItsOtherConnections)
{
	Testbed bed(config(sticky, rule));
	const int first = addressee(run(bed, tcp(client(), 40000, vip(), 80, syn)));

	run(bed, tcp(client(), 40001, vip(), 80, syn));
	run(bed, tcp(client(), 40001, vip(), 80, rst));
	EXPECT_EQ(connect(bed, client(), 40002), first);
}

TEST_P(Connection, ASynOnADisabledMembersEmbryoIsDecidedAnew)
{
	Testbed bed(config("port: 80, protocol: tcp"));
	const int first = addressee(run(bed, tcp(client(), 40000, vip(), 80, syn)));

	bed.override_member("web", fmt::format("rs{}", first), MemberStatus::disabled);
	EXPECT_NE(addressee(run(bed, tcp(client(), 40000, vip(), 80, syn))), first);
}

// Spoofed packets alone, whatever they are, make nothing that is established.
TEST_P(Connection, NoSequenceOfOneSidedPacketsOpensIt)
{
	const std::vector<std::vector<uint8_t>> sequences = {
		{fin, syn},      {psh, syn},      {syn, fin | ack}, {ack, syn},
		{ack, ack, syn}, {syn, psh, syn}, {fin | ack, syn},
	};

	for (const char *persistence : {"by-address", "LB_PERSIS_HASH_SRC_ADDR"}) {
		for (const auto &sequence : sequences) {
			Testbed bed(
				config(fmt::format("port: 80, protocol: tcp, persistence: {}", persistence), rule, 1));

			for (const uint8_t flags : sequence)
				bed.run(hook(), tcp(client(), 40000, vip(), 80, flags, 7, 7));
			bed.run(hook(), tcp(member(1), 8080, client(), 40000, syn | ack, 5000, 8));
			EXPECT_EQ(count(bed).connections, 0U) << persistence;
			size_t sessions = 0;
			ASSERT_TRUE(
				bed.maps->sessions.each([&](const auto &, const auto &) { return ++sessions > 0; }));
			EXPECT_EQ(sessions, 0U) << persistence;
		}
	}
}

TEST_P(Connection, AStrangersSegmentInMidStreamIsNeverForwarded)
{
	Testbed bed(config(sticky, rule));

	for (int i = 0; i < 3; i++)
		EXPECT_EQ(addressee(run(bed, forward(ack))), 0) << "a RST, not a way to a member";
	EXPECT_EQ(bed.reason(HF_REASON_no_connection), 3U);
	size_t proposed = 0;
	ASSERT_TRUE(bed.maps->embryonic_sessions.each([&](const auto &, const auto &) { return ++proposed > 0; }));
	EXPECT_EQ(proposed, 0U);
}

TEST_P(Connection, AForgedRstDoesNotEndWhatGoesOn)
{
	Testbed bed(config("port: 80, protocol: tcp"));
	const int to = connect(bed, client(), 40000);

	run(bed, forward(rst));
	EXPECT_EQ(state(bed), HF_CONNECTION_CLOSED);
	age_connections(bed, 20);
	EXPECT_EQ(addressee(run(bed, forward(ack))), to);
	EXPECT_TRUE(sent(hook(), run(bed, reply(to, ack))));
	age_connections(bed, 1);
	EXPECT_TRUE(sent(hook(), run(bed, reply(to, ack))));
	EXPECT_EQ(state(bed), HF_CONNECTION_ESTABLISHED) << "the member goes on: it has not accepted the RST";
}

TEST_P(Connection, AFinInTheAckThatOpensItCounts)
{
	Testbed bed(config(sticky, rule));
	const int to = addressee(run(bed, tcp(client(), 40000, vip(), 80, syn)));

	run(bed, tcp(member(to), 8080, client(), 40000, syn | ack, 5000, 1001));
	run(bed, forward(fin | ack));
	EXPECT_EQ(state(bed), HF_CONNECTION_HALF_CLOSED);
	run(bed, reply(to, fin | ack));
	EXPECT_EQ(state(bed), HF_CONNECTION_CLOSED);
}

TEST_P(Connection, AMembersFirstSequenceNumberMayBeTheLast)
{
	Testbed bed(config(sticky, rule));
	const int to = addressee(run(bed, tcp(client(), 40000, vip(), 80, syn)));

	run(bed, tcp(member(to), 8080, client(), 40000, syn | ack, 0xffffffff, 1001));
	EXPECT_EQ(addressee(run(bed, tcp(client(), 40000, vip(), 80, ack, 1001, 0))), to);
	EXPECT_EQ(count(bed), (Counts{2, 0}));
}

// Two ports of a range lead to one port of the member: the answers could not be told apart.
TEST_P(Connection, TwoPortsOfARangeDoNotShareATuple)
{
	Testbed bed(config("port: 8000-8099, protocol: udp", "", 1));

	ASSERT_TRUE(
		sent(hook(), run(bed, ip(client(), vip()) / Udp{.source = 500, .destination = 8001} / Payload("a"))));
	EXPECT_TRUE(dropped(hook(),
			    run(bed, ip(client(), vip()) / Udp{.source = 500, .destination = 8002} / Payload("b"))));
	EXPECT_EQ(bed.reason(HF_REASON_tuple_in_use), 1U);
	const Outcome answer =
		run(bed, ip(member(1), client()) / Udp{.source = 8080, .destination = 500} / Payload("c"));
	ASSERT_TRUE(sent(hook(), answer));
	const size_t port = ipv4() ? 34 : 54;
	EXPECT_EQ(answer.packet[port] << 8 | answer.packet[port + 1], 8001);
}

TEST_P(Connection, AClosedTupleOfAnotherVirtualServerIsFreeAgain)
{
	std::string yaml = config("port: 80, protocol: tcp", "", 1);

	yaml += fmt::format(
		"  - {{name: other, address: \"{}\", port: 81, protocol: tcp, forwarding: dnat, pool: web}}\n", vip());
	Testbed bed(yaml);
	ASSERT_EQ(connect(bed, client(), 40000, 80), 1);
	run(bed, forward(fin | ack));
	run(bed, reply(1, fin | ack));
	ASSERT_TRUE(sent(hook(), run(bed, tcp(client(), 40000, vip(), 81, syn))));
	const Outcome answer = run(bed, tcp(member(1), 8080, client(), 40000, syn | ack, 5000, 1001));
	ASSERT_TRUE(sent(hook(), answer));
	const size_t port = ipv4() ? 34 : 54;
	EXPECT_EQ(answer.packet[port] << 8 | answer.packet[port + 1], 81) << "as the new one's, not the closed one's";
	EXPECT_TRUE(sent(hook(), run(bed, tcp(client(), 40000, vip(), 81, ack, 1001, 5001))));
	EXPECT_EQ(state(bed), HF_CONNECTION_ESTABLISHED);
}

TEST_P(Connection, AChangedMemberAddressLeavesNoHalfConnections)
{
	std::string yaml = config(sticky, rule, 1), moved = yaml;
	const size_t at = moved.find(member(1));

	moved.replace(at, member(1).size(), member(7));
	Testbed bed(yaml);
	ASSERT_EQ(connect(bed, client(), 40000), 1);
	bed.apply(moved);
	EXPECT_EQ(count(bed).connections, 0U);
	EXPECT_EQ(addressee(run(bed, tcp(client(), 40001, vip(), 80, syn))), 7) << "the session stays with the name";
}

// What XDP leaves to TC is whole: TC comes to the same result.
TEST_P(Connection, ARstThatXdpLeavesToTcIsTranslatedThere)
{
	if (hook() != Hook::xdp)
		return; // the test runs both
	Testbed bed(config(sticky, rule, 1));

	run(bed, tcp(client(), 40000, vip(), 80, syn));
	bed.maps->next_hops.live(1)->flags = 0; // XDP cannot send there
	const Bytes refusal = tcp(member(1), 8080, client(), 40000, rst | ack, 0, 1001);
	ASSERT_TRUE(passed(Hook::xdp, bed.run(Hook::xdp, refusal)));
	EXPECT_TRUE(sent(Hook::tc, bed.run(Hook::tc, refusal)));
}

TEST_P(Connection, OneTupleAtAMemberIsNotSharedByTwoVirtualServers)
{
	std::string yaml = config("port: 80, protocol: tcp", "", 1);

	yaml += fmt::format(
		"  - {{name: other, address: \"{}\", port: 81, protocol: tcp, forwarding: dnat, pool: web}}\n", vip());
	Testbed bed(yaml);
	ASSERT_EQ(connect(bed, client(), 40000, 80), 1);
	EXPECT_TRUE(dropped(hook(), run(bed, tcp(client(), 40000, vip(), 81, syn))));
	EXPECT_EQ(bed.reason(HF_REASON_tuple_in_use), 1U);
	EXPECT_EQ(connect(bed, client(), 40001, 81), 1);
}

TEST_P(Connection, UdpIsConfirmedByTheAnswer)
{
	Testbed bed(config("port: 53, protocol: udp, persistence: by-address", rule));
	const Packet query = ip(client(), vip()) / Udp{.source = 4000, .destination = 53} / Payload("q");
	const int to = addressee(run(bed, query));

	ASSERT_NE(to, 0);
	EXPECT_EQ(count(bed), (Counts{0, 2}));
	EXPECT_EQ(addressee(run(bed, query)), to);
	ASSERT_TRUE(sent(hook(),
			 run(bed, ip(member(to), client()) / Udp{.source = 8080, .destination = 4000} / Payload("a"))));
	EXPECT_EQ(count(bed), (Counts{2, 0}));
	for (uint16_t port = 4001; port < 4010; port++)
		EXPECT_EQ(addressee(run(bed,
					ip(client(), vip()) / Udp{.source = port, .destination = 53} / Payload("q"))),
			  to);
}

TEST_P(Connection, UdpThatNobodyAnswersIsConfirmedByGoingOn)
{
	Testbed bed(config("port: 514, protocol: udp"));
	const Packet line = ip(client(), vip()) / Udp{.source = 4000, .destination = 514} / Payload("log");
	const int to = addressee(run(bed, line));

	ASSERT_TRUE(bed.maps->embryonic_connections.each([&](const auto &key, const hf_embryonic_connection &embryo) {
		hf_embryonic_connection older = embryo;

		older.connection.created--;
		EXPECT_TRUE(bed.maps->embryonic_connections.set(key, older));
		return true;
	}));
	EXPECT_EQ(addressee(run(bed, line)), to);
	EXPECT_EQ(count(bed), (Counts{2, 0}));
}

TEST_P(Connection, AnUnknownNextHopIsAskedFor)
{
	Testbed bed(config(sticky, rule, 1));

	ASSERT_EQ(connect(bed, client(), 40000), 1);
	// As after the neighbour is gone from the mirror: its place is empty.
	bed.maps->next_hops.set(1, {});
	hf_next_hop_key key{};
	key.interface = static_cast<uint32_t>(wire_index());
	const uint8_t mac[] = {2, 0, 0, 0, 0, 0xaa};
	std::copy(std::begin(mac), std::end(mac), key.mac);
	ASSERT_TRUE(bed.maps->next_hop_index.erase(key));
	const Outcome outcome = run(bed, forward(ack));
	if (hook() == Hook::xdp) {
		EXPECT_TRUE(passed(hook(), outcome)) << "left to TC";
		EXPECT_EQ(bed.reason(HF_REASON_next_hop_stack), 1U);
	} else {
		EXPECT_TRUE(sent(hook(), outcome)) << "by the FIB's answer";
		EXPECT_EQ(bed.reason(HF_REASON_next_hop_fib), 1U);
		EXPECT_EQ(outcome.packet[0], 2);
		EXPECT_EQ(outcome.packet[5], 0xaa);
	}
}

TEST_P(Connection, AChangedNeighbourIsNoticedWithoutTheDaemon)
{
	Testbed bed(config(sticky, rule, 1));
	hf_next_hop wrong = bed.maps->next_hops.get(1);

	ASSERT_EQ(connect(bed, client(), 40000), 1);
	// The mirror says one MAC, the kernel's table another: as if it had changed and nobody had told.
	hf_next_hop right = wrong;
	wrong.destination_mac[5] = 0xdd;
	bed.maps->next_hops.set(1, wrong);
	bed.maps->next_hops.set(2, right);
	hf_next_hop_key key{};
	key.interface = right.interface;
	std::copy(std::begin(right.destination_mac), std::end(right.destination_mac), key.mac);
	ASSERT_TRUE(bed.maps->next_hop_index.set(key, 2));
	age_connections(bed, 1);
	bed.maps->next_hops.live(1)->checked_at = 0;
	const Outcome outcome = run(bed, forward(ack));
	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(outcome.packet[5], 0xaa);
	EXPECT_EQ(bed.reason(HF_REASON_next_hop_changed), 1U);
}

} // namespace
} // namespace holdfast::test
