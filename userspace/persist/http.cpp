// SPDX-License-Identifier: GPL-2.0
#include "persist/message.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

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

bool begins_with_name(std::string_view line, std::string_view name)
{
	return line.size() >= name.size() &&
	       std::equal(name.begin(), name.end(), line.begin(), [](char a, char b) { return lower(a) == lower(b); });
}

// What the lines of a head have said of its body so far.
struct Said {
	bool length = false, chunked = false, nonsense = false, version_1_0 = false;
	uint64_t body = 0;

	HttpFraming framing(HttpFraming otherwise) const
	{
		if (nonsense || (length && chunked) || (version_1_0 && chunked))
			return HttpFraming::unframed;
		return chunked ? HttpFraming::chunked : length ? HttpFraming::length : otherwise;
	}
};

void note_length(std::string_view value, Said &said)
{
	const auto body = content_length(value);

	if (said.length || !body)
		said.nonsense = true;
	else
		said.body = *body;
	said.length = true;
}

// `line` has its CR, if there is one.
void note_line(std::string_view line, Said &said)
{
	const std::string_view names[] = {"content-length", "transfer-encoding"};

	if (line.front() == ' ' || line.front() == '\t')
		said.nonsense = true;
	for (const std::string_view name : names) {
		if (!begins_with_name(line, name))
			continue;
		if (line.size() == name.size() || is_blank(line[name.size()]))
			said.nonsense = true;
		if (line.size() == name.size() || line[name.size()] != ':')
			continue;
		const std::string_view value = value_of(line.substr(name.size() + 1), false);
		if (name == names[0]) {
			note_length(value, said);
			continue;
		}
		if (said.chunked || value.size() != 7 || !begins_with_name(value, "chunked"))
			said.nonsense = true;
		said.chunked = true;
	}
}

// The values that a head has, of the rule's kind.
struct Values {
	std::string one;                  // of the keyword, or of a header
	std::array<std::string, 6> known; // as HF_COOKIE_*; the last: JSESSIONID in the path
	std::vector<MemberCookie> cookies;
	std::vector<HeadEdit> edits;

	void edit(size_t at, size_t removed)
	{
		if (edits.size() < HF_EDITS)
			edits.push_back({at, removed});
	}
};

constexpr std::string_view known_names[] = {"PHPSESSID", "JSESSIONID", "CFID", "CFTOKEN", "ASP.NET_SessionId"};

// Of two with one name the first counts, of what a response sets the `last`.
void note_cookies(std::string_view list, const Rule &rule, Values &values, bool last)
{
	auto note = [last](std::string &value, std::string_view found) {
		if (value.empty() || (last && !found.empty()))
			value = found;
	};

	if (!known_cookies(rule)) {
		note(values.one,
		     rule.keyword.empty() ? value_of(list, false) : value_in_list(list, ';', rule.keyword, true));
		return;
	}
	for (size_t i = 0; i < std::size(known_names); i++)
		note(values.known[i], value_in_list(list, ';', std::string(known_names[i]), true));
}

size_t name_length(std::string_view text)
{
	const auto end = std::find_if(text.begin(), text.end(), [](unsigned char c) {
		return !(std::isalnum(c) && c < 128) && c != '.' && c != '_' && c != '-';
	});

	return static_cast<size_t>(end - text.begin());
}

bool is_name_length(size_t length)
{
	return length >= 1 && length <= HF_NAME_LENGTH;
}

// One value of a cookie that may name a member; `at`: where in the head it begins.
void note_member_cookie(std::string_view value, size_t at, const Rule &rule, Values &values)
{
	auto note = [&](std::string_view name, uint32_t date) {
		if (values.cookies.size() < HF_KEYS)
			values.cookies.push_back({std::string(name), date});
	};

	if (rule.type == HF_RULE_EMBEDDED_COOKIE) {
		while (!value.empty() && is_blank(value.front())) {
			value.remove_prefix(1);
			at++;
		}
		if (value.starts_with('"')) {
			value.remove_prefix(1);
			at++;
		}
		const size_t length = name_length(value);
		if (!is_name_length(length) || length >= value.size() || value[length] != '~')
			return;
		note(value.substr(0, length), 0);
		values.edit(at, length + 1);
		return;
	}
	value = value_of(value, true);
	const size_t length = name_length(value);
	if (!is_name_length(length))
		return;
	if (rule.type == HF_RULE_REWRITE_COOKIE && length == value.size())
		note(value, 0);
	if (rule.type == HF_RULE_INSERT_COOKIE && value.size() == length + 1 + HF_COOKIE_DATE_LENGTH &&
	    value[length] == '|') {
		if (const auto date = cookie_date(value.substr(length + 1)))
			note(value.substr(0, length), *date);
	}
}

