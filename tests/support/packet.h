// SPDX-License-Identifier: GPL-2.0
// Test packets as values, put together from their layers:
//
//   Bytes packet = Ethernet{} / Vlan{10} / Ipv4{.source = "192.0.2.1", ...} / Tcp{...} / Payload("GET /");
//
// Lengths, protocol numbers and checksums are filled in when the packet is built,
// by code of its own: it shares nothing with the data path. A field that is set
// by hand (std::optional) stays as it is set, so that packets can lie.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace holdfast::test
{

using Bytes = std::vector<uint8_t>;

struct Ethernet {
	std::string destination = "02:00:00:00:00:01";
	std::string source = "02:00:00:00:00:02";
	std::optional<uint16_t> type;
};

struct Vlan {
	uint16_t id = 0;
	uint16_t protocol = 0x8100; // of this tag
};

struct Ipv4 {
	std::string source;
	std::string destination;
	uint8_t ttl = 64;
	Bytes options = {}; // a multiple of 4 bytes
	uint16_t identification = 0x1234;
	uint16_t fragment = 0x4000; // flags and offset
	std::optional<uint8_t> version_and_length;
	std::optional<uint16_t> total_length;
	std::optional<uint8_t> protocol;
	uint8_t tos = 0;
};

struct Ipv6 {
	std::string source;
	std::string destination;
	uint8_t hop_limit = 64;
	uint32_t flow = 0x12345; // traffic class and flow label
	std::optional<uint16_t> payload_length;
};

// An IPv6 extension header: `type` is its own protocol number.
struct Extension {
	uint8_t type = 60;
	Bytes body = Bytes(6, 0); // after next header and length; 8n + 6 bytes
	std::optional<uint8_t> length;
};

struct Tcp {
	uint16_t source = 0;
	uint16_t destination = 0;
	uint32_t sequence = 1000;
	uint32_t acknowledgement = 0;
	uint8_t flags = 0;
	uint16_t window = 65535;
	Bytes options = {}; // a multiple of 4 bytes
	std::optional<uint8_t> data_offset;
	std::optional<uint16_t> checksum;
};

constexpr uint8_t fin = 1, syn = 2, rst = 4, psh = 8, ack = 16;

struct Udp {
	uint16_t source = 0;
	uint16_t destination = 0;
	std::optional<uint16_t> length;
	std::optional<uint16_t> checksum;
};

// ICMPv6 behind an IPv6 header.
struct Icmp {
	uint8_t type = 8;
	uint8_t code = 0;
	uint32_t rest = 0x00010001; // of its header
};

struct Payload {
	explicit Payload(const std::string &text) : bytes(text.begin(), text.end()) {}
	explicit Payload(size_t size, uint8_t seed = 7);
	Bytes bytes;
};

class Packet
{
public:
	Packet(const Ethernet &layer);

	Packet operator/(const Vlan &layer) const;
	Packet operator/(const Ipv4 &layer) const;
	Packet operator/(const Ipv6 &layer) const;
	Packet operator/(const Extension &layer) const;
	Packet operator/(const Tcp &layer) const;
	Packet operator/(const Udp &layer) const;
	Packet operator/(const Icmp &layer) const;
	Packet operator/(const Payload &layer) const;

	Bytes build() const;
	operator Bytes() const { return build(); }

private:
	struct Layers;
	std::shared_ptr<const Layers> layers_;
};

template <typename Layer> Packet operator/(const Ethernet &ethernet, const Layer &layer)
{
	return Packet(ethernet) / layer;
}

// What is wrong with the checksums (and lengths) of a whole frame: "" if nothing
// is. Sums from nothing, as a receiver does (RFC 1071).
std::string check_packet(const Bytes &frame);

// One line a header, for messages.
std::string describe(const Bytes &frame);

} // namespace holdfast::test
