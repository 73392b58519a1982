/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What nat46 makes too long, and its sender allows to be fragmented (RFC 7915, 4.1): a
 * piece is cut off in front, and both come in again, as fragments of IPv4 that a router
 * might have made. What is left is cut once more if it has to be.
 */
#pragma once

#include "nat46.h"

/* Of a piece, behind its network header: what every IPv6 link carries (1280). A multiple of eight. */
#define CUT_BYTES 1232

/* Is it done like this? Streams that are numbered anew, and what GRO has put together, heed the MTU that they are told. */
static __always_inline bool cut_may(hook_context *context, const struct packet *packet,
				    const struct hf_connection *connection)
{
	const struct iphdr *ip = packet_data(context) + (packet->network & NETWORK_OFFSET_MASK);

	return family_changes(connection) && packet->ipv4 && !(connection->flags & HF_CONNECTION_SPLICED) &&
	       packet->network_length - (packet->transport - packet->network) > CUT_BYTES &&
	       !packet_is_segmented_later(context) && (void *)(ip + 1) <= packet_end(context) &&
	       !(ip->frag_off & bpf_htons(FRAGMENT_NEVER));
}

/* The network header of a piece with so many bytes. */
static __always_inline bool cut_write_header(hook_context *context, const struct packet *packet, __u32 bytes,
					     __u16 fragment)
{
	struct iphdr *ip = packet_data(context) + (packet->network & NETWORK_OFFSET_MASK);
	__be16 length = bpf_htons(packet->transport - packet->network + bytes), place = bpf_htons(fragment);

	if ((void *)(ip + 1) > packet_end(context))
		return false;
	ip->check =
		csum_update(ip->check, csum_difference16(ip->tot_len, length) + csum_difference16(ip->frag_off, place));
	ip->tot_len = length;
	ip->frag_off = place;
	return true;
}

/* A checksum that is left to hardware would be written into the wrong place. */
static __always_inline bool cut_is_summed(hook_context *context, const struct packet *packet)
{
	__u32 at = packet->transport + (packet->flow.protocol == IPPROTO_TCP ? offsetof(struct tcphdr, check)
									     : offsetof(struct udphdr, check));
	__be16 check;

	if (packet->fragment)
		return true;
	return !packet_load(context, at, &check, sizeof(check)) && !packet_checksum_is_partial(context, at) &&
	       !packet_patch(context, at, &check, sizeof(check));
}

/* `mtu`: what its sender is told, where it cannot be done. */
static __noinline int cut(hook_context *context, const struct packet *packet, __u32 mtu)
{
	__u32 rest = packet->network_length - (packet->transport - packet->network) - CUT_BYTES;
	__u16 more = packet->fragment & FRAGMENT_MORE, place = packet->fragment & FRAGMENT_OFFSET;
	struct message *message = message_get();
	int verdict;

	if (!message)
		return drop(HF_REASON_state_missing);
	if (rest - 1 >= HF_MESSAGE_BYTES || !cut_is_summed(context, packet))
		return reject_too_big(context, packet, mtu);
	if (!packet_is_later_fragment(packet) && packet->flow.protocol == IPPROTO_UDP) {
		verdict = family_sum_datagram(context, packet);
		if (verdict != CONTINUE)
			return verdict;
	}
	if (packet_load(context, packet->transport + CUT_BYTES, message->bytes, below(rest - 1, HF_MESSAGE_BYTES) + 1))
		return drop(HF_REASON_malformed);
	if (!cut_write_header(context, packet, CUT_BYTES, FRAGMENT_MORE | place) ||
	    packet_resize(context, packet->transport + CUT_BYTES) || packet_in_clone(context) ||
	    packet_resize(context, packet->transport + rest) ||
	    packet_store(context, packet->transport, message->bytes, below(rest - 1, HF_MESSAGE_BYTES) + 1) ||
	    !cut_write_header(context, packet, rest, more | (place + CUT_BYTES / 8)))
		return drop(HF_REASON_packet_resize);
	reason_count(HF_REASON_fragmented);
	return packet_in(context);
}
