// SPDX-License-Identifier: GPL-2.0
// What the packets' fuzz targets are fed with: records, one for each packet, and the
// configuration that they meet.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "support/packet.h"

namespace holdfast::test
{

// How a packet is run.
enum : uint8_t {
	record_repaired = 1,     // its checksums are made right first
	record_acknowledges = 2, // it acknowledges the last segment that was sent: SYN cookies cannot be guessed
};

struct Record {
	uint8_t how = 0;
	Bytes packet;
};

// In an input: how, the length in two bytes (big-endian), the packet. What is cut ends the list.
std::vector<Record> read_records(const uint8_t *data, size_t size, size_t most);
Bytes write_records(const std::vector<Record> &records);

// Virtual servers of every forwarding mode and of rules of every kind, for both families.
std::string fuzz_config();

// Lengths and checksums agree, and it is no fragment, of whose checksum only a part would be here.
bool is_right(const Bytes &packet);
// What is left of an IPv4 packet that was cut: the last fragment of two.
bool is_rest(const Bytes &packet);
// Network and transport checksums become right, as far as there are any.
void repair(Bytes &packet);
// Of a TCP segment: the number behind its first byte, a SYN counted; 0: it is none.
uint32_t number_behind(const Bytes &packet);
void acknowledge(Bytes &packet, uint32_t number);

} // namespace holdfast::test
