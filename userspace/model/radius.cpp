// SPDX-License-Identifier: GPL-2.0
#include "model/radius.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>

#include "model/address.h"
#include "util/hex.h"

namespace holdfast
{

namespace
{

std::string big_endian(uint32_t number)
{
	return {static_cast<char>(number >> 24), static_cast<char>(number >> 16), static_cast<char>(number >> 8),
		static_cast<char>(number)};
}

} // namespace

const std::vector<RadiusType> &radius_types()
{
	static const std::vector<RadiusType> types = {
		{1, "User-Name", RadiusKind::text, 1, 253},
		{4, "NAS-IP-Address", RadiusKind::address, 4, 4},
		{5, "NAS-Port", RadiusKind::integer, 4, 4},
		{6, "Service-Type", RadiusKind::integer, 4, 4},
		{7, "Framed-Protocol", RadiusKind::integer, 4, 4},
		{8, "Framed-IP-Address", RadiusKind::address, 4, 4},
		{9, "Framed-IP-Netmask", RadiusKind::address, 4, 4},
		{12, "Framed-MTU", RadiusKind::integer, 4, 4},
		{13, "Framed-Compression", RadiusKind::integer, 4, 4},
		{14, "Login-IP-Host", RadiusKind::address, 4, 4},
		{19, "Callback-Number", RadiusKind::text, 1, 253},
		{24, "State", RadiusKind::text, 1, 253},
		{26, "Vendor-Specific", RadiusKind::text, 5, 253},
		{30, "Called-Station-Id", RadiusKind::text, 1, 253},
		{31, "Calling-Station-Id", RadiusKind::text, 1, 253},
		{32, "NAS-Identifier", RadiusKind::text, 1, 253},
		{33, "Proxy-State", RadiusKind::text, 1, 253},
		{34, "Login-LAT-Service", RadiusKind::text, 1, 253},
		{35, "Login-LAT-Node", RadiusKind::text, 1, 253},
		{36, "Login-LAT-Group", RadiusKind::text, 32, 32},
		{40, "Acct-Status-Type", RadiusKind::integer, 4, 4},
		{41, "Acct-Delay-Time", RadiusKind::integer, 4, 4},
		{42, "Acct-Input-Octets", RadiusKind::integer, 4, 4},
		{43, "Acct-Output-Octets", RadiusKind::integer, 4, 4},
		{44, "Acct-Session-Id", RadiusKind::text, 1, 253},
		{45, "Acct-Authentic", RadiusKind::integer, 4, 4},
		{46, "Acct-Session-Time", RadiusKind::integer, 4, 4},
		{47, "Acct-Input-Packets", RadiusKind::integer, 4, 4},
		{48, "Acct-Output-Packets", RadiusKind::integer, 4, 4},
		{49, "Acct-Terminate-Cause", RadiusKind::integer, 4, 4},
		{50, "Acct-Multi-Session-Id", RadiusKind::text, 1, 253},
		{51, "Acct-Link-Count", RadiusKind::integer, 4, 4},
		{60, "CHAP-Challenge", RadiusKind::text, 5, 253},
		{61, "NAS-Port-Type", RadiusKind::integer, 4, 4},
		{62, "Port-Limit", RadiusKind::integer, 4, 4},
		{63, "Login-LAT-Port", RadiusKind::text, 1, 253},
	};

	return types;
}

RadiusType radius_type(uint8_t number)
{
	for (const RadiusType &type : radius_types()) {
		if (type.number == number)
			return type;
	}
	return {number, "", RadiusKind::text, 1, 253};
}

std::optional<uint8_t> radius_number(const std::string &name)
{
	for (const RadiusType &type : radius_types()) {
		if (type.name == name)
			return type.number;
	}
	return std::nullopt;
}

std::string text(const RadiusAttribute &attribute)
{
	const RadiusType type = radius_type(attribute.type);

	if (attribute.vendor_id)
		return fmt::format("{}/{}/{}", attribute.type, attribute.vendor_id, attribute.vendor_type);
	return *type.name ? type.name : fmt::format("{}", attribute.type);
}

std::optional<std::string> radius_value(const RadiusAttribute &attribute, const std::string &readable)
{
	const RadiusKind kind = attribute.vendor_id ? RadiusKind::text : radius_type(attribute.type).kind;

	if (readable.starts_with("0x")) {
		if (auto bytes = bytes_of_hex(readable.substr(2)))
			return bytes;
	}
	if (kind == RadiusKind::address) {
		const auto address = Address::parse(readable);

		if (!address || !address->is_ipv4())
			return std::nullopt;
		return std::string(reinterpret_cast<const char *>(address->bytes().data()) + 12, 4);
	}
	if (kind == RadiusKind::integer) {
		uint32_t number = 0;
		const char *end = readable.data() + readable.size();
		const auto [stop, status] = std::from_chars(readable.data(), end, number);

		if (status != std::errc() || stop != end)
			return std::nullopt;
		return big_endian(number);
	}
	return readable;
}

std::string radius_readable(const RadiusAttribute &attribute, std::string_view value)
{
	const RadiusKind kind = attribute.vendor_id ? RadiusKind::text : radius_type(attribute.type).kind;
	auto byte = [&](size_t i) { return static_cast<unsigned>(static_cast<uint8_t>(value[i])); };

	if (kind == RadiusKind::address && value.size() == 4)
		return fmt::format("{}.{}.{}.{}", byte(0), byte(1), byte(2), byte(3));
	if (kind == RadiusKind::integer && value.size() == 4)
		return fmt::format("{}", byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3));
	if (kind != RadiusKind::text || value.starts_with("0x") || value != printable(value))
		return "0x" + hex(value);
	return std::string(value);
}

} // namespace holdfast
