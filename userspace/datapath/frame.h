// SPDX-License-Identifier: GPL-2.0
// Frames that are made here, not on a wire: Ethernet, IPv4 or IPv6 without options, and a
// transport segment with its checksum.
#pragma once

#include <cstdint>
#include <vector>

#include "holdfast/abi.h"

namespace holdfast
{

using Bytes = std::vector<uint8_t>;

template <typename Header> void append(Bytes &bytes, const Header &header)
{
	const auto *first = reinterpret_cast<const uint8_t *>(&header);

	bytes.insert(bytes.end(), first, first + sizeof(header));
}

// Of TCP and UDP, over their pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1); in network byte order. The segment's own
// field is 0.
uint16_t transport_checksum(const hf_flow_key &flow, const Bytes &segment);

// From a locally administered station to nobody in particular.
Bytes make_frame(const hf_flow_key &flow, const Bytes &segment);

} // namespace holdfast
