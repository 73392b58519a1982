// SPDX-License-Identifier: GPL-2.0
// The documents: every configuration in them is one, and the reference's tables name what
// the example with every option has.
#include <fstream>
#include <gtest/gtest.h>
#include <regex>
#include <set>
#include <sstream>

#include "config/config.h"

namespace holdfast::test
{
namespace
{

std::string read(const std::string &path)
{
	std::ifstream file(HOLDFAST_SOURCE_DIRECTORY "/" + path);
	std::ostringstream text;

	text << file.rdbuf();
	EXPECT_NE(text.str(), "") << path;
	return text.str();
}

std::vector<std::string> yaml_blocks(const std::string &text)
{
	const std::string begin = "```yaml\n", end = "\n```";
	std::vector<std::string> blocks;

	for (size_t at = text.find(begin); at != std::string::npos; at = text.find(begin, at)) {
		const size_t stop = text.find(end, at);

		at += begin.size();
		blocks.push_back(text.substr(at, stop + 1 - at));
	}
	return blocks;
}

// The first group of each match.
std::vector<std::string> found(const std::string &text, const std::string &pattern)
{
	const std::regex expression(pattern);
	std::vector<std::string> all;

	for (std::sregex_iterator match(text.begin(), text.end(), expression), end; match != end; ++match)
		all.push_back((*match)[1]);
	return all;
}

TEST(Documents, ExamplesAreConfigurations)
{
	int count = 0;

	for (const char *path : {"README.md", "docs/getting-started.md", "docs/configuration.md", "docs/operations.md",
				 "docs/migration.md", "docs/architecture.md"}) {
		for (const std::string &block : yaml_blocks(read(path))) {
			// A part of one is one of its own.
			const std::string yaml = block.starts_with("version:") ? block : "version: 1\n" + block;
			const ConfigResult result = parse_config(yaml);

			if (const auto *errors = std::get_if<ConfigErrors>(&result)) {
				for (const ConfigError &error : *errors)
					ADD_FAILURE() << error.text(path) << "\n" << block;
			}
			count++;
		}
	}
	EXPECT_GE(count, 7);
}

TEST(Documents, TheDefaultConfigurationIsOne)
{
	const std::string text = read("scripts/packaging/holdfast.yaml");
	EXPECT_TRUE(std::holds_alternative<Config>(parse_config(text)));
	// So it is with the lines that only need their '#' taken off.
	const std::string whole =
		std::regex_replace(text,
				   std::regex("(^|\n)# ?((interfaces|health_checks|pools|persistence|virtual_servers):"
					      "|  )"),
				   "$1$2");
	const ConfigResult result = parse_config(whole);
	const auto *config = std::get_if<Config>(&result);
	ASSERT_TRUE(config) << std::get<ConfigErrors>(result)[0].text("holdfast.yaml") << "\n" << whole;
	EXPECT_EQ(config->virtual_servers.size(), 1U);
}

TEST(Documents, TheReferenceNamesEveryOption)
{
	const std::string text = read("docs/configuration.md");
	const size_t at = text.find("\n## Every option");
	ASSERT_NE(at, std::string::npos);
	const std::vector<std::string> blocks = yaml_blocks(text.substr(at));
	ASSERT_EQ(blocks.size(), 1U);
	const std::string &example = blocks[0], tables = text.substr(0, at);
	std::set<std::string> used, named;

	for (const std::string &key : found(example, "([a-z_0-9]+):[ \n]"))
		used.insert(key);
	// The first column of each table: `one`, `another`.
	for (const std::string &cell : found(tables, "\n\\| (`[a-z_0-9]+`(, `[a-z_0-9]+`)*) \\|")) {
		for (const std::string &key : found(cell, "([a-z_0-9]+)"))
			named.insert(key);
	}
	for (const char *mode : {"dnat", "fullnat", "nat46", "nat64", "direct"})
		named.erase(mode);
	EXPECT_GE(named.size(), 50U);
	for (const std::string &name : named)
		EXPECT_TRUE(used.contains(name)) << name << " is in a table, and not in the example";
	for (const std::string &name : used)
		EXPECT_NE(tables.find(name), std::string::npos) << name << " is in the example, and not explained";
}

} // namespace
} // namespace holdfast::test
