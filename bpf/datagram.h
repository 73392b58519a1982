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

#include "begin.h"
#include "persist/parser.h"

struct datagram {
	struct hf_connection connection; /* that the packet will be translated with */
	struct packet packet;
	__u32 virtual_server;
	__u32 bound;       /* the member of the forward entry; 0: there is none, the sender may not be real */
	int outcome;       /* enum hf_parser_outcome */
	bool newly_proved; /* this datagram shows that its sender is real */
	bool from_member;  /* nothing is decided: the member's own keys are recorded */
	bool reply_seen;   /* in this second the reply entry of `bound` was there */
	struct message message;
};

/*
 * Private to each hook's programs: not shared, not pinned. What the rare paths
 * begin is kept here, too: of a map's memory the verifier knows nothing, so that
 * the paths are one to it where they come together.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct datagram);
	__uint(max_entries, 1);
} datagrams SEC(".maps");

static __always_inline struct datagram *datagram_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&datagrams, &zero);
}

static __always_inline const struct hf_rule *datagram_rule(const struct datagram *datagram)
{
	const struct hf_virtual_server *settings = service_settings(datagram->virtual_server);
	__u32 id = settings ? settings->rule : 0;

	return bpf_map_lookup_elem(&rules, &id);
}

/*
 * Keeps the packet and its payload for the programs that follow. `forward` is the
 * socket's entry, if it has one. Returns the parser's stage; 0 if there is none.
 */
