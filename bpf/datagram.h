/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Rules that read datagrams: each datagram is decided by itself, whatever socket
 * it comes from. Three programs share the work by tail calls, and a place in
 * memory of their own:
 *
 *   entry    knows the virtual server; takes the bytes        datagram_load
 *   parser   bytes -> keys                                    datagram_parse
 *   decide   keys -> member, connection, out                  datagram_decide
 *
 * A client's socket has one forward entry in `connections`, which shows that it
 * is real and names the member of its datagrams without a key, and one reply
 * entry for each member that it talks to.
 */
#pragma once

#include "message.h"
#include "reject.h"
#include "task.h"

/*
 * Keeps the packet and its payload for the programs that follow. `forward` is the
 * socket's entry, if it has one. Returns the parser's stage; 0 if there is none.
 */
static __noinline __u32 datagram_load(hook_context *context, const struct packet *packet, struct hf_connection *forward,
				      __u32 virtual_server)
{
	const struct hf_virtual_server *settings = service_settings(virtual_server);
	struct task *task = task_get();
	struct message *message = message_get();
	__u32 now = clock_now(), size;

	if (!settings || !settings->parser || !task || !message)
		return 0;
	task->packet = *packet;
	task->virtual_server = virtual_server;
	task->bound = 0;
	task->outcome = HF_PARSER_NONE;
	task->next = HF_STAGE_DECIDE;
	task->newly_proved = false;
	task->from_member = false;
	task->reply_seen = false;
	if (forward && !connection_expired(forward, now)) {
		task->bound = forward->member;
		if (forward->last_seen != now) {
			forward->last_seen = now;
			forward->flags &= ~HF_CONNECTION_REPLY_SEEN;
		}
		task->reply_seen = forward->flags & HF_CONNECTION_REPLY_SEEN;
	}
	message->answer = false;
	message->keys.count = 0;
	message->keys.replace = 0;
	message->keys.pad = 0;
	message->length = packet->payload_length;
	/* The rest of it is in later fragments. */
	if (packet->fragment)
		message->length = HF_DATAGRAM_BYTES * 16;
	message->available = 0;
	if (packet->payload_length) {
		size = packet->payload_length < HF_DATAGRAM_BYTES ? packet->payload_length : HF_DATAGRAM_BYTES;
		size = below(size - 1, HF_DATAGRAM_BYTES) + 1;
		if (!packet_load(context, packet->transport + sizeof(struct udphdr), message->bytes, size)) {
			message->available = size;
			__builtin_memset(message->bytes + size, 0, MESSAGE_SLACK);
		}
	}
	if (!message->available)
		__builtin_memset(message->bytes, 0, MESSAGE_SLACK);
	return settings->parser;
}

/*
 * A member's datagram: does it ask something of its own (SIP: a server's INVITE)?
 * What belongs to it is the member's from the beginning. Returns the parser's stage, or 0.
 */
static __noinline __u32 datagram_load_members(hook_context *context, const struct packet *packet,
					      struct hf_connection *connection)
{
	struct task *task = task_get();
	const struct hf_rule *rule;
	__u32 mark, parser;

	if (!task || (connection->flags & (HF_CONNECTION_REPLY | HF_CONNECTION_PER_DATAGRAM)) !=
			     (HF_CONNECTION_REPLY | HF_CONNECTION_PER_DATAGRAM))
		return 0;
	task->virtual_server = connection->virtual_server;
	rule = task_rule(task);
	if (!rule || !*(const __u32 *)rule->answer_mark ||
	    packet_load(context, packet->transport + sizeof(struct udphdr), &mark, sizeof(mark)) ||
	    mark == *(const __u32 *)rule->answer_mark)
		return 0;
	parser = datagram_load(context, packet, NULL, connection->virtual_server);
	task->connection = *connection;
	task->from_member = true;
	return parser;
}

/* Records the keys of what a member has begun. */
static __noinline void datagram_learn(struct task *task, __u32 now)
{
	struct message *message = message_get();
	const struct hf_virtual_server *settings = service_settings(task->virtual_server);
	const struct hf_rule *rule = task_rule(task);
	struct message_query query = {};

	if (!message || !settings || !rule || task->outcome != HF_PARSER_KEYS || message->answer)
		return;
	message_ask(&query, message, settings, task->virtual_server, rule, now);
	query.proved = true;
	message_record(&query, task->connection.member);
}

