/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The only place that chooses a member: persistence first, then the virtual
 * server's balancing method. Nothing here knows how a packet is translated.
 */
#pragma once

#include "persist/source_address.h"
#include "service.h"
#include "session.h"

/* Whom the balancing method gives a client; `by_turn` whatever the method is. Global: verified once. */
__noinline __u32 select_by_method(const struct hf_virtual_server *settings, const struct hf_flow_key *flow,
				  bool by_turn)
{
	__u32 pool;

	if (!settings || !flow)
		return 0;
	pool = settings->pool;
	if (by_turn)
		return select_by_turn(pool);
	switch (settings->method) {
	case HF_METHOD_SOURCE_HASH:
		return select_by_hash(pool, source_address_hash(flow, false), false);
	case HF_METHOD_LEAST_CONNECTIONS:
		return select_by_connections(pool);
	case HF_METHOD_RANDOM:
		return select_at_random(pool);
	case HF_METHOD_FASTEST_RESPONSE:
		return select_by_response(pool);
	default:
		return select_by_turn(pool);
	}
}

struct decision {
	__u32 virtual_server;
	bool fresh;   /* in: a new connection, or a datagram; otherwise one whose entry was lost */
	__u32 member; /* 0: none is usable */
	bool placed;  /* a live session or a hash named the member: the same one as before */
	bool beyond;  /* a session named it: it is served also where the member is full */
};

/* What to ask the table of sessions about a client: false if the rule keeps none. */
static __always_inline bool decide_query(struct session_query *query, const struct hf_virtual_server *settings,
					 __u32 virtual_server, const __u8 *client)
{
	__u32 rule_id = settings->rule;
	const struct hf_rule *rule = bpf_map_lookup_elem(&rules, &rule_id);

	if (!rule || rule->type != HF_RULE_SOURCE_ADDRESS)
		return false;
	query->pool = settings->pool;
	query->timeout = rule->timeout;
	source_address_key(&query->key, rule, session_scope(settings, virtual_server, rule), client);
	return true;
}

/*
 * A segment in mid-stream, whose connection was lost, is only given to whoever
 * had it: a live session or a hash names that member; nobody else is chosen.
 * Global: verified once.
 */
__noinline int decide(const struct packet *packet, const struct hf_virtual_server *settings, struct decision *decision,
		      __u32 now)
{
	const struct hf_rule *rule;
	struct session_query query;
	bool datagram, fresh;
	__u32 rule_id, type;

	if (!packet || !settings || !decision)
		return 0;
	datagram = packet->flow.protocol == IPPROTO_UDP;
	fresh = decision->fresh;
	rule_id = settings->rule;
	rule = bpf_map_lookup_elem(&rules, &rule_id);
	type = rule ? rule->type : HF_RULE_NONE;
	decision->placed = true;
	if (type == HF_RULE_SOURCE_ADDRESS_HASH || type == HF_RULE_SOURCE_ADDRESS_PORT_HASH) {
		decision->member = select_by_hash(
			settings->pool, source_address_hash(&packet->flow, type == HF_RULE_SOURCE_ADDRESS_PORT_HASH),
			!fresh);
		return 0;
	}
	query.now = now;
	if (decide_query(&query, settings, decision->virtual_server, packet->flow.source)) {
		decision->member = session_find(&query);
		if (!decision->member && fresh)
			decision->member = session_proposed(&query, decision->virtual_server, datagram);
		if (decision->member) {
			decision->beyond = true;
			return 0;
		}
	}
	if (settings->method == HF_METHOD_SOURCE_HASH && (fresh || type == HF_RULE_NONE)) {
		decision->member = select_by_hash(settings->pool, source_address_hash(&packet->flow, false), !fresh);
	} else {
		decision->placed = false;
		if (fresh)
			decision->member = select_by_method(settings, &packet->flow, false);
	}
	if (fresh && decision->member && type == HF_RULE_SOURCE_ADDRESS)
		decision->member = session_propose(&query, decision->virtual_server, decision->member);
	return 0;
}

/* A message with keys, as its parser found them, and what is known of its sender. */
struct message_query {
	struct session_query session; /* the key is filled in from `keys` */
	struct hf_keys *keys;
	__u32 virtual_server;
	bool proved;    /* the sender's socket has shown that it is real */
	bool unlimited; /* sessions are honoured also by full members */
	__u32 settled;  /* the number of the key whose live session named the member, from 1 */
};

static __always_inline void message_use_key(struct message_query *query, __u32 number)
{
	query->session.key.scope = query->keys->scope;
	query->session.key.kind = query->keys->kind;
	query->session.key.pad[0] = query->session.key.pad[1] = query->session.key.pad[2] = 0;
	__builtin_memcpy(query->session.key.key, query->keys->keys[number & (HF_KEYS - 1)], 16);
}

/*
 * Records for `member` all keys but the one that named it; of a sender that may
 * not be real it only proposes them. Returns who has the first.
 */
static __noinline __u32 message_record(struct message_query *query, __u32 member)
{
	for (__u32 i = 0; i < HF_KEYS && i < query->keys->count; i++) {
		__u32 first;

		if (i + 1 == query->settled)
			continue;
		message_use_key(query, i);
		if (query->proved)
			first = session_record(&query->session, query->virtual_server, member,
					       i || query->keys->replace);
		else
			first = session_propose(&query->session, query->virtual_server, member);
		/* A proposal does not overrule a live session. */
		if (!i && !query->settled)
			member = first;
	}
	return member;
}
