// SPDX-License-Identifier: GPL-2.0
// RADIUS attributes, as rules name them: by number, or by the name that the RFC
// gives them; and what their values may be (RFC 2865, 2866).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast
{

enum class RadiusKind { text, address, integer };

struct RadiusType {
	uint8_t number;
	const char *name;
	RadiusKind kind;
	uint8_t shortest, longest; // of the value, in bytes
};

// An attribute of a rule. vendor_id 0: the whole attribute.
struct RadiusAttribute {
	uint8_t type = 0;
	uint32_t vendor_id = 0;
	uint8_t vendor_type = 0;

	bool operator==(const RadiusAttribute &) const = default;
};

constexpr uint8_t radius_vendor_specific = 26;

// The types that have a name here.
const std::vector<RadiusType> &radius_types();
// By number; a type without a name is text of any length.
RadiusType radius_type(uint8_t number);
std::optional<uint8_t> radius_number(const std::string &name);

// As a user writes it: "User-Name", "26/9/1".
std::string text(const RadiusAttribute &attribute);

// A value as it is in a packet, from its readable form: text as it is; addresses
// and numbers as such; anything as 0x and hex digits.
std::optional<std::string> radius_value(const RadiusAttribute &attribute, const std::string &readable);
// The other way.
std::string radius_readable(const RadiusAttribute &attribute, std::string_view value);

} // namespace holdfast
