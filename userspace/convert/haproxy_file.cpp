// SPDX-License-Identifier: GPL-2.0
#include "convert/haproxy_file.h"

#include <charconv>
#include <map>
#include <set>

namespace holdfast::haproxy
{

namespace
{

// What stands behind a backslash; `place` is then at its last character.
char unescaped(const std::string &text, size_t &place)
{
	unsigned value = 0;

	switch (text[place]) {
	case 'r':
		return '\r';
	case 'n':
		return '\n';
	case 't':
		return '\t';
	case 'x':
		if (place + 2 < text.size() &&
		    std::from_chars(&text[place + 1], &text[place + 3], value, 16).ptr == &text[place + 3]) {
			place += 2;
			return static_cast<char>(value);
		}
		return 'x';
	default:
		return text[place];
	}
}

// Quotes, backslashes and comments as in section 2.2 of HAProxy's configuration manual.
Words split(const std::string &text)
{
	Words words;
	std::string word;
	char quote = 0;
	bool any = false;

	for (size_t i = 0; i < text.size(); i++) {
		const char c = text[i];

		if (c == '\\' && quote != '\'' && i + 1 < text.size()) {
			word += unescaped(text, ++i);
			any = true;
		} else if (quote ? c == quote : c == '"' || c == '\'') {
			quote = quote ? 0 : c;
			any = true;
		} else if (!quote && c == '#') {
			break;
		} else if (!quote && std::isspace(static_cast<unsigned char>(c))) {
			if (any)
				words.push_back(word);
			word.clear();
			any = false;
		} else {
			word += c;
			any = true;
		}
	}
	if (any)
		words.push_back(word);
	return words;
}

} // namespace

std::vector<Section> read_sections(const std::string &text)
{
	static const std::set<std::string> kinds = {
		"global",    "defaults",    "frontend",    "backend", "listen", "peers",       "resolvers",
		"userlist",  "mailers",     "cache",       "program", "ring",   "http-errors", "fcgi-app",
		"crt-store", "log-forward", "log-profile", "traces",  "acme"};
	std::vector<Section> sections;
	size_t start = 0;

	for (int number = 1; start < text.size(); number++) {
		const size_t end = std::min(text.find('\n', start), text.size());
		const Line line{number, split(text.substr(start, end - start))};

		start = end + 1;
		if (line.words.empty())
			continue;
		if (kinds.contains(line.words[0]))
			sections.push_back({line.words[0], line.word(1), line, {}});
		else if (sections.empty())
			sections.push_back({"", "", line, {line}});
		else
			sections.back().lines.push_back(line);
	}
	return sections;
}

std::optional<double> seconds_of(const std::string &text)
{
	static const std::map<std::string, double> units = {{"us", 1e-6}, {"ms", 1e-3}, {"", 1e-3},  {"s", 1},
							    {"m", 60},    {"h", 3600},  {"d", 86400}};
	uint64_t value = 0;
	const auto [stop, status] = std::from_chars(text.data(), text.data() + text.size(), value);
	const auto unit = units.find(std::string(stop, text.data() + text.size()));

	if (status != std::errc() || unit == units.end())
		return std::nullopt;
	return static_cast<double>(value) * unit->second;
}

std::optional<uint32_t> number_of(const std::string &text)
{
	uint32_t value = 0;
	const auto [stop, status] = std::from_chars(text.data(), text.data() + text.size(), value);

	if (text.empty() || status != std::errc() || stop != text.data() + text.size())
		return std::nullopt;
	return value;
}

std::pair<std::string, std::string> call_of(const std::string &text)
{
	const size_t open = text.find('('), close = text.rfind(')');

	if (open == std::string::npos || close == std::string::npos || close < open)
		return {text, ""};
	return {text.substr(0, open), text.substr(open + 1, close - open - 1)};
}

std::pair<std::string, std::string> split_converter(const std::string &expression)
{
	int depth = 0;

	for (size_t i = 0; i < expression.size(); i++) {
		depth += expression[i] == '(' ? 1 : expression[i] == ')' ? -1 : 0;
		if (expression[i] == ',' && !depth)
			return {expression.substr(0, i), expression.substr(i + 1)};
	}
	return {expression, ""};
}

} // namespace holdfast::haproxy
