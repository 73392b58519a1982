// SPDX-License-Identifier: GPL-2.0
#include "persist/message.h"

#include <algorithm>

namespace holdfast
{

namespace
{

bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

bool is_line_end(char c)
{
	return c == '\r' || c == '\n';
}

char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

// The bytes of a message; behind the last one there are zeros.
struct Text {
	std::string_view bytes;

	char at(size_t place) const { return place < bytes.size() ? bytes[place] : '\0'; }
	bool begins(size_t place, std::string_view lower_case) const
	{
		for (size_t i = 0; i < lower_case.size(); i++) {
			if (lower(at(place + i)) != lower_case[i])
				return false;
		}
		return true;
	}
	// White space, also folded lines, but no more than the limit of steps.
	size_t skip_space(size_t place, bool folded) const
	{
		for (int step = 0; step < HF_SIP_SPACES; step++) {
			if (is_space(at(place)))
				place++;
			else if (folded && at(place) == '\r' && at(place + 1) == '\n' && is_space(at(place + 2)))
				place += 3;
			else if (folded && at(place) == '\n' && is_space(at(place + 1)))
				place += 2;
			else
				break;
		}
		return place;
	}
};

enum class Line { other, end_of_head, key };

// The value of a Call-ID header line.
struct Header {
	hf_parser_outcome outcome;
	std::string_view value;
};

Header read_value(const Text &text, size_t place, bool more)
{
	const hf_parser_outcome at_end = more ? HF_PARSER_MORE : HF_PARSER_MALFORMED;
	const size_t start = text.skip_space(place, true);
	size_t end = start;

	if (is_space(text.at(start)))
		return {HF_PARSER_LIMIT, {}};
	while (end < text.bytes.size() && end - start < HF_DATAGRAM_BYTES &&
	       static_cast<unsigned char>(text.bytes[end]) > ' ')
		end++;
	if (end >= text.bytes.size() || (end == start && end + 2 >= text.bytes.size()))
		return {at_end, {}};
	if (end == start || !(is_space(text.at(end)) || is_line_end(text.at(end))))
		return {HF_PARSER_MALFORMED, {}};
	return {HF_PARSER_KEYS, text.bytes.substr(start, end - start)};
}

// Without what http_trim() takes away.
std::string_view trimmed(std::string_view text)
{
	const size_t first = text.find_first_not_of(" \t"), last = text.find_last_not_of(" \t\r");

	return first == std::string_view::npos || last == std::string_view::npos || last < first
		       ? std::string_view()
		       : text.substr(first, last - first + 1);
}

// Where the message that begins at `place` ends. Nothing: the end of its head is not here.
std::optional<HttpHead> frame(const Text &text, size_t place)
{
	HttpHead head;
	bool known = false;

	head.framing = HttpFraming::length;
	for (;;) {
		const size_t feed = text.bytes.find('\n', std::min(place, text.bytes.size()));
		if (feed == std::string_view::npos)
			return std::nullopt;
		if (feed == place || (feed == place + 1 && text.at(place) == '\r')) {
			head.size = feed + 1;
			return head;
		}
		size_t colon = text.begins(place, "content-length") ? place + 14
			       : text.begins(place, "l")            ? place + 1
								    : feed;
		if (colon < feed)
			colon = text.skip_space(colon, false);
		if (colon < feed && text.at(colon) == ':') {
			const auto body = content_length(trimmed(text.bytes.substr(colon + 1, feed - colon - 1)));

			if (known || !body)
				head.framing = HttpFraming::unframed;
			else
				head.body = *body;
			known = true;
		}
		place = feed + 1;
	}
}

MessageKeys read_head(std::string_view bytes, size_t length, const DigestKey &key)
{
	const Text text{bytes.substr(0, HF_MESSAGE_BYTES)};
	const size_t size = text.bytes.size();
	const bool more = size < length;
	MessageKeys found;
	size_t place = 0;
	int steps = 0;

	while (place < 8 && is_line_end(text.at(place)))
		place++;
	found.answer = text.begins(place, "sip/2.0 ");
	for (;;) {
		// The data path goes on by words; a step is a word without a line's end, or a line.
		if (steps++ >= HF_SIP_STEPS) {
			found.outcome = HF_PARSER_LIMIT;
			return found;
		}
		if (place >= size) {
			found.outcome = more ? HF_PARSER_MORE : HF_PARSER_NONE;
			return found;
		}
		const size_t feed = text.bytes.substr(place, 8).find('\n');
		if (feed == std::string_view::npos) {
			place += 8;
			continue;
		}
		place += feed + 1;
		if (place >= size)
			continue;
		if (text.at(place) == '\n' || (text.at(place) == '\r' && text.at(place + 1) == '\n'))
			return found; // an empty line: the end of the head
		size_t after = place;
		if (text.begins(place, "call-id"))
			after += 7;
		else if (text.begins(place, "i"))
			after += 1;
		else
			continue;
		const size_t colon = text.skip_space(after, false);
		if (colon - after >= HF_SIP_SPACES) {
			found.outcome = HF_PARSER_LIMIT;
			return found;
		}
		if (colon >= size) {
			found.outcome = more ? HF_PARSER_MORE : HF_PARSER_MALFORMED;
			return found;
		}
		if (text.at(colon) != ':')
			continue;
		const Header header = read_value(text, colon + 1, more);
		found.outcome = header.outcome;
		if (header.outcome == HF_PARSER_KEYS) {
			found.keys.push_back(digest(header.value, key));
			found.readable.push_back(printable(header.value));
		}
		return found;
	}
}

} // namespace

MessageKeys read_sip(std::string_view bytes, size_t length, const DigestKey &key)
{
	MessageKeys found = read_head(bytes, length, key);
	const Text text{bytes.substr(0, HF_MESSAGE_BYTES)};
	size_t place = 0;

	if (text.bytes.size() >= length || (found.outcome != HF_PARSER_KEYS && found.outcome != HF_PARSER_NONE))
		return found;
	while (place < 8 && is_line_end(text.at(place)))
		place++;
	const auto head = frame(text, place);
	if (head) {
		found.head = *head;
		return found;
	}
	MessageKeys more;
	more.outcome = HF_PARSER_MORE;
	more.answer = found.answer;
	return more;
}

} // namespace holdfast
