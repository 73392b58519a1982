/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Other ends: where both ends of a connection are translated (fullnat), what its
 * packets get beside the address that its entry names: a source of ours on the way to
 * the member, the client's address on the way back. They have a table of their own, so
 * that the connections of all other modes stay small. Their lives are their
 * connections': what is left over, the sweeper removes.
 */
#pragma once

#include "clock.h"
#include "parse.h"

static __always_inline bool connection_has_other_end(const struct hf_connection *connection)
{
	return connection->forwarding >= HF_FORWARDING_FULLNAT;
}

/*
 * Of a client's flow each member has its own: datagrams of one socket may go to many,
 * and a connection may move. The other direction is not marked: 0.
 */
static __always_inline __u32 other_end_mark(const struct hf_connection *connection)
{
	return connection->flags & HF_CONNECTION_REPLY ? 0 : connection->member;
}

static __always_inline void other_end_key(struct hf_flow_key *key, const struct hf_flow_key *flow, __u32 mark)
{
	*key = *flow;
	flow_mark_member(key, mark);
}

/* NULL: there is none. `key` is only to work with. */
static __always_inline const struct hf_other_end *
other_end_find(struct hf_flow_key *key, const struct hf_flow_key *flow, const struct hf_connection *connection)
{
	const struct hf_embryonic_connection *embryo;
	const struct hf_other_end *found;

	other_end_key(key, flow, other_end_mark(connection));
	found = bpf_map_lookup_elem(&other_ends, key);
	if (found)
		return found;
	/* One that has not proved itself: of a socket whose datagrams go to many members it is so marked, too. */
	if (!(connection->flags & HF_CONNECTION_PER_DATAGRAM))
		*key = *flow;
	embryo = bpf_map_lookup_elem(&embryonic_connections, key);
	if (embryo)
		return &embryo->other_end;
	return NULL;
}

/* False: there is none; `end` is nobody then. Global: verified once. */
__noinline int other_end_get(const struct hf_flow_key *flow, const struct hf_connection *connection,
			     struct hf_other_end *end)
{
	const struct hf_other_end *found;
	struct hf_flow_key key;

	if (!flow || !connection || !end)
		return false;
	found = other_end_find(&key, flow, connection);
	if (found) {
		*end = *found;
		return true;
	}
	__builtin_memset(end, 0, sizeof(*end));
	return false;
}

/* 0 if it is there. */
static __noinline int other_end_record(const struct hf_flow_key *flow, __u32 mark, const __u8 *address, __be16 port)
{
	struct hf_other_end end = {.port = port, .made = clock_now()};
	struct hf_flow_key key;

	__builtin_memcpy(end.address, address, sizeof(end.address));
	other_end_key(&key, flow, mark);
	return bpf_map_update_elem(&other_ends, &key, &end, BPF_ANY) ? -1 : 0;
}

static __noinline void other_end_forget(const struct hf_flow_key *flow, const struct hf_connection *connection)
{
	struct hf_flow_key key;

	other_end_key(&key, flow, other_end_mark(connection));
	bpf_map_delete_elem(&other_ends, &key);
}
