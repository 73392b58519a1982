// SPDX-License-Identifier: GPL-2.0
#include "persist/message.h"

#include <algorithm>

namespace holdfast
{

namespace
{

constexpr size_t tpkt_size = 4, cookie_at = 11, longest = 4096;

uint8_t byte_at(std::string_view bytes, size_t at)
{
	return at < bytes.size() ? static_cast<uint8_t>(bytes[at]) : 0;
}

// A decimal number of at most ten digits and 32 bits, taken from the front of `text`.
std::optional<uint32_t> take_number(std::string_view &text)
{
	uint64_t value = 0;
	size_t digits = 0;

	while (digits < 10 && digits < text.size() && text[digits] >= '0' && text[digits] <= '9')
		value = value * 10 + static_cast<uint64_t>(text[digits++] - '0');
	if (!digits || value > UINT32_MAX)
		return std::nullopt;
	text.remove_prefix(digits);
	return static_cast<uint32_t>(value);
}

MessageKeys read_token(std::string_view text)
{
	std::array<uint8_t, 16> bytes = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	MessageKeys keys;

	const auto address = take_number(text);
	if (!address || !text.starts_with('.'))
		return keys;
	text.remove_prefix(1);
	const auto port = take_number(text);
	if (!port || *port > UINT16_MAX || text != ".0000")
		return keys;
	for (size_t i = 0; i < 4; i++)
		bytes[12 + i] = static_cast<uint8_t>(*address >> 8 * i);
	keys.outcome = HF_PARSER_MEMBER;
	keys.address = Address(bytes);
	keys.port = static_cast<uint16_t>((*port & 0xff) << 8 | *port >> 8);
	return keys;
}

MessageKeys read_cookie(std::string_view text, const DigestKey &key)
{
	MessageKeys keys;

	if (!text.starts_with("Cookie: "))
		return keys;
	text.remove_prefix(8);
	const size_t end = text.find('\r');
	if (end == std::string_view::npos || end + 1 >= text.size() || text[end + 1] != '\n') {
		keys.outcome = HF_PARSER_MALFORMED;
		return keys;
	}
	text = text.substr(0, end);
	if (text.starts_with("msts="))
		return read_token(text.substr(5));
	if (!text.starts_with("mstshash=") || text.size() == 9)
		return keys;
	keys.outcome = HF_PARSER_KEYS;
	keys.keys.push_back(digest(text.substr(9), key));
	keys.readable.push_back(printable(text.substr(9)));
	return keys;
}

} // namespace

MessageKeys read_rdp(std::string_view bytes, size_t length, const DigestKey &key)
{
	const size_t here = std::min<size_t>(bytes.size(), HF_MESSAGE_BYTES);
	MessageKeys more, malformed;

	more.outcome = here < length ? HF_PARSER_MORE : HF_PARSER_MALFORMED;
	malformed.outcome = HF_PARSER_MALFORMED;
	if (here && byte_at(bytes, 0) != 3)
		return malformed;
	if (here < tpkt_size)
		return more;
	const size_t size = static_cast<size_t>(byte_at(bytes, 2)) << 8 | byte_at(bytes, 3);
	if (size < cookie_at || size > longest || (here > 5 && (byte_at(bytes, 5) & 0xf0) != 0xe0))
		return malformed;
	if (here < size)
		return more;
	return read_cookie(bytes.substr(cookie_at, size - cookie_at), key);
}

} // namespace holdfast
