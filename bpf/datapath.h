/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The way of a packet, the same on every hook:
 *
 *   parse -- nobody's --> PASS
 *     |
 *   connection -- none, or over --> embryonic, or decided anew -- the rule reads
 *     |                             datagrams --> parser, decide (datagram.h)
 *     |
 *   next hop -> translate -> out
 *
 * The straight way down is the fast path: one hash look-up, no calls.
 */
#pragma once

#include "datagram.h"
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

	if (unlikely(packet_is_first_fragment(packet)))
		fragment_remember(packet, connection);
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
					  struct hf_connection *connection, __u32 *parser, __u32 now)
{
	struct hf_embryonic_connection *embryo = bpf_map_lookup_elem(&embryonic_connections, &packet->flow);
	enum hf_reason refused = HF_REASON_COUNT;
	const struct hf_connection *established;
	struct decision decision = {};
	int verdict;

	if (embryo && embryo_has(embryo, packet, now)) {
		verdict = connection_nurse(context, packet, embryo, connection, now);
		if (verdict == CONTINUE && connection_is_established(connection))
			connection_record(packet, connection, now);
		return verdict;
	}
	if (!packet_opens(packet)) {
		/* Between the two look-ups another CPU may have established it. */
		established = bpf_map_lookup_elem(&connections, &packet->flow);
		if (established && !connection_goes_by_datagram(established) && !connection_expired(established, now)) {
			*connection = *established;
			return CONTINUE;
		}
	}
	if (!packet->to_virtual && connection_member_speaks(packet, connection))
		return CONTINUE;
	verdict = connection_place(packet, &decision, &refused, now);
	if (verdict == HAND_OVER) {
		*parser = datagram_load(context, packet, NULL, decision.virtual_server);
		return *parser ? HAND_OVER : HOOK_PASS; /* the virtual server is just being removed */
	}
	if (verdict != CONTINUE)
		return verdict;
	if (refused != HF_REASON_COUNT)
		return reject(context, packet, refused);
	return connection_conceive(packet, &decision, connection, embryo, now);
}

/* The established connection of a packet. CONTINUE: `*found` is it, or NULL. */
static __always_inline int datapath_continue(hook_context *context, const struct packet *packet,
					     struct hf_connection **found, __u32 *parser, __u32 now)
{
	struct hf_connection *connection = bpf_map_lookup_elem(&connections, &packet->flow);

	*found = connection;
	if (!connection || (connection->last_seen == now && !(packet->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)) &&
			    !(connection->flags & HF_CONNECTION_PER_DATAGRAM)))
		return CONTINUE;
	if (connection_goes_by_datagram(connection)) {
		*found = NULL;
		*parser = datagram_load(context, packet, connection, connection->virtual_server);
		return *parser ? HAND_OVER : CONTINUE; /* the rule is another one by now */
	}
	if (!connection_track(packet, connection, now)) {
		*found = NULL;
		return CONTINUE;
	}
	next_hop_check(context, packet, connection, now);
	*parser = 0;
	if (connection->flags & HF_CONNECTION_PER_DATAGRAM)
		*parser = datagram_load_members(context, packet, connection);
	return *parser ? HAND_OVER : CONTINUE;
}

/* HAND_OVER: the program goes on with the stage `parser`. */
static __always_inline int datapath(hook_context *context, __u32 *parser)
{
	struct hf_connection *connection;
	struct datagram *scratch;
	struct packet packet;
	__u32 now;
	int verdict;

	verdict = parse_packet(context, &packet);
	if (verdict != CONTINUE)
		return verdict;
	now = clock_now();
	connection = NULL;
	if (likely(!packet_is_later_fragment(&packet))) {
		verdict = datapath_continue(context, &packet, &connection, parser, now);
		if (verdict != CONTINUE)
			return verdict;
	}
	if (unlikely(!connection)) {
		scratch = datagram_get();
		if (!scratch)
			return HOOK_DROP;
		connection = &scratch->connection;
		if (packet_is_later_fragment(&packet))
			verdict = fragment_follow(&packet, connection, now);
		else
			verdict = datapath_begin(context, &packet, connection, parser, now);
		if (verdict != CONTINUE)
			return verdict;
		next_hop_check(context, &packet, connection, now);
		*parser = 0;
		if (connection->flags & HF_CONNECTION_PER_DATAGRAM && !packet_is_later_fragment(&packet))
			*parser = datagram_load_members(context, &packet, connection);
		if (*parser)
			return HAND_OVER;
	}
	return datapath_forward(context, &packet, connection);
}

/* The program that a parser hands the datagram to. */
static __always_inline int datapath_decided(hook_context *context)
{
	struct datagram *datagram = datagram_get();
	struct hf_connection *connection;
	int verdict;

	if (!datagram)
		return HOOK_DROP;
	if (datagram->from_member) {
		datagram_learn(datagram, clock_now());
		connection = bpf_map_lookup_elem(&connections, &datagram->packet.flow);
		return datapath_forward(context, &datagram->packet, connection ?: &datagram->connection);
	}
	verdict = datagram_decide(context, datagram);
	if (verdict != CONTINUE)
		return verdict;
	return datapath_forward(context, &datagram->packet, &datagram->connection);
}
