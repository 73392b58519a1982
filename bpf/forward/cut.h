/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What nat46 makes too long, and its sender allows to be fragmented (RFC 7915, 4.1): a
 * piece is cut off in front, as long as its way takes, and both come in again, as
 * fragments of IPv4 that a router might have made. What is left is cut once more if it
 * has to be.
 */
#pragma once

#include "nat46.h"

/*
 * Is it done like this? Of a datagram whose key may lie at its end, its sender makes the fragments; whole segments of
 * TCP, and what GRO has put together, heed the MTU that they are told.
 */
static __always_inline bool cut_may(hook_context *context, const struct packet *packet,
				    const struct hf_connection *connection)
{
	const struct iphdr *ip = packet_data(context) + (packet->network & NETWORK_OFFSET_MASK);

	return family_changes(connection) && packet->ipv4 && !packet_is_segmented_later(context) &&
	       (packet->fragment ||
		(packet->flow.protocol == IPPROTO_UDP && !(connection->flags & HF_CONNECTION_PER_DATAGRAM))) &&
	       (void *)(ip + 1) <= packet_end(context) && !(ip->frag_off & bpf_htons(FRAGMENT_NEVER));
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
	__u32 at = packet->transport + offsetof(struct udphdr, check);
	__be16 check;

	if (packet->fragment)
		return true;
	return !packet_load(context, at, &check, sizeof(check)) && !packet_checksum_is_partial(context, at) &&
	       !packet_patch(context, at, &check, sizeof(check));
}

/* `mtu`: the longest packet, as it came. HAND_OVER: it cannot be cut. */
static __noinline int cut(hook_context *context, const struct packet *packet, __u32 mtu)
{
	__u32 header = packet->transport - packet->network, payload = packet->network_length - header, piece, rest;
	__u16 more = packet->fragment & FRAGMENT_MORE, place = packet->fragment & FRAGMENT_OFFSET;
	struct message *message = message_get();
	int verdict;

	if (!message)
		return drop(HF_REASON_state_missing);
	/* A whole one has no fragment header yet. */
	piece = mtu - header - (packet->fragment ? 0 : FAMILY_FRAGMENT_HEADER);
	piece &= ~7U;
	rest = payload - piece;
	if (mtu > 0xffff || piece - 8 >= payload - 8 || rest - 1 >= HF_MESSAGE_BYTES || !cut_is_summed(context, packet))
		return HAND_OVER;
	if (place + piece / 8 > FRAGMENT_OFFSET)
		return drop(HF_REASON_malformed);
	if (!packet->fragment) {
		verdict = family_sum_datagram(context, packet);
		if (verdict != CONTINUE)
			return verdict;
	}
	if (packet_load(context, packet->transport + piece, message->bytes, below(rest - 1, HF_MESSAGE_BYTES) + 1))
		return drop(HF_REASON_malformed);
	if (!cut_write_header(context, packet, piece, FRAGMENT_MORE | place) ||
	    packet_resize(context, packet->transport + piece) || packet_in_clone(context) ||
	    packet_resize(context, packet->transport + rest) ||
	    packet_store(context, packet->transport, message->bytes, below(rest - 1, HF_MESSAGE_BYTES) + 1) ||
	    !cut_write_header(context, packet, rest, more | (place + piece / 8)))
		return drop(HF_REASON_packet_resize);
	reason_count(HF_REASON_fragmented);
	return packet_in(context);
}
