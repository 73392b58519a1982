/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The way of a packet, the same on every hook:
 *
 *   parse -- nobody's --> PASS
 *     |
 *   connection -- none, or over --> embryonic, or decided anew
 *     |
 *   next hop -> translate -> out
 *
 * The straight way down is the fast path: one hash look-up, no calls.
 */
#pragma once

#include "connection.h"
#include "forward/nat.h"
#include "reject.h"

/*
 * The next hop of a packet whose connection has none from the mirror, or one
 * that this hook cannot reach. CONTINUE: `answer` says where.
 */
static __noinline int datapath_find_way(hook_context *context, const struct packet *packet,
					struct hf_connection *connection, struct next_hop_answer *answer)
{
	__u16 generation = routes_generation();
	int reason = next_hop_ask(context, packet, connection, answer);

	if (reason) {
		reason_count(reason);
		return HOOK_DROP;
	}
	connection->next_hop = answer->index;
	connection->route_generation = generation;
	return CONTINUE;
}

/* A link header: MACs in front of whatever tags the next hop wants. */
static __always_inline int datapath_write_link(hook_context *context, const struct packet *packet,
					       const struct hf_next_hop *hop)
{
	struct ethhdr *ethernet;

	if (unlikely(packet->tags || hop->vlan_tci || packet_has_link_tag(context))) {
		if (packet_retag(context, packet->tags, hop->vlan_protocol, hop->vlan_tci)) {
			reason_count(HF_REASON_packet_resize);
			return HOOK_DROP;
		}
	}
	ethernet = packet_data(context);
	if ((void *)(ethernet + 1) > packet_end(context)) {
		reason_count(HF_REASON_packet_resize);
		return HOOK_DROP;
	}
	__builtin_memcpy(ethernet->h_dest, hop->destination_mac, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, hop->source_mac, ETH_ALEN);
	return CONTINUE;
}

static __always_inline int datapath_forward(hook_context *context, const struct packet *packet,
					    struct hf_connection *connection)
{
	bool reply = connection->flags & HF_CONNECTION_REPLY;
	__u32 index = connection->next_hop;
	const struct hf_next_hop *hop = bpf_map_lookup_elem(&next_hops, &index);
	struct next_hop_answer answer;
	bool neighbour = false;
	int verdict;

	if (unlikely(!hop || !hop->interface)) {
		verdict = datapath_find_way(context, packet, connection, &answer);
		if (verdict != CONTINUE)
			return verdict;
		hop = answer.index ? bpf_map_lookup_elem(&next_hops, &answer.index) : NULL;
	}
	if (HOOK_HAS_LOWER_HOOK && (!hop || !(hop->flags & HF_NEXT_HOP_XDP))) {
		reason_count(HF_REASON_next_hop_stack);
		return HOOK_PASS;
	}
	if (unlikely(!hop)) {
		/* Not in the mirror: the FIB's own answer, for this packet. */
		neighbour = !answer.resolved;
		reason_count(neighbour ? HF_REASON_next_hop_neighbour : HF_REASON_next_hop_fib);
		hop = &answer.hop;
	}
	if (unlikely(packet->network_length > hop->mtu) && !packet_is_segmented_later(context)) {
		reason_count(HF_REASON_too_big);
		return HOOK_DROP;
	}
	verdict = nat_translate(context, packet, connection);
	if (verdict != CONTINUE)
		return verdict;
	traffic_count(connection->virtual_server, connection->member, reply, packet->network_length);
	verdict = datapath_write_link(context, packet, hop);
	if (verdict != CONTINUE)
		return verdict;
	return neighbour ? packet_out_neighbour(context, hop->interface) : packet_out(context, hop->interface);
}

/* A packet that belongs to no established connection. CONTINUE: translate it with `connection`. */
static __always_inline int datapath_begin(hook_context *context, const struct packet *packet,
					  struct hf_connection *connection, __u32 now)
{
	struct hf_embryonic_connection *embryo = bpf_map_lookup_elem(&embryonic_connections, &packet->flow);
	enum hf_reason refused = HF_REASON_COUNT;
	const struct hf_connection *established;
	struct decision decision = {};
	int verdict;

	if (embryo && embryo_has(embryo, packet, now))
		return connection_nurse(context, packet, embryo, connection, now);
	if (!packet_opens(packet)) {
		/* Between the two look-ups another CPU may have established it. */
		established = bpf_map_lookup_elem(&connections, &packet->flow);
		if (established && !connection_expired(established, now)) {
			*connection = *established;
			return CONTINUE;
		}
	}
	verdict = connection_place(packet, &decision, &refused, now);
	if (verdict != CONTINUE)
		return verdict;
	if (refused != HF_REASON_COUNT)
		return reject(context, packet, refused);
	return connection_conceive(packet, &decision, connection, now);
}

static __always_inline int datapath(hook_context *context)
{
	struct hf_connection *connection, begun;
	struct packet packet;
	__u32 now;
	int verdict;

	verdict = parse_packet(context, &packet);
	if (verdict != CONTINUE)
		return verdict;
	now = clock_now();
	connection = bpf_map_lookup_elem(&connections, &packet.flow);
	if (connection && (connection->last_seen != now || packet.tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST))) {
		if (connection_track(&packet, connection, now))
			next_hop_check(context, &packet, connection, now);
		else
			connection = NULL;
	}
	if (unlikely(!connection)) {
		verdict = datapath_begin(context, &packet, &begun, now);
		if (verdict != CONTINUE)
			return verdict;
		connection = &begun;
		next_hop_check(context, &packet, connection, now);
	}
	return datapath_forward(context, &packet, connection);
}
