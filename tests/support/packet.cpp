// SPDX-License-Identifier: GPL-2.0
#include "support/packet.h"

#include <arpa/inet.h>
#include <cstdio>
#include <cstring>
#include <fmt/format.h>
#include <stdexcept>
#include <variant>

namespace holdfast::test
{

namespace
{

void put16(Bytes &bytes, uint16_t value)
{
	bytes.push_back(static_cast<uint8_t>(value >> 8));
	bytes.push_back(static_cast<uint8_t>(value));
}

void put32(Bytes &bytes, uint32_t value)
{
	put16(bytes, static_cast<uint16_t>(value >> 16));
	put16(bytes, static_cast<uint16_t>(value));
}

void put(Bytes &bytes, const Bytes &more)
{
	bytes.insert(bytes.end(), more.begin(), more.end());
}

uint16_t get16(const Bytes &bytes, size_t at)
{
	return static_cast<uint16_t>(bytes.at(at) << 8 | bytes.at(at + 1));
}

Bytes mac(const std::string &text)
{
	unsigned b[6];

	if (std::sscanf(text.c_str(), "%x:%x:%x:%x:%x:%x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]) != 6)
		throw std::invalid_argument("MAC " + text);
	return Bytes(b, b + 6);
}

Bytes address(int family, const std::string &text)
{
	Bytes bytes(family == AF_INET ? 4 : 16);

	if (inet_pton(family, text.c_str(), bytes.data()) != 1)
		throw std::invalid_argument("address " + text);
	return bytes;
}

// The plain definition: big-endian words, summed, carries added, complemented.
uint16_t internet_checksum(const Bytes &bytes)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < bytes.size(); i += 2)
		sum += static_cast<uint64_t>(bytes[i] << 8) + (i + 1 < bytes.size() ? bytes[i + 1] : 0);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return static_cast<uint16_t>(~sum);
}

struct Pseudo {
	Bytes source, destination;
};

uint16_t transport_checksum(const Pseudo &pseudo, uint8_t protocol, const Bytes &segment)
{
	Bytes all = pseudo.source;

	put(all, pseudo.destination);
	put32(all, static_cast<uint32_t>(segment.size()));
	put32(all, protocol);
	put(all, segment);
	return internet_checksum(all);
}

using Layer = std::variant<Ethernet, Vlan, Ipv4, Ipv6, Extension, Tcp, Udp, Icmp, Payload>;

uint8_t protocol_of(const Layer &layer)
{
	if (std::holds_alternative<Tcp>(layer))
		return IPPROTO_TCP;
	if (std::holds_alternative<Udp>(layer))
		return IPPROTO_UDP;
	if (std::holds_alternative<Icmp>(layer))
		return IPPROTO_ICMP;
	if (const auto *extension = std::get_if<Extension>(&layer))
		return extension->type;
	return 59; // no next header
}

uint16_t ether_type_of(const Layer &layer)
{
	if (const auto *vlan = std::get_if<Vlan>(&layer))
		return vlan->protocol;
	return std::holds_alternative<Ipv6>(layer) ? 0x86dd : 0x0800;
}

Bytes build_tcp(const Tcp &tcp, const Bytes &rest, const Pseudo &pseudo)
{
	Bytes bytes;

	put16(bytes, tcp.source);
	put16(bytes, tcp.destination);
	put32(bytes, tcp.sequence);
	put32(bytes, tcp.acknowledgement);
	bytes.push_back(
		static_cast<uint8_t>(tcp.data_offset.value_or(static_cast<uint8_t>(5 + tcp.options.size() / 4)) << 4));
	bytes.push_back(tcp.flags);
	put16(bytes, tcp.window);
	put16(bytes, 0);
	put16(bytes, 0);
	put(bytes, tcp.options);
	put(bytes, rest);
	const uint16_t sum = tcp.checksum.value_or(transport_checksum(pseudo, IPPROTO_TCP, bytes));
	bytes[16] = static_cast<uint8_t>(sum >> 8);
	bytes[17] = static_cast<uint8_t>(sum);
	return bytes;
}

Bytes build_udp(const Udp &udp, const Bytes &rest, const Pseudo &pseudo)
{
	Bytes bytes;

	put16(bytes, udp.source);
	put16(bytes, udp.destination);
	put16(bytes, udp.length.value_or(static_cast<uint16_t>(8 + rest.size())));
	put16(bytes, 0);
	put(bytes, rest);
	uint16_t sum = transport_checksum(pseudo, IPPROTO_UDP, bytes);
	sum = udp.checksum.value_or(sum ? sum : 0xffff);
	bytes[6] = static_cast<uint8_t>(sum >> 8);
	bytes[7] = static_cast<uint8_t>(sum);
	return bytes;
}

Bytes build_ipv4(const Ipv4 &ip, uint8_t protocol, const Bytes &rest)
{
	const size_t header = 20 + ip.options.size();
	Bytes bytes;

	bytes.push_back(ip.version_and_length.value_or(static_cast<uint8_t>(0x40 | header / 4)));
	bytes.push_back(ip.tos);
	put16(bytes, ip.total_length.value_or(static_cast<uint16_t>(header + rest.size())));
	put16(bytes, ip.identification);
	put16(bytes, ip.fragment);
	bytes.push_back(ip.ttl);
	bytes.push_back(ip.protocol.value_or(protocol));
	put16(bytes, 0);
	put(bytes, address(AF_INET, ip.source));
	put(bytes, address(AF_INET, ip.destination));
	put(bytes, ip.options);
	const uint16_t sum = internet_checksum(bytes);
	bytes[10] = static_cast<uint8_t>(sum >> 8);
	bytes[11] = static_cast<uint8_t>(sum);
	put(bytes, rest);
	return bytes;
}

Bytes build_ipv6(const Ipv6 &ip, uint8_t protocol, const Bytes &rest)
{
	Bytes bytes;

	put32(bytes, 0x60000000U | ip.flow);
	put16(bytes, ip.payload_length.value_or(static_cast<uint16_t>(rest.size())));
	bytes.push_back(protocol);
	bytes.push_back(ip.hop_limit);
	put(bytes, address(AF_INET6, ip.source));
	put(bytes, address(AF_INET6, ip.destination));
	put(bytes, rest);
	return bytes;
}

Bytes build_layer(const Layer &layer, const Layer *next, const Bytes &rest, const Pseudo &pseudo)
{
	Bytes bytes;

	if (const auto *ethernet = std::get_if<Ethernet>(&layer)) {
		bytes = mac(ethernet->destination);
		put(bytes, mac(ethernet->source));
		put16(bytes, ethernet->type.value_or(next ? ether_type_of(*next) : 0x0800));
		put(bytes, rest);
	} else if (const auto *vlan = std::get_if<Vlan>(&layer)) {
		put16(bytes, vlan->id);
		put16(bytes, next ? ether_type_of(*next) : 0x0800);
		put(bytes, rest);
	} else if (const auto *ipv4 = std::get_if<Ipv4>(&layer)) {
		bytes = build_ipv4(*ipv4, next ? protocol_of(*next) : 0, rest);
	} else if (const auto *ipv6 = std::get_if<Ipv6>(&layer)) {
		bytes = build_ipv6(*ipv6,
				   !next                                 ? 59
				   : std::holds_alternative<Icmp>(*next) ? uint8_t{IPPROTO_ICMPV6}
									 : protocol_of(*next),
				   rest);
	} else if (const auto *extension = std::get_if<Extension>(&layer)) {
		bytes.push_back(next ? protocol_of(*next) : 59);
		bytes.push_back(extension->length.value_or(static_cast<uint8_t>((extension->body.size() + 2) / 8 - 1)));
		put(bytes, extension->body);
		put(bytes, rest);
	} else if (const auto *tcp = std::get_if<Tcp>(&layer)) {
		bytes = build_tcp(*tcp, rest, pseudo);
	} else if (const auto *udp = std::get_if<Udp>(&layer)) {
		bytes = build_udp(*udp, rest, pseudo);
	} else if (const auto *icmp = std::get_if<Icmp>(&layer)) {
		bytes = {icmp->type, icmp->code, 0, 0};
		put32(bytes, icmp->rest);
		put(bytes, rest);
		const uint16_t sum = pseudo.source.size() == 16 ? transport_checksum(pseudo, IPPROTO_ICMPV6, bytes)
								: internet_checksum(bytes);
		bytes[2] = static_cast<uint8_t>(sum >> 8);
		bytes[3] = static_cast<uint8_t>(sum);
	} else {
		bytes = std::get<Payload>(layer).bytes;
	}
	return bytes;
}

} // namespace

struct Packet::Layers {
	std::vector<Layer> list;
};

Payload::Payload(size_t size, uint8_t seed) : bytes(size)
{
	uint32_t state = seed;

	for (uint8_t &byte : bytes) {
		state = state * 1664525 + 1013904223;
		byte = static_cast<uint8_t>(state >> 24);
	}
}

Packet::Packet(const Ethernet &layer) : layers_(std::make_shared<Layers>(Layers{{layer}})) {}

#define APPEND_LAYER(type)                                                                                             \
	Packet Packet::operator/(const type &layer) const                                                              \
	{                                                                                                              \
		auto layers = std::make_shared<Layers>(*layers_);                                                      \
		Packet result(*this);                                                                                  \
                                                                                                                       \
		layers->list.emplace_back(layer);                                                                      \
		result.layers_ = layers;                                                                               \
		return result;                                                                                         \
	}
APPEND_LAYER(Vlan)
APPEND_LAYER(Ipv4)
APPEND_LAYER(Ipv6)
APPEND_LAYER(Extension)
APPEND_LAYER(Tcp)
APPEND_LAYER(Udp)
APPEND_LAYER(Icmp)
APPEND_LAYER(Payload)
#undef APPEND_LAYER

Bytes Packet::build() const
{
	Pseudo pseudo;
	Bytes bytes;

	for (const Layer &layer : layers_->list) {
		if (const auto *ipv4 = std::get_if<Ipv4>(&layer))
			pseudo = {address(AF_INET, ipv4->source), address(AF_INET, ipv4->destination)};
		else if (const auto *ipv6 = std::get_if<Ipv6>(&layer))
			pseudo = {address(AF_INET6, ipv6->source), address(AF_INET6, ipv6->destination)};
	}
	for (size_t i = layers_->list.size(); i-- > 0;)
		bytes = build_layer(layers_->list[i], i + 1 < layers_->list.size() ? &layers_->list[i + 1] : nullptr,
				    bytes, pseudo);
	return bytes;
}

namespace
{

std::string check_transport(const Pseudo &pseudo, uint8_t protocol, const Bytes &segment)
{
	if (protocol == IPPROTO_UDP && get16(segment, 6) == 0)
		return ""; // no checksum
	const bool icmp = protocol == IPPROTO_ICMP;
	if (!icmp && protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != IPPROTO_ICMPV6)
		return "";
	const uint16_t sum = icmp ? internet_checksum(segment) : transport_checksum(pseudo, protocol, segment);
	return sum == 0 ? "" : fmt::format("the checksum of protocol {} is off by {:#06x}", protocol, sum);
}

std::string check_ipv4(const Bytes &frame, size_t at)
{
	const size_t header = (frame.at(at) & 15) * size_t{4}, length = get16(frame, at + 2);
	const auto begin = frame.begin() + static_cast<ptrdiff_t>(at);

	if (at + length > frame.size())
		return fmt::format("IPv4 length {} in a frame of {}", length, frame.size());
	const uint16_t sum = internet_checksum(Bytes(begin, begin + static_cast<ptrdiff_t>(header)));
	if (sum != 0)
		return fmt::format("IPv4 checksum is off by {:#06x}", sum);
	return check_transport({Bytes(begin + 12, begin + 16), Bytes(begin + 16, begin + 20)}, frame.at(at + 9),
			       Bytes(begin + static_cast<ptrdiff_t>(header), begin + static_cast<ptrdiff_t>(length)));
}

std::string check_ipv6(const Bytes &frame, size_t at)
{
	const size_t length = get16(frame, at + 4);
	const auto begin = frame.begin() + static_cast<ptrdiff_t>(at);
	uint8_t protocol = frame.at(at + 6);
	size_t offset = 40;

	if (at + 40 + length > frame.size())
		return fmt::format("IPv6 length {} in a frame of {}", length, frame.size());
	while (protocol == 0 || protocol == 43 || protocol == 60) {
		protocol = frame.at(at + offset);
		offset += 8 + size_t{8} * frame.at(at + offset + 1);
	}
	return check_transport(
		{Bytes(begin + 8, begin + 24), Bytes(begin + 24, begin + 40)}, protocol,
		Bytes(begin + static_cast<ptrdiff_t>(offset), begin + 40 + static_cast<ptrdiff_t>(length)));
}

size_t network_offset(const Bytes &frame, uint16_t &type)
{
	size_t at = 14;

	type = get16(frame, 12);
	while (type == 0x8100 || type == 0x88a8) {
		type = get16(frame, at + 2);
		at += 4;
	}
	return at;
}

} // namespace

std::string check_packet(const Bytes &frame)
{
	uint16_t type = 0;
	const size_t at = network_offset(frame, type);

	if (type == 0x0800)
		return check_ipv4(frame, at);
	if (type == 0x86dd)
		return check_ipv6(frame, at);
	return "";
}

std::string describe(const Bytes &frame)
{
	std::string text = fmt::format("{} bytes", frame.size());

	for (size_t i = 0; i < frame.size() && i < 128; i++)
		text += fmt::format("{}{:02x}", i % 16 == 0 ? fmt::format("\n  {:04x}  ", i) : " ", frame[i]);
	return text;
}

} // namespace holdfast::test
