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

} // namespace

MessageKeys read_sip(std::string_view bytes, size_t length, const DigestKey &key)
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

} // namespace holdfast