// `at`: where in the head the list begins.
void note_member_cookies(std::string_view list, size_t at, const Rule &rule, Values &values)
{
	while (!list.empty()) {
		size_t step = 1;

		if (!is_blank(list.front())) {
			const std::string_view pair = list.substr(0, list.find(';'));

			if (pair.starts_with(rule.keyword) && pair.size() > rule.keyword.size() &&
			    pair[rule.keyword.size()] == '=')
				note_member_cookie(pair.substr(rule.keyword.size() + 1), at + rule.keyword.size() + 1,
						   rule, values);
			step = std::min(list.size(), pair.size() + 1);
		}
		list.remove_prefix(step);
		at += step;
	}
}

// What a member sets: `text` behind "Set-Cookie:", which begins at `at` in the head.
void note_set_cookie(std::string_view text, size_t at, const Rule &rule, Values &values)
{
	auto skip = [&](size_t count) {
		text.remove_prefix(count);
		at += count;
	};

	text = text.substr(0, text.find_first_of(";\r"));
	while (!text.empty() && is_blank(text.front()))
		skip(1);
	if (!text.starts_with(rule.keyword + "="))
		return;
	skip(rule.keyword.size() + 1);
	while (!text.empty() && is_blank(text.front()))
		skip(1);
	if (rule.type == HF_RULE_EMBEDDED_COOKIE && text.starts_with('"'))
		skip(1);
	if (text.empty())
		return;
	if (rule.type == HF_RULE_REWRITE_COOKIE)
		values.edit(at, text.size());
	else if (text.front() != '"')
		values.edit(at, 0);
}

bool is_cookie_rule(const Rule &rule)
{
	return rule.type == HF_RULE_COOKIE_HASH || rule.type == HF_RULE_PERSISTENT_COOKIE ||
	       rule.type == HF_RULE_PASSIVE_COOKIE;
}

void note_request_header(std::string_view line, size_t at, const Rule &rule, Values &values)
{
	if (rule.type == HF_RULE_HTTP_HEADER_HASH && has_name(line, rule.keyword) && values.one.empty())
		values.one = value_of(line.substr(rule.keyword.size() + 1), false);
	if (is_cookie_rule(rule) && has_name(line, "cookie"))
		note_cookies(line.substr(7), rule, values, false);
	if (writes(rule.type) && has_name(line, "cookie"))
		note_member_cookies(line.substr(7), at + 7, rule, values);
}

void note_response_header(std::string_view line, size_t at, const Rule &rule, Values &values)
{
	if (!has_name(line, "set-cookie"))
		return;
	line.remove_prefix(11);
	if (rule.type == HF_RULE_REWRITE_COOKIE || rule.type == HF_RULE_EMBEDDED_COOKIE)
		note_set_cookie(line, at + 11, rule, values);
	if (!learns(rule.type))
		return;
	note_cookies(line.substr(0, line.find(';')), rule, values, true);
}

void note_target(std::string_view target, const Rule &rule, Values &values)
{
	target = target.substr(0, target.find('#'));
	const size_t query = target.find('?');

	if (rule.type == HF_RULE_HTTP_REQUEST_HASH && query != std::string_view::npos)
		values.one = value_in_list(target.substr(query + 1), '&', rule.keyword, false);
	if (!(known_cookies(rule) & HF_COOKIE_JSESSIONID))
		return;
	std::string_view path = target.substr(0, query);
	constexpr std::string_view name = ";jsessionid=";
	for (size_t at = path.find(name); at != std::string_view::npos; at = path.find(name, at + 1)) {
		std::string_view value = path.substr(at + name.size());

		value = value.substr(0, value.find_first_of(";/"));
		if (!value.empty()) {
			values.known[5] = value;
			return;
		}
	}
}

void make_keys(const Values &values, const Rule &rule, const DigestKeys &keys, MessageKeys &found)
{
	const uint8_t cookies = known_cookies(rule);
	auto add = [&](const std::string &bytes, const std::string &readable) {
		found.keys.push_back(digest(bytes, keeps_table(rule.type) ? keys.secret : keys.hash));
		found.readable.push_back(readable);
	};

	if (!values.one.empty())
		add(values.one, printable(values.one));
	for (size_t i = 0; i < std::size(known_names); i++) {
		const std::string &value = i == 1 && values.known[1].empty() ? values.known[5] : values.known[i];
		const std::string name(known_names[i]);

		if (!(cookies >> i & 1) || value.empty() || i == 3)
			continue;
		if (i != 2)
			add(value, name + "=" + printable(value));
		else if (!values.known[3].empty())
			add(cfid_digest_input(value, values.known[3]),
			    fmt::format("CFID={}, CFTOKEN={}", printable(value), printable(values.known[3])));
	}
	found.outcome = found.keys.empty() ? HF_PARSER_NONE : HF_PARSER_KEYS;
	found.edits = values.edits;
	found.cookies = values.cookies;
	if (!found.cookies.empty())
		found.outcome = HF_PARSER_COOKIE;
}

