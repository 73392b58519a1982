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
 * The two below are global functions: the verifier looks at each once, by itself,
 * and not again with every state in which it is called (their loops would cost it
 * hundreds of thousands of instructions).
 */

/* Smooth weighted round robin: the daemon has laid the turns out, one counter serves all CPUs. */
__noinline __u32 select_by_turn(__u32 pool_id)
{
	const struct hf_pool *pool = bpf_map_lookup_elem(&pools, &pool_id);
	__u32 *turn = bpf_map_lookup_elem(&pool_turns, &pool_id);
	struct hf_selection_table table;

	if (!pool || !turn)
		return 0;
	table = selection_table(&pool->rotation);
	if (!table.size)
		return 0;
	/* A member whose state has just changed is still in the table for a moment. */
	for (int i = 0; i < HF_ROTATION_ATTEMPTS; i++) {
		__u32 member = selection_slot(table, __sync_fetch_and_add(turn, 1) % table.size);

		if (member_takes_new(member, pool_id))
			return member;
	}
	return 0;
}

/*
 * The Maglev table names a member for each hash. One that cannot take the client
 * keeps its slots: only its own clients go elsewhere, each to a choice that is
 * itself a hash, and they come back with it.
 */
__noinline __u32 select_by_hash(__u32 pool_id, __u64 hash)
{
	const struct hf_pool *pool = bpf_map_lookup_elem(&pools, &pool_id);
	struct hf_selection_table table, rotation;
	__u32 member;

	if (!pool)
		return 0;
	table = selection_table(&pool->maglev);
	if (!table.size)
		return 0;
	member = selection_slot(table, hash % table.size);
	if (likely(member_takes_new(member, pool_id)))
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
	rotation = selection_table(&pool->rotation);
	if (!rotation.size)
		return 0;
	for (int i = 0; i < HF_ROTATION_ATTEMPTS; i++) {
		member = selection_slot(rotation, hash++ % rotation.size);
		if (member_takes_new(member, pool_id))
			return member;
	}
	return 0;
}
