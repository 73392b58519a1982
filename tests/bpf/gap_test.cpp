// SPDX-License-Identifier: GPL-2.0
// What the data path counts of clients that come back, and that it counts nothing unasked.
#include <fmt/format.h>

#include "bpf/datapath_test.h"
#include "control/advice.h"

namespace holdfast::test
{
namespace
{

TEST(GapBuckets, AreOrderedAndFine)
{
	uint32_t before = 0;

	for (uint32_t seconds = 0; seconds <= HF_GAP_LONGEST; seconds++) {
		const uint32_t bucket = hf_gap_bucket(seconds);

		ASSERT_LT(bucket, static_cast<uint32_t>(HF_GAP_BUCKETS));
		ASSERT_TRUE(bucket == before || bucket == before + 1) << seconds;
		ASSERT_GE(seconds, hf_gap_floor(bucket));
		ASSERT_LT(seconds, hf_gap_floor(bucket + 1)) << seconds;
		before = bucket;
	}
	EXPECT_EQ(hf_gap_bucket(UINT32_MAX), before);
	for (uint32_t bucket = 4; bucket <= before; bucket++)
		EXPECT_LE(hf_gap_floor(bucket + 1), hf_gap_floor(bucket) * 1.25) << bucket;
}

class Gaps : public DatapathTest
{
protected:
	std::string yaml(uint32_t remember) const
	{
		return config("port: 80, protocol: tcp, persistence: rule",
			      "  - {name: rule, type: source-address, timeout: 100}\n") +
		       fmt::format("advice: {{remember: {}}}\n", remember);
	}

	Config parsed(uint32_t remember) const { return std::get<Config>(parse_config(yaml(remember))); }

	// The client's session was used so long ago.
	void age(Testbed &bed, const std::string &address, uint32_t seconds) const
	{
		hf_session_key key{.scope = bed.server_id("shop"), .kind = HF_SESSION_ADDRESS};
		const auto bytes = Address::parse(address)->bytes();

		std::copy(bytes.begin(), bytes.end(), key.key);
		auto session = bed.maps->sessions.find(key);
		ASSERT_TRUE(session);
		session->last_seen -= seconds;
		session->created -= seconds;
		ASSERT_TRUE(bed.maps->sessions.set(key, *session));
	}

