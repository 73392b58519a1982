/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shares: what a client holds before it is bound (early data, slots), and what it has
 * not acknowledged of streams that are changed, is charged to it, so that slow or
 * silent clients cannot fill the tables. A share is at most what is configured, and at
 * most a part of what is free: with every client that holds much, each may hold less,
 * and there is always room for one more (Choudhury and Hahne's dynamic thresholds).
 */
#pragma once

#include "../counters.h"

static __always_inline void share_key(struct hf_share_key *key, const __u8 *client)
{
	const __u64 *address = (const __u64 *)client;

	key->address[0] = address[0];
	/* An IPv4 address is in the second half; who has an IPv6 address has 2^64 of them. */
	key->address[1] = address[0] ? 0 : address[1];
}

/* Of what is free in early_data, a client may have one part in so many. */
#define SHARE_OF_FREE 16

static __always_inline __u32 share_most(const struct hf_early_limits *limits)
{
	__u32 zero = 0;
	const __u32 *used = bpf_map_lookup_elem(&early_pieces, &zero);
	__u32 left = used && *used < HF_PIECES ? HF_PIECES - *used : 0;
	__u32 most = left / SHARE_OF_FREE * HF_PIECE_BYTES + HF_PIECE_BYTES + HF_OPENING_BYTES;

	return most < limits->max_bytes_per_client ? most : limits->max_bytes_per_client;
}

/* Pieces come, or go. */
static __always_inline void early_pieces_add(__s32 number)
{
	__u32 zero = 0, *used = bpf_map_lookup_elem(&early_pieces, &zero);

	if (used)
		__sync_fetch_and_add(used, number);
}

/* False: the client holds too much. */
static __noinline bool share_take(const struct hf_flow_key *client, __u32 bytes)
{
	__u32 zero = 0, *held;
	const struct hf_early_limits *limits = bpf_map_lookup_elem(&early_limits, &zero);
	struct hf_share_key key;

	share_key(&key, client->source);
	held = bpf_map_lookup_elem(&early_shares, &key);
	if (!held) {
		if (!bpf_map_update_elem(&early_shares, &key, &bytes, BPF_NOEXIST))
			return true;
		held = bpf_map_lookup_elem(&early_shares, &key);
	}
	if (!held || !limits)
		return false;
	if (__sync_fetch_and_add(held, bytes) + bytes <= share_most(limits))
		return true;
	__sync_fetch_and_add(held, -bytes);
	return false;
}

static __always_inline void share_give_back(const struct hf_flow_key *client, __u32 bytes)
{
	struct hf_share_key key;
	__u32 *held, before;

	share_key(&key, client->source);
	held = bpf_map_lookup_elem(&early_shares, &key);
	if (!held)
		return;
	/* The table may have forgotten the client, and begun anew: there is no less than nothing. */
	for (int i = 0; i < 8; i++) {
		before = *(volatile __u32 *)held;
		if (__sync_val_compare_and_swap(held, before, before > bytes ? before - bytes : 0) == before)
			return;
	}
}
