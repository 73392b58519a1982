// SPDX-License-Identifier: GPL-2.0
#include "persist/message.h"

#include <algorithm>
#include <cstring>

namespace holdfast
{

namespace
{

constexpr size_t longest_method = 24, empty_lines = 8;

bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

bool is_token(char c)
{
	return c > 0x20 && c < 0x7f && !std::strchr("\"(),/:;<=>?@[\\]{}", c);
}

char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

// The value without what surrounds it.
std::string_view value_of(std::string_view text, bool quotes)
{
	while (!text.empty() && is_blank(text.front()))
		text.remove_prefix(1);
	while (!text.empty() && (is_blank(text.back()) || text.back() == '\r'))
		text.remove_suffix(1);
	if (quotes && text.size() >= 2 && text.front() == '"' && text.back() == '"')
		text = text.substr(1, text.size() - 2);
	return text;
}

// The value of NAME=VALUE in a list.
std::string_view value_in_list(std::string_view list, char separator, const std::string &name, bool cookie)
{
	while (!list.empty()) {
		if (cookie && is_blank(list.front())) {
			list.remove_prefix(1);
			continue;
		}
		const std::string_view pair = list.substr(0, list.find(separator));
		if (pair.starts_with(name) && pair.size() > name.size() && pair[name.size()] == '=') {
			const std::string_view value = value_of(pair.substr(name.size() + 1), cookie);

			if (!value.empty())
				return value;
		}
		list.remove_prefix(std::min(list.size(), pair.size() + 1));
	}
	return {};
}

bool has_name(std::string_view line, std::string_view name)
{
	if (line.size() <= name.size() || line[name.size()] != ':')
		return false;
	return std::equal(name.begin(), name.end(), line.begin(), [](char a, char b) { return lower(a) == lower(b); });
}

std::string_view value_in_header(std::string_view line, const Rule &rule)
{
	const std::string_view name = rule.type == HF_RULE_COOKIE_HASH ? std::string_view("cookie") : rule.keyword;

	if (!has_name(line, name))
		return {};
	line.remove_prefix(name.size() + 1);
	return rule.type == HF_RULE_COOKIE_HASH && !rule.keyword.empty() ? value_in_list(line, ';', rule.keyword, true)
									 : value_of(line, false);
}

std::string_view value_in_target(std::string_view target, const Rule &rule)
{
	target = target.substr(0, target.find('#'));
	const size_t query = target.find('?');

	return query == std::string_view::npos ? std::string_view()
					       : value_in_list(target.substr(query + 1), '&', rule.keyword, false);
}

MessageKeys found(std::string_view value, const DigestKey &key)
{
	MessageKeys keys;

	if (value.empty())
		return keys;
	keys.outcome = HF_PARSER_KEYS;
	keys.keys.push_back(digest(value, key));
	keys.readable.push_back(printable(value));
	return keys;
}

} // namespace

MessageKeys read_http(std::string_view bytes, size_t length, const Rule &rule, const DigestKey &key)
{
	const std::string_view text = bytes.substr(0, HF_MESSAGE_BYTES);
	MessageKeys keys;
	size_t start = 0;
	auto ends = [&](hf_parser_outcome outcome) {
		keys.outcome = outcome;
		return keys;
	};
	const hf_parser_outcome more = text.size() < length ? HF_PARSER_MORE : HF_PARSER_MALFORMED;

	while (start < text.size() && start < empty_lines && (text[start] == '\r' || text[start] == '\n'))
		start++;
	size_t space = start;
	while (space < text.size() && space - start < longest_method && is_token(text[space]))
		space++;
	if (space >= text.size())
		return ends(more);
	if (space == start || text[space] != ' ')
		return ends(HF_PARSER_FOREIGN);
	size_t feed = text.find('\n', space);
	if (feed == std::string_view::npos)
		return ends(more);
	std::string_view line = text.substr(space + 1, feed - space - 1);
	if (line.ends_with('\r'))
		line.remove_suffix(1);
	if (line.size() < 9 || line.substr(line.size() - 9, 8) != " HTTP/1." || line.back() < '0' || line.back() > '9')
		return ends(HF_PARSER_FOREIGN);
	if (rule.type == HF_RULE_HTTP_REQUEST_HASH)
		return found(value_in_target(line.substr(0, line.size() - 9), rule), key);
	for (;;) {
		start = feed + 1;
		feed = text.find('\n', start);
		if (feed == std::string_view::npos)
			return ends(more);
		line = text.substr(start, feed - start);
		if (line.empty() || line == "\r")
			return ends(HF_PARSER_NONE);
		const std::string_view value = value_in_header(line, rule);
		if (!value.empty())
			return found(value, key);
	}
}

} // namespace holdfast
