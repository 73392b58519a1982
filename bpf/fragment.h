/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Datagrams in pieces. The first one has the ports, and is decided like any
 * packet; the others have only addresses and an identification, and go where the
 * first one went (RFC 791; RFC 8200, 4.5). One that comes before its first is
 * dropped where its destination is virtual: nobody else can say whose it is.
 */
#pragma once

#include "clock.h"
#include "other_end.h"

static __always_inline void fragment_key(struct hf_fragment_key *key, const struct packet *packet)
{
	__builtin_memcpy(key->source, packet->flow.source, 16);
	__builtin_memcpy(key->destination, packet->flow.destination, 16);
	key->id = packet->fragment_id;
	key->protocol = packet->ipv4 ? packet->flow.protocol : 0;
	key->pad[0] = key->pad[1] = key->pad[2] = 0;
}

/* The first fragment goes with `connection`; one without a member is the host's. */
static __noinline void fragment_remember(const struct packet *packet, const struct hf_connection *connection)
{
	struct hf_fragment fragment = {.connection = *connection, .seen = clock_now()};
	struct hf_fragment_key key;

	if (connection_has_other_end(connection))
		other_end_get(&packet->flow, connection, &fragment.other_end);
	fragment_key(&key, packet);
	if (bpf_map_update_elem(&fragments, &key, &fragment, BPF_ANY))
		reason_count(HF_REASON_table_full);
}

/* The other end of a member's packet, also of a later fragment, which has no ports. NULL: there is none. */
static __noinline const struct hf_other_end *fragment_other_end(const struct packet *packet)
{
	const struct hf_embryonic_connection *embryo;
	const struct hf_fragment *fragment;
	const struct hf_other_end *found;
	union {
		struct hf_fragment_key fragment;
		struct hf_flow_key flow;
	} key;

	if (unlikely(packet_is_later_fragment(packet))) {
		fragment_key(&key.fragment, packet);
		fragment = bpf_map_lookup_elem(&fragments, &key.fragment);
		if (!fragment)
			return NULL;
		return &fragment->other_end;
	}
	/* Older kernels take no key from memory that is known only as an argument. */
	key.flow = packet->flow;
	found = bpf_map_lookup_elem(&other_ends, &key.flow);
	if (found)
		return found;
	embryo = bpf_map_lookup_elem(&embryonic_connections, &key.flow);
	if (!embryo)
		return NULL;
	return &embryo->other_end;
}

/* CONTINUE: a later fragment is to be translated with `connection`. */
static __noinline int fragment_follow(const struct packet *packet, struct hf_connection *connection, __u32 now)
{
	const struct hf_fragment *fragment;
	struct hf_fragment_key key;

	fragment_key(&key, packet);
	fragment = bpf_map_lookup_elem(&fragments, &key);
	if (!fragment || (__s32)(now - fragment->seen) > HF_FRAGMENT_TIMEOUT)
		return parse_refuse(packet, HF_REASON_fragment_early);
	if (!fragment->connection.member)
		return HOOK_PASS;
	*connection = fragment->connection;
	return CONTINUE;
}
