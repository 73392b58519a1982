// SPDX-License-Identifier: GPL-2.0
// Which member a new client gets: balancing methods, and what members may be given.
#include <fmt/format.h>
#include <map>

#include "bpf/datapath_test.h"

namespace holdfast::test
{
namespace
{

class Method : public DatapathTest
{
protected:
	// Three members; `settings` by number, as in ", weight: 2".
	std::string pool(const std::string &server, std::map<int, std::string> settings = {},
			 const std::string &of_pool = "") const
	{
		std::string yaml = config("port: 80, protocol: tcp" + server, "  - {name: by-address, type: "
									      "source-address, timeout: 100}\n");

		for (const auto &[number, text] : settings) {
			const std::string before = fmt::format("\"{}\", port: 8080", member(number));
			const size_t at = yaml.find(before);

			yaml.insert(at + before.size(), text);
		}
		if (!of_pool.empty())
			yaml.replace(yaml.find("    members:"), 0, "    " + of_pool + "\n");
		return yaml;
	}

	std::map<int, int> share(Testbed &bed, int clients)
	{
		std::map<int, int> counts;

		for (int i = 0; i < clients; i++)
			counts[connect(bed, client(1 + i % 250), port_++)]++;
		return counts;
	}

	// Of the members' places.
	void expect_places(Testbed &bed, std::map<int, uint32_t> wanted)
	{
		for (const auto &[number, places] : wanted)
			EXPECT_EQ(bed.maps->member_connections.get(bed.member_id("web", fmt::format("rs{}", number))),
				  places)
				<< number;
	}

	Packet answer(int number, uint16_t port, uint8_t flags) const
	{
		return tcp(member(number), 8080, client(), port, flags, 5001, 1001);
	}