	uint64_t counted(const Testbed &bed, uint32_t seconds) const
	{
		const hf_gaps gaps = bed.maps->gaps.sum(bed.server_id("shop"));

		// The data path's clock may have moved on.
		const uint32_t bucket = hf_gap_bucket(seconds), next = hf_gap_bucket(seconds + 1);
		return gaps.counts[bucket] + (next == bucket ? 0 : gaps.counts[next]);
	}
};

INSTANTIATE_TEST_SUITE_P(Datapath, Gaps, testing::ValuesIn(all_places), place_name);

TEST_P(Gaps, AreCountedWhenSomebodyWantsToKnow)
{
	Testbed bed(yaml(0));
	GapWatch watch(*bed.maps);

	watch.follow(Config(), bed.ids);
	connect(bed, client(1), 40000);
	watch.follow(parsed(0), bed.ids);
	age(bed, client(1), 40);
	connect(bed, client(1), 40001);
	EXPECT_EQ(counted(bed, 40), 0U) << "nobody has asked";

	watch.follow(parsed(1000), bed.ids);
	age(bed, client(1), 40);
	connect(bed, client(1), 40002);
	EXPECT_EQ(counted(bed, 40), 1U);
	// Several connections of one that comes back are one return.
	age(bed, client(1), 60);
	for (uint16_t port = 41000; port < 41006; port++)
		bed.run(hook(), tcp(client(1), port, vip(), 80, syn));
	EXPECT_EQ(counted(bed, 60), 1U);
	// One that is over is counted, too, and is no session.
	const uint64_t expired = bed.maps->reasons.sum(HF_REASON_session_expired);
	age(bed, client(1), 500);
	connect(bed, client(1), 40003);
	EXPECT_EQ(counted(bed, 500), 1U);
	EXPECT_EQ(bed.maps->reasons.sum(HF_REASON_session_expired), expired + 1);

	// It is kept for that, and not longer, and does not count as alive.
	age(bed, client(1), 500);
	auto swept = bed.maps->sweep_sessions(HF_SWEEP_EXPIRED);
	ASSERT_TRUE(swept);
	EXPECT_EQ(swept->alive, 0U);
	EXPECT_EQ(swept->deleted, 0U);
	age(bed, client(1), 600);
	swept = bed.maps->sweep_sessions(HF_SWEEP_EXPIRED);
	EXPECT_EQ(swept->deleted, 1U);

	// Nobody wants it any more.
	watch.follow(parsed(0), bed.ids);
	EXPECT_TRUE(bed.maps->gaps.indices().empty());
	connect(bed, client(2), 40000);
	age(bed, client(2), 500);
	swept = bed.maps->sweep_sessions(HF_SWEEP_EXPIRED);
	EXPECT_EQ(swept->deleted, 1U);
}

// What is said of them.
TEST_P(Gaps, BecomeAdvice)
{
	Testbed bed(yaml(3600));
	Config config = parsed(3600);
	GapWatch watch(*bed.maps);

	watch.follow(Config(), bed.ids);
	watch.follow(config, bed.ids);
	// Of 400 that come back, one in twenty after more than the 100 s that they have.
	for (int i = 0; i < 400; i++) {
		connect(bed, client(1), static_cast<uint16_t>(30000 + i));
		age(bed, client(1), i < 20 ? 200 : 20);
	}
	for (int i = 2; i < 60; i++)
		connect(bed, client(i), 40000);
	auto advice = advise({bed.maps.get(), bed.ids, config, {}});
	ASSERT_TRUE(advice);
	const auto &one = (*advice)["advice"][0];
	EXPECT_NEAR(one["returns"].get<double>(), 400, 2);
	EXPECT_NEAR(one["broken"].get<double>(), 0.05, 0.005);
	EXPECT_EQ(one["suggested"], 300);
	const std::string notes = one["notes"].dump();
	EXPECT_NE(notes.find("timeout: 100 breaks 5.0 % of returning clients, 300 would break 0.0 %"),
		  std::string::npos)
		<< notes;
	// A key that is used by many.
	ASSERT_EQ(one["keys"].size(), 1U) << one;
	EXPECT_EQ(one["keys"][0]["key"], client(1));
	EXPECT_GT(one["keys"][0]["share"], 0.8);
	EXPECT_NE(notes.find("insert-cookie"), std::string::npos) << notes;
	// What is remembered for little longer than the time-out says nothing of who came later.
	Config shorter = config;
	shorter.advice.remember = 150;
	advice = advise({bed.maps.get(), bed.ids, shorter, {}});
	EXPECT_EQ((*advice)["advice"][0]["broken"], nullptr);
	EXPECT_EQ((*advice)["advice"][0]["suggested"], nullptr);
	EXPECT_NE((*advice)["advice"][0]["notes"].dump().find("has to be at least 200"), std::string::npos);
	// With what is good already, nothing is advised.
	config.rules.back().timeout = 300;
	advice = advise({bed.maps.get(), bed.ids, config, {}});
	EXPECT_EQ((*advice)["advice"][0]["suggested"], nullptr);
	// Nor where little was seen: under another rule, one begins anew.
	config.rules.back().ipv4_mask_bits = 24;
	watch.follow(config, bed.ids);
	advice = advise({bed.maps.get(), bed.ids, config, {}});
	EXPECT_EQ((*advice)["advice"][0]["suggested"], nullptr);
	EXPECT_NE((*advice)["advice"][0]["notes"].dump().find("too few"), std::string::npos);
}

} // namespace
} // namespace holdfast::test
