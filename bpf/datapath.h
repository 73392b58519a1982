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
#include "splice/answers.h"
#include "splice/commit.h"
#include "splice/front.h"
#include "splice/insert.h"
#include "splice/translate.h"
#include "way.h"

/*
 * Another program goes on with the packet. Where the opening of a spliced connection
 * needs packets that grow and are copied, that is one of TC: XDP leaves it the packet
 * as it is.
 */
static __always_inline int datapath_hand_over(const struct packet *packet, __u32 virtual_server, __u32 stage,
					      __u32 *next)
{
	struct task *task = task_get();

	if (HOOK_HAS_LOWER_HOOK && (stage == HF_STAGE_COLLECT || stage == HF_STAGE_REPLAY || stage == HF_STAGE_EMIT))
		return HOOK_PASS;
	if (!task)
		return drop(HF_REASON_state_missing);
	task->packet = *packet;
	task->virtual_server = virtual_server;
	task->reading = task->refused = false;
	*next = stage;
	return HAND_OVER;
}

/* What a spliced connection's packet needs before its addresses are translated. */
static __always_inline int datapath_translate_splice(hook_context *context, const struct packet *packet,
						     struct hf_connection *connection, __u32 *next,
						     enum translate_known known)
{
	int verdict = splice_translate(context, packet, connection, known);

	if (verdict == SPLICE_READ) {
		struct task *task = task_get();

		if (task)
			task->connection = *connection;
		return datapath_hand_over(packet, connection->virtual_server,
					  connection->flags & HF_CONNECTION_REPLY ? HF_STAGE_ANSWER : HF_STAGE_REQUEST,
					  next);
	}
	if (verdict == SPLICE_EDIT) {
		struct task *task = task_get();

		if (task) {
			task->connection = *connection;
			task->source = EMIT_SEGMENT;
			task->limit = 0;
		}
		return datapath_hand_over(packet, connection->virtual_server, HF_STAGE_EMIT, next);
	}
	if (verdict == HAND_OVER)
		return datapath_hand_over(packet, connection->virtual_server, HF_STAGE_REPLAY, next);
	if (verdict == SPLICE_LOST) {
		connection_remove(&packet->flow, connection);
		return reject(context, packet, HF_REASON_splice_lost);
	}
	return verdict;
}

/* What was found in the segment is put into it. HAND_OVER: nothing was. */
static __always_inline int datapath_insert(hook_context *context, struct packet *packet,
					   const struct hf_connection *connection, __u32 mtu)
{
	const struct hf_splice *splice = splice_get(connection->splice);
	const struct task *task = task_get();
	__u32 most;

	if (!task || !task->edits.count || !splice)
		return HAND_OVER;
	/* What its receiver takes, and its way. */
	most = packet->transport - packet->network + sizeof(struct tcphdr) + splice->client_mss;
	if (splice->client_mss && mtu > most)
		mtu = most;
	/* A longer network header needs room in front, too. */
	if (family_changes(connection) && packet->ipv4 && task->edits.list[0].put > INSERT_BEFORE_GROWTH)
		return HOOK_PASS;
	reason_count(HF_REASON_cookie_written);
	return insert_in_place(context, packet, &task->edits, task->sequence, mtu);
}

/* `next`: what HAND_OVER names; NULL for datagrams. `read`: what the segment says is known. */
static __always_inline int datapath_forward(hook_context *context, struct packet *packet,
					    struct hf_connection *connection, __u32 *next, bool read)
{
	bool reply = connection->flags & HF_CONNECTION_REPLY;
	__u32 index = connection->next_hop;
	const struct hf_next_hop *hop = bpf_map_lookup_elem(&next_hops, &index);
	struct next_hop_answer answer;
	bool neighbour = false;
	int verdict;
	__u32 mtu;

