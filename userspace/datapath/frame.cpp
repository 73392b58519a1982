// SPDX-License-Identifier: GPL-2.0
#include "datapath/frame.h"

#include <cstring>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "datapath/encode.h"

namespace holdfast
{

namespace
{

// RFC 1071.
uint16_t checksum(const Bytes &bytes)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < bytes.size(); i += 2)
		sum += static_cast<uint32_t>((i + 1 < bytes.size() ? bytes[i + 1] : 0) << 8 | bytes[i]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return static_cast<uint16_t>(~sum);
}

} // namespace

uint16_t transport_checksum(const hf_flow_key &flow, const Bytes &segment)
{
	Bytes pseudo;

	// An IPv4 address is ::ffff:a.b.c.d here: the 0xffff adds nothing to a sum in ones' complement.
	append(pseudo, flow.source);
	append(pseudo, flow.destination);
	append(pseudo, to_network(static_cast<uint16_t>(flow.protocol)));
	append(pseudo, to_network(static_cast<uint16_t>(segment.size())));
	pseudo.insert(pseudo.end(), segment.begin(), segment.end());
	return checksum(pseudo);
}

Bytes make_frame(const hf_flow_key &flow, const Bytes &segment)
{
	const bool ipv4 = Address(flow.source).is_ipv4();
	ethhdr ethernet{};
	Bytes frame;

	ethernet.h_source[0] = 2;
	ethernet.h_proto = to_network(ipv4 ? ETH_P_IP : ETH_P_IPV6);
	append(frame, ethernet);
	if (ipv4) {
		iphdr ip{};
		Bytes header;

		ip.version = 4;
		ip.ihl = 5;
		ip.tot_len = to_network(static_cast<uint16_t>(sizeof(ip) + segment.size()));
		ip.frag_off = to_network(0x4000);
		ip.ttl = 64;
		ip.protocol = flow.protocol;
		std::memcpy(&ip.saddr, flow.source + 12, 4);
		std::memcpy(&ip.daddr, flow.destination + 12, 4);
		append(header, ip);
		ip.check = checksum(header);
		append(frame, ip);
	} else {
		ipv6hdr ip{};

		ip.version = 6;
		ip.payload_len = to_network(static_cast<uint16_t>(segment.size()));
		ip.nexthdr = flow.protocol;
		ip.hop_limit = 64;
		std::memcpy(&ip.saddr, flow.source, 16);
		std::memcpy(&ip.daddr, flow.destination, 16);
		append(frame, ip);
	}
	frame.insert(frame.end(), segment.begin(), segment.end());
	return frame;
}

} // namespace holdfast
