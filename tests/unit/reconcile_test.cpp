// SPDX-License-Identifier: GPL-2.0
#include <gtest/gtest.h>

#include "config/config.h"
#include "reconcile/ids.h"
#include "reconcile/image.h"
#include "reconcile/slots.h"

namespace holdfast
{
namespace
{

TEST(Ids, StayWithTheirNames)
{
	IdTable ids;
	const uint32_t a = ids.acquire("a", 100), b = ids.acquire("b", 100);

	EXPECT_NE(a, 0U);
	EXPECT_NE(a, b);
	EXPECT_EQ(ids.acquire("a", 100), a);
	EXPECT_EQ(ids.find("b"), b);
	EXPECT_EQ(ids.name(b), "b");
	EXPECT_EQ(ids.find("c"), 0U);
}

TEST(Ids, AreNotGivenAgainBeforeTheyAreReleased)
{
	IdTable ids;

	for (const char *name : {"a", "b", "c"})
		ids.acquire(name, 4);
	const auto gone = ids.retire({"a", "c"});
	ASSERT_EQ(gone.size(), 1U);
	EXPECT_EQ(ids.acquire("d", 4), 0U) << "all numbers are taken or reserved";
	ids.release(gone);
	EXPECT_EQ(ids.acquire("d", 4), *gone.begin());
}

TEST(Ids, SurviveSavingAndLoading)
{
	Ids ids;

	ids.members.acquire("web/rs1", 100);
	ids.members.acquire("web/rs2", 100);
	ids.members.retire({"web/rs2"});
	ids.virtual_servers.acquire("shop", 100);
	auto loaded = Ids::load(ids.save());
	ASSERT_TRUE(loaded);
	EXPECT_EQ(*loaded, ids);
	EXPECT_EQ(loaded->members.name(2), "web/rs2");
	EXPECT_FALSE(Ids::load("{}"));
	EXPECT_FALSE(Ids::load("no json"));
}

TEST(Slots, GivesOutWhatIsFree)
{
	Slots slots(100);

	slots.occupy(10, 20);
	slots.occupy(50, 10);
	EXPECT_EQ(slots.take(20), 30U) << "the run that fits best";
	EXPECT_EQ(slots.take(10), 0U);
	EXPECT_EQ(slots.take(41), std::nullopt);
	EXPECT_EQ(slots.take(40), 60U);
	EXPECT_EQ(slots.take(1), std::nullopt);
}

TEST(Image, RefusesWhatDoesNotFit)
{
	Config config;
	TableSizes sizes;
	Ids ids;

	sizes.members = 3; // numbers 1 and 2
	config.pools = {{"p", {{"a", *Address::parse("10.0.0.1")}, {"b", *Address::parse("10.0.0.2")}}}};
	EXPECT_TRUE(make_image(config, sizes, ids));
	config.pools[0].members.push_back({"c", *Address::parse("10.0.0.3")});
	auto image = make_image(config, sizes, ids);
	ASSERT_FALSE(image);
	EXPECT_NE(image.error().message().find("no room for another member"), std::string::npos);
}

TEST(Image, DisabledMembersAreInTheHashTableButNotInTheRotation)
{
	Config config;
	Ids ids;

	config.pools = {{"p",
			 {{"a", *Address::parse("10.0.0.1")},
			  {.name = "b", .address = *Address::parse("10.0.0.2"), .status = MemberStatus::disabled}}}};
	config.virtual_servers = {{.name = "v",
				   .address = *Address::parse("192.0.2.1"),
				   .first_port = 80,
				   .last_port = 80,
				   .method = HF_METHOD_SOURCE_HASH,
				   .pool = "p"}};
	auto image = make_image(config, {}, ids);
	ASSERT_TRUE(image);
	const PoolImage &pool = image->pools.at(ids.pools.find("p"));
	const uint32_t b = ids.members.find("p/b");
	EXPECT_EQ(std::count(pool.rotation.begin(), pool.rotation.end(), b), 0);
	EXPECT_GT(std::count(pool.maglev.begin(), pool.maglev.end(), b), 30000);
}

} // namespace
} // namespace holdfast
