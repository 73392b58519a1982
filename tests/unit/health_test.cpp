// SPDX-License-Identifier: GPL-2.0
#include "health/judge.h"

#include <gtest/gtest.h>

namespace holdfast
{
namespace
{

using namespace std::chrono_literals;

class Verdict : public testing::Test
{
protected:
	// The results that it takes until the verdict changes, one a second.
	unsigned count_until(bool passed, Judge &judge)
	{
		for (unsigned n = 1; n <= 1000; n++) {
			now_ += 1s;
			if (judge.add(passed, now_))
				return n;
		}
		return 0;
	}

	Judge::Time now_{};
};

TEST_F(Verdict, ThresholdsCountResultsInARow)
{
	Judge judge(3, 2, true);

	EXPECT_FALSE(judge.add(false, now_));
	EXPECT_FALSE(judge.add(true, now_)) << "begins anew";
	EXPECT_FALSE(judge.add(false, now_));
	EXPECT_EQ(judge.against(), 1U);
	EXPECT_TRUE(judge.up());
	EXPECT_TRUE(judge.add(false, now_));
	EXPECT_FALSE(judge.up());
	EXPECT_FALSE(judge.add(false, now_)) << "it is so already";
	EXPECT_EQ(count_until(true, judge), 3U);
	EXPECT_TRUE(judge.up());
}

TEST_F(Verdict, WhoFlapsNeedsMoreAndMoreUpToALimit)
{
	Judge judge(3, 1, true);

	for (const unsigned needed : {3U, 3U, 6U, 12U, 24U, 24U, 24U}) {
		EXPECT_EQ(count_until(false, judge), 1U);
		EXPECT_EQ(judge.damped(now_), needed > 3);
		EXPECT_EQ(count_until(true, judge), needed);
	}
	// What was long ago is forgotten.
	now_ += Judge::window;
	EXPECT_EQ(count_until(false, judge), 1U);
	EXPECT_EQ(count_until(true, judge), 3U);
}

TEST_F(Verdict, DampingEndsAlsoWhileAMemberIsDown)
{
	Judge judge(2, 1, true);

	for (int i = 0; i < 4; i++) {
		count_until(false, judge);
		if (i < 3)
			count_until(true, judge);
	}
	EXPECT_EQ(judge.needed(now_), 8U);
	now_ += Judge::window;
	EXPECT_EQ(count_until(true, judge), 2U);
}

} // namespace
} // namespace holdfast
