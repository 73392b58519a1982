// SPDX-License-Identifier: GPL-2.0
// The fixture of the data path's tests: every test runs on both hooks and for
// both families, with the same names for the same roles.
#pragma once

#include <gtest/gtest.h>

#include "support/testbed.h"

namespace holdfast::test
{

struct Place {
	Hook hook;
	bool ipv4;
};

std::string place_name(const testing::TestParamInfo<Place> &info);
inline const Place all_places[] = {{Hook::xdp, true}, {Hook::xdp, false}, {Hook::tc, true}, {Hook::tc, false}};

class DatapathTest : public testing::TestWithParam<Place>
{
protected:
	Hook hook() const { return GetParam().hook; }
	bool ipv4() const { return GetParam().ipv4; }

	// Roles, in the family of the test; members may be of the other one.
	virtual bool has_ipv4_members() const { return ipv4(); }
	std::string client(int number = 1) const;
	std::string vip() const { return ipv4() ? "192.0.2.10" : "2001:db8::10"; }
	std::string member(int number) const;

	// A configuration: one pool of `members`, one virtual server on the vip with
	// `server` (protocol, port, rule ...) and `rules`.
	std::string config(const std::string &server, const std::string &rules = "", int members = 3) const;

	// Of the family that the addresses have.
	Packet ip(const std::string &source, const std::string &destination, uint8_t ttl = 64) const;
	Packet tcp(const std::string &source, uint16_t source_port, const std::string &destination,
		   uint16_t destination_port, uint8_t flags, uint32_t sequence = 1000,
		   uint32_t acknowledgement = 0) const;

	// Runs a packet and, where it was sent on, checks all of its checksums.
	Outcome run(Testbed &bed, const Bytes &packet) const;

	// SYN, SYN-ACK, ACK of a client; returns the number of the member that got it, 0 if none did.
	int connect(Testbed &bed, const std::string &from, uint16_t port, uint16_t to = 80) const;
	// The member that a sent packet is addressed to; 0 if it is none.
	int addressee(const Outcome &outcome) const;

	// The packet as the data path must send it: new addresses and ports, one hop
	// less, link header of the next hop. Built from nothing.
	Bytes expected_link(const Bytes &packet) const;
};

} // namespace holdfast::test
