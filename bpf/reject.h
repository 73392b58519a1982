/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Telling a sender "no": a TCP segment becomes the RST that answers it (RFC 9293,
 * 3.10.7.1), and goes back the way it came.
 */
#pragma once

#include "tcp.h"

/* Global: verified once. */
__noinline int reject_with_reset(hook_context *context, const struct packet *packet)
{
	struct tcp_workplace *workplace = tcp_workplace_get();
	const struct tcphdr *tcp;
	struct segment *segment;

	if (!workplace || !packet)
		return drop(HF_REASON_state_missing);
	tcp = packet_data(context) + (packet->transport & TRANSPORT_OFFSET_MASK);
	if ((void *)(tcp + 1) > packet_end(context))
		return drop(HF_REASON_malformed);
	segment = &workplace->segment;
	if (tcp->ack)
		segment_begin(segment, TCP_RST, bpf_ntohl(tcp->ack_seq), 0, 0);
	else
		segment_begin(segment, TCP_RST | TCP_ACK, 0,
			      bpf_ntohl(tcp->seq) + packet->payload_length + tcp->syn + tcp->fin, 0);
	segment_turn(segment, &packet->flow);
	segment->partial = packet_checksum_is_partial(context, packet->transport + offsetof(struct tcphdr, check));
	if (segment_write(context, packet, segment))
		return drop(HF_REASON_packet_resize);
	return segment_return(context);
}

/* The end of a packet that cannot be served. */
static __always_inline int reject(hook_context *context, const struct packet *packet, enum hf_reason reason)
{
	if (packet->flow.protocol != IPPROTO_TCP)
		return drop(reason);
	if (packet->tcp_flags & TCP_RST)
		return drop(HF_REASON_rejected_reset);
	reason_count(reason);
	return reject_with_reset(context, packet);
}
