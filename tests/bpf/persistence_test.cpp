// SPDX-License-Identifier: GPL-2.0
// Who gets which member: sessions, hashes, balancing methods, member states.
#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <set>

#include "bpf/datapath_test.h"

namespace holdfast::test
{
namespace
{

class Persistence : public DatapathTest
{
protected:
	const std::string by_address = "  - {name: by-address, type: source-address, timeout: 100}\n";
	const std::string sticky = "port: 80, protocol: tcp, persistence: by-address";

	// Makes every session (or connection) look as if it was last used `seconds` earlier.
	static void age_sessions(Testbed &bed, uint32_t seconds)
	{
		std::vector<std::pair<hf_session_key, hf_session>> all;

		ASSERT_TRUE(bed.maps->sessions.each([&](const hf_session_key &key, const hf_session &session) {
			all.emplace_back(key, session);
			return true;
		}));
		ASSERT_FALSE(all.empty());
		for (auto &[key, session] : all) {
			session.last_seen -= seconds;
			ASSERT_TRUE(bed.maps->sessions.set(key, session));
		}
	}

	static size_t count_sessions(Testbed &bed)
	{
		size_t count = 0;

		EXPECT_TRUE(bed.maps->sessions.each(
			[&](const hf_session_key &, const hf_session &) { return ++count > 0; }));
		return count;
	}
};

INSTANTIATE_TEST_SUITE_P(Datapath, Persistence, testing::ValuesIn(all_places), place_name);

TEST_P(Persistence, RoundRobinWithoutARule)
{
	Testbed bed(config("port: 80, protocol: tcp"));
	std::map<int, int> counts;

	for (uint16_t i = 0; i < 30; i++)
		counts[connect(bed, client(), static_cast<uint16_t>(40000 + i))]++;
	EXPECT_EQ(counts, (std::map<int, int>{{1, 10}, {2, 10}, {3, 10}}));
}

TEST_P(Persistence, AClientStaysOnItsMember)
{
	Testbed bed(config(sticky, by_address));
	std::set<int> used;

	for (int number = 1; number <= 20; number++) {
		const int first = connect(bed, client(number), 40000);

		ASSERT_NE(first, 0);
		used.insert(first);
		for (uint16_t port = 40001; port < 40006; port++)
			ASSERT_EQ(connect(bed, client(number), port), first) << "client " << number << " port " << port;
	}
	EXPECT_EQ(used.size(), 3U) << "round robin behind it";
	EXPECT_EQ(count_sessions(bed), 20U);
}

TEST_P(Persistence, ParallelSynsOfANewClientGoTogether)
{
	Testbed bed(config(sticky, by_address));
	std::set<int> members;

	for (uint16_t port = 40000; port < 40010; port++)
		members.insert(addressee(run(bed, tcp(client(), port, vip(), 80, syn))));
	EXPECT_EQ(members.size(), 1U);
	EXPECT_EQ(count_sessions(bed), 0U) << "nothing is recorded before a handshake is complete";
}

TEST_P(Persistence, MaskPutsANetworkTogether)
{
	Testbed bed(config("port: 80, protocol: tcp, persistence: by-net",
			   "  - {name: by-net, type: source-address, ipv4_mask_bits: 24, ipv6_mask_bits: 64}\n"));
	const int first = connect(bed, client(1), 40000);

	for (int number = 2; number < 30; number++)
		ASSERT_EQ(connect(bed, client(number), 40000), first);
	EXPECT_EQ(count_sessions(bed), 1U);
	const std::string other = ipv4() ? "203.0.113.1" : "2001:db8:c:1::1";
	EXPECT_NE(connect(bed, other, 40000), first) << "another network has its own turn";
	EXPECT_EQ(count_sessions(bed), 2U);
}

TEST_P(Persistence, EveryMaskLengthCutsAtItsBit)
{
	const int width = ipv4() ? 32 : 128;

	for (const int bits : {1, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 63, 64, 65, 96, 127, 128}) {
		if (bits > width)
			break;
		Testbed bed(config("port: 80, protocol: tcp, persistence: by-net",
				   fmt::format("  - {{name: by-net, type: source-address, {}: {}}}\n",
					       ipv4() ? "ipv4_mask_bits" : "ipv6_mask_bits", bits)));
		Address base = *Address::parse(client(1));

		ASSERT_NE(connect(bed, base.text(), 40000), 0);
		ASSERT_TRUE(bed.maps->sessions.each([&](const hf_session_key &key, const hf_session &) {
			for (int bit = 0; bit < 128; bit++) {
				const auto at = static_cast<size_t>(bit / 8);
				const int inside = bit - (128 - width);
				const bool kept = inside < bits;
				const int was = base.bytes()[at] >> (7 - bit % 8) & 1,
					  is = key.key[at] >> (7 - bit % 8) & 1;

				EXPECT_EQ(is, kept ? was : 0) << "/" << bits << " bit " << inside;
			}
			return true;
		}));
	}
}

TEST_P(Persistence, AnIdleSessionIsDeadTheInstantItsTimeoutIsOver)
{
	Testbed bed(config(sticky, by_address));
	const int first = connect(bed, client(), 40000);

	age_sessions(bed, 98);
	EXPECT_EQ(connect(bed, client(), 40001), first);
	age_sessions(bed, 102);
	EXPECT_NE(connect(bed, client(), 40002), first) << "decided anew: the next in turn";
	EXPECT_GE(bed.reason(HF_REASON_session_expired), 1U);
	EXPECT_EQ(count_sessions(bed), 1U);
}

TEST_P(Persistence, PacketsOfABoundConnectionKeepTheSession)
{
	Testbed bed(config(sticky, by_address));
	const int first = connect(bed, client(), 40000);

	// A second later than everything so far, as the data path's clock goes.
	ASSERT_TRUE(bed.maps->connections.each([&](const hf_flow_key &key, const hf_connection &connection) {
		hf_connection older = connection;

		older.last_seen--;
		EXPECT_TRUE(bed.maps->connections.set(key, older));
		return true;
	}));
	age_sessions(bed, 90);
	ASSERT_TRUE(sent(hook(), run(bed, tcp(client(), 40000, vip(), 80, ack, 1001, 5001))));
	age_sessions(bed, 90);
	EXPECT_EQ(connect(bed, client(), 40001), first) << "90 s after a packet, 180 s after the last connection";
}

TEST_P(Persistence, ARepliesFirstPacketOfASecondDoesNotHideTheClients)
{
	Testbed bed(config(sticky, by_address));
	const int first = connect(bed, client(), 40000);

	// The member streams, the client only acknowledges, in the same second: it is there.
	ASSERT_TRUE(bed.maps->connections.each([&](const hf_flow_key &key, const hf_connection &connection) {
		hf_connection older = connection;

		older.last_seen--;
		EXPECT_TRUE(bed.maps->connections.set(key, older));
		return true;
	}));
	age_sessions(bed, 90);
	ASSERT_TRUE(sent(hook(), run(bed, tcp(member(first), 8080, client(), 40000, ack, 5001, 1001))));
	ASSERT_TRUE(sent(hook(), run(bed, tcp(client(), 40000, vip(), 80, ack, 1001, 5001))));
	age_sessions(bed, 90);
	EXPECT_EQ(connect(bed, client(), 40001), first);
}

TEST_P(Persistence, DatagramsFromEverNewPortsStayAndAreRecorded)
{
	Testbed bed(config("port: 514, protocol: udp, persistence: by-address", by_address));
	const auto send = [&](uint16_t port) {
		return addressee(
			run(bed, ip(client(), vip()) / Udp{.source = port, .destination = 514} / Payload("log")));
	};
	const int first = send(1000);

	EXPECT_EQ(send(1001), first);
	EXPECT_EQ(count_sessions(bed), 0U);
	ASSERT_TRUE(bed.maps->embryonic_sessions.each([&](const hf_session_key &key, const hf_session &session) {
		hf_session older = session;

		older.created--;
		EXPECT_TRUE(bed.maps->embryonic_sessions.set(key, older));
		return true;
	}));
	EXPECT_EQ(send(1002), first);
	EXPECT_EQ(count_sessions(bed), 1U) << "still there in a later second: a session";
	EXPECT_EQ(send(1003), first);
}

TEST_P(Persistence, HashesAreStableAndSpread)
{
	for (const bool with_port : {false, true}) {
		const std::string rules =
			fmt::format("  - {{name: hash, type: source-address{}-hash}}\n", with_port ? "-port" : "");
		Testbed bed(config("port: 80, protocol: tcp, persistence: hash", rules));
		Testbed again(config("port: 80, protocol: tcp, persistence: hash", rules));
		std::map<int, int> counts;
		std::set<int> of_one_client;

		for (int number = 1; number <= 200; number++) {
			const int chosen = connect(bed, client(number), 40000);

			counts[chosen]++;
			ASSERT_EQ(connect(again, client(number), 40000), chosen) << "same configuration, same result";
		}
		for (uint16_t port = 41000; port < 41050; port++)
			of_one_client.insert(connect(bed, client(1), port));
		EXPECT_EQ(of_one_client.size(), with_port ? 3U : 1U);
		EXPECT_EQ(count_sessions(bed), 0U) << "a hash keeps nothing";
		ASSERT_EQ(counts.size(), 3U);
		for (const auto &[chosen, count] : counts)
			EXPECT_NEAR(count, 67, 30) << "member " << chosen;
	}
}

TEST_P(Persistence, AnotherSeedIsAnotherHash)
{
	const std::string yaml = config("port: 80, protocol: tcp, persistence: LB_PERSIS_HASH_SRC_ADDR");
	Testbed one(yaml), other(yaml + "hash_seed: another\n");
	int differing = 0;

	for (int number = 1; number <= 60; number++)
		differing += connect(one, client(number), 40000) != connect(other, client(number), 40000);
	EXPECT_GT(differing, 10);
}

TEST_P(Persistence, AMemberThatIsOutMovesOnlyItsOwnKeysAndTheyComeBack)
{
	Testbed bed(config("port: 80, protocol: tcp, persistence: LB_PERSIS_HASH_SRC_ADDR"));
	std::map<int, int> before;
	int moved = 0;

	for (int number = 1; number <= 100; number++)
		before[number] = connect(bed, client(number), 40000);
	bed.override_member("web", "rs2", MemberStatus::disabled);
	std::set<int> elsewhere;
	for (int number = 1; number <= 100; number++) {
		const int now = connect(bed, client(number), 40001);

		ASSERT_NE(now, 2);
		if (before[number] != 2) {
			ASSERT_EQ(now, before[number]) << "not a key of the member that is out";
		} else {
			moved++;
			elsewhere.insert(now);
		}
	}
	EXPECT_GT(moved, 0);
	EXPECT_EQ(elsewhere.size(), 2U) << "the second choice is a hash, too: not all to one neighbour";
	EXPECT_GE(bed.reason(HF_REASON_hash_second_choice), static_cast<uint64_t>(moved));
	bed.override_member("web", "rs2", MemberStatus::enabled);
	for (int number = 1; number <= 100; number++)
		ASSERT_EQ(connect(bed, client(number), 40002), before[number]);
}

TEST_P(Persistence, SourceHashAsMethod)
{
	Testbed bed(config("port: 80, protocol: tcp, method: source-hash"));
	std::set<int> used;

	for (int number = 1; number <= 30; number++) {
		const int first = connect(bed, client(number), 40000);

		ASSERT_EQ(connect(bed, client(number), 40001), first);
		used.insert(first);
	}
	EXPECT_EQ(used.size(), 3U);
}

TEST_P(Persistence, WeightsAreShares)
{
	std::string yaml = config("port: 80, protocol: tcp");

	yaml.replace(yaml.find("port: 8080}"), 11, "port: 8080, weight: 4}");
	Testbed bed(yaml);
	std::map<int, int> counts;
	for (uint16_t i = 0; i < 60; i++)
		counts[connect(bed, client(), static_cast<uint16_t>(40000 + i))]++;
	EXPECT_EQ(counts, (std::map<int, int>{{1, 40}, {2, 10}, {3, 10}}));
}

TEST_P(Persistence, ADrainingMemberKeepsItsSessionsAndGetsNoNewClients)
{
	Testbed bed(config(sticky, by_address));
	int of_two = 0;

	for (int number = 1; number <= 9; number++) {
		if (connect(bed, client(number), 40000) == 2)
			of_two = number;
	}
	ASSERT_NE(of_two, 0);
	bed.override_member("web", "rs2", MemberStatus::draining);
	EXPECT_EQ(connect(bed, client(of_two), 40001), 2);
	for (int number = 20; number < 40; number++)
		ASSERT_NE(connect(bed, client(number), 40000), 2);
}

TEST_P(Persistence, ADisabledMembersSessionsMoveAndStayMoved)
{
	Testbed bed(config(sticky, by_address));
	const int first = connect(bed, client(), 40000);
	const std::string name = fmt::format("rs{}", first);

	bed.override_member("web", name, MemberStatus::disabled);
	// The bound connection goes on.
	EXPECT_EQ(addressee(run(bed, tcp(client(), 40000, vip(), 80, ack, 1001, 5001))), first);
	const int second = connect(bed, client(), 40001);
	ASSERT_NE(second, 0);
	EXPECT_NE(second, first);
	EXPECT_GE(bed.reason(HF_REASON_session_moved), 1U);
	bed.override_member("web", name, MemberStatus::enabled);
	EXPECT_EQ(connect(bed, client(), 40002), second) << "it stays where it went";
}

TEST_P(Persistence, NoUsableMemberIsAnswered)
{
	Testbed bed(config(sticky, by_address, 1));

	bed.override_member("web", "rs1", MemberStatus::disabled);
	const Outcome outcome = run(bed, tcp(client(), 40000, vip(), 80, syn, 77));
	ASSERT_TRUE(sent(hook(), outcome)) << "a RST";
	EXPECT_EQ(bed.reason(HF_REASON_no_usable_member), 1U);
}

TEST_P(Persistence, RemovingAMemberTakesItsSessionsAndConnectionsAndNoOthers)
{
	Testbed bed(config(sticky, by_address, 3));
	std::map<int, int> before;

	for (int number = 1; number <= 9; number++)
		before[number] = connect(bed, client(number), 40000);
	bed.apply(config(sticky, by_address, 2));
	EXPECT_EQ(count_sessions(bed), 6U);
	for (const auto &[number, chosen] : before) {
		if (chosen != 3) {
			EXPECT_EQ(addressee(run(bed, tcp(client(number), 40000, vip(), 80, ack, 1001, 5001))), chosen);
			EXPECT_EQ(connect(bed, client(number), 40001), chosen);
		} else {
			EXPECT_NE(connect(bed, client(number), 40001), 3);
		}
	}
	bed.apply(config(sticky, by_address, 3));
	EXPECT_EQ(count_sessions(bed), 9U) << "adding one touches nobody's session";
}

TEST_P(Persistence, VirtualServersDoNotShareSessions)
{
	std::string yaml = config("port: 80, protocol: tcp, persistence: by-address", by_address);

	yaml += fmt::format("  - {{name: other, address: \"{}\", port: 81, protocol: tcp, forwarding: dnat, pool: web, "
			    "persistence: by-address}}\n",
			    vip());
	Testbed bed(yaml);
	connect(bed, client(), 40000, 80);
	connect(bed, client(), 40001, 81);
	EXPECT_EQ(count_sessions(bed), 2U);
}

TEST_P(Persistence, HitsCountConnections)
{
	Testbed bed(config(sticky, by_address));

	for (uint16_t port = 40000; port < 40005; port++)
		connect(bed, client(), port);
	ASSERT_TRUE(bed.maps->sessions.each([&](const hf_session_key &key, const hf_session &session) {
		EXPECT_EQ(session.hits, 5U);
		EXPECT_EQ(key.scope, bed.server_id("shop"));
		return true;
	}));
}

TEST_P(Persistence, TheSweeperTakesTheDeadAndLeavesTheLiving)
{
	Testbed bed(config(sticky, by_address));

	for (int number = 1; number <= 10; number++)
		connect(bed, client(number), 40000);
	age_sessions(bed, 200);
	for (int number = 11; number <= 15; number++)
		connect(bed, client(number), 40000);
	auto swept = bed.maps->sweep_sessions(HF_SWEEP_EXPIRED);
	ASSERT_TRUE(swept);
	EXPECT_EQ(swept->deleted, 10U);
	EXPECT_EQ(swept->alive, 5U);
	EXPECT_EQ(count_sessions(bed), 5U);
}

} // namespace
} // namespace holdfast::test
