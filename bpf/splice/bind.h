/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Binding, on TC: a spliced connection gets its member. The member is sent a SYN
 * whose sequence number is one less than that of the first byte that it is to get,
 * so that the client's numbers need no translation, whichever byte that is: the
 * connection can be bound again later, from another byte on.
 */
#pragma once

#include "../message.h"
#include "../way.h"
#include "follow.h"
#include "opening.h"
#include "preface.h"

/*
 * Sends what the packet has become to the connection's member. `clone`: the packet is
 * kept, and a copy sent. The packet's own verdict is returned.
 */
static __noinline int bind_send(hook_context *context, struct packet *packet, struct hf_connection *connection,
				bool clone)
{
	__u32 index = connection->next_hop;
	const struct hf_next_hop *hop = bpf_map_lookup_elem(&next_hops, &index);
	struct next_hop_answer answer;
	bool neighbour = false;
	int verdict;

	if (!hop || !hop->interface) {
		/* It is a segment of ours: nobody is to be told of it. */
		verdict = next_hop_ask(context, packet, connection, &answer);
		if (verdict)
			return drop(verdict);
		connection->next_hop = answer.index;
		connection->route_generation = routes_generation();
		hop = answer.index ? bpf_map_lookup_elem(&next_hops, &answer.index) : NULL;
		if (!hop) {
			hop = &answer.hop;
			neighbour = !answer.resolved;
			if (neighbour && clone)
				return drop(HF_REASON_neighbour_unknown);
			reason_count(neighbour ? HF_REASON_next_hop_neighbour : HF_REASON_next_hop_fib);
		}
	}
	verdict = way_write_link(context, packet, hop);
	if (verdict != CONTINUE)
		return verdict;
	/* Its tags are gone, or beside it: what it becomes next begins earlier. */
	packet->network -= 4 * packet->tags;
	packet->transport -= 4 * packet->tags;
	packet->tags = 0;
	if (neighbour)
		return packet_out_neighbour(context, hop->interface);
	if (!clone)
		return packet_out(context, hop->interface);
	packet_out_clone(context, hop->interface);
	return PACKET_TAKEN;
}

static __noinline void bind_address(struct segment *segment, const struct hf_splice *splice,
				    const struct hf_connection *connection)
{
	struct hf_other_end end;

	segment->flow = splice->client;
	if (connection_has_other_end(connection)) {
		other_end_get(&splice->client, connection, &end);
		__builtin_memcpy(segment->flow.source, end.address, 16);
		segment->flow.source_port = end.port;
	}
	__builtin_memcpy(segment->flow.destination, connection->address, 16);
	segment->flow.destination_port = connection->port;
	segment->ipv6_word = splice->flow_label;
}

/* The packet becomes this segment, whose addresses may be of the other family. 0 if it is done. */
static __noinline int bind_write(hook_context *context, struct packet *packet, struct segment *segment)
{
	bool ipv4 = address_is_mapped(segment->flow.source);

	if (unlikely(ipv4 != packet->ipv4)) {
		if (packet_set_family(context, packet->tags, ipv4))
			return -1;
		family_note(packet, ipv4,
			    packet->transport - packet->network - family_header_length(!ipv4) +
				    family_header_length(ipv4));
	}
	return segment_write(context, packet, segment);
}

/* The longest segment on the way of the connection's packets. */
static __always_inline __u32 bind_room(const struct hf_connection *connection)
{
	__u32 index = connection->next_hop;
	const struct hf_next_hop *hop = bpf_map_lookup_elem(&next_hops, &index);
	__u32 mtu = hop && hop->interface ? hop->mtu : 1500;

	return mtu - family_header_length(address_is_mapped(connection->address)) - sizeof(struct tcphdr);
}

