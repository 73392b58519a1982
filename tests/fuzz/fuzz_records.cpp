// SPDX-License-Identifier: GPL-2.0
#include "fuzz/fuzz_records.h"

#include <algorithm>
#include <fmt/format.h>
#include <stdexcept>

namespace holdfast::test
{

namespace
{

// Where the headers of a frame are. Throws std::out_of_range where it is too short.
struct Headers {
	size_t network = 14, transport = 0, end = 0;
	uint8_t protocol = 0;
	bool ipv4 = false, fragment = false;
};

uint16_t get16(const Bytes &bytes, size_t at)
{
	return static_cast<uint16_t>(bytes.at(at) << 8 | bytes.at(at + 1));
}

void put16(Bytes &bytes, size_t at, uint16_t value)
{
	bytes.at(at) = static_cast<uint8_t>(value >> 8);
	bytes.at(at + 1) = static_cast<uint8_t>(value);
}

Headers find_headers(const Bytes &frame)
{
	Headers headers;
	uint16_t type = get16(frame, 12);

	while (type == 0x8100 || type == 0x88a8) {
		type = get16(frame, headers.network + 2);
		headers.network += 4;
	}
	if (type == 0x0800) {
		headers.ipv4 = true;
		headers.protocol = frame.at(headers.network + 9);
		headers.transport = headers.network + (frame.at(headers.network) & 15) * size_t{4};
		headers.end = headers.network + get16(frame, headers.network + 2);
		headers.fragment = get16(frame, headers.network + 6) & 0x3fff;
	} else if (type == 0x86dd) {
		headers.protocol = frame.at(headers.network + 6);
		headers.transport = headers.network + 40;
		headers.end = headers.transport + get16(frame, headers.network + 4);
		while (headers.protocol == 0 || headers.protocol == 43 || headers.protocol == 60) {
			headers.protocol = frame.at(headers.transport);
			headers.transport += 8 + size_t{8} * frame.at(headers.transport + 1);
		}
		headers.fragment = headers.protocol == 44;
	} else {
		throw std::out_of_range("neither IPv4 nor IPv6");
	}
	if (headers.end > frame.size() || headers.transport > headers.end)
		throw std::out_of_range("lengths");
	return headers;
}

uint16_t sum(const Bytes &bytes, size_t from, size_t to, uint32_t start)
{
	uint64_t total = start;

	for (size_t i = from; i < to; i++)
		total += (i - from) % 2 ? bytes.at(i) : static_cast<uint64_t>(bytes.at(i)) << 8;
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return static_cast<uint16_t>(~total);
}

} // namespace

std::vector<Record> read_records(const uint8_t *data, size_t size, size_t most)
{
	std::vector<Record> records;

	while (size >= 3 && records.size() < most) {
		const size_t length = static_cast<size_t>(data[1] << 8 | data[2]);

		if (size < 3 + length)
			break;
		records.push_back({data[0], Bytes(data + 3, data + 3 + length)});
		data += 3 + length;
		size -= 3 + length;
	}
	return records;
}

Bytes write_records(const std::vector<Record> &records)
{
	Bytes bytes;

	for (const Record &record : records) {
		bytes.push_back(record.how);
		bytes.push_back(static_cast<uint8_t>(record.packet.size() >> 8));
		bytes.push_back(static_cast<uint8_t>(record.packet.size()));
		bytes.insert(bytes.end(), record.packet.begin(), record.packet.end());
	}
	return bytes;
}

std::string fuzz_config()
{
	std::string yaml = "version: 1\ntables: {sessions: 1024, connections: 1024, splices: 1024}\npools:\n";

	for (const bool ipv4 : {true, false}) {
		for (const bool ported : {true, false}) {
			yaml += fmt::format("  - name: {}{}\n    members:\n", ported ? "web" : "near", ipv4 ? 4 : 6);
			for (int i = 1; i <= 3; i++)
				yaml += fmt::format("      - {{name: rs{}, address: \"{}{}\"{}}}\n", i,
						    ipv4 ? "10.0.2.1" : "fd00::1", i, ported ? ", port: 8080" : "");
		}
	}
	yaml += "persistence:\n"
		"  - {name: address, type: source-address}\n"
		"  - {name: call, type: sip-call-id}\n"
		"  - {name: user, type: radius-attribute, attributes: [{type: 1}, {type: 31}], relation: or}\n"
		"  - {name: cookie, type: persistent-cookie, keyword: sid}\n"
		"  - {name: insert, type: insert-cookie, keyword: srv}\n"
		"  - {name: hash, type: cookie-hash, keyword: sid}\n"
		"  - {name: desk, type: rdp-cookie}\n"
		"  - {name: tls, type: ssl-session-id}\n"
		"  - {name: cards, type: iso8583-bitmap, fields: [2]}\n"
		"virtual_servers:\n";
	for (const bool ipv4 : {true, false}) {
		auto add = [&](int port, const char *protocol, const char *rule, const std::string &forwarding,
			       const std::string &more = "") {
			const bool other = forwarding.starts_with("nat"), members_ipv4 = other != ipv4;

			yaml += fmt::format(
				"  - {{name: {}{}-{}, address: \"{}\", port: {}, protocol: {}, forwarding: {}, pool: "
				"{}{}{}{}{}}}\n",
				protocol, port, ipv4 ? 4 : 6, ipv4 ? "192.0.2.10" : "2001:db8::10", port, protocol,
				forwarding, forwarding == "direct" ? "near" : "web", members_ipv4 ? 4 : 6,
				*rule ? std::string(", persistence: ") + rule : "",
				other || forwarding == "fullnat" ? fmt::format(", source_addresses: [\"{}\"]",
									       members_ipv4 ? "10.0.9.1" : "fd00::9:1")
								 : "",
				more);
		};
		const std::string other = ipv4 ? "nat46" : "nat64";

		add(80, "tcp", "address", "dnat");
		add(81, "tcp", "address", "fullnat");
		add(82, "tcp", "", "direct");
		add(83, "tcp", "address", other);
		add(84, "tcp", "insert", "dnat", ", x_forwarded_for: true");
		add(85, "tcp", "hash", other);
		add(86, "tcp", "cookie", "fullnat", ", proxy_protocol: v2");
		add(3389, "tcp", "desk", "dnat");
		add(443, "tcp", "tls", "dnat");
		add(8583, "tcp", "cards", "dnat");
		add(53, "udp", "address", "dnat");
		add(54, "udp", "address", "fullnat");
		add(55, "udp", "", "direct");
		add(56, "udp", "", other);
		add(5060, "udp", "call", "dnat");
		add(5061, "udp", "call", other);
		add(1812, "udp", "user", "fullnat");
	}
	return yaml;
}

bool is_right(const Bytes &packet)
{
	try {
		const Headers headers = find_headers(packet);

		if (headers.fragment)
			return false;
		if (headers.protocol == 17 && get16(packet, headers.transport + 4) != headers.end - headers.transport)
			return false;
		return check_packet(packet).empty();
	} catch (const std::out_of_range &) {
		return false;
	}
}

bool is_rest(const Bytes &packet)
{
	try {
		const Headers headers = find_headers(packet);

		return headers.ipv4 && get16(packet, headers.network + 6) == 1448 / 8 &&
		       get16(packet, headers.network + 2) == headers.end - headers.network &&
		       !sum(packet, headers.network, headers.transport, 0);
	} catch (const std::out_of_range &) {
		return false;
	}
}

void repair(Bytes &packet)
{
	try {
		const Headers headers = find_headers(packet);
		const size_t at = headers.protocol == 6 ? 16 : headers.protocol == 17 ? 6 : 2;
		const size_t length = headers.end - headers.transport;
		uint32_t pseudo = 0;

		if (headers.ipv4) {
			put16(packet, headers.network + 10, 0);
			put16(packet, headers.network + 10, sum(packet, headers.network, headers.transport, 0));
		}
		if (headers.protocol != 6 && headers.protocol != 17 && headers.protocol != 1 && headers.protocol != 58)
			return;
		if (headers.protocol != 1) {
			const size_t addresses = headers.network + (headers.ipv4 ? 12 : 8);

			pseudo = static_cast<uint16_t>(~sum(packet, addresses, addresses + (headers.ipv4 ? 8 : 32), 0));
			pseudo += headers.protocol + static_cast<uint32_t>(length);
		}
		put16(packet, headers.transport + at, 0);
		const uint16_t made = sum(packet, headers.transport, headers.end, pseudo);
		put16(packet, headers.transport + at, !made && headers.protocol == 17 ? 0xffff : made);
	} catch (const std::out_of_range &) {
		// It stays as it is.
	}
}

uint32_t number_behind(const Bytes &packet)
{
	try {
		const Headers headers = find_headers(packet);

		if (headers.protocol != 6)
			return 0;
		const uint32_t number = static_cast<uint32_t>(get16(packet, headers.transport + 4)) << 16 |
					get16(packet, headers.transport + 6);
		return number + (packet.at(headers.transport + 13) & syn ? 1 : 0);
	} catch (const std::out_of_range &) {
		return 0;
	}
}

void acknowledge(Bytes &packet, uint32_t number)
{
	try {
		const Headers headers = find_headers(packet);

		if (headers.protocol != 6)
			return;
		put16(packet, headers.transport + 8, static_cast<uint16_t>(number >> 16));
		put16(packet, headers.transport + 10, static_cast<uint16_t>(number));
	} catch (const std::out_of_range &) {
		// Nor does it acknowledge anything.
	}
}

} // namespace holdfast::test
