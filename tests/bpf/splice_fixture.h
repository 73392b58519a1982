// SPDX-License-Identifier: GPL-2.0
// The fixture of the splice engine's tests, packet by packet. What XDP leaves to TC
// goes through the TC program here, too; what is bound goes through the hook of the
// test.
#pragma once

#include <cstring>
#include <fmt/format.h>

#include "bpf/datapath_test.h"
#include "datapath/encode.h"

namespace holdfast::test
{

inline const std::string rule = "  - {name: by-cookie, type: cookie-hash, keyword: sid}\n";
inline const std::string web = "port: 80, protocol: tcp, persistence: by-cookie";
inline const std::string request = "GET / HTTP/1.1\r\nHost: h\r\nCookie: sid=abc\r\n\r\n";

constexpr uint32_t client_isn = 1000000, member_isn = 77000, client_clock = 5000, member_clock = 900;

inline Bytes words(const std::vector<uint32_t> &values)
{
	Bytes bytes;

	for (const uint32_t value : values) {
		for (int shift = 24; shift >= 0; shift -= 8)
			bytes.push_back(static_cast<uint8_t>(value >> shift));
	}
	return bytes;
}

inline Bytes stamps(uint32_t value, uint32_t echo)
{
	return words({0x0101080a, value, echo});
}

// The options of a Linux client's SYN.
inline Bytes offer(uint16_t mss = 1460)
{
	return words({0x02040000U | mss, 0x0402080a, client_clock, 0, 0x01030307});
}

struct Seen {
	uint32_t sequence, acknowledgement;
	uint8_t flags;
	uint16_t window;
	Bytes options;
	std::string payload;
};

class SpliceTest : public DatapathTest
{
protected:
	Seen look(const Bytes &frame) const
	{
		const size_t at = frame.at(12) == 0x08 ? 34 : 54;
		Seen seen{};
		auto word = [&](size_t offset) {
			uint32_t value = 0;
			for (size_t i = 0; i < 4; i++)
				value = value << 8 | frame.at(at + offset + i);
			return value;
		};

		seen.sequence = word(4);
		seen.acknowledgement = word(8);
		seen.flags = frame.at(at + 13);
		seen.window = static_cast<uint16_t>(word(12));
		const size_t header = static_cast<size_t>(frame.at(at + 12) >> 4) * 4;
		seen.options.assign(frame.begin() + static_cast<ptrdiff_t>(at + 20),
				    frame.begin() + static_cast<ptrdiff_t>(at + header));
		seen.payload.assign(frame.begin() + static_cast<ptrdiff_t>(at + header), frame.end());
		return seen;
	}

	Packet from_client(uint8_t flags, uint32_t sequence, uint32_t acknowledgement, const Bytes &options = {},
			   uint16_t port = 40000) const
	{
		return ip(client(), vip()) / Tcp{.source = port,
						 .destination = 80,
						 .sequence = sequence,
						 .acknowledgement = acknowledgement,
						 .flags = flags,
						 .window = 500,
						 .options = options};
	}
	Packet from_member(int number, uint8_t flags, uint32_t sequence, uint32_t acknowledgement,
			   const Bytes &options = {}, uint16_t port = 40000) const
	{
		return ip(member(number), client()) / Tcp{.source = 8080,
							  .destination = port,
							  .sequence = sequence,
							  .acknowledgement = acknowledgement,
							  .flags = flags,
							  .window = 300,
							  .options = options};
	}

	// A packet of an opening: XDP leaves it alone, TC takes it.
	Outcome open(Testbed &bed, const Bytes &packet) const
	{
		if (hook() == Hook::xdp) {
			const Outcome passed_on = bed.run(Hook::xdp, packet);

			EXPECT_TRUE(passed(Hook::xdp, passed_on)) << passed_on.verdict;
			EXPECT_EQ(passed_on.packet, packet);
		}
		Outcome outcome = bed.run(Hook::tc, packet);
		if (sent(Hook::tc, outcome)) {
			EXPECT_EQ(check_packet(outcome.packet), "") << describe(outcome.packet);
		}
		return outcome;
	}

	// The cookie that a SYN gets.
	uint32_t ask(Testbed &bed, const Bytes &options = offer(), uint16_t port = 40000) const
	{
		const Outcome outcome = run(bed, from_client(syn, client_isn, 0, options, port));

		EXPECT_TRUE(sent(hook(), outcome));
		return look(outcome.packet).sequence;
	}

	// The handshake's end, which the hook itself takes.
	void admit(Testbed &bed, uint32_t cookie, uint16_t port = 40000,
		   const Bytes &options = stamps(client_clock + 1, 0)) const
	{
		EXPECT_TRUE(
			dropped(hook(), bed.run(hook(), from_client(ack, client_isn + 1, cookie + 1, options, port))));
	}

	// All the way to a bound connection. Returns the cookie; `number` is the member that got it.
	uint32_t bind(Testbed &bed, int &number, uint16_t port = 40000) const
	{
		const uint32_t cookie = ask(bed, offer(), port);

		admit(bed, cookie, port);
		const Outcome connecting = open(
			bed, from_client(ack | psh, client_isn + 1, cookie + 1, stamps(client_clock + 2, 0), port) /
				     Payload(request));
		EXPECT_TRUE(sent(Hook::tc, connecting));
		number = addressee(connecting);
		const Outcome bound = open(
			bed,
			from_member(number, syn | ack, member_isn, client_isn + 1,
				    words({0x020405b4, 0x0402080a, member_clock, client_clock + 2, 0x01030307}), port));
		EXPECT_TRUE(sent(Hook::tc, bound));
		EXPECT_EQ(look(bound.packet).payload, request);
		EXPECT_EQ(look(bound.packet).sequence, client_isn + 1);
		EXPECT_EQ(look(bound.packet).acknowledgement, member_isn + 1);
		return cookie;
	}

	static size_t count(const Testbed &bed)
	{
		size_t entries = 0;

		EXPECT_TRUE(bed.maps->connections.each([&](const hf_flow_key &, const hf_connection &) {
			entries++;
			return true;
		}));
		return entries;
	}
	static size_t pieces(const Testbed &bed)
	{
		size_t entries = 0;

		EXPECT_TRUE(bed.maps->early_data.each([&](const hf_early_key &, const hf_early_piece &) {
			entries++;
			return true;
		}));
		return entries;
	}
};

} // namespace holdfast::test