	if (unlikely(packet_is_first_fragment(packet)))
		fragment_remember(packet, connection);
	if (unlikely(!hop || !hop->interface)) {
		verdict = way_find(context, packet, connection, &answer);
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
		/* The kernel would look for the packet's own destination. */
		if (neighbour && connection->forwarding == HF_FORWARDING_DIRECT)
			return drop(HF_REASON_neighbour_unknown);
		reason_count(neighbour ? HF_REASON_next_hop_neighbour : HF_REASON_next_hop_fib);
		hop = &answer.hop;
	}
	mtu = family_mtu(packet, connection, hop->mtu);
	if (unlikely(packet->network_length > mtu) &&
	    packet_segment_length(context, packet->network_length - packet->payload_length, packet->network_length) >
		    mtu)
		return way_is_too_narrow(context, packet, connection, mtu);
	if (next && connection->flags & HF_CONNECTION_SPLICED && !packet_is_later_fragment(packet)) {
		enum translate_known known = read ? TRANSLATE_READ : TRANSLATE_UNREAD;

		/* An error quotes the packet as it came. */
		if (unlikely(!nat_has_hops(context, packet)))
			return reject_expired(context, packet);

		if (HOOK_HAS_LOWER_HOOK && read && reply) {
			verdict = datapath_insert(context, packet, connection, mtu);
			if (verdict == CONTINUE)
				known = TRANSLATE_EDITED;
			else if (verdict != HAND_OVER)
				return verdict;
		}
		verdict = datapath_translate_splice(context, packet, connection, next, known);
		if (verdict != CONTINUE)
			return verdict;
	}
	verdict = nat_translate(context, packet, connection);
	if (verdict != CONTINUE)
		return verdict;
	traffic_count(connection->virtual_server, connection->member, reply, packet->network_length);
	verdict = way_write_link(context, packet, hop);
	if (verdict != CONTINUE)
		return verdict;
	return neighbour ? packet_out_neighbour(context, hop->interface) : packet_out(context, hop->interface);
}

/* A packet that belongs to no established connection. CONTINUE: translate it with `connection`. */
static __always_inline int datapath_begin(hook_context *context, const struct packet *packet,
					  struct hf_connection *connection, __u32 *next, __u32 now)
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
		if (packet->flow.protocol == IPPROTO_TCP)
			return datapath_hand_over(packet, decision.virtual_server, HF_STAGE_FRONT, next);
		*next = datagram_load(context, packet, NULL, decision.virtual_server);
		return *next ? HAND_OVER : HOOK_PASS; /* the virtual server is just being removed */
	}
	if (verdict != CONTINUE)
		return verdict;
	if (refused != HF_REASON_COUNT)
		return reject(context, packet, refused);
	return connection_conceive(packet, &decision, connection, embryo, now);
}

/* The established connection of a packet. CONTINUE: `*found` is it, or NULL. */
static __always_inline int datapath_continue(hook_context *context, const struct packet *packet,
					     struct hf_connection **found, __u32 *next, __u32 now)
{
	struct hf_connection *connection = bpf_map_lookup_elem(&connections, &packet->flow);
	enum connection_fate fate;

	*found = connection;
	if (!connection ||
	    (connection->last_seen == now && !(packet->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)) &&
	     !(connection->flags & (HF_CONNECTION_PER_DATAGRAM | HF_CONNECTION_SPLICED | HF_CONNECTION_LEFT))))
		return CONTINUE;
	if (unlikely(connection->flags & HF_CONNECTION_LEFT)) {
		if (!connection_expired(connection, now))
			return packet->tcp_flags & TCP_RST ? PACKET_TAKEN
							   : reject(context, packet, HF_REASON_member_left);
		bpf_map_delete_elem(&connections, &packet->flow);
		*found = NULL;
		return CONTINUE;
	}
	if (connection->flags & HF_CONNECTION_SPLICED) {
		if (likely(connection->last_seen == now && connection->state < HF_CONNECTION_CLOSED &&
			   !(packet->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST))))
			return CONTINUE;
		if (connection->state >= HF_CONNECTION_COLLECTING && !connection_expired(connection, now))
			return datapath_hand_over(
				packet, connection->virtual_server,
				connection->flags & HF_CONNECTION_REPLY ? HF_STAGE_REPLAY : HF_STAGE_COLLECT, next);
		if (connection->state == HF_CONNECTION_CLOSED && !(connection->flags & HF_CONNECTION_REPLY)) {
			if (packet_opens(packet))
				return datapath_hand_over(packet, connection->virtual_server, HF_STAGE_FRONT, next);
			if (front_begins_anew(context, packet)) {
				connection_end(&packet->flow, connection);
				*found = NULL;
				return CONTINUE;
			}
		}
	}
	if (connection_goes_by_datagram(connection)) {
		*found = NULL;
		*next = datagram_load(context, packet, connection, connection->virtual_server);
		return *next ? HAND_OVER : CONTINUE; /* the rule is another one by now */
	}
	fate = connection_track(packet, connection, now);
	if (fate == CONNECTION_RESET) {
		connection_reset(&packet->flow, connection, now);
		return reject(context, packet, HF_REASON_member_down);
	}
	if (fate == CONNECTION_OVER) {
		*found = NULL;
		return CONTINUE;
	}
	next_hop_check(context, packet, connection, now);
	*next = 0;
	if (connection->flags & HF_CONNECTION_PER_DATAGRAM)
		*next = datagram_load_members(context, packet, connection);
	return *next ? HAND_OVER : CONTINUE;
}