/*
 * A datagram without a key, of a socket that has not proved itself: it keeps the
 * member that it was given. It may come again at once, from the lower hook.
 */
static __noinline __u32 datagram_propose(const struct packet *packet, struct message_query *query, __u32 member)
{
	struct hf_session_key *key = &query->session.key;

	key->scope = query->virtual_server;
	key->kind = HF_SESSION_ADDRESS;
	key->pad[0] = key->pad[1] = key->pad[2] = 0;
	__builtin_memcpy(key->key, packet->flow.source, 16);
	key->key[0] ^= (__u8)packet->flow.source_port;
	key->key[1] ^= (__u8)(packet->flow.source_port >> 8);
	return member ? session_propose(&query->session, query->virtual_server, member)
		      : session_proposed(&query->session, query->virtual_server, false);
}

/* The member for a datagram: that of its keys, of its connection, or one that the balancing method chooses. */
static __always_inline __u32 datagram_choose(struct task *task, struct message *message, struct decision *decision,
					     __u32 now)
{
	const struct hf_virtual_server *settings = service_settings(task->virtual_server);
	struct packet *packet = &task->packet;
	struct message_query query = {};
	const struct hf_member *member;
	const struct hf_rule *rule = task_rule(task);
	bool record, keyless;
	__u32 id;

	if (!settings || !rule)
		return 0;
	message_ask(&query, message, settings, task->virtual_server, rule, now);
	query.proved = task->bound;
	query.unlimited = !(rule->flags & HF_RULE_OVERRIDE_CONNECTION_LIMIT);

	record = task->outcome == HF_PARSER_KEYS;
	if (record)
		decision->member = message_find(&query, packet);
	decision->beyond = decision->member && query.unlimited;
	if (!decision->member && (!record || message->answer)) {
		/* Without a key, or the answer to what a server began: with whom the socket is bound. */
		id = task->bound;
		member = member_get(id);
		if (member && member->state != HF_MEMBER_ABSENT && !member_resets(member)) {
			decision->member = id;
			decision->beyond = true;
		} else {
			record = false;
		}
	}
	keyless = !decision->member && !task->bound && !record;
	if (keyless) {
		decision->member = datagram_propose(packet, &query, 0);
		member = member_get(decision->member);
		if (member && member_is_full(member, decision->member) &&
		    !message_is_bound(packet, member, decision->member, task->virtual_server, now)) {
			session_withdraw(&query.session, decision->member);
			decision->member = 0;
		}
	}
	if (!decision->member) {
		decision->member = select_by_method(settings, &packet->flow, false);
		if (keyless && decision->member)
			decision->member = datagram_propose(packet, &query, decision->member);
	}
	if (!record)
		query.keys->count = 0;
	if (decision->member && !message_is_recorded(&query, decision->member))
		decision->member = message_record(&query, decision->member);
	return decision->member;
}

/*
 * What is to be recorded when the socket has proved itself: the keys of its first
 * datagrams. More than fit stay proposals.
 */
static __noinline void datagram_note_keys(const struct hf_flow_key *reply, const struct hf_keys *keys)
{
	struct hf_keys *noted = bpf_map_lookup_elem(&embryonic_keys, reply);

	if (!keys->count)
		return;
	if (!noted) {
		bpf_map_update_elem(&embryonic_keys, reply, keys, BPF_ANY);
		return;
	}
	for (__u32 i = 0; i < HF_KEYS && i < keys->count; i++) {
		__u32 place = noted->count;

		if (place >= HF_KEYS)
			return;
		__builtin_memcpy(noted->keys[below(place, HF_KEYS)], keys->keys[i], 16);
		noted->count = place + 1;
	}
}

/*
 * Does the socket have a connection with the chosen member? The reply entry tells.
 * For the forward entry's member it is asked once a second.
 */
static __always_inline bool datagram_is_bound(const struct task *task, const struct hf_connection *connection,
					      __u32 now)
{
	const struct packet *packet = &task->packet;
	struct hf_connection *reply, *forward;
	struct hf_flow_key key;

	if (task->reply_seen && connection->member == task->bound)
		return true;
	connection_partner_key(&key, &packet->flow, connection);
	reply = bpf_map_lookup_elem(&connections, &key);
	if (!reply || !connection_pairs(&key, reply, &packet->flow, false) || connection_expired(reply, now))
		return false;
	if (reply->last_seen != now)
		reply->last_seen = now;
	if (connection->member == task->bound) {
		forward = bpf_map_lookup_elem(&connections, &packet->flow);
		if (forward && forward->member == task->bound)
			forward->flags |= HF_CONNECTION_REPLY_SEEN;
	}
	return true;
}