/* By how much the rule makes a segment of the member's longer. */
static __always_inline __u32 bind_growth(const struct hf_splice *splice)
{
	const struct hf_virtual_server *settings = service_settings(splice->virtual_server);
	struct hf_cookie_text_key key = {.rule = settings ? settings->rule : 0, .member = splice->member};
	const struct hf_cookie_text *text = NULL;

	if (settings && settings->flags & HF_SERVER_WRITES)
		text = bpf_map_lookup_elem(&cookie_texts, &key);
	return text ? text->length : 0;
}

/* The packet becomes a SYN to the member, or, where its client has ended it, the RST that says so. */
static __noinline int bind_connect(hook_context *context, struct packet *packet, struct hf_splice *splice,
				   struct hf_connection *connection, bool reset)
{
	struct tcp_workplace *workplace = tcp_workplace_get();
	__u32 room = bind_room(connection), growth = bind_growth(splice);
	struct message *message = message_get();
	struct tcp_offer offer = {};
	struct segment *segment;

	if (!workplace || !message)
		return drop(HF_REASON_state_missing);
	if (!splice->tries) {
		splice->preface = 0;
		splice->preface = preface_make(message, splice);
		splice->flags = (splice->flags & ~HF_SPLICE_PREFACE) | (splice->preface ? HF_SPLICE_PREFACE : 0);
	}
	segment = &workplace->segment;
	segment_begin(segment, reset ? TCP_RST : TCP_SYN, preface_first(splice) - !reset, 0, reset ? 0 : 64240);
	if (!reset) {
		offer.mss = splice->client_mss < room ? splice->client_mss : room;
		/* With that, they still fit; where they do not, they are cut (emit.h). */
		if (offer.mss > 2 * growth)
			offer.mss -= growth;
		offer.sack = splice->flags & HF_SPLICE_SACK;
		offer.timestamps = splice->flags & HF_SPLICE_TIMESTAMPS;
		offer.timestamp = splice->client_timestamp;
		offer.scale = splice->flags & HF_SPLICE_SCALE ? splice->client_scale : TCP_NO_SCALE;
		segment_add_offer(segment, &offer);
	}
	bind_address(segment, splice, connection);
	segment->partial = packet_checksum_is_partial(context, packet->transport + offsetof(struct tcphdr, check));
	if (bind_write(context, packet, segment))
		return drop(HF_REASON_packet_resize);
	splice->wake = 0;
	splice->connecting_since = clock_now();
	if (!splice->tries)
		splice->asked_since = splice->connecting_since;
	if (splice->tries != 0xff)
		splice->tries++;
	return bind_send(context, packet, connection, false);
}

/* The member of a message's keys, or of the hash of its key. 0: there is none; the method decides. */
static __always_inline __u32 bind_by_keys(struct message_query *query, const struct packet *packet,
					  const struct message *message, const struct hf_rule *rule,
					  struct decision *decision)
{
	if (rule->flags & HF_RULE_STATELESS)
		return select_by_hash(query->session.pool, *(const __u64 *)message->keys.keys[0], false);
	decision->member = message_find(query, packet);
	decision->beyond = decision->member && query->unlimited;
	return decision->member;
}

/* A member that the client itself names, by address and port. */
static __noinline __u32 bind_named(const struct message *message, const struct packet *packet, __u32 pool)
{
	struct hf_endpoint_key key = {.pool = pool, .port = message->port};
	const __u32 *found;
	__u32 member;

	__builtin_memcpy(key.address, message->address, 16);
	found = bpf_map_lookup_elem(&pool_endpoints, &key);
	/* Members without a port of their own have the one that the client used. */
	if (!found && key.port == packet->flow.destination_port) {
		key.port = 0;
		found = bpf_map_lookup_elem(&pool_endpoints, &key);
	}
	member = found ? *found : 0;
	return member_honours_session(member, pool) ? member : 0;
}

