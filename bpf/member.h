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

#include "clock.h"
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

/* Connections that it may be given in this second; 0: any number. */
static __always_inline __u32 member_rate(const struct hf_member *member, __u32 now)
{
	__u32 rate = member->rate_limit;

	if (member->warm && (__s32)(member->warm - now) > 0 && (!rate || member->warm_rate < rate))
		rate = member->warm_rate;
	return rate;
}

static __always_inline bool member_is_held_back(const struct hf_member *member, __u32 id)
{
	const __u64 *begun;
	__u32 now, rate;

	if (likely(!(member->recovered | member->rate_limit | member->warm)))
		return false;
	now = clock_now();
	if (member->recovered && (__s32)(member->recovered - now) > 0)
		return true;
	rate = member_rate(member, now);
	begun = rate ? bpf_map_lookup_elem(&member_rates, &id) : NULL;
	return begun && *(const volatile __u64 *)begun >> 32 == now && (__u32) * (const volatile __u64 *)begun >= rate;
}

/* May the member of this id, in this pool, take clients that are new to it, as far as its state goes? */
static __always_inline bool member_accepts_clients(__u32 id, __u32 pool)
{
	const struct hf_member *member = member_get(id);

	return member && member->pool == pool && member->state == HF_MEMBER_UP;
}

/* And is there a place for one? Global: verified once. */
__noinline int member_takes_new(__u32 id, __u32 pool)
{
	const struct hf_member *member = member_get(id);

	return member && member->pool == pool && member->state == HF_MEMBER_UP && !member_is_full(member, id) &&
	       !member_is_held_back(member, id);
}

/* Is it down in a pool that then has its connections reset? */
static __always_inline bool member_resets(const struct hf_member *member)
{
	return member->state >= HF_MEMBER_DISABLED && member->flags & HF_MEMBER_RESETS;
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

#define RATE_ATTEMPTS 8

/* One of `rate` in this second. False: all are taken, and `beyond` the limit it may not go. */
static __always_inline bool rate_take(__u64 *begun, __u32 rate, __u32 now, bool beyond)
{
	__u64 seen, next;

	for (int i = 0; rate && i < RATE_ATTEMPTS; i++) {
		seen = *(volatile __u64 *)begun;
		next = (seen >> 32 == now ? seen : (__u64)now << 32) + 1;
		if (!beyond && (__u32)next > rate)
			return false;
		if (__sync_val_compare_and_swap(begun, seen, next) == seen)
			return true;
	}
	return !rate || beyond;
}

/* One of this second's connections. Global: verified once. */
__noinline int member_take_turn(__u32 id, bool beyond)
{
	const struct hf_member *member = member_get(id);
	__u64 *begun = bpf_map_lookup_elem(&member_rates, &id);
	__u32 now = clock_now();

	return member && begun && rate_take(begun, member_rate(member, now), now, beyond);
}

static __always_inline void member_give_place_back(__u32 id)
{
	__u32 *taken = bpf_map_lookup_elem(&member_connections, &id);

	if (taken)
		__sync_fetch_and_add(taken, -1);
}
