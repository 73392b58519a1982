// SPDX-License-Identifier: GPL-2.0
#include "persist/message.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>

#include "holdfast/iso8583.h"

namespace holdfast
{

namespace
{

constexpr size_t type_size = 4, bitmap_size = 8;

std::optional<size_t> number(std::string_view digits)
{
	size_t value = 0;

	for (const char c : digits) {
		if (c < '0' || c > '9')
			return std::nullopt;
		value = value * 10 + static_cast<size_t>(c - '0');
	}
	return value;
}

std::optional<uint64_t> bits_of(std::string_view text, Iso8583Encoding encoding)
{
	uint64_t bits = 0;

	for (const char c : text) {
		if (encoding == Iso8583Encoding::binary) {
			bits = bits << 8 | static_cast<uint8_t>(c);
			continue;
		}
		const char small = static_cast<char>(c | 0x20);
		if (c >= '0' && c <= '9')
			bits = bits << 4 | static_cast<uint64_t>(c - '0');
		else if (small >= 'a' && small <= 'f')
			bits = bits << 4 | static_cast<uint64_t>(small - 'a' + 10);
		else
			return std::nullopt;
	}
	return bits;
}

// A message without its length, from front to back.
class Walk
{
public:
	Walk(std::string_view text, const Rule &rule) : text_(text), rule_(rule) {}

	// The values of the rule's fields; nothing if the message breaks the rules.
	std::optional<std::map<uint8_t, std::string_view>> values()
	{
		const size_t size = rule_.encoding == Iso8583Encoding::ascii ? 2 * bitmap_size : bitmap_size;
		const auto edition = static_cast<size_t>(text_[0] - '0');
		std::map<uint8_t, std::string_view> found;
		uint64_t present[2] = {};

		take(type_size);
		for (uint64_t &word : present) {
			const auto text = take(size);
			const auto bits = text ? bits_of(*text, rule_.encoding) : std::nullopt;

			if (!bits)
				return std::nullopt;
			word = *bits;
			if (!(present[0] >> 63))
				break;
		}
		auto has = [&](uint8_t field) { return present[(field - 1) / 64] >> (63 - (field - 1) % 64) & 1; };
		uint8_t last = 0;
		for (const uint8_t field : rule_.fields) {
			if (has(field))
				last = std::max(last, field);
			else if (rule_.bitmap_relation == HF_RELATION_AND)
				return found;
		}
		for (uint8_t field = 2; field <= last; field++) {
			if (!has(field))
				continue;
			const auto value = element(hf_iso8583_elements[edition][field]);
			if (!value)
				return std::nullopt;
			if (!value->empty() &&
			    std::find(rule_.fields.begin(), rule_.fields.end(), field) != rule_.fields.end())
				found.emplace(field, *value);
		}
		return found;
	}

private:
	std::optional<std::string_view> take(size_t size)
	{
		if (size > text_.size())
			return std::nullopt;
		const std::string_view taken = text_.substr(0, size);
		text_.remove_prefix(size);
		return taken;
	}

	std::optional<std::string_view> element(uint16_t entry)
	{
		const size_t digits = entry >> HF_ISO8583_PREFIX_SHIFT;
		size_t length = entry & HF_ISO8583_LENGTH;

		if (entry & HF_ISO8583_BINARY && rule_.encoding == Iso8583Encoding::ascii)
			length *= 2;
		if (digits) {
			const auto prefix = take(digits);
			const auto size = prefix ? number(*prefix) : std::nullopt;

			if (!size)
				return std::nullopt;
			length = *size;
		}
		return take(length);
	}

	std::string_view text_;
	const Rule &rule_;
};

} // namespace

std::string iso8583_digest_input(uint8_t field, std::string_view value)
{
	std::string input = {static_cast<char>(field),
			     0,
			     static_cast<char>(value.size()),
			     static_cast<char>(value.size() >> 8),
			     0,
			     0,
			     0,
			     0};

	input += value;
	input.resize((input.size() + 7) / 8 * 8, '\0');
	return input;
}

MessageKeys read_iso8583(std::string_view bytes, size_t length, const Rule &rule, const DigestKey &key)
{
	const std::string_view text = bytes.substr(0, HF_MESSAGE_BYTES);
	const size_t header = rule.framing == Iso8583Framing::ascii4 ? 4 : 2;
	MessageKeys keys;
	auto ends = [&](hf_parser_outcome outcome) {
		keys.outcome = outcome;
		return keys;
	};
	const hf_parser_outcome more = text.size() < length ? HF_PARSER_MORE : HF_PARSER_MALFORMED;

	if (text.size() < header)
		return ends(more);
	const auto size = header == 4 ? number(text.substr(0, 4))
				      : std::optional<size_t>(static_cast<size_t>(static_cast<uint8_t>(text[0])) << 8 |
							      static_cast<uint8_t>(text[1]));
	if (!size || *size < type_size + bitmap_size)
		return ends(HF_PARSER_MALFORMED);
	if (text.size() < header + type_size)
		return ends(more);
	if (!number(text.substr(header, type_size)) || text[header] > '2')
		return ends(HF_PARSER_MALFORMED);
	if (*size + header > HF_DATAGRAM_BYTES) {
		keys.head = {header, HttpFraming::length, HttpMethod::other, *size};
		return ends(HF_PARSER_LIMIT);
	}
	if (text.size() < header + *size)
		return ends(more);
	keys.head = {header + *size, HttpFraming::length, HttpMethod::other, 0};
	const auto values = Walk(text.substr(header, *size), rule).values();
	if (!values)
		return ends(HF_PARSER_MALFORMED);
	if (values->empty() || (rule.bitmap_relation == HF_RELATION_AND && values->size() != rule.fields.size()))
		return ends(HF_PARSER_NONE);
	std::string together, readable;
	for (const auto &[field, value] : *values) {
		const std::string input = iso8583_digest_input(field, value),
				  name = fmt::format("{}={}", field, printable(value));

		if (rule.relation == HF_RELATION_OR) {
			keys.keys.push_back(digest(input, key));
			keys.readable.push_back(name);
		}
		together += input;
		readable += (readable.empty() ? "" : " ") + name;
	}
	if (rule.relation != HF_RELATION_OR) {
		keys.keys.push_back(digest(together, key));
		keys.readable.push_back(readable);
	}
	return ends(HF_PARSER_KEYS);
}

} // namespace holdfast
