/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Admission: a client that acknowledges its SYN cookie has proved its address, and
 * its connection is remembered. XDP does that for a bare acknowledgement, so that the
 * kernel makes no skb for it; a segment with data is TC's.
 */
#pragma once

#include "../reject.h"
#include "splice.h"
#include "syn_cookie.h"

/* The client has proved its address: its connection is remembered. NULL: there is no room, the reason is counted. */
static __noinline struct hf_splice *opening_begin(const struct packet *packet, const struct tcp_seen *seen,
						  __u32 virtual_server, __u32 now)
{
	struct hf_connection connection = {
		.last_seen = now,
		.virtual_server = virtual_server,
		.state = HF_CONNECTION_COLLECTING,
		.flags = HF_CONNECTION_SPLICED,
	};
	__u32 low = (seen->acknowledgement - 1) & COOKIE_LOW, id = splice_take(&packet->flow, now), piece;
	const struct hf_virtual_server *settings = service_settings(virtual_server);
	struct hf_splice *splice = splice_get(id);
	const struct hf_pool *pool;
	__u32 pool_id = settings ? settings->pool : 0;

	if (!splice)
		return NULL;
	pool = bpf_map_lookup_elem(&pools, &pool_id);
	splice->virtual_server = virtual_server;
	splice->client_first = splice->client_next = seen->sequence;
	splice->server_first = seen->acknowledgement;
	splice->client_mss = cookie_mss(low >> 5);
	splice->client_scale = low & 15;
	splice->flags = (seen->timestamps_at ? HF_SPLICE_TIMESTAMPS : 0) | (low & 16 ? HF_SPLICE_SACK : 0) |
			((low & 15) != TCP_NO_SCALE ? HF_SPLICE_SCALE : 0);
	splice->timestamp_sent = seen->timestamp_echo;
	/* A full segment of the client's, so that it is replayed as it came. */
	piece = pool && pool->mss ? pool->mss : packet->ipv4 ? 1460 : 1440;
	piece -= seen->timestamps_at ? 12 : 0;
	if (piece > HF_PIECE_LONGEST)
		piece = HF_PIECE_LONGEST;
	if (piece < HF_PIECE_SHORTEST)
		piece = HF_PIECE_SHORTEST;
	splice->piece = piece;
	connection.splice = id;
	if (bpf_map_update_elem(&connections, &packet->flow, &connection, BPF_NOEXIST)) {
		splice_end(id);
		reason_count(HF_REASON_opening_busy);
		return NULL;
	}
	return splice;
}

/* What a segment tells beside its bytes, which have been found right. */
static __always_inline void opening_note(const struct packet *packet, const struct tcp_seen *seen,
					 struct hf_splice *splice, hook_context *context)
{
	if (seen->timestamps_at &&
	    (!splice->client_timestamp || (__s32)(seen->timestamp - splice->client_timestamp) > 0))
		splice->client_timestamp = seen->timestamp;
	splice->client_window = seen->window;
	if (!packet->ipv4) {
		__u32 word;

		if (!packet_load(context, packet->network, &word, sizeof(word)))
			splice->flow_label = word;
	}
}

/* XDP: a segment that acknowledges a cookie of ours. */
static __noinline int admit(hook_context *context, const struct packet *packet, __u32 virtual_server, __u32 now)
{
	struct tcp_workplace *workplace = tcp_workplace_get();
	const struct hf_virtual_server *settings = service_settings(virtual_server);
	struct hf_splice *splice;

	if (!workplace || !settings)
		return drop(HF_REASON_state_missing);
	if (packet->payload_length || packet->tcp_flags & TCP_FIN || settings->flags & HF_SERVER_BINDS_AT_ONCE)
		return HOOK_PASS;
	if (tcp_load(context, packet, &workplace->seen))
		return drop(HF_REASON_malformed);
	/* It may have been left to hardware that is not there: TC can tell. */
	if (tcp_sum(packet, &workplace->seen) != 0xffff)
		return HOOK_PASS;
	splice = opening_begin(packet, &workplace->seen, virtual_server, now);
	if (!splice)
		return HOOK_DROP; /* counted there */
	opening_note(packet, &workplace->seen, splice, context);
	return PACKET_TAKEN;
}
