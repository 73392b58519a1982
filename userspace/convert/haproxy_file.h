// SPDX-License-Identifier: GPL-2.0
// haproxy.cfg as it is written: sections of lines of words, and the values in them
// (section 2 of HAProxy's configuration manual).
#pragma once

#include <algorithm>
#include <cstdint>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace holdfast
{

namespace haproxy
{

using Words = std::vector<std::string>;

struct Line {
	int number = 0;
	Words words;

	std::string text() const { return fmt::format("{}", fmt::join(words, " ")); }
	std::string word(size_t index) const { return index < words.size() ? words[index] : ""; }
	// The word behind this one; "" if it is not there.
	std::string after(const std::string &word) const
	{
		const auto found = std::find(words.begin(), words.end(), word);

		return found == words.end() || found + 1 == words.end() ? "" : found[1];
	}
	bool has(const std::string &word) const { return std::find(words.begin(), words.end(), word) != words.end(); }
};

struct Section {
	std::string kind, name;
	Line head;
	std::vector<Line> lines;
};

// One frontend, backend or listen section, its defaults in front of it.
struct Proxy {
	const Section *section = nullptr;
	std::vector<Line> lines;

	// The last line that begins with these words.
	const Line *find(const Words &words) const
	{
		for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
			if (line->words.size() >= words.size() &&
			    std::equal(words.begin(), words.end(), line->words.begin()))
				return &*line;
		}
		return nullptr;
	}
	bool http() const
	{
		const Line *mode = find({"mode"});

		return mode && mode->word(1) == "http";
	}
};

std::vector<Section> read_sections(const std::string &text);
// "30s", "500ms", "1h", "2000" (milliseconds) in seconds.
std::optional<double> seconds_of(const std::string &text);
std::optional<uint32_t> number_of(const std::string &text);
// "hdr(X-User)" -> {"hdr", "X-User"}; "src" -> {"src", ""}.
std::pair<std::string, std::string> call_of(const std::string &text);
// "src,ipmask(24)" -> {"src", "ipmask(24)"}: commas in parentheses are arguments'.
std::pair<std::string, std::string> split_converter(const std::string &expression);

} // namespace haproxy

} // namespace holdfast
