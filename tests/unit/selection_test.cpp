// SPDX-License-Identifier: GPL-2.0
#include "reconcile/selection.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <map>

namespace holdfast
{
namespace
{

std::vector<Candidate> members(const std::vector<uint32_t> &weights)
{
	std::vector<Candidate> list;

	for (uint32_t i = 0; i < weights.size(); i++)
		list.push_back({fmt::format("rs{}", i + 1), i + 1, weights[i]});
	return list;
}

std::map<uint32_t, size_t> shares(const std::vector<uint32_t> &table)
{
	std::map<uint32_t, size_t> counts;

	for (const uint32_t id : table)
		counts[id]++;
	return counts;
}

TEST(Rotation, IsSmooth)
{
	// The sequence that nginx documents for weights 5, 1, 1.
	EXPECT_EQ(make_rotation(members({5, 1, 1})), (std::vector<uint32_t>{1, 1, 2, 1, 3, 1, 1}));
}

TEST(Rotation, SharesAreExactlyTheWeights)
{
	const auto table = make_rotation(members({10, 20, 70, 256}));
	const auto counts = shares(table);

	EXPECT_EQ(table.size(), 178U) << "weights without their common divisor";
	EXPECT_EQ(counts.at(1) * 2, counts.at(2));
	EXPECT_EQ(counts.at(1) * 7, counts.at(3));
	EXPECT_EQ(counts.at(4), 128U);
}

TEST(Rotation, NoMembersNoTurns)
{
	EXPECT_TRUE(make_rotation({}).empty());
	EXPECT_TRUE(make_maglev({}).empty());
}

TEST(Maglev, IsBalanced)
{
	for (const size_t count : {1U, 2U, 3U, 7U, 100U}) {
		const auto counts = shares(make_maglev(members(std::vector<uint32_t>(count, 1))));
		const double fair = static_cast<double>(maglev_size) / static_cast<double>(count);

		ASSERT_EQ(counts.size(), count);
		for (const auto &[id, share] : counts)
			EXPECT_NEAR(static_cast<double>(share), fair, fair * 0.01 + 1)
				<< count << " members, member " << id;
	}
}

TEST(Maglev, FollowsWeights)
{
	const auto counts = shares(make_maglev(members({1, 3, 4, 256})));

	for (const auto &[id, weight] : {std::pair(1U, 1.0), {2U, 3.0}, {3U, 4.0}, {4U, 256.0}})
		EXPECT_NEAR(static_cast<double>(counts.at(id)), maglev_size * weight / 264,
			    maglev_size * weight / 264 * 0.02 + 2);
}

TEST(Maglev, DoesNotDependOnOrderOrNumbers)
{
	auto list = members({1, 2, 3, 4, 5});
	const auto table = make_maglev(list);

	std::reverse(list.begin(), list.end());
	EXPECT_EQ(make_maglev(list), table);
	for (Candidate &one : list)
		one.id += 100;
	auto renumbered = make_maglev(list);
	for (uint32_t &id : renumbered)
		id -= 100;
	EXPECT_EQ(renumbered, table);
}

// Adding or removing one of N members moves about 1/N of the keys, and few others.
class MaglevDisruption : public testing::TestWithParam<size_t>
{
};

TEST_P(MaglevDisruption, IsSmall)
{
	const size_t count = GetParam();
	const auto before = make_maglev(members(std::vector<uint32_t>(count, 1)));
	const auto after = make_maglev(members(std::vector<uint32_t>(count + 1, 1)));
	size_t to_new = 0, others = 0;

	for (size_t slot = 0; slot < before.size(); slot++) {
		if (after[slot] == count + 1)
			to_new++;
		else if (after[slot] != before[slot])
			others++;
	}
	const double all = maglev_size;
	EXPECT_NEAR(static_cast<double>(to_new) / all, 1.0 / static_cast<double>(count + 1), 0.01);
	EXPECT_LT(static_cast<double>(others) / all, 0.05);
}

INSTANTIATE_TEST_SUITE_P(Members, MaglevDisruption, testing::Values(1, 2, 3, 5, 10, 11, 50, 100));

} // namespace
} // namespace holdfast
