/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The only place that chooses a member: persistence first, then the virtual
 * server's balancing method. Nothing here knows how a packet is translated.
 */
#pragma once

#include "persist/source_address.h"
#include "service.h"
#include "session.h"

struct decision {
	__u32 virtual_server;
	__u32 member; /* 0: none is usable */
	bool placed;  /* a live session or a hash named the member: the same one as before */
};

/* What to ask the table of sessions about a client: false if the rule keeps none. */
static __always_inline bool decide_query(struct session_query *query, const struct hf_virtual_server *settings,
					 __u32 virtual_server, const __u8 *client, bool ipv4)
{
	__u32 rule_id = settings->rule;
	const struct hf_rule *rule = bpf_map_lookup_elem(&rules, &rule_id);

	if (!rule || rule->type != HF_RULE_SOURCE_ADDRESS)
		return false;
	query->pool = settings->pool;
	query->timeout = rule->timeout;
	source_address_key(&query->key, rule, virtual_server, client, ipv4);
	return true;
}

/*
 * A segment in mid-stream, whose connection was lost, is only given to whoever
 * had it: a live session or a hash names that member; nobody else is chosen.
 */
static __noinline void decide(const struct packet *packet, const struct hf_virtual_server *settings,
			      struct decision *decision, __u32 now)
{
	bool datagram = packet->flow.protocol == IPPROTO_UDP, fresh = datagram || packet_opens(packet);
	__u32 rule_id = settings->rule;
	const struct hf_rule *rule = bpf_map_lookup_elem(&rules, &rule_id);
	__u32 type = rule ? rule->type : HF_RULE_NONE;
	struct session_query query;

	decision->placed = true;
	if (type == HF_RULE_SOURCE_ADDRESS_HASH || type == HF_RULE_SOURCE_ADDRESS_PORT_HASH) {
		decision->member = select_by_hash(
			settings->pool, source_address_hash(packet, type == HF_RULE_SOURCE_ADDRESS_PORT_HASH));
		return;
	}
	query.now = now;
	if (decide_query(&query, settings, decision->virtual_server, packet->flow.source, packet->ipv4)) {
		decision->member = session_find(&query);
		if (!decision->member && fresh)
			decision->member = session_proposed(&query, decision->virtual_server, datagram);
		if (decision->member)
			return;
	}
	if (settings->method == HF_METHOD_SOURCE_HASH && (fresh || type == HF_RULE_NONE)) {
		decision->member = select_by_hash(settings->pool, source_address_hash(packet, false));
	} else {
		decision->placed = false;
		if (fresh)
			decision->member = select_by_turn(settings->pool);
	}
	if (fresh && decision->member && type == HF_RULE_SOURCE_ADDRESS)
		decision->member = session_propose(&query, decision->virtual_server, decision->member);
}
