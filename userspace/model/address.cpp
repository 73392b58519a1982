// SPDX-License-Identifier: GPL-2.0
#include "model/address.h"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <cstring>

namespace holdfast
{

namespace
{

constexpr std::array<uint8_t, 12> mapped_prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

} // namespace

std::optional<Address> Address::parse(const std::string &text)
{
	Address address;

	if (text.size() != std::strlen(text.c_str()))
		return std::nullopt;
	if (inet_pton(AF_INET, text.c_str(), address.bytes_.data() + 12) == 1) {
		std::copy(mapped_prefix.begin(), mapped_prefix.end(), address.bytes_.begin());
		return address;
	}
	if (inet_pton(AF_INET6, text.c_str(), address.bytes_.data()) == 1 && !address.is_ipv4())
		return address;
	return std::nullopt;
}

Address::Address(const uint8_t *bytes)
{
	std::copy(bytes, bytes + 16, bytes_.begin());
}

bool Address::is_ipv4() const
{
	return std::equal(mapped_prefix.begin(), mapped_prefix.end(), bytes_.begin());
}

bool Address::is_unicast() const
{
	if (is_ipv4())
		return bytes_[12] != 0 && bytes_[12] < 224;
	const bool link_local = bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
	return bytes_[0] != 0xff && !link_local && *this != Address();
}

bool Address::is_loopback() const
{
	if (is_ipv4())
		return bytes_[12] == 127;
	return *this == *parse("::1");
}

std::string Address::text() const
{
	char buffer[INET6_ADDRSTRLEN];

	if (is_ipv4())
		inet_ntop(AF_INET, bytes_.data() + 12, buffer, sizeof(buffer));
	else
		inet_ntop(AF_INET6, bytes_.data(), buffer, sizeof(buffer));
	return buffer;
}

std::string Address::wire() const
{
	const size_t skip = is_ipv4() ? 12 : 0;

	return {reinterpret_cast<const char *>(bytes_.data()) + skip, bytes_.size() - skip};
}

std::optional<Endpoint> parse_endpoint(const std::string &text)
{
	const size_t colon = text.rfind(':');
	const char *end = text.data() + text.size();
	Endpoint endpoint;

	if (colon == std::string::npos)
		return std::nullopt;
	std::string host = text.substr(0, colon);
	const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
	if (bracketed)
		host = host.substr(1, host.size() - 2);
	const auto address = Address::parse(host);
	const auto [stop, status] = std::from_chars(text.data() + colon + 1, end, endpoint.port);
	if (!address || address->is_ipv4() == bracketed || status != std::errc() || stop != end || !endpoint.port)
		return std::nullopt;
	endpoint.address = *address;
	return endpoint;
}

} // namespace holdfast
