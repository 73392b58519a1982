/* SPDX-License-Identifier: GPL-2.0 */
/* The way out: where no next hop is known, and the link header. */
#pragma once

#include "family.h"
#include "forward/cut.h"
#include "nexthop.h"
#include "reject.h"

/* A packet that is longer than what its way takes, `mtu`, as it came. */
static __always_inline int way_is_too_narrow(hook_context *context, const struct packet *packet,
					     const struct hf_connection *connection, __u32 mtu)
{
	int verdict;

	if (cut_may(context, packet, connection)) {
		verdict = HOOK_HAS_LOWER_HOOK ? HOOK_PASS : cut(context, packet, mtu);
		if (verdict != HAND_OVER)
			return verdict;
	}
	return reject_too_big(context, packet, mtu);
}

/*
 * The next hop of a packet whose connection has none from the mirror, or one
 * that this hook cannot reach. CONTINUE: `answer` says where.
 */
static __always_inline int way_find(hook_context *context, const struct packet *packet,
				    struct hf_connection *connection, struct next_hop_answer *answer)
{
	__u16 generation = routes_generation();
	int reason = next_hop_ask(context, packet, connection, answer);

	if (reason == HF_REASON_too_big)
		return way_is_too_narrow(context, packet, connection, family_mtu(packet, connection, answer->hop.mtu));
	/* What a member's service sends to this host, which asked it whether it is well. */
	if (reason == HF_REASON_no_route && connection->flags & HF_CONNECTION_PER_DATAGRAM && !connection->last_seen)
		return HOOK_PASS;
	if (reason)
		return drop(reason);
	connection->next_hop = answer->index;
	connection->route_generation = generation;
	return CONTINUE;
}

/* A link header: MACs in front of whatever tags the next hop wants. */
static __always_inline int way_write_link(hook_context *context, const struct packet *packet,
					  const struct hf_next_hop *hop)
{
	struct ethhdr *ethernet;

	if (unlikely(packet->tags || hop->vlan_tci || packet_has_link_tag(context))) {
		if (packet_retag(context, packet->tags, hop->vlan_protocol, hop->vlan_tci))
			return drop(HF_REASON_packet_resize);
	}
	ethernet = packet_data(context);
	if ((void *)(ethernet + 1) > packet_end(context))
		return drop(HF_REASON_packet_resize);
	__builtin_memcpy(ethernet->h_dest, hop->destination_mac, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, hop->source_mac, ETH_ALEN);
	return CONTINUE;
}