// The end of a line: npos if it is not here. One that is not CR LF, or has a CR elsewhere, is nonsense.
size_t line_end(std::string_view text, size_t start, Said &said)
{
	const size_t end = text.find('\n', start);
	const size_t cr = text.substr(0, end).find('\r', start);

	// Of a CR at the very end it is not known yet.
	if (end != std::string_view::npos && (end == start || cr != end - 1))
		said.nonsense = true;
	return end;
}

// The lines behind the first, which ends at `feed`. False: the head's end is not here.
template <typename Note> bool read_lines(std::string_view text, size_t feed, Said &said, size_t &size, Note note)
{
	for (;;) {
		const size_t start = feed + 1;

		feed = line_end(text, start, said);
		if (feed == std::string_view::npos)
			return false;
		const std::string_view line = text.substr(start, feed - start);
		if (line.empty() || line == "\r") {
			size = feed + 1;
			return true;
		}
		note_line(line, said);
		note(line, start);
	}
}

} // namespace

std::optional<uint32_t> cookie_date(std::string_view text)
{
	constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t date = 0;

	if (text.size() != HF_COOKIE_DATE_LENGTH)
		return std::nullopt;
	for (const char c : text) {
		const size_t digit = digits.find(c);

		if (digit == std::string_view::npos)
			return std::nullopt;
		date = date << 6 | static_cast<uint32_t>(digit);
	}
	return date;
}

std::string cfid_digest_input(std::string_view cfid, std::string_view cftoken)
{
	std::string input(cfid);

	input.resize((input.size() / 8 + 1) * 8, '\0');
	return input + std::string(cftoken);
}

MessageKeys read_http(std::string_view bytes, size_t length, const Rule &rule, const DigestKeys &keys)
{
	const std::string_view text = bytes.substr(0, HF_MESSAGE_BYTES);
	MessageKeys found;
	Values values;
	Said said;
	size_t start = 0;
	auto ends = [&](hf_parser_outcome outcome) {
		found.outcome = outcome;
		return found;
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
	const std::string_view method = text.substr(start, space - start);
	const size_t feed = line_end(text, space + 1, said);
	if (feed == std::string_view::npos)
		return ends(more);
	std::string_view line = text.substr(space + 1, feed - space - 1);
	if (line.ends_with('\r'))
		line.remove_suffix(1);
	if (line.size() < 9 || line.substr(line.size() - 9, 8) != " HTTP/1." || line.back() < '0' || line.back() > '9')
		return ends(HF_PARSER_FOREIGN);
	said.version_1_0 = line.back() == '0';
	note_target(line.substr(0, line.size() - 9), rule, values);
	if (!read_lines(text, feed, said, found.head.size,
			[&](std::string_view header, size_t at) { note_request_header(header, at, rule, values); }))
		return ends(more);
	found.head.method = method == "HEAD"      ? HttpMethod::head
			    : method == "CONNECT" ? HttpMethod::connect
						  : HttpMethod::other;
	found.head.framing = method == "CONNECT" ? HttpFraming::tunnel : said.framing(HttpFraming::length);
	found.head.body = said.body;
	make_keys(values, rule, keys, found);
	return found;
}

MessageKeys read_http_answer(std::string_view bytes, size_t length, HttpMethod method, const Rule &rule,
			     const DigestKeys &keys)
{
	const std::string_view text = bytes.substr(0, HF_MESSAGE_BYTES);
	const hf_parser_outcome more = text.size() < length ? HF_PARSER_MORE : HF_PARSER_MALFORMED;
	MessageKeys found;
	Values values;
	Said said;
	const size_t feed = line_end(text, 0, said);

	found.outcome = more;
	if (feed == std::string_view::npos)
		return found;
	found.outcome = HF_PARSER_FOREIGN;
	if (feed < 12 || !text.starts_with("HTTP/1.") || text[8] != ' ' ||
	    !std::all_of(text.begin() + 9, text.begin() + 12, [](char c) { return c >= '0' && c <= '9'; }))
		return found;
	const int status = std::stoi(std::string(text.substr(9, 3)));
	said.version_1_0 = text[7] == '0';
	found.outcome = more;
	if (!read_lines(text, feed, said, found.head.size,
			[&](std::string_view header, size_t at) { note_response_header(header, at, rule, values); }))
		return found;
	found.head.framing = said.framing(HttpFraming::until_close);
	found.head.body = said.body;
	if (status == 101 || (method == HttpMethod::connect && status / 100 == 2)) {
		found.head.framing = HttpFraming::tunnel;
	} else if (status < 200) {
		found.head.framing = HttpFraming::interim;
	} else if (found.head.framing != HttpFraming::unframed &&
		   (method == HttpMethod::head || status == 204 || status == 304)) {
		found.head.framing = HttpFraming::length;
		found.head.body = 0;
	}
	make_keys(values, rule, keys, found);
	return found;
}

} // namespace holdfast
