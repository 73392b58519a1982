// SPDX-License-Identifier: GPL-2.0
// Which data elements of ISO 8583 can be keys.
#pragma once

#include <cstdint>
#include <set>
#include <string>

namespace holdfast
{

// Those that identify a card, a terminal, a merchant, a transaction or a network.
const std::set<uint8_t> &iso8583_key_fields();
std::string iso8583_key_fields_text();

} // namespace holdfast
