// SPDX-License-Identifier: GPL-2.0
#include <filesystem>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <set>
#include <unistd.h>

#include "cli/client.h"
#include "cli/print.h"
#include "control/api.h"
#include "control/state_directory.h"
#include "daemon/host_check.h"
#include "datapath/encode.h"
#include "holdfast/siphash.h"
#include "model/address.h"
#include "util/file.h"
#include "util/log.h"
#include "util/log_format.h"

namespace holdfast
{
namespace
{

TEST(Address, ParsesAndPrints)
{
	for (const char *text : {"192.0.2.1", "2001:db8::1", "::1", "fe80::1"})
		EXPECT_EQ(Address::parse(text).value().text(), text);
	for (const char *text :
	     {"", "192.0.2", "192.0.2.1/24", "2001:db8::g", "::ffff:10.0.0.1", "fe80::1%eth0", "01.2.3.4.5"})
		EXPECT_FALSE(Address::parse(text)) << text;
	EXPECT_TRUE(Address::parse("192.0.2.1")->is_ipv4());
	EXPECT_FALSE(Address::parse("2001:db8::1")->is_ipv4());
	EXPECT_FALSE(Address::parse("224.0.0.1")->is_unicast());
	EXPECT_FALSE(Address::parse("0.0.0.0")->is_unicast());
	EXPECT_FALSE(Address::parse("ff02::1")->is_unicast());
	EXPECT_FALSE(Address::parse("::")->is_unicast());
	EXPECT_EQ(Address::parse("192.0.2.1")->wire().size(), 4U);
	EXPECT_EQ(Address::parse("::1")->wire().size(), 16U);
}

// The reference implementation's vectors for messages 00, 01 02 ... (SipHash paper, appendix A
// and its published test vectors), of the lengths that are whole words.
TEST(SipHash, AgreesWithThePublishedVectors)
{
	const __u64 key[2] = {0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};
	const __u64 words[3] = {0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL, 0x1716151413121110ULL};

	EXPECT_EQ(hf_siphash(key, words, 0), 0x726fdb47dd0e0e31ULL);
	EXPECT_EQ(hf_siphash(key, words, 1), 0x93f5f5799a932462ULL);
	EXPECT_EQ(hf_siphash(key, words, 2), 0x3f2acc7f57c29bdbULL);
}

TEST(HashSeed, MakesDifferentKeys)
{
	__u64 a[2], b[2], again[2];

	encode_hash_seed("", a);
	encode_hash_seed("green", b);
	encode_hash_seed("green", again);
	EXPECT_NE(a[0], b[0]);
	EXPECT_EQ(b[0], again[0]);
	EXPECT_EQ(b[1], again[1]);
	// SHA-256 of nothing begins e3b0c442 98fc1c14.
	EXPECT_EQ(a[0], 0x141cfc9842c4b0e3ULL);
}

TEST(Reasons, HaveNamesAndMeanings)
{
	std::set<std::string> names;

#define HF_REASON_NAME(name, kind, text)                                                                               \
	EXPECT_TRUE(std::string(#kind) == "drop" || std::string(#kind) == "reject" ||                                  \
		    std::string(#kind) == "fallback");                                                                 \
	EXPECT_GT(sizeof(text), 10U);                                                                                  \
	names.insert(#name);
	HF_REASONS(HF_REASON_NAME)
#undef HF_REASON_NAME
	EXPECT_EQ(names.size(), static_cast<size_t>(HF_REASON_COUNT));
}

TEST(HostCheck, ComparesReleases)
{
	EXPECT_TRUE(release_at_least("6.1.0-56-amd64", 6, 1));
	EXPECT_TRUE(release_at_least("6.18.44", 6, 1));
	EXPECT_TRUE(release_at_least("7.0-rc1", 6, 1));
	EXPECT_FALSE(release_at_least("5.15.0", 6, 1));
	EXPECT_FALSE(release_at_least("6.0.9", 6, 1));
	EXPECT_FALSE(release_at_least("nonsense", 6, 1));
}

TEST(Log, CountsWhatIsRepeated)
{
	testing::internal::CaptureStderr();
	for (int i = 0; i < 1000; i++)
		log_at_will(LogLevel::warning, "the same line again");
	log_at_will(LogLevel::warning, "another one");
	EXPECT_EQ(testing::internal::GetCapturedStderr(),
		  "holdfastd: warning: the same line again\nholdfastd: warning: another one\n");
}

TEST(Log, IsJsonWhereThatIsWanted)
{
	testing::internal::CaptureStderr();
	set_log_format(LogFormat::json);
	log_line(LogLevel::warning, "a \"quoted\" \\ line\nand another, \xff", {{"member", "web/rs\"1"}});
	set_log_format(LogFormat::text);
	const auto line = nlohmann::json::parse(testing::internal::GetCapturedStderr());
	EXPECT_EQ(line["level"], "warning");
	EXPECT_EQ(line["message"], "a \"quoted\" \\ line\nand another, \xef\xbf\xbd") << "RFC 8259, 8.1: it is UTF-8";
	EXPECT_EQ(line["member"], "web/rs\"1");
	EXPECT_EQ(line["time"].get<std::string>().size(), std::string("2026-01-31T12:00:00Z").size());
}

TEST(Query, IsDecoded)
{
	const auto query = parse_query("a=1&b=x%20y&c&d=%zz&e=a%2Fb+c");

	EXPECT_EQ(query.at("a"), "1");
	EXPECT_EQ(query.at("b"), "x y");
	EXPECT_EQ(query.at("c"), "");
	EXPECT_EQ(query.at("d"), "%zz");
	EXPECT_EQ(query.at("e"), "a/b c");
	EXPECT_EQ(percent_decode(percent_encode("2001:db8::1 %&")), "2001:db8::1 %&");
}

TEST(Table, AlignsColumns)
{
	Table table({"NAME", "N"});

	table.add({"a", "5"});
	table.add({"long", "100"});
	EXPECT_EQ(table.text(), "NAME    N\na       5\nlong  100\n");
	EXPECT_EQ(print_seconds(119), "119 s");
	EXPECT_EQ(print_seconds(7199), "119 min");
	EXPECT_EQ(print_seconds(86400), "24 h");
}

class StateDirectoryTest : public testing::Test
{
protected:
	void SetUp() override { ASSERT_NE(mkdtemp(path_), nullptr); }
	void TearDown() override { std::filesystem::remove_all(path_); }

	char path_[32] = "/tmp/holdfast-test-XXXXXX";
};

TEST_F(StateDirectoryTest, KeepsWhatIsSaved)
{
	const std::string path = std::string(path_) + "/state";
	MemberOverrides overrides = {{"web/rs1", {true, MemberStatus::disabled, 0}}, {"web/rs2", {false, {}, 7}}};
	Ids ids;

	ids.pools.acquire("web", 10);
	{
		auto state = StateDirectory::open(path);
		ASSERT_TRUE(state);
		EXPECT_FALSE(state->applied());
		EXPECT_TRUE(state->save_applied("version: 1\n"));
		EXPECT_TRUE(state->save_overrides(overrides));
		EXPECT_TRUE(state->save_ids(ids));
	}
	auto state = StateDirectory::open(path);
	ASSERT_TRUE(state);
	EXPECT_EQ(state->applied(), "version: 1\n");
	auto loaded = state->overrides();
	ASSERT_TRUE(loaded);
	EXPECT_EQ(*loaded, overrides);
	auto loaded_ids = state->ids();
	ASSERT_TRUE(loaded_ids);
	EXPECT_EQ(*loaded_ids, ids);
}

TEST_F(StateDirectoryTest, IsLocked)
{
	auto first = StateDirectory::open(path_);
	ASSERT_TRUE(first);
	auto second = StateDirectory::open(path_);
	ASSERT_FALSE(second);
	EXPECT_NE(second.error().message().find("another holdfastd uses it"), std::string::npos);
}

TEST_F(StateDirectoryTest, DamagedFilesAreNamed)
{
	auto state = StateDirectory::open(path_);
	ASSERT_TRUE(state);
	ASSERT_TRUE(write_file(std::string(path_) + "/overrides.json", "{"));
	ASSERT_TRUE(write_file(std::string(path_) + "/ids.json", "[]"));
	auto overrides = state->overrides();
	ASSERT_FALSE(overrides);
	EXPECT_NE(overrides.error().message().find("overrides.json"), std::string::npos);
	auto ids = state->ids();
	ASSERT_FALSE(ids);
	EXPECT_NE(ids.error().message().find("ids.json"), std::string::npos);
}

} // namespace
} // namespace holdfast
