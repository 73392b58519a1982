/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The front of a virtual server that splices: packets that belong to no connection.
 * A SYN gets a cookie; who acknowledges one is let in; everybody else is told that
 * there is nothing.
 */
#pragma once

#include "admit.h"

/*
 * Does a segment of a flow whose connection is over acknowledge a new cookie? Who has
 * not received that cannot end what is there. Global: verified once.
 */
__noinline int front_begins_anew(hook_context *context, const struct packet *packet)
{
	const struct tcphdr *tcp;

	if (!packet)
		return 0;
	tcp = packet_data(context) + (packet->transport & TRANSPORT_OFFSET_MASK);
	if ((void *)(tcp + 1) > packet_end(context) || (packet->tcp_flags & (TCP_ACK | TCP_SYN | TCP_RST)) != TCP_ACK)
		return 0;
	return cookie_is_ours(&packet->flow, bpf_ntohl(tcp->seq), bpf_ntohl(tcp->ack_seq), clock_now());
}

/* HAND_OVER: the packet begins a connection, on TC, where packets can grow and be copied. */
static __always_inline int front(hook_context *context, const struct packet *packet, __u32 virtual_server)
{
	const struct hf_virtual_server *settings = service_settings(virtual_server);
	const struct tcphdr *tcp = packet_data(context) + (packet->transport & TRANSPORT_OFFSET_MASK);
	__u32 now = clock_now(), acknowledgement;

	if (!settings)
		return HOOK_PASS; /* it is just being removed */
	if (packet_opens(packet))
		return cookie_answer(context, packet, settings);
	if ((packet->tcp_flags & (TCP_ACK | TCP_SYN | TCP_RST)) != TCP_ACK || (void *)(tcp + 1) > packet_end(context))
		return reject(context, packet, HF_REASON_no_connection);
	acknowledgement = bpf_ntohl(tcp->ack_seq);
	if (cookie_is_ours(&packet->flow, bpf_ntohl(tcp->seq), acknowledgement, now))
		return HOOK_HAS_LOWER_HOOK ? admit(context, packet, virtual_server, now) : HAND_OVER;
	/*
	 * The second segment of a client whose first one, and whose handshake, was lost
	 * fits no cookie, either: no RST for what may be such.
	 */
	if (cookie_is_plausible(acknowledgement - 1, now))
		return drop(HF_REASON_cookie_invalid);
	return reject(context, packet, HF_REASON_no_connection);
}
