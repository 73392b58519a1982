/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Messages and their keys: which sessions they name, and what is to be recorded.
 * The same for a datagram and for the first message of a stream.
 */
#pragma once

#include "begin.h"
#include "persist/parser.h"

/* Does this socket already have one of the member's places? */
static __noinline bool message_is_bound(const struct packet *packet, const struct hf_member *member, __u32 id,
					__u32 virtual_server, __u32 now)
{
	const struct hf_virtual_server *settings = service_settings(virtual_server);
	struct hf_connection forward = {.member = id, .flags = HF_CONNECTION_PER_DATAGRAM};
	const struct hf_embryonic_connection *embryo;
	const struct hf_connection *connection;
	struct hf_flow_key reply;

	__builtin_memcpy(forward.address, member->address, 16);
	forward.port = member->port ?: packet->flow.destination_port;
	forward.forwarding = settings ? settings->forwarding : 0;
	connection_partner_key(&reply, &packet->flow, &forward);
	connection = bpf_map_lookup_elem(&connections, &reply);
	if (connection)
		return !connection_expired(connection, now);
	embryo = bpf_map_lookup_elem(&embryonic_connections, &reply);
	return embryo && embryo_alive(embryo, now);
}

/* What to ask the table of sessions about a message's keys. */
static __always_inline void message_ask(struct message_query *query, struct message *message,
					const struct hf_virtual_server *settings, __u32 virtual_server,
					const struct hf_rule *rule, __u32 now)
{
	query->session.pool = settings->pool;
	query->session.timeout = rule->timeout;
	query->session.now = now;
	query->keys = &message->keys;
	query->keys->scope = session_scope(settings, virtual_server, rule);
	query->virtual_server = virtual_server;
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
		    message_is_bound(packet, member, found, query->virtual_server, query->session.now)) {
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
		    message_is_bound(packet, member, found, query->virtual_server, query->session.now))
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

/* Why there is no key. */
static __always_inline void message_count_outcome(int outcome)
{
	if (outcome == HF_PARSER_NONE)
		reason_count(HF_REASON_key_absent);
	else if (outcome == HF_PARSER_MORE)
		reason_count(HF_REASON_key_out_of_reach);
	else if (outcome == HF_PARSER_MALFORMED)
		reason_count(HF_REASON_key_malformed);
	else if (outcome == HF_PARSER_LIMIT)
		reason_count(HF_REASON_key_scan_limit);
	else if (outcome == HF_PARSER_FOREIGN)
		reason_count(HF_REASON_not_http1);
}
