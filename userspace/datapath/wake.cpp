// SPDX-License-Identifier: GPL-2.0
#include "datapath/wake.h"

#include <cstring>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <netinet/in.h>

#include "datapath/encode.h"
#include "util/log.h"

namespace holdfast
{

namespace
{

using Bytes = std::vector<uint8_t>;

template <typename Header> void append(Bytes &bytes, const Header &header)
{
	const auto *first = reinterpret_cast<const uint8_t *>(&header);

	bytes.insert(bytes.end(), first, first + sizeof(header));
}

void append_word(Bytes &bytes, uint32_t word)
{
	append(bytes, __builtin_bswap32(word));
}

// RFC 1071, of an even number of bytes.
uint16_t checksum(const Bytes &bytes)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < bytes.size(); i += 2)
		sum += static_cast<uint32_t>(bytes[i + 1] << 8 | bytes[i]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return static_cast<uint16_t>(~sum);
}

// The header of the client's acknowledgement, with its checksum.
Bytes make_tcp(const hf_splice &splice)
{
	const bool stamps = splice.flags & HF_SPLICE_TIMESTAMPS;
	Bytes pseudo, options;
	tcphdr tcp{};

	tcp.source = splice.client.source_port;
	tcp.dest = splice.client.destination_port;
	tcp.seq = __builtin_bswap32(splice.client_next);
	tcp.ack_seq = __builtin_bswap32(splice.server_first);
	tcp.doff = stamps ? 8 : 5;
	tcp.ack = 1;
	tcp.window = to_network(splice.client_window);
	if (stamps) {
		append_word(options, 0x0101080a);
		append_word(options, splice.client_timestamp);
		append_word(options, splice.timestamp_sent);
	}
	append(pseudo, splice.client.source);
	append(pseudo, splice.client.destination);
	append(pseudo, to_network(IPPROTO_TCP));
	append(pseudo, to_network(static_cast<uint16_t>(tcp.doff * 4)));
	append(pseudo, tcp);
	pseudo.insert(pseudo.end(), options.begin(), options.end());
	tcp.check = checksum(pseudo);
	Bytes bytes;
	append(bytes, tcp);
	bytes.insert(bytes.end(), options.begin(), options.end());
	return bytes;
}

Bytes make_acknowledgement(const hf_splice &splice)
{
	const bool ipv4 = Address(splice.client.source).is_ipv4();
	const Bytes tcp = make_tcp(splice);
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
		ip.tot_len = to_network(static_cast<uint16_t>(sizeof(ip) + tcp.size()));
		ip.frag_off = to_network(0x4000);
		ip.ttl = 64;
		ip.protocol = IPPROTO_TCP;
		std::memcpy(&ip.saddr, splice.client.source + 12, 4);
		std::memcpy(&ip.daddr, splice.client.destination + 12, 4);
		append(header, ip);
		ip.check = checksum(header);
		append(frame, ip);
	} else {
		ipv6hdr ip{};

		ip.version = 6;
		ip.payload_len = to_network(static_cast<uint16_t>(tcp.size()));
		ip.nexthdr = IPPROTO_TCP;
		ip.hop_limit = 64;
		std::memcpy(&ip.saddr, splice.client.source, 16);
		std::memcpy(&ip.daddr, splice.client.destination, 16);
		append(frame, ip);
	}
	frame.insert(frame.end(), tcp.begin(), tcp.end());
	return frame;
}

} // namespace

void wake_splices(Maps &maps, int interface)
{
	for (const uint32_t slot : maps.take_sleeping_splices()) {
		const auto splice = maps.splices.find(slot);

		if (!splice || splice->state == HF_SPLICE_FREE || splice->state == HF_SPLICE_BOUND)
			continue;
		if (auto put = maps.inject(make_acknowledgement(*splice), interface); !put) {
			log_error("{}", put.error().message());
			return;
		}
	}
}

} // namespace holdfast