/* HAND_OVER: the program goes on with the stage `next`. */
static __always_inline int datapath(hook_context *context, __u32 *next)
{
	struct hf_connection *connection;
	struct task *scratch;
	struct packet packet;
	__u32 now;
	int verdict;

	verdict = parse_packet(context, &packet);
	if (verdict == HAND_OVER)
		return datapath_hand_over(&packet, 0, HF_STAGE_ICMP, next);
	if (verdict != CONTINUE)
		return verdict;
	now = clock_now();
	connection = NULL;
	if (likely(!packet_is_later_fragment(&packet))) {
		verdict = datapath_continue(context, &packet, &connection, next, now);
		if (verdict != CONTINUE)
			return verdict;
	}
	if (unlikely(!connection)) {
		scratch = task_get();
		if (!scratch)
			return drop(HF_REASON_state_missing);
		connection = &scratch->connection;
		if (packet_is_later_fragment(&packet))
			verdict = fragment_follow(&packet, connection, now);
		else
			verdict = datapath_begin(context, &packet, connection, next, now);
		if (verdict != CONTINUE)
			return verdict;
		next_hop_check(context, &packet, connection, now);
		*next = 0;
		if (connection->flags & HF_CONNECTION_PER_DATAGRAM && !packet_is_later_fragment(&packet))
			*next = datagram_load_members(context, &packet, connection);
		if (*next)
			return HAND_OVER;
	}
	return datapath_forward(context, &packet, connection, next, false);
}

/* The program that a next hands the datagram to. */
static __always_inline int datapath_decided(hook_context *context)
{
	struct task *task = task_get();
	struct hf_connection *connection;
	int verdict;

	if (!task)
		return drop(HF_REASON_state_missing);
	if (task->from_member) {
		datagram_learn(task, clock_now());
		connection = bpf_map_lookup_elem(&connections, &task->packet.flow);
		return datapath_forward(context, &task->packet, connection ?: &task->connection, NULL, false);
	}
	verdict = datagram_decide(context, task);
	if (verdict != CONTINUE)
		return verdict;
	return datapath_forward(context, &task->packet, &task->connection, NULL, false);
}

/* A segment of a spliced connection was read: on it goes. */
static __always_inline int datapath_read(hook_context *context, __u32 *next)
{
	struct task *task = task_get();
	struct hf_connection *connection;
	struct hf_splice *splice;
	int verdict;

	if (!task)
		return drop(HF_REASON_state_missing);
	splice = follow_splice(task, &connection);
	if (!splice)
		return drop(HF_REASON_splice_half);
	verdict = follow_commit(task, splice, connection->flags & HF_CONNECTION_REPLY);
	if (verdict == HAND_OVER)
		return HOOK_HAS_LOWER_HOOK ? HOOK_PASS : reject(context, &task->packet, HF_REASON_request_unread);
	if (verdict != CONTINUE)
		return verdict;
	if (unlikely(task->limit)) {
		task->connection = *connection;
		task->source = EMIT_SEGMENT;
		*next = HF_STAGE_EMIT;
		return HAND_OVER;
	}
	return datapath_forward(context, &task->packet, connection, next, true);
}