/* A source of ours for a socket's datagrams to one member; the entry of the replies is made with it. */
static __noinline int datagram_take_source(struct task *task, struct hf_connection *connection, bool proved)
{
	const struct hf_flow_key *flow = &task->packet.flow;
	int verdict = source_take_for(flow, connection, proved);
	struct hf_flow_key key;

	if (verdict != CONTINUE)
		return verdict;
	if (proved)
		return other_end_record(flow, connection->member, task->own_end.address, task->own_end.port)
			       ? drop(HF_REASON_table_full)
			       : CONTINUE;
	__builtin_memset(&task->embryo, 0, sizeof(task->embryo));
	task->embryo.connection = *connection;
	task->embryo.other_end = task->own_end;
	other_end_key(&key, flow, connection->member);
	return bpf_map_update_elem(&embryonic_connections, &key, &task->embryo, BPF_ANY) ? drop(HF_REASON_table_full)
											 : CONTINUE;
}

/* Makes the socket's connection with the chosen member. CONTINUE: it is there. */
static __noinline int datagram_bind(struct task *task, const struct message *message, struct hf_connection *connection,
				    const struct decision *decision, __u32 now)
{
	const struct packet *packet = &task->packet;
	struct hf_embryonic_connection *embryo;
	bool proved = task->bound;
	struct hf_flow_key key;
	int verdict;

	connection_partner_key(&key, &packet->flow, connection);
	embryo = bpf_map_lookup_elem(&embryonic_connections, &key);
	if (embryo && embryo_alive(embryo, now) && connection_pairs(&key, &embryo->connection, &packet->flow, false)) {
		embryo->connection.last_seen = now;
		datagram_note_keys(&key, &message->keys);
		if (!proved && embryo->connection.created == now)
			return CONTINUE;
		proved = true;
		connection->flags |= embryo->connection.flags & HF_CONNECTION_COUNTED;
	} else {
		if (embryo && !embryo_alive(embryo, now))
			embryo_remove(&key, embryo);
		embryo = NULL; /* it is not this connection's: its keys prove nothing */
		verdict = connection_claim(packet, connection, decision->beyond);
		if (verdict == CONTINUE && connection_has_other_end(connection))
			verdict = datagram_take_source(task, connection, proved);
		if (verdict != CONTINUE)
			return verdict;
		connection_partner_key(&key, &packet->flow, connection);
	}
	if (proved) {
		task->newly_proved = embryo;
		if (!connection_establish(packet, connection, now))
			return CONTINUE;
	} else {
		embryo = &task->embryo;
		__builtin_memset(embryo, 0, sizeof(*embryo));
		connection_partner(&embryo->connection, &packet->flow, connection);
		__builtin_memcpy(embryo->other_end.address, packet->flow.source, 16);
		embryo->other_end.port = packet->flow.source_port;
		bpf_map_delete_elem(&embryonic_keys, &key);
		datagram_note_keys(&key, &message->keys);
		if (!bpf_map_update_elem(&embryonic_connections, &key, embryo, BPF_ANY))
			return CONTINUE;
	}
	return drop(HF_REASON_table_full);
}

/* The last program's beginning. CONTINUE: translate the datagram with `connection`. */
static __always_inline int datagram_decide(hook_context *context, struct task *task)
{
	struct hf_connection *connection = &task->connection;
	struct decision decision = {.virtual_server = task->virtual_server};
	struct message *message = message_get();
	const struct hf_member *member;
	__u32 now = clock_now();
	int verdict;

	if (!message)
		return drop(HF_REASON_state_missing);
	message_count_outcome(task->outcome);
	member = member_get(datagram_choose(task, message, &decision, now));
	if (!decision.member || !member) {
		event_of_refusal(&task->packet.flow, task->virtual_server);
		return reject(context, &task->packet, HF_REASON_no_usable_member);
	}
	connection_make(connection, &task->packet, &decision, member, now);
	connection->flags = HF_CONNECTION_PER_DATAGRAM;
	if (!datagram_is_bound(task, connection, now)) {
		verdict = datagram_bind(task, message, connection, &decision, now);
		if (verdict != CONTINUE)
			return verdict;
		if (task->newly_proved)
			connection_record(&task->packet, connection, now);
	}
	next_hop_check(context, &task->packet, connection, now);
	return CONTINUE;
}
