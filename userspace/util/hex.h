// SPDX-License-Identifier: GPL-2.0
// Bytes as hexadecimal digits, two for each.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace holdfast
{

std::string hex(std::string_view bytes);
// Nothing if they are none, or not whole bytes.
std::optional<std::string> bytes_of_hex(std::string_view digits);
// Text fit for a terminal: anything but printable ASCII as \xNN.
std::string printable(std::string_view bytes);

} // namespace holdfast
