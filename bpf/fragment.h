/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Datagrams in pieces. The first one has the ports, and is decided like any
 * packet; the others have only addresses and an identification, and go where the
 * first one went (RFC 791; RFC 8200, 4.5). One that comes before its first is
 * dropped where its destination is virtual: nobody else can say whose it is.
 */
#pragma once

#include "clock.h"
#include "parse.h"

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

	fragment_key(&key, packet);
	if (bpf_map_update_elem(&fragments, &key, &fragment, BPF_ANY))
		reason_count(HF_REASON_table_full);
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