static __noinline __u32 datagram_load(hook_context *context, const struct packet *packet, struct hf_connection *forward,
				      __u32 virtual_server)
{
	const struct hf_virtual_server *settings = service_settings(virtual_server);
	struct datagram *datagram = datagram_get();
	__u32 now = clock_now(), size;
	struct message *message;

	if (!settings || !settings->parser || !datagram)
		return 0;
	datagram->packet = *packet;
	datagram->virtual_server = virtual_server;
	datagram->bound = 0;
	datagram->outcome = HF_PARSER_NONE;
	datagram->newly_proved = false;
	datagram->from_member = false;
	datagram->reply_seen = false;
	if (forward && !connection_expired(forward, now)) {
		datagram->bound = forward->member;
		if (forward->last_seen != now) {
			forward->last_seen = now;
			forward->flags &= ~HF_CONNECTION_REPLY_SEEN;
		}
		datagram->reply_seen = forward->flags & HF_CONNECTION_REPLY_SEEN;
	}
	message = &datagram->message;
	message->answer = false;
	message->keys.count = 0;
	message->keys.replace = 0;
	message->keys.pad = 0;
	message->length = packet->payload_length;
	/* The rest of it is in later fragments. */
	if (packet->fragment)
		message->length = HF_MESSAGE_BYTES * 16;
	message->available = 0;
	if (packet->payload_length) {
		size = packet->payload_length < HF_MESSAGE_BYTES ? packet->payload_length : HF_MESSAGE_BYTES;
		size = below(size - 1, HF_MESSAGE_BYTES) + 1;
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
	struct datagram *datagram = datagram_get();
	const struct hf_rule *rule;
	__u32 mark, parser;

	if (!datagram || (connection->flags & (HF_CONNECTION_REPLY | HF_CONNECTION_PER_DATAGRAM)) !=
				 (HF_CONNECTION_REPLY | HF_CONNECTION_PER_DATAGRAM))
		return 0;
	datagram->virtual_server = connection->virtual_server;
	rule = datagram_rule(datagram);
	if (!rule || !*(const __u32 *)rule->answer_mark ||
	    packet_load(context, packet->transport + sizeof(struct udphdr), &mark, sizeof(mark)) ||
	    mark == *(const __u32 *)rule->answer_mark)
		return 0;
	parser = datagram_load(context, packet, NULL, connection->virtual_server);
	datagram->connection = *connection;
	datagram->from_member = true;
	return parser;
}

/* What to ask the table of sessions about the datagram's keys. */
static __always_inline void datagram_query(struct message_query *query, struct datagram *datagram,
					   const struct hf_virtual_server *settings, const struct hf_rule *rule,
					   __u32 now)
{
	query->session.pool = settings->pool;
	query->session.timeout = rule->timeout;
	query->session.now = now;
	query->keys = &datagram->message.keys;
	query->keys->scope = session_scope(settings, datagram->virtual_server, rule);
	query->virtual_server = datagram->virtual_server;
}

/* Records the keys of what a member has begun. */
static __noinline void datagram_learn(struct datagram *datagram, __u32 now)
{
	const struct hf_virtual_server *settings = service_settings(datagram->virtual_server);
	const struct hf_rule *rule = datagram_rule(datagram);
	struct message_query query = {};

	if (!settings || !rule || datagram->outcome != HF_PARSER_KEYS || datagram->message.answer)
		return;
	datagram_query(&query, datagram, settings, rule, now);
	query.proved = true;
	message_record(&query, datagram->connection.member);
}

/* Does this socket already have one of the member's places? */
static __noinline bool message_is_bound(const struct packet *packet, const struct hf_member *member, __u32 now)
{
	const struct hf_embryonic_connection *embryo;
	const struct hf_connection *connection;
	struct hf_flow_key reply = packet->flow;

	__builtin_memcpy(reply.source, member->address, 16);
	__builtin_memcpy(reply.destination, packet->flow.source, 16);
	reply.source_port = member->port ?: packet->flow.destination_port;
	reply.destination_port = packet->flow.source_port;
	connection = bpf_map_lookup_elem(&connections, &reply);
	if (connection)
		return !connection_expired(connection, now);
	embryo = bpf_map_lookup_elem(&embryonic_connections, &reply);
	return embryo && embryo_alive(embryo, now);
}

/* The member of the first key, in the rule's order, that has a live session; then of one that is proposed. */
static __always_inline __u32 message_find(struct message_query *query, const struct packet *packet)
{
	const struct hf_member *member;
	__u32 found;

	for (__u32 i = 0; i < HF_KEYS && i < query->keys->count; i++) {
		message_use_key(query, i);
		found = session_find(&query->session);
		if (!found)
			continue;
		member = member_get(found);
		if (query->unlimited || !member || !member_is_full(member, found) ||
		    message_is_bound(packet, member, query->session.now)) {
			query->settled = i + 1;
			return found;
		}
		reason_count(HF_REASON_session_over_limit);
		query->keys->replace = true;
	}
	for (__u32 i = 0; i < HF_KEYS && i < query->keys->count; i++) {
		message_use_key(query, i);
		found = session_proposed(&query->session, query->virtual_server, false);
		if (!found)
			continue;
		member = member_get(found);
		if (query->unlimited || !member || !member_is_full(member, found) ||
		    message_is_bound(packet, member, query->session.now))
			return found;
		session_withdraw(&query->session, found);
	}
	return 0;
}

/* Have all keys but the one that named the member been recorded for it in this second? */
static __always_inline bool message_is_recorded(struct message_query *query, __u32 member)
{
	const struct hf_session *session;

	for (__u32 i = 0; i < HF_KEYS && i < query->keys->count; i++) {
		if (i + 1 == query->settled)
			continue;
		message_use_key(query, i);
		session = bpf_map_lookup_elem(&sessions, &query->session.key);
		if (!session || session->member != member || session->last_seen != query->session.now)
			return false;
	}
	return true;
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
static __always_inline __u32 datagram_choose(struct datagram *datagram, struct decision *decision, __u32 now)
{
	const struct hf_virtual_server *settings = service_settings(datagram->virtual_server);
	struct packet *packet = &datagram->packet;
	struct message_query query = {};
	const struct hf_member *member;
	const struct hf_rule *rule = datagram_rule(datagram);
	bool record, keyless;
	__u32 id;

	if (!settings || !rule)
		return 0;
	datagram_query(&query, datagram, settings, rule, now);
	query.proved = datagram->bound;
	query.unlimited = !(rule->flags & HF_RULE_OVERRIDE_CONNECTION_LIMIT);

	record = datagram->outcome == HF_PARSER_KEYS;
	if (record)
		decision->member = message_find(&query, packet);
	decision->beyond = decision->member && query.unlimited;
	if (!decision->member && (!record || datagram->message.answer)) {
		/* Without a key, or the answer to what a server began: with whom the socket is bound. */
		id = datagram->bound;
		member = member_get(id);
		if (member && member->state != HF_MEMBER_ABSENT) {
			decision->member = id;
			decision->beyond = true;
		} else {
			record = false;
		}
	}
	keyless = !decision->member && !datagram->bound && !record;
	if (keyless) {
		decision->member = datagram_propose(packet, &query, 0);
		member = member_get(decision->member);
		if (member && member_is_full(member, decision->member) && !message_is_bound(packet, member, now)) {
			session_withdraw(&query.session, decision->member);
			decision->member = 0;
		}
	}
	if (!decision->member) {
		if (settings->method == HF_METHOD_SOURCE_HASH)
			decision->member = select_by_hash(settings->pool, source_address_hash(&packet->flow, false));
		else
			decision->member = select_by_turn(settings->pool);
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
static __always_inline bool datagram_is_bound(const struct datagram *datagram, const struct hf_connection *connection,
					      __u32 now)
{
	const struct packet *packet = &datagram->packet;
	struct hf_connection *reply, *forward;
	struct hf_flow_key key;

	if (datagram->reply_seen && connection->member == datagram->bound)
		return true;
	connection_partner_key(&key, &packet->flow, connection);
	reply = bpf_map_lookup_elem(&connections, &key);
	if (!reply || !connection_pairs(reply, &packet->flow, false) || connection_expired(reply, now))
		return false;
	if (reply->last_seen != now)
		reply->last_seen = now;
	if (connection->member == datagram->bound) {
		forward = bpf_map_lookup_elem(&connections, &packet->flow);
		if (forward && forward->member == datagram->bound)
			forward->flags |= HF_CONNECTION_REPLY_SEEN;
	}
	return true;
}

/* Makes the socket's connection with the chosen member. CONTINUE: it is there. */
static __noinline int datagram_bind(struct datagram *datagram, struct hf_connection *connection,
				    const struct decision *decision, __u32 now)
{
	const struct packet *packet = &datagram->packet;
	struct hf_embryonic_connection *embryo, fresh = {};
	bool proved = datagram->bound;
	struct hf_flow_key key;
	int verdict;

	connection_partner_key(&key, &packet->flow, connection);
	embryo = bpf_map_lookup_elem(&embryonic_connections, &key);
	if (embryo && embryo_alive(embryo, now) && connection_pairs(&embryo->connection, &packet->flow, false)) {
		embryo->connection.last_seen = now;
		datagram_note_keys(&key, &datagram->message.keys);
		if (!proved && embryo->connection.created == now)
			return CONTINUE;
		proved = true;
		connection->flags |= embryo->connection.flags & HF_CONNECTION_COUNTED;
	} else {
		if (embryo && !embryo_alive(embryo, now))
			embryo_remove(&key, embryo);
		embryo = NULL; /* it is not this connection's: its keys prove nothing */
		verdict = connection_claim(packet, connection, decision->beyond);
		if (verdict != CONTINUE)
			return verdict;
	}
	if (proved) {
		datagram->newly_proved = embryo;
		if (!connection_establish(packet, connection, now))
			return CONTINUE;
	} else {
		connection_partner(&fresh.connection, packet, connection);
		bpf_map_delete_elem(&embryonic_keys, &key);
		datagram_note_keys(&key, &datagram->message.keys);
		if (!bpf_map_update_elem(&embryonic_connections, &key, &fresh, BPF_ANY))
			return CONTINUE;
	}
	reason_count(HF_REASON_table_full);
	return HOOK_DROP;
}

static __always_inline void datagram_count_outcome(int outcome)
{
	if (outcome == HF_PARSER_NONE)
		reason_count(HF_REASON_key_absent);
	else if (outcome == HF_PARSER_MORE)
		reason_count(HF_REASON_key_out_of_reach);
	else if (outcome == HF_PARSER_MALFORMED)
		reason_count(HF_REASON_key_malformed);
	else if (outcome == HF_PARSER_LIMIT)
		reason_count(HF_REASON_key_scan_limit);
}

/* The last program's beginning. CONTINUE: translate the datagram with `connection`. */
static __always_inline int datagram_decide(hook_context *context, struct datagram *datagram)
{
	struct hf_connection *connection = &datagram->connection;
	struct decision decision = {.virtual_server = datagram->virtual_server};
	const struct hf_member *member;
	__u32 now = clock_now();
	int verdict;

	datagram_count_outcome(datagram->outcome);
	member = member_get(datagram_choose(datagram, &decision, now));
	if (!decision.member || !member) {
		reason_count(HF_REASON_no_usable_member);
		return HOOK_DROP;
	}
	connection_make(connection, &datagram->packet, &decision, member, now);
	connection->flags = HF_CONNECTION_PER_DATAGRAM;
	if (!datagram_is_bound(datagram, connection, now)) {
		verdict = datagram_bind(datagram, connection, &decision, now);
		if (verdict != CONTINUE)
			return verdict;
		if (datagram->newly_proved)
			connection_record(&datagram->packet, connection, now);
	}
	next_hop_check(context, &datagram->packet, connection, now);
	return CONTINUE;
}