/* Who is to have a stream: its message's choice, else that of the balancing method. */
static __noinline int bind_choose(struct task *task, struct message *message, struct decision *decision, __u32 now)
{
	const struct hf_virtual_server *settings = service_settings(task->virtual_server);
	const struct packet *packet = &task->packet;
	const struct hf_rule *rule = task_rule(task);
	struct message_query query = {};
	bool turn = false;

	if (!settings)
		return 0;
	task->marked = false;
	if (!service_reads(settings) || !rule) {
		/* The rule, if there is one, knows addresses only. */
		return decide(packet, settings, decision, now);
	}
	message_ask(&query, message, settings, task->virtual_server, rule, now);
	query.unlimited = !(rule->flags & HF_RULE_OVERRIDE_CONNECTION_LIMIT);
	if (task->outcome == HF_PARSER_KEYS) {
		decision->member = bind_by_keys(&query, packet, message, rule, decision);
	} else if (task->outcome == HF_PARSER_MEMBER) {
		decision->member = bind_named(message, packet, settings->pool);
		decision->beyond = true;
		if (!decision->member)
			task->outcome = HF_PARSER_NONE;
	} else if (task->outcome == HF_PARSER_COOKIE) {
		decision->member = mark_member(message, rule, settings->pool, &task->marked);
		decision->beyond = true;
		task->marked = task->marked && decision->member;
	} else {
		/* A cookie's absence is no reason to go by the client's address. */
		turn = rule->type == HF_RULE_COOKIE_HASH && rule->keyword_length && task->outcome == HF_PARSER_NONE;
	}
	if (task->outcome == HF_PARSER_MORE)
		reason_count(HF_REASON_head_over_limit);
	else
		message_count_outcome(task->outcome);
	if (!decision->member) {
		decision->beyond = false;
		decision->member = select_by_method(settings, &packet->flow, turn);
	}
	/* Of session ids, only those count that a server gives: TLS 1.3's clients make one up each time. */
	if (task->outcome != HF_PARSER_KEYS || rule->flags & HF_RULE_STATELESS || rule->type == HF_RULE_SSL_SESSION_ID)
		query.keys->count = 0;
	/* Recorded when the member has accepted; until then parallel connections follow the first. */
	if (decision->member && query.keys->count)
		decision->member = message_record(&query, decision->member);
	return 0;
}

/* The RST that tells a client that nothing comes of its connection: what the packet is to become. */
static __always_inline void bind_reset(hook_context *context, const struct packet *packet,
				       const struct hf_splice *splice, struct segment *segment)
{
	segment_begin(segment, TCP_RST | TCP_ACK, splice->server_first, splice->client_next, 0);
	segment_turn(segment, &splice->client);
	segment->partial = packet_checksum_is_partial(context, packet->transport + offsetof(struct tcphdr, check));
}

/* Nobody, or not now: the client is told, and its connection forgotten. */
static __noinline int bind_refuse(hook_context *context, struct task *task, struct hf_splice *splice)
{
	struct tcp_workplace *workplace = tcp_workplace_get();
	struct hf_connection *reply = &task->connection;
	struct packet *packet = &task->packet;
	bool woken = splice->wake;

	if (!workplace)
		return drop(HF_REASON_state_missing);
	bind_reset(context, packet, splice, &workplace->segment);
	bpf_map_delete_elem(&connections, &packet->flow);
	splice_end_locked(splice->id);
	if (bind_write(context, packet, &workplace->segment))
		return drop(HF_REASON_packet_resize);
	if (!woken)
		return segment_return(context);
	/* The daemon's packet did not come from the client's side. */
	packet->flow = workplace->segment.flow;
	__builtin_memset(reply, 0, sizeof(*reply));
	__builtin_memcpy(reply->address, packet->flow.source, 16);
	reply->flags = HF_CONNECTION_REPLY;
	return bind_send(context, packet, reply, false);
}

