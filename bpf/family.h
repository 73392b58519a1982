/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The family of a packet's addresses, which nat46 and nat64 change: how long network
 * headers are, and what a packet is when it has another one.
 */
#pragma once

#include "parse.h"

/* IPv6's fragment header. */
#define FAMILY_FRAGMENT_HEADER 8

/* Of a network header with nothing special. */
static __always_inline __u32 family_header_length(bool ipv4)
{
	return ipv4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
}

static __always_inline bool family_changes(const struct hf_connection *connection)
{
	return connection->forwarding >= HF_FORWARDING_NAT46;
}

/* Bytes of the network header that a packet will have when its family has changed. */
static __always_inline __u32 family_new_length(const struct packet *packet)
{
	return family_header_length(!packet->ipv4) + (packet->ipv4 && packet->fragment ? FAMILY_FRAGMENT_HEADER : 0);
}

/* What its way takes, where the packet is counted as it came. */
static __always_inline __u32 family_mtu(const struct packet *packet, const struct hf_connection *connection, __u32 mtu)
{
	if (likely(!family_changes(connection)) || mtu > 0xffff)
		return mtu;
	return mtu + (packet->transport - packet->network) - family_new_length(packet);
}

/* The frame has a network header of `header` bytes now, of this family, and no tags. */
static __always_inline void family_note(struct packet *packet, bool ipv4, __u32 header)
{
	packet->network_length += header - (packet->transport - packet->network);
	packet->ipv4 = ipv4;
	packet->tags = 0;
	packet->network = sizeof(struct ethhdr);
	packet->transport = sizeof(struct ethhdr) + header;
}
