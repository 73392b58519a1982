// SPDX-License-Identifier: GPL-2.0
// Writes the seeds of the packets' fuzz targets into a directory: conversations with
// each virtual server of fuzz_config(), pings, errors and fragments. Run it again when
// that changes: `packet-seeds tests/fuzz/packets`.
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <iostream>

#include "fuzz/fuzz_records.h"

namespace
{

using namespace holdfast::test;

constexpr uint16_t client_port = 40000;
constexpr uint32_t client_isn = 1000, member_isn = 5000;

struct Ends {
	bool ipv4, other_family, has_source, ported;

	std::string client() const { return ipv4 ? "198.51.100.1" : "2001:db8:c::1"; }
	std::string vip() const { return ipv4 ? "192.0.2.10" : "2001:db8::10"; }
	std::string member(int number) const
	{
		return fmt::format("{}{}", ipv4 != other_family ? "10.0.2.1" : "fd00::1", number);
	}
	// Whom a member answers.
	std::string asker() const { return has_source ? (ipv4 != other_family ? "10.0.9.1" : "fd00::9:1") : client(); }
};

Packet ip(const std::string &from, const std::string &to)
{
	if (from.find(':') == std::string::npos)
		return Ethernet{} / Ipv4{.source = from, .destination = to};
	return Ethernet{} / Ipv6{.source = from, .destination = to};
}

Packet segment(const std::string &from, uint16_t from_port, const std::string &to, uint16_t to_port, uint8_t flags,
	       uint32_t sequence, uint32_t acknowledgement, const Bytes &options = {})
{
	return ip(from, to) / Tcp{.source = from_port,
				  .destination = to_port,
				  .sequence = sequence,
				  .acknowledgement = acknowledgement,
				  .flags = flags,
				  .options = options};
}

const Bytes offer = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7};
const Bytes stamps = {1, 1, 8, 10, 0, 0, 0, 11, 0, 0, 0, 0};

std::vector<Record> connection(const Ends &ends, uint16_t port)
{
	const uint16_t member_port = ends.ported ? 8080 : port;
	std::vector<Record> records = {{0, segment(ends.client(), client_port, ends.vip(), port, syn, client_isn, 0)}};

	for (int number = 1; number <= 3; number++)
		records.push_back({0, segment(ends.member(number), member_port, ends.asker(), client_port, syn | ack,
					      member_isn, client_isn + 1)});
	records.push_back(
		{0, segment(ends.client(), client_port, ends.vip(), port, ack, client_isn + 1, member_isn + 1) /
			    Payload(30)});
	for (int number = 1; number <= 3; number++)
		records.push_back({0, segment(ends.member(number), member_port, ends.asker(), client_port, ack | fin,
					      member_isn + 1, client_isn + 31) /
					      Payload(40)});
	records.push_back({0, segment(ends.client(), client_port, ends.vip(), port, ack | fin, client_isn + 31,
				      member_isn + 42)});
	return records;
}

std::vector<Record> stream(const Ends &ends, uint16_t port, const std::string &asked, const std::string &answered,
			   uint32_t preface)
{
	const auto next = client_isn + 1 + static_cast<uint32_t>(asked.size());
	std::vector<Record> records = {
		{0, segment(ends.client(), client_port, ends.vip(), port, syn, client_isn, 0, offer)},
		{record_acknowledges | record_repaired,
		 segment(ends.client(), client_port, ends.vip(), port, ack, client_isn + 1, 0, stamps)},
		{record_acknowledges | record_repaired,
		 segment(ends.client(), client_port, ends.vip(), port, ack | psh, client_isn + 1, 0, stamps) /
			 Payload(asked)}};

	for (int number = 1; number <= 3; number++)
		records.push_back({0, segment(ends.member(number), 8080, ends.asker(), client_port, syn | ack,
					      member_isn, client_isn + 1 - preface, offer)});
	for (int number = 1; number <= 3; number++)
		records.push_back({0, segment(ends.member(number), 8080, ends.asker(), client_port, ack | psh,
					      member_isn + 1, next, stamps) /
					      Payload(answered)});
	records.push_back(
		{record_acknowledges | record_repaired,
		 segment(ends.client(), client_port, ends.vip(), port, ack | psh, next, 0, stamps) / Payload(asked)});
	return records;
}

std::vector<Record> datagrams(const Ends &ends, uint16_t port, const Payload &asked)
{
	const uint16_t member_port = ends.ported ? 8080 : port;
	const Bytes question = ip(ends.client(), ends.vip()) / Udp{.source = client_port, .destination = port} / asked;
	std::vector<Record> records = {{0, question}};

	for (int number = 1; number <= 3; number++)
		records.push_back({0, ip(ends.member(number), ends.asker()) /
					      Udp{.source = member_port, .destination = client_port} / asked});
	records.push_back({0, question});
	// What is said about them.
	for (int number = 1; number <= 3; number++) {
		const Bytes quoted = ip(ends.asker(), ends.member(number)) /
				     Udp{.source = client_port, .destination = member_port} / Payload(20);
		Payload quote(0);

		quote.bytes.assign(quoted.begin() + 14, quoted.end());
		const bool is_ipv4 = ends.ipv4 != ends.other_family;
		records.push_back({0, ip(ends.member(number), ends.asker()) /
					      Icmp{.type = static_cast<uint8_t>(is_ipv4 ? 3 : 1),
						   .code = static_cast<uint8_t>(is_ipv4 ? 3 : 4),
						   .rest = 0} /
					      quote});
	}
	return records;
}