/* Nobody accepts: likewise, of a connection that has entries for its member. */
static __noinline int bind_refuse_connecting(hook_context *context, struct task *task, struct hf_splice *splice)
{
	struct tcp_workplace *workplace = tcp_workplace_get();
	struct packet *packet = &task->packet;
	struct hf_flow_key key;

	if (!workplace)
		return drop(HF_REASON_state_missing);
	reason_count(HF_REASON_member_refused);
	bind_reset(context, packet, splice, &workplace->segment);
	connection_partner_key(&key, &packet->flow, &task->connection);
	task->left = task->connection;
	splice_end_locked(splice->id);
	connection_remove(&packet->flow, &task->left);
	if (bind_write(context, packet, &workplace->segment))
		return drop(HF_REASON_packet_resize);
	/* The packet came from the member, or the daemon. */
	packet->flow = workplace->segment.flow;
	__builtin_memset(&task->connection, 0, sizeof(task->connection));
	__builtin_memcpy(task->connection.address, packet->flow.source, 16);
	task->connection.flags = HF_CONNECTION_REPLY;
	return bind_send(context, packet, &task->connection, false);
}

/* A source of ours towards the member; the entry of its replies is made with it. */
static __noinline int bind_source(struct task *task, struct hf_connection *connection)
{
	const struct hf_flow_key *flow = &task->packet.flow;
	int verdict = source_take_for(flow, connection, true);

	if (verdict != CONTINUE ||
	    !other_end_record(flow, connection->member, task->own_end.address, task->own_end.port))
		return verdict;
	bpf_map_delete_elem(&connections, &task->reply);
	member_give_place_back(connection->member);
	return drop(HF_REASON_table_full);
}

/* The connection's entries get their member. CONTINUE: task->connection is the forward one. */
static __noinline int bind_member(struct task *task, struct message *message, struct hf_splice *splice,
				  const struct decision *decision, __u32 now)
{
	struct hf_connection *connection = &task->connection, reply;
	const struct hf_member *member = member_get(decision->member);
	const struct packet *packet = &task->packet;
	struct hf_flow_key key;
	int verdict;

	if (!member)
		return drop(HF_REASON_no_usable_member);
	connection_make(connection, packet, decision, member, now);
	connection->flags = 0;
	verdict = connection_claim(packet, connection, decision->beyond);
	if (verdict != CONTINUE)
		return verdict;
	connection->flags |= HF_CONNECTION_SPLICED;
	connection->splice = splice->id;
	connection->state = HF_CONNECTION_CONNECTING;
	splice->member = decision->member;
	if (connection_has_other_end(connection)) {
		verdict = bind_source(task, connection);
		if (verdict != CONTINUE)
			return verdict;
		connection_partner_key(&key, &packet->flow, connection);
	} else {
		connection_partner_key(&key, &packet->flow, connection);
		connection_partner(&reply, &packet->flow, connection);
		if (bpf_map_update_elem(&connections, &key, &reply, BPF_ANY)) {
			member_give_place_back(decision->member);
			return drop(HF_REASON_table_full);
		}
	}
	if (bpf_map_update_elem(&connections, &packet->flow, connection, BPF_EXIST)) {
		member_give_place_back(decision->member);
		bpf_map_delete_elem(&connections, &key);
		return drop(HF_REASON_table_full);
	}
	splice->state = HF_SPLICE_CONNECTING;
	bpf_map_delete_elem(&embryonic_keys, &key);
	if (message->keys.count)
		bpf_map_update_elem(&embryonic_keys, &key, &message->keys, BPF_ANY);
	return CONTINUE;
}

/* Members that are asked, one after another, and SYNs to each of them but the last. */
#define BIND_MOST_MEMBERS 3
#define BIND_MOST_SYNS 3
/* And seconds: on a bad wire, or of an impatient client, three SYNs go by in no time. */
#define BIND_PATIENCE 3

static __always_inline bool bind_is_silent(const struct hf_splice *splice, __u32 now)
{
	return splice->tries >= BIND_MOST_SYNS && now - splice->asked_since >= BIND_PATIENCE;
}

