// SPDX-License-Identifier: GPL-2.0
#include "datapath/wake.h"

#include <cstring>
#include <linux/tcp.h>

#include "datapath/encode.h"
#include "datapath/frame.h"
#include "util/log.h"

namespace holdfast
{

namespace
{

void append_word(Bytes &bytes, uint32_t word)
{
	append(bytes, __builtin_bswap32(word));
}

// The header of the client's acknowledgement, with its checksum.
Bytes make_tcp(const hf_splice &splice)
{
	const bool stamps = splice.flags & HF_SPLICE_TIMESTAMPS;
	Bytes bytes, options;
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
	append(bytes, tcp);
	bytes.insert(bytes.end(), options.begin(), options.end());
	tcp.check = transport_checksum(splice.client, bytes);
	std::memcpy(bytes.data(), &tcp, sizeof(tcp));
	return bytes;
}

} // namespace

void wake_splices(Maps &maps, int interface)
{
	for (const uint32_t slot : maps.take_sleeping_splices()) {
		const auto splice = maps.splices.find(slot);

		if (!splice || splice->state == HF_SPLICE_FREE || splice->state == HF_SPLICE_BOUND)
			continue;
		if (auto put = maps.inject(make_frame(splice->client, make_tcp(*splice)), interface); !put) {
			log_error("{}", put.error().message());
			return;
		}
	}
}

} // namespace holdfast