// One that nat46 makes too long for its way, whole, and what is left of it when it is cut.
std::vector<Record> long_datagram(const Ends &ends, uint16_t port)
{
	const Ipv4 header{.source = ends.client(), .destination = ends.vip(), .fragment = 0, .protocol = 17};
	const Bytes whole = Ethernet{} / header / Udp{.source = client_port, .destination = port} / Payload(1472);
	Payload rest(0);
	Ipv4 behind = header;

	behind.fragment = 1448 / 8;
	rest.bytes.assign(whole.begin() + 34 + 1448, whole.end());
	return {{0, whole}, {0, Ethernet{} / behind / rest}};
}

std::vector<Record> fragments(const Ends &ends, uint16_t port)
{
	Bytes datagram = ip(ends.client(), ends.vip()) / Udp{.source = client_port, .destination = port} / Payload(200);
	std::vector<Record> records;

	for (const uint16_t offset : {uint16_t{0}, uint16_t{13}}) {
		const std::ptrdiff_t headers = ends.ipv4 ? 34 : 54;
		Payload part(0);

		part.bytes.assign(datagram.begin() + headers + offset * 8,
				  offset ? datagram.end() : datagram.begin() + headers + 104);
		if (ends.ipv4) {
			records.push_back({0, Ethernet{} /
						      Ipv4{.source = ends.client(),
							   .destination = ends.vip(),
							   .fragment = static_cast<uint16_t>(offset ? offset : 0x2000),
							   .protocol = 17} /
						      part});
			continue;
		}
		Bytes built =
			Ethernet{} / Ipv6{.source = ends.client(), .destination = ends.vip()} /
			Extension{.type = 44,
				  .body = {uint8_t(offset >> 5), uint8_t(offset << 3 | (offset ? 0 : 1)), 0, 0, 0, 7},
				  .length = 0} /
			part;
		built[54] = 17;
		records.push_back({0, built});
	}
	return records;
}

} // namespace

int main(int argc, char **argv)
{
	if (argc != 2) {
		std::cerr << "Usage: packet-seeds DIRECTORY\n";
		return 2;
	}
	const std::filesystem::path directory(argv[1]);
	auto write = [&](const std::string &name, const std::vector<Record> &records) {
		const Bytes bytes = write_records(records);

		std::ofstream(directory / name, std::ios::binary)
			.write(reinterpret_cast<const char *>(bytes.data()),
			       static_cast<std::streamsize>(bytes.size()));
	};
	const std::string http = "GET /a?b HTTP/1.1\r\nHost: h\r\nCookie: sid=abc; srv=zzz\r\n\r\n",
			  answer = "HTTP/1.1 200 OK\r\nSet-Cookie: sid=abc\r\nContent-Length: 2\r\n\r\nok",
			  desk = std::string("\3\0\0\x2c\x27\xe0\0\0\0\0\0", 11) + "Cookie: mstshash=alice\r\n" +
				 std::string("\1\0\10\0\3\0\0\0", 8),
			  card = std::string("\0\x1c", 2) + "0200" + std::string("\x40\0\0\0\0\0\0\0", 8) + "16" +
				 std::string("4111111111111111").substr(0, 14),
			  call = "INVITE sip:b@c SIP/2.0\r\nCall-ID: 1@c\r\nContent-Length: 0\r\n\r\n",
			  hello = std::string("\x16\3\1\0\x4f\1\0\0\x4b\3\3", 11) + std::string(32, 'r') +
				  std::string("\x20", 1) + std::string(32, 's') + std::string("\0\2\0\x2f\1\0", 6);
	Payload user(0);
	user.bytes = {1, 7, 0, 27, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 1, 7, 'a', 'l', 'i', 'c', 'e'};

	for (const bool ipv4 : {true, false}) {
		const char *family = ipv4 ? "4" : "6";
		const Ends plain{ipv4, false, false, true}, full{ipv4, false, true, true},
			direct{ipv4, false, false, false}, other{ipv4, true, true, true};

		write(fmt::format("tcp-dnat-{}", family), connection(plain, 80));
		write(fmt::format("tcp-fullnat-{}", family), connection(full, 81));
		write(fmt::format("tcp-direct-{}", family), connection(direct, 82));
		write(fmt::format("tcp-other-{}", family), connection(other, 83));
		write(fmt::format("insert-{}", family), stream(plain, 84, http, answer, 0));
		write(fmt::format("hash-{}", family), stream(other, 85, http, answer, 0));
		write(fmt::format("cookie-{}", family), stream(full, 86, http, answer, ipv4 ? 28 : 52));
		write(fmt::format("rdp-{}", family), stream(plain, 3389, desk, desk, 0));
		write(fmt::format("tls-{}", family), stream(plain, 443, hello, hello, 0));
		write(fmt::format("iso8583-{}", family), stream(plain, 8583, card, card, 0));
		write(fmt::format("udp-dnat-{}", family), datagrams(plain, 53, Payload(30)));
		write(fmt::format("udp-fullnat-{}", family), datagrams(full, 54, Payload(30)));
		write(fmt::format("udp-direct-{}", family), datagrams(direct, 55, Payload(30)));
		write(fmt::format("udp-other-{}", family), datagrams(other, 56, Payload(30)));
		write(fmt::format("sip-{}", family), datagrams(plain, 5060, Payload(call)));
		write(fmt::format("sip-other-{}", family), datagrams(other, 5061, Payload(call)));
		write(fmt::format("radius-{}", family), datagrams(full, 1812, user));
		if (ipv4)
			write("long-4", long_datagram(other, 56));
		for (uint16_t port = 53; port <= 56; port++)
			write(fmt::format("fragments-{}-{}", port, family), fragments(plain, port));
		write(fmt::format("ping-{}", family),
		      {{0, ip(plain.client(), plain.vip()) / Icmp{.type = static_cast<uint8_t>(ipv4 ? 8 : 128)} /
				   Payload(20)}});
	}
	return 0;
}