/* The old member's entry: what it still says is answered with a RST. Its place is free. */
static __noinline void bind_leave(const struct packet *packet, const struct hf_connection *forward, __u32 now)
{
	struct hf_connection *reply;
	struct hf_flow_key key;

	connection_partner_key(&key, &packet->flow, forward);
	reply = bpf_map_lookup_elem(&connections, &key);
	if (reply && reply->splice == forward->splice) {
		reply->flags = HF_CONNECTION_REPLY | HF_CONNECTION_LEFT;
		reply->state = HF_CONNECTION_CLOSED;
		reply->created = reply->last_seen = now;
	}
	if (forward->flags & HF_CONNECTION_COUNTED)
		member_give_place_back(forward->member);
}

/* The keys for which a member was chosen that did not accept: they are now the next one's. */
static __noinline void bind_take_keys(const struct packet *packet, const struct hf_connection *forward,
				      struct message *message)
{
	const struct hf_keys *keys;
	struct hf_flow_key key;

	message->keys.count = 0;
	connection_partner_key(&key, &packet->flow, forward);
	keys = bpf_map_lookup_elem(&embryonic_keys, &key);
	if (!keys)
		return;
	message->keys = *keys;
	message->keys.replace = true;
	bpf_map_delete_elem(&embryonic_keys, &key);
}

/* The method's next choice that is not this member. */
static __always_inline __u32 bind_another(__u32 pool, __u32 member)
{
	__u32 found = 0;

	for (int i = 0; i < 4; i++) {
		found = select_by_turn(pool);
		if (found != member)
			return found;
	}
	return 0;
}

/*
 * The member that was asked has refused, or says nothing. CONTINUE: there is nobody else
 * to ask.
 */
static __noinline int bind_elsewhere(hook_context *context, struct task *task, struct hf_splice *splice, __u32 now)
{
	struct decision decision = {.virtual_server = task->virtual_server};
	const struct hf_virtual_server *settings = service_settings(task->virtual_server);
	struct message *message = message_get();
	int verdict;

	if (!settings || !message || splice->refused + 1 >= BIND_MOST_MEMBERS)
		return CONTINUE;
	decision.member = bind_another(settings->pool, splice->member);
	if (!decision.member)
		return CONTINUE;
	task->left = task->connection;
	bind_take_keys(&task->packet, &task->left, message);
	verdict = bind_member(task, message, splice, &decision, now);
	if (verdict != CONTINUE) {
		task->connection = task->left;
		splice->member = task->left.member;
		return CONTINUE;
	}
	bind_leave(&task->packet, &task->left, now);
	splice->refused++;
	splice->tries = splice->strays = 0;
	/* Its cookie names another one. */
	splice->unmarked |= 1U << ((splice->requested - 1) & 15);
	reason_count(HF_REASON_member_replaced);
	return bind_connect(context, &task->packet, splice, &task->connection, false);
}

/* The first request's head, which is in the message, is changed as its member is to have it. CONTINUE: it will be. */
static __noinline int bind_edits(struct task *task, const struct message *message, struct hf_splice *splice,
				 const struct hf_virtual_server *settings)
{
	task->edits.count = 0;
	if (!(settings->flags & (HF_SERVER_WRITES | HF_SERVER_FORWARDED_FOR)))
		return CONTINUE;
	if (mark_request(task, message, settings, splice->client_first, 0) &&
	    edits_commit(splice, splice->id, HF_REQUESTS, &task->edits))
		return CONTINUE;
	reason_count(HF_REASON_edit_held);
	return HAND_OVER;
}

/* With x_forwarded_for, what cannot be read as requests does not reach a member. */
static __always_inline bool bind_is_unread(const struct hf_splice *splice, const struct hf_virtual_server *settings,
					   const struct message *message)
{
	return settings->flags & HF_SERVER_FORWARDED_FOR && splice->client_next != splice->client_first &&
	       (!message->head || splice->requests.state == HF_READER_OFF);
}

/* A connection that has no member yet. */
static __always_inline int bind_first(hook_context *context, struct task *task, struct message *message,
				      struct hf_splice *splice, __u32 now)
{
	const struct hf_virtual_server *settings = service_settings(task->virtual_server);
	struct decision decision = {.virtual_server = task->virtual_server, .fresh = true};
	int verdict;

