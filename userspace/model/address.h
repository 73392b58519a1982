// SPDX-License-Identifier: GPL-2.0
// An IP address of either family: 16 bytes in network order, IPv4 mapped
// (::ffff:a.b.c.d), which is also how the data path holds it.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>

namespace holdfast
{

class Address
{
public:
	// "192.0.2.1" or "2001:db8::1"; no prefix length, no zone, no mapped form.
	static std::optional<Address> parse(const std::string &text);

	Address() = default;
	explicit Address(const std::array<uint8_t, 16> &bytes) : bytes_(bytes) {}
	explicit Address(const uint8_t *bytes);

	const std::array<uint8_t, 16> &bytes() const { return bytes_; }
	bool is_ipv4() const;
	// An address that one host may have: not unspecified, multicast,
	// broadcast or link-local.
	bool is_unicast() const;
	bool is_loopback() const;
	std::string text() const;
	// The 4 or 16 bytes of the address's own family.
	std::string wire() const;

	auto operator<=>(const Address &) const = default;

private:
	std::array<uint8_t, 16> bytes_{};
};

// An address and a port: "192.0.2.1:80", "[2001:db8::1]:80".
struct Endpoint {
	Address address;
	uint16_t port = 0;

	auto operator<=>(const Endpoint &) const = default;
};

std::optional<Endpoint> parse_endpoint(const std::string &text);

} // namespace holdfast
