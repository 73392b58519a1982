// SPDX-License-Identifier: GPL-2.0
#include "util/hex.h"

#include <charconv>
#include <cstdint>
#include <fmt/format.h>

namespace holdfast
{

std::string hex(std::string_view bytes)
{
	std::string digits;

	for (const char byte : bytes)
		digits += fmt::format("{:02x}", static_cast<uint8_t>(byte));
	return digits;
}

std::optional<std::string> bytes_of_hex(std::string_view digits)
{
	std::string bytes;

	if (digits.empty() || digits.size() % 2)
		return std::nullopt;
	for (size_t i = 0; i < digits.size(); i += 2) {
		const char *end = digits.data() + i + 2;
		unsigned value = 0;
		const auto [stop, status] = std::from_chars(digits.data() + i, end, value, 16);

		if (status != std::errc() || stop != end)
			return std::nullopt;
		bytes += static_cast<char>(value);
	}
	return bytes;
}

std::string printable(std::string_view bytes)
{
	std::string text;

	for (const char byte : bytes)
		text += byte >= ' ' && byte <= '~' ? std::string(1, byte)
						   : fmt::format("\\x{:02x}", static_cast<uint8_t>(byte));
	return text;
}

} // namespace holdfast
