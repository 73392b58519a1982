/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Translation (dnat): the destination's address and port on the way to the
 * member, the source's on the way back. Checksums are updated, never made anew
 * (RFC 1624), so that an error on the wire stays visible to the end hosts.
 */
#pragma once

#include "../parse.h"

/* False: the packet has spent its last hop. */
static __always_inline bool nat_network_ipv4(hook_context *context, const struct packet *packet,
					     const struct hf_connection *connection, bool reply)
{
	struct iphdr *ip = packet_data(context) + (packet->network & NETWORK_OFFSET_MASK);
	__be32 address = *(const __be32 *)(connection->address + 12);

	if ((void *)(ip + 1) > packet_end(context) || ip->ttl <= 1)
		return false;
	if (reply)
		ip->saddr = address;
	else
		ip->daddr = address;
	ip->ttl--;
	ip->check = csum_update(ip->check, connection->address_checksum + (__u16)~bpf_htons(0x0100));
	return true;
}

static __always_inline bool nat_network_ipv6(hook_context *context, const struct packet *packet,
					     const struct hf_connection *connection, bool reply)
{
	struct ipv6hdr *ip = packet_data(context) + (packet->network & NETWORK_OFFSET_MASK);

	if ((void *)(ip + 1) > packet_end(context) || ip->hop_limit <= 1)
		return false;
	if (reply)
		__builtin_memcpy(&ip->saddr, connection->address, 16);
	else
		__builtin_memcpy(&ip->daddr, connection->address, 16);
	ip->hop_limit--;
	/* No header checksum takes the changes up. */
	packet_note_change(context, connection->address_checksum + (__u16)~bpf_htons(1));
	return true;
}

static __always_inline int nat_translate(hook_context *context, const struct packet *packet,
					 const struct hf_connection *connection)
{
	bool reply = connection->flags & HF_CONNECTION_REPLY;
	__be16 old_port = reply ? packet->flow.source_port : packet->flow.destination_port;
	__u32 offset = packet->transport & TRANSPORT_OFFSET_MASK;
	struct udphdr *udp;
	struct tcphdr *tcp;

	if (!(packet->ipv4 ? nat_network_ipv4(context, packet, connection, reply)
			   : nat_network_ipv6(context, packet, connection, reply)))
		return drop(HF_REASON_hop_limit);
	if (unlikely(packet_is_later_fragment(packet)))
		return CONTINUE; /* ports and checksum were in the first one */
	udp = packet_data(context) + offset;
	if ((void *)(udp + 1) > packet_end(context))
		return drop(HF_REASON_malformed);
	/* The ports are in the same place in both protocols. Both are written: the value is computed, not the place. */
	udp->source = reply ? connection->port : packet->flow.source_port;
	udp->dest = reply ? packet->flow.destination_port : connection->port;
	if (packet->flow.protocol == IPPROTO_UDP) {
		packet_update_l4_checksum(context, offset + offsetof(struct udphdr, check), &udp->check,
					  connection->address_checksum, old_port, connection->port, true);
		return CONTINUE;
	}
	tcp = (void *)udp;
	if ((void *)(tcp + 1) > packet_end(context))
		return drop(HF_REASON_malformed);
	packet_update_l4_checksum(context, offset + offsetof(struct tcphdr, check), &tcp->check,
				  connection->address_checksum, old_port, connection->port, false);
	return CONTINUE;
}