	bind_choose(task, message, &decision, now);
	if (!decision.member) {
		event_of_refusal(&task->packet.flow, task->virtual_server);
		reason_count(HF_REASON_no_usable_member);
		return bind_refuse(context, task, splice);
	}
	if (settings && splice->flags & HF_SPLICE_WHOLE)
		follow_bound(splice, message, task->outcome, !(settings->flags & HF_SERVER_FOLLOWS), task->marked);
	/* The client would not send again what decides: it has to begin anew. */
	if (settings && bind_is_unread(splice, settings, message)) {
		reason_count(HF_REASON_request_unread);
		return bind_refuse(context, task, splice);
	}
	verdict = bind_member(task, message, splice, &decision, now);
	if (verdict != CONTINUE)
		return bind_refuse(context, task, splice);
	/* From here on it has entries of the member's, too. */
	if (settings && message->head && bind_edits(task, message, splice, settings) != CONTINUE)
		return bind_refuse_connecting(context, task, splice);
	return bind_connect(context, &task->packet, splice, &task->connection, false);
}

/* The parser wants more: is there more to come? HAND_OVER: no. */
static __always_inline int bind_wait(hook_context *context, struct task *task, const struct message *message,
				     struct hf_splice *splice)
{
	__u32 zero = 0, stored = splice->client_next - splice->client_first;
	const struct hf_early_limits *limits = bpf_map_lookup_elem(&early_limits, &zero);

	if (limits && stored >= limits->max_head)
		return HAND_OVER;
	splice->parsed = early_base(splice) + message->resume;
	if (splice->segments > OPENING_QUIET_SEGMENTS || stored >= OPENING_QUIET_SEGMENTS * splice->piece)
		return opening_acknowledge(context, &task->packet, splice);
	return PACKET_TAKEN;
}

/* Has the splice's lock, and gives it back. */
static __always_inline int bind(hook_context *context, struct task *task)
{
	struct hf_connection *connection = bpf_map_lookup_elem(&connections, &task->packet.flow);
	struct message *message = message_get();
	__u32 now = clock_now(), id = task->splice;
	struct hf_splice *splice = splice_get(id);
	int verdict;

	/* The table may have needed the connection's place. */
	if (!splice || !message || !connection || connection->splice != id) {
		if (splice)
			splice_unlock(splice, id);
		return drop(HF_REASON_state_missing);
	}
	verdict = HAND_OVER;
	if (splice->state == HF_SPLICE_CONNECTING) {
		/* bind_member() has made it: the lock keeps everybody else out. */
		bool reset = task->packet.tcp_flags & TCP_RST && !task->refused;

		task->connection = *connection;
		if (task->refused || (!reset && bind_is_silent(splice, now))) {
			verdict = bind_elsewhere(context, task, splice, now);
			if (verdict == CONTINUE && task->refused)
				verdict = bind_refuse_connecting(context, task, splice);
			if (verdict != CONTINUE) {
				splice_unlock(splice, id);
				return verdict;
			}
		}
		if (!reset)
			reason_count(HF_REASON_connecting_again);
		verdict = bind_connect(context, &task->packet, splice, &task->connection, reset);
		if (reset) {
			splice_end_locked(id);
			connection_remove(&task->packet.flow, &task->connection);
		}
	} else if (splice->state == HF_SPLICE_COLLECTING) {
		if (splice->wake && splice->client_next == splice->client_first)
			reason_count(HF_REASON_server_first);
		else if (task->outcome == HF_PARSER_MORE)
			verdict = bind_wait(context, task, message, splice);
		if (verdict == HAND_OVER)
			verdict = bind_first(context, task, message, splice, now);
	} else {
		verdict = drop(HF_REASON_opening_stray);
	}
	splice_unlock(splice, id);
	return verdict;
}
