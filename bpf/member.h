/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Members: what their state lets them take, and how many connections they have.
 *
 * A connection takes one of its member's places when it is begun, so that those
 * that begin at the same moment cannot be more than the limit, and gives it back
 * when it is closed or removed. Entries that the LRU evicts take their places
 * with them: the sweeper counts anew.
 */
#pragma once

#include "counters.h"

static __always_inline const struct hf_member *member_get(__u32 id)
{
	return bpf_map_lookup_elem(&members, &id);
}

static __always_inline bool member_is_full(const struct hf_member *member, __u32 id)
{
	const __u32 *taken;

	if (likely(!member->connection_limit))
		return false;
	taken = bpf_map_lookup_elem(&member_connections, &id);
	return taken && (__s32) * (const volatile __u32 *)taken >= (__s32)member->connection_limit;
}

/* May the member of this id, in this pool, take clients that are new to it, as far as its state goes? */
static __always_inline bool member_accepts_clients(__u32 id, __u32 pool)
{
	const struct hf_member *member = member_get(id);

	return member && member->pool == pool && member->state == HF_MEMBER_UP;
}

/* And is there a place for one? */
static __always_inline bool member_takes_new(__u32 id, __u32 pool)
{
	const struct hf_member *member = member_get(id);

	return member && member->pool == pool && member->state == HF_MEMBER_UP && !member_is_full(member, id);
}

/* May it go on serving a client whose session names it? */
static __always_inline bool member_honours_session(__u32 id, __u32 pool)
{
	const struct hf_member *member = member_get(id);

	return member && member->pool == pool && (member->state == HF_MEMBER_UP || member->state == HF_MEMBER_DRAINING);
}

/* A place for a connection. False: there is none, and `beyond` the limit it may not go. */
static __always_inline bool member_take_place(const struct hf_member *member, __u32 id, bool beyond)
{
	__u32 *taken = bpf_map_lookup_elem(&member_connections, &id);
	__s32 before;

	if (!taken)
		return false;
	before = (__s32)__sync_fetch_and_add(taken, 1);
	if (likely(!member->connection_limit || beyond || before < (__s32)member->connection_limit))
		return true;
	__sync_fetch_and_add(taken, -1);
	return false;
}

static __always_inline void member_give_place_back(__u32 id)
{
	__u32 *taken = bpf_map_lookup_elem(&member_connections, &id);

	if (taken)
		__sync_fetch_and_add(taken, -1);
}
