// SPDX-License-Identifier: GPL-2.0
// What the data path tells of sessions, and that it tells nothing unasked.
#include <fmt/format.h>
#include <vector>

#include "bpf/datapath_test.h"
#include "datapath/events.h"

namespace holdfast::test
{
namespace
{

class Events : public DatapathTest
{
protected:
	std::string yaml(const std::string &timeout = "100") const
	{
		return config("port: 80, protocol: tcp, persistence: rule",
			      fmt::format("  - {{name: rule, type: source-address, timeout: {}}}\n", timeout));
	}

	std::vector<hf_event> drain(EventRing &ring)
	{
		told_.clear();
		while (!ring.drain())
			;
		return told_;
	}

	std::unique_ptr<EventRing> open(Testbed &bed)
	{
		auto ring = EventRing::open(*bed.maps, [this](const hf_event &event) { told_.push_back(event); });

		EXPECT_TRUE(ring);
		return std::move(*ring);
	}

	std::vector<hf_event> told_;
};

INSTANTIATE_TEST_SUITE_P(Datapath, Events, testing::ValuesIn(all_places), place_name);

TEST_P(Events, SessionsAreMadeAndMoved)
{
	Testbed bed(yaml());
	auto ring = open(bed);

	connect(bed, client(1), 40000);
	EXPECT_TRUE(drain(*ring).empty()) << "nobody has asked";
	ring->want(true);
	EXPECT_TRUE(drain(*ring).empty()) << "nor is anything of before told";
	const int first = connect(bed, client(2), 40000);
	auto events = drain(*ring);
	ASSERT_EQ(events.size(), 1U);
	EXPECT_EQ(events[0].kind, HF_EVENT_SESSION_MADE);
	EXPECT_EQ(events[0].member, bed.member_id("web", fmt::format("rs{}", first)));
	EXPECT_EQ(events[0].from, 0U);
	EXPECT_EQ(events[0].virtual_server, bed.server_id("shop"));
	EXPECT_EQ(Address(events[0].key).text(), client(2));
	EXPECT_LE(events[0].at - bed.maps->now() + 2, 2U);
	connect(bed, client(2), 40001);
	EXPECT_TRUE(drain(*ring).empty()) << "it is there already";
	bed.override_member("web", fmt::format("rs{}", first), MemberStatus::disabled);
	const int second = connect(bed, client(2), 40002);
	events = drain(*ring);
	ASSERT_EQ(events.size(), 1U);
	EXPECT_EQ(events[0].kind, HF_EVENT_SESSION_MOVED);
	EXPECT_EQ(events[0].member, bed.member_id("web", fmt::format("rs{}", second)));
	EXPECT_EQ(events[0].from, bed.member_id("web", fmt::format("rs{}", first)));
	ring->want(false);
	connect(bed, client(3), 40000);
	EXPECT_TRUE(drain(*ring).empty());
}

TEST_P(Events, ExpiredSessionsAndRefusedClients)
{
	Testbed bed(yaml());
	auto ring = open(bed);

	connect(bed, client(1), 40000);
	ring->want(true);
	// It was seen longer ago than it lasts.
	hf_session_key key{.scope = bed.server_id("shop"), .kind = HF_SESSION_ADDRESS};
	const Address address = *Address::parse(client(1));
	std::copy(address.bytes().begin(), address.bytes().end(), key.key);
	hf_session session = *bed.maps->sessions.find(key);
	const uint32_t member = session.member;
	session.last_seen -= 101;
	ASSERT_TRUE(bed.maps->sessions.set(key, session));
	ASSERT_TRUE(bed.maps->sweep_sessions(HF_SWEEP_EXPIRED));
	auto events = drain(*ring);
	ASSERT_EQ(events.size(), 1U);
	EXPECT_EQ(events[0].kind, HF_EVENT_SESSION_EXPIRED);
	EXPECT_EQ(events[0].member, member);
	EXPECT_EQ(Address(events[0].key).text(), client(1));
	for (int number = 1; number <= 3; number++)
		bed.override_member("web", fmt::format("rs{}", number), MemberStatus::disabled);
	EXPECT_EQ(addressee(run(bed, tcp(client(7), 40000, vip(), 80, syn))), 0);
	events = drain(*ring);
	ASSERT_GE(events.size(), 1U);
	EXPECT_EQ(events[0].kind, HF_EVENT_REFUSED);
	EXPECT_EQ(events[0].member, 0U);
	EXPECT_EQ(Address(events[0].key).text(), client(7));
}

// A ring that nobody empties loses events, which is counted, and no packet.
TEST_P(Events, WhatIsLostIsCounted)
{
	Testbed bed(yaml());
	auto ring = open(bed);
	constexpr int clients = 200;
	const uint32_t fitting = HF_EVENT_BYTES / (sizeof(hf_event) + 8);
	uint32_t told = 0;

	ring->want(true);
	for (int number = 1; number <= 3; number++)
		bed.override_member("web", fmt::format("rs{}", number), MemberStatus::disabled);
	const Bytes packet = tcp(client(1), 40000, vip(), 80, syn);
	for (uint32_t i = 0; i < fitting + clients; i++)
		bed.run(hook(), packet);
	EXPECT_GE(bed.reason(HF_REASON_event_lost), static_cast<uint64_t>(clients) - 1);
	told = static_cast<uint32_t>(drain(*ring).size());
	EXPECT_EQ(told + bed.reason(HF_REASON_event_lost), fitting + clients);
	bed.run(hook(), packet);
	EXPECT_EQ(drain(*ring).size(), 1U) << "and it goes on";
}

} // namespace
} // namespace holdfast::test