	uint16_t port_ = 20000;
};

INSTANTIATE_TEST_SUITE_P(Datapath, Method, testing::ValuesIn(all_places), place_name);

TEST_P(Method, LeastConnectionsLevelsOut)
{
	Testbed bed(pool(", method: least-connections", {{2, ", weight: 2"}}));
	std::map<int, std::vector<uint16_t>> open;

	EXPECT_EQ(share(bed, 40), (std::map<int, int>{{1, 10}, {2, 20}, {3, 10}}));
	expect_places(bed, {{1, 10}, {2, 20}, {3, 10}});
	// Of three members that are equally loaded each has its turn.
	Testbed equal(pool(", method: least-connections"));
	EXPECT_EQ(share(equal, 30), (std::map<int, int>{{1, 10}, {2, 10}, {3, 10}}));
	// Whose connections end gets the next ones.
	for (uint16_t port = 40000; port < 40012; port++)
		open[connect(equal, client(), port)].push_back(port);
	for (const uint16_t port : open[3])
		ASSERT_TRUE(sent(hook(), run(equal, tcp(client(), port, vip(), 80, rst, 1001, 5001))));
	for (size_t i = 0; i < open[3].size(); i++)
		EXPECT_EQ(connect(equal, client(2), static_cast<uint16_t>(41000 + i)), 3);
}

TEST_P(Method, LeastConnectionsPassesOverWhoIsNotUsable)
{
	Testbed bed(pool(", method: least-connections", {{1, ", connection_limit: 2"}}));

	bed.override_member("web", "rs2", MemberStatus::draining);
	EXPECT_EQ(share(bed, 10), (std::map<int, int>{{1, 2}, {3, 8}}));
}

TEST_P(Method, RandomIsWeighted)
{
	Testbed bed(pool(", method: random", {{3, ", weight: 2"}}));
	auto counts = share(bed, 800);

	// 200, 200 and 400 are expected; six standard deviations are 75 and 85.
	EXPECT_NEAR(counts[1], 200, 75);
	EXPECT_NEAR(counts[2], 200, 75);
	EXPECT_NEAR(counts[3], 400, 85);
	bed.override_member("web", "rs3", MemberStatus::disabled);
	EXPECT_EQ(share(bed, 60)[3], 0);
}

TEST_P(Method, ASessionCountsForMoreThanTheMethod)
{
	for (const char *method : {"least-connections", "random"}) {
		Testbed bed(pool(fmt::format(", method: {}, persistence: by-address", method)));
		const int first = connect(bed, client(), 40000);

		for (uint16_t port = 40001; port < 40020; port++)
			EXPECT_EQ(connect(bed, client(), port), first) << method;
	}
}

// What a second's limit lets through, as far as one second lasts.
TEST_P(Method, RateLimitsHoldForASecond)
{
	Testbed bed(pool("", {{1, ", connection_rate_limit: 3"}, {2, ", connection_rate_limit: 1000"}}));
	std::map<int, int> counts;
	uint32_t begun = 0;

	// Another try, should a second end in the middle of it.
	for (int attempt = 0; attempt < 5; attempt++) {
		bed.clear();
		counts.clear();
		begun = bed.maps->now();
		while (bed.maps->now() == begun)
			continue;
		begun = bed.maps->now();
		counts = share(bed, 30);
		if (bed.maps->now() == begun)
			break;
	}
	ASSERT_EQ(bed.maps->now(), begun) << "30 connections take longer than a second";
	EXPECT_EQ(counts[1], 3);
	EXPECT_EQ(counts[2] + counts[3], 27);
	while (bed.maps->now() == begun)
		continue;
	EXPECT_GE(share(bed, 9)[1], 1) << "the next second has its own";
}

TEST_P(Method, ASessionGoesBeyondTheRate)
{
	Testbed bed(pool(", persistence: by-address", {{1, ", connection_rate_limit: 1"},
						       {2, ", connection_rate_limit: 1"},
						       {3, ", connection_rate_limit: 1"}}));
	const int first = connect(bed, client(), 40000);

	for (uint16_t port = 40001; port < 40010; port++)
		EXPECT_EQ(connect(bed, client(), port), first);
}

TEST_P(Method, BackupsServeWhenNobodyElseCan)
{
	for (const char *server : {"", ", method: source-hash", ", method: least-connections", ", method: random",
				   ", persistence: LB_PERSIS_HASH_SRC_ADDR", ", persistence: by-address"}) {
		Testbed bed(pool(server, {{3, ", backup: true"}}));

		EXPECT_EQ(share(bed, 60)[3], 0) << server;
		bed.override_member("web", "rs1", MemberStatus::disabled);
		EXPECT_EQ(share(bed, 20)[3], 0) << server;
		bed.override_member("web", "rs2", MemberStatus::disabled);
		EXPECT_EQ(share(bed, 20), (std::map<int, int>{{3, 20}})) << server;
		EXPECT_EQ(bed.reason(HF_REASON_backup_chosen), 20U) << server;
		bed.override_member("web", "rs1", MemberStatus::enabled);
		// Who has moved, stays; who is new does not come.
		EXPECT_EQ(connect(bed, client(1), port_++), std::string(server) == ", persistence: by-address" ? 3 : 1)
			<< server;
		EXPECT_EQ(connect(bed, client(240), port_++), 1) << server;
		bed.override_member("web", "rs1", MemberStatus::disabled);
		bed.override_member("web", "rs3", MemberStatus::disabled);
		EXPECT_EQ(addressee(run(bed, tcp(client(241), port_++, vip(), 80, syn))), 0) << server;
		EXPECT_EQ(bed.reason(HF_REASON_no_usable_member), 1U) << server;
	}
}

TEST_P(Method, FastestResponseTakesTurnsAmongTheFastest)
{
	const std::string checks = "health_checks:\n  - {name: ping, type: icmp}\n";
	Testbed bed(pool(", method: fastest-response", {}, "health_checks: [ping]") + checks);

	EXPECT_EQ(share(bed, 30), (std::map<int, int>{{1, 10}, {2, 10}, {3, 10}})) << "nothing is known yet";
	bed.set_health({{"web", {{}, {"rs2"}}}});
	EXPECT_EQ(share(bed, 30), (std::map<int, int>{{2, 30}}));
	bed.set_health({{"web", {{}, {"rs1", "rs2"}}}});
	EXPECT_EQ(share(bed, 30), (std::map<int, int>{{1, 15}, {2, 15}}));
	// Who is fast and takes nobody is passed over; where none of them can be had, everybody else is.
	bed.override_member("web", "rs1", MemberStatus::draining);
	EXPECT_EQ(share(bed, 30), (std::map<int, int>{{2, 30}}));
	bed.set_health({{"web", {{"rs2"}, {"rs1", "rs2"}}}});
	EXPECT_EQ(share(bed, 30), (std::map<int, int>{{3, 30}}));
}

// What health checks find is what an operator would say, only that the latter counts more.
TEST_P(Method, WhoIsDownIsLikeDisabledUntilItComesBack)
{
	Testbed bed(pool(", persistence: by-address"));
	const int first = connect(bed, client(), 40000);
	const std::string name = fmt::format("rs{}", first);

	bed.set_health({{"web", {{name}, {}}}});
	EXPECT_EQ(bed.maps->members.get(bed.member_id("web", name)).state, HF_MEMBER_DOWN);
	const int second = connect(bed, client(), 40001);
	EXPECT_NE(second, 0);
	EXPECT_NE(second, first);
	EXPECT_EQ(share(bed, 30)[first], 0);
	bed.set_health({});
	EXPECT_EQ(connect(bed, client(), 40002), second) << "a session that has moved stays";
	bed.override_member("web", fmt::format("rs{}", second), MemberStatus::disabled);
	bed.set_health({{"web", {{fmt::format("rs{}", second)}, {}}}});
	EXPECT_EQ(bed.maps->members.get(bed.member_id("web", fmt::format("rs{}", second))).state, HF_MEMBER_DISABLED);
}

// A flood of new clients is served, and pushes nobody out of the table.
TEST_P(Method, SessionsOfASecondAreLimited)
{
	Testbed bed(pool(", persistence: by-address, new_sessions_per_second: 3"));
	const int first = connect(bed, client(), 40000);
	uint32_t begun = 0;
	uint64_t recorded = 0;

	// Another try, should a second end in the middle of it.
	do {
		const uint64_t before = bed.maps->virtual_server_counters.sum(bed.server_id("shop")).sessions;
		begun = bed.maps->now();

		for (int i = 0; i < 20; i++)
			EXPECT_NE(connect(bed, client(10 + i), port_++), 0);
		recorded = bed.maps->virtual_server_counters.sum(bed.server_id("shop")).sessions - before;
		if (bed.maps->now() != begun)
			bed.clear();
	} while (bed.maps->now() != begun);
	EXPECT_LE(recorded, 3U);
	EXPECT_GE(bed.reason(HF_REASON_session_rate), 17U);
	EXPECT_EQ(connect(bed, client(), 40001), first) << "who has a session keeps it";
	while (bed.maps->now() == begun)
		;
	const uint64_t refused = bed.reason(HF_REASON_session_rate);
	EXPECT_EQ(connect(bed, client(99), 40000), connect(bed, client(99), 40001)) << "the next second's";
	EXPECT_EQ(bed.reason(HF_REASON_session_rate), refused);
}

TEST_P(Method, WhoComesBackIsSpared)
{
	Testbed bed(pool("", {{1, ", recover: 100, warm_up: 50, warm_rate: 2"}}));
	const uint32_t id = bed.member_id("web", "rs1");

	EXPECT_GE(share(bed, 9)[1], 3) << "at the beginning there is nothing to recover from";
	bed.override_member("web", "rs1", MemberStatus::draining);
	bed.override_member("web", "rs1", MemberStatus::enabled);
	EXPECT_GE(share(bed, 9)[1], 3) << "nor was it gone";
	bed.override_member("web", "rs1", MemberStatus::disabled);
	bed.override_member("web", "rs1", MemberStatus::enabled);
	EXPECT_EQ(share(bed, 9)[1], 0);
	EXPECT_NEAR(bed.maps->members.get(id).recovered, bed.maps->now() + 100, 2);
	EXPECT_NEAR(bed.maps->members.get(id).warm, bed.maps->now() + 150, 2);
	bed.override_member("web", "rs2", MemberStatus::draining);
	EXPECT_EQ(bed.maps->members.get(id).recovered, bed.maps->members.get(id).warm - 50) << "others change nothing";
	// It has recovered, and warms up.
	bed.maps->members.live(id)->recovered -= 101;
	auto counts = share(bed, 20);
	EXPECT_GE(counts[1], 1);
	EXPECT_LE(counts[1], 4) << "two a second, of which there may be two";
	bed.maps->members.live(id)->warm -= 151;
	EXPECT_EQ(share(bed, 20)[1], 10);
}

TEST_P(Method, ConnectionsOfAMemberThatIsDownGoOnOrAreReset)
{
	for (const auto &[resets, checked] : {std::pair(false, false), {true, false}, {true, true}, {false, true}}) {
		Testbed bed(pool("", {}, resets ? "on_down: reset" : ""));
		const int number = connect(bed, client(), 40000), other = connect(bed, client(), 40001);

		if (checked)
			bed.set_health({{"web", {{fmt::format("rs{}", number)}, {}}}});
		else
			bed.override_member("web", fmt::format("rs{}", number), MemberStatus::disabled);
		// It is noticed with the first packet of a second.
		const uint32_t now = bed.maps->now();
		while (bed.maps->now() == now)
			continue;
		const Outcome outcome = run(bed, tcp(client(), 40000, vip(), 80, ack, 1001, 5001));
		ASSERT_TRUE(sent(hook(), outcome));
		EXPECT_EQ(addressee(outcome), resets ? 0 : number);
		EXPECT_EQ(bed.reason(HF_REASON_member_down), resets ? 1U : 0U);
		EXPECT_EQ(addressee(run(bed, tcp(client(), 40001, vip(), 80, ack, 1001, 5001))), other);
		if (!resets)
			continue;
		const Bytes wanted = tcp(vip(), 80, client(), 40000, rst, 5001).build();
		EXPECT_EQ(outcome.packet.size(), wanted.size());
		// The member is told, too, should it be there.
		const Outcome told = run(bed, answer(number, 40000, ack));
		ASSERT_TRUE(sent(hook(), told));
		EXPECT_EQ(addressee(told), number);
		EXPECT_EQ(bed.reason(HF_REASON_member_left), 1U);
		EXPECT_NE(connect(bed, client(), 40000), 0) << "the client begins anew, from the same port";
	}
}

TEST_P(Method, DatagramsOfAMemberThatIsDownAreDecidedAnew)
{
	std::string yaml = pool("", {}, "on_down: reset");
	yaml.replace(yaml.find("protocol: tcp"), 13, "protocol: udp");
	Testbed bed(yaml);
	auto ask = [&] {
		return addressee(run(bed, ip(client(), vip()) / Udp{.source = 40000, .destination = 80} / Payload(20)));
	};
	const int number = ask();

	ASSERT_NE(number, 0);
	ASSERT_TRUE(sent(hook(), run(bed, ip(member(number), client()) / Udp{.source = 8080, .destination = 40000} /
						  Payload(20))));
	EXPECT_EQ(ask(), number);
	bed.override_member("web", fmt::format("rs{}", number), MemberStatus::disabled);
	const uint32_t now = bed.maps->now();
	while (bed.maps->now() == now)
		continue;
	const int next = ask();
	EXPECT_NE(next, 0);
	EXPECT_NE(next, number);
}

} // namespace
} // namespace holdfast::test
