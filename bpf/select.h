/* SPDX-License-Identifier: GPL-2.0 */
/* Choosing a member: by turns, or by a hash. */
#pragma once

#include "holdfast/siphash.h"
#include "member.h"

static __always_inline struct hf_selection_table selection_table(const struct hf_selection_table *table)
{
	union {
		__u64 word;
		struct hf_selection_table table;
	} value = {.word = *(const volatile __u64 *)table};

	return value.table;
}

static __always_inline __u32 selection_slot(struct hf_selection_table table, __u32 index)
{
	__u32 slot = table.offset + index;
	const __u32 *member = bpf_map_lookup_elem(&selection, &slot);

	return member ? *member : 0;
}

/*
 * The functions that are not static are global: the verifier looks at each once, by
 * itself, and not again with every state in which it is called (their loops would cost
 * it hundreds of thousands of instructions).
 */

/* The first of a table that takes new clients, from a place in it on; so many are tried. */
static __always_inline __u32 select_from(struct hf_selection_table table, __u32 place, __u32 pool_id, int attempts)
{
	if (!table.size)
		return 0;
	/* A member whose state has just changed is still in the table for a moment. */
	for (int i = 0; i < attempts; i++) {
		__u32 member = selection_slot(table, (place + i) % table.size);

		if (member_takes_new(member, pool_id))
			return member;
	}
	return 0;
}

/* Where nobody else is usable. */
static __always_inline __u32 select_backup(const struct hf_pool *pool, __u32 pool_id, __u32 place)
{
	__u32 member = select_from(selection_table(&pool->backups), place, pool_id, HF_ROTATION_ATTEMPTS);

	if (member)
		reason_count(HF_REASON_backup_chosen);
	return member;
}

/* Smooth weighted round robin: the daemon has laid the turns out, one counter serves all CPUs. */
__noinline __u32 select_by_turn(__u32 pool_id)
{
	const struct hf_pool *pool = bpf_map_lookup_elem(&pools, &pool_id);
	__u32 *turn = bpf_map_lookup_elem(&pool_turns, &pool_id);
	struct hf_selection_table table;

	if (!pool || !turn)
		return 0;
	table = selection_table(&pool->rotation);
	for (int i = 0; i < HF_ROTATION_ATTEMPTS; i++) {
		__u32 member;

		if (!table.size)
			break;
		member = selection_slot(table, __sync_fetch_and_add(turn, 1) % table.size);
		if (member_takes_new(member, pool_id))
			return member;
	}
	return select_backup(pool, pool_id, __sync_fetch_and_add(turn, 1));
}

/* Those that are fastest have their turns; where nobody's latency is known, or none of these can be had, all have. */
static __always_inline __u32 select_by_response(__u32 pool_id)
{
	const struct hf_pool *pool = bpf_map_lookup_elem(&pools, &pool_id);
	__u32 *turn = bpf_map_lookup_elem(&pool_turns, &pool_id), member;
	struct hf_selection_table table;

	if (!pool || !turn)
		return 0;
	table = selection_table(&pool->fastest);
	if (table.size) {
		member = select_from(table, *(volatile __u32 *)turn, pool_id, HF_FASTEST_ATTEMPTS);
		if (member) {
			__sync_fetch_and_add(turn, 1);
			return member;
		}
	}
	return select_by_turn(pool_id);
}

__noinline __u32 select_at_random(__u32 pool_id)
{
	const struct hf_pool *pool = bpf_map_lookup_elem(&pools, &pool_id);
	__u32 place = bpf_get_prandom_u32(), member;

	if (!pool)
		return 0;
	member = select_from(selection_table(&pool->rotation), place, pool_id, HF_ROTATION_ATTEMPTS);
	return member ?: select_backup(pool, pool_id, place);
}

struct select_least {
	struct hf_selection_table table;
	__u32 start;
	__u32 pool;
	__u32 member; /* the best so far */
	__u32 load;
	__u32 weight;
};

static long select_compare(__u32 index, struct select_least *least)
{
	__u32 id = selection_slot(least->table, (least->start + index) % least->table.size);
	const __u32 *taken = bpf_map_lookup_elem(&member_connections, &id);
	const struct hf_member *member = member_get(id);
	__u32 load;

	if (!member || !taken || !member_takes_new(id, least->pool))
		return 0;
	load = (__s32) * (const volatile __u32 *)taken < 0 ? 0 : *(const volatile __u32 *)taken;
	if (!least->member || (__u64)load * least->weight < (__u64)least->load * member->weight) {
		least->member = id;
		least->load = load;
		least->weight = member->weight;
	}
	return 0;
}

/* All members are compared; of equal ones each has its turn. */
__noinline __u32 select_by_connections(__u32 pool_id)
{
	const struct hf_pool *pool = bpf_map_lookup_elem(&pools, &pool_id);
	__u32 *turn = bpf_map_lookup_elem(&pool_turns, &pool_id), zero = 0;
	/*
	 * Pool 0 has no turns: a 0 that the verifier does not know. Before Linux 6.8 it walks a callback once,
	 * with what it knows of the context, and removes what it takes for dead.
	 */
	const __u32 *nobody = bpf_map_lookup_elem(&pool_turns, &zero);
	struct select_least least = {.pool = pool_id};

	if (!pool || !turn || !nobody)
		return 0;
	least.member = least.load = least.weight = *nobody;
	least.table = selection_table(&pool->once);
	least.start = __sync_fetch_and_add(turn, 1);
	if (least.table.size)
		bpf_loop(least.table.size, select_compare, &least, 0);
	return least.member ?: select_backup(pool, pool_id, least.start);
}

/*
 * The Maglev table names a member for each hash. One that cannot take the client
 * keeps its slots: only its own clients go elsewhere, each to a choice that is
 * itself a hash, and they come back with it. `old`: the client was there before, so that
 * the limits of new ones are not its.
 */
__noinline __u32 select_by_hash(__u32 pool_id, __u64 hash, bool old)
{
	const struct hf_pool *pool = bpf_map_lookup_elem(&pools, &pool_id);
	struct hf_selection_table table;
	__u32 member;

	if (!pool)
		return 0;
	table = selection_table(&pool->maglev);
	if (!table.size)
		return select_backup(pool, pool_id, hash);
	member = selection_slot(table, hash % table.size);
	if (likely(member_takes_new(member, pool_id)) || (old && member_accepts_clients(member, pool_id)))
		return member;
	reason_count(HF_REASON_hash_second_choice);
	for (int i = 0; i < HF_HASH_ATTEMPTS; i++) {
		/* SplitMix64's step: one hash into a sequence of independent ones. */
		hash += 0x9e3779b97f4a7c15ULL;
		hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9ULL;
		hash = (hash ^ hash >> 27) * 0x94d049bb133111ebULL;
		hash ^= hash >> 31;
		member = selection_slot(table, hash % table.size);
		if (member_takes_new(member, pool_id))
			return member;
	}
	member = select_from(selection_table(&pool->rotation), hash, pool_id, HF_ROTATION_ATTEMPTS);
	return member ?: select_backup(pool, pool_id, hash);
}
