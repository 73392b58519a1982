/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Splices: what both directions of a spliced connection share. A slot is taken
 * when a client has proved its address, and given back when the connection's
 * entries go. Entries name it with the number of its use: one that has been left
 * behind finds nothing.
 */
#pragma once

#include "edit.h"

#define SPLICE_FREE_ATTEMPTS 16

/* A free slot; 0: there is none. Global: verified once. */
__noinline __u32 splice_slot_take(void)
{
	__u32 zero = 0, place, *slot, found;
	struct hf_free_splices *ends = bpf_map_lookup_elem(&free_splices_ends, &zero);
	__u64 head;

	for (int i = 0; ends && i < SPLICE_FREE_ATTEMPTS; i++) {
		head = *(volatile __u64 *)&ends->head;
		place = head % ends->size;
		slot = bpf_map_lookup_elem(&free_splices, &place);
		if (!slot)
			return 0;
		found = *(volatile __u32 *)slot;
		if (!found)
			return 0;
		/* Nobody writes here before this slot itself has been given back. */
		if (__sync_val_compare_and_swap(&ends->head, head, head + 1) == head) {
			*slot = 0;
			return found;
		}
	}
	return 0;
}

static __always_inline void splice_slot_give_back(__u32 found)
{
	__u32 zero = 0, place, *slot;
	struct hf_free_splices *ends = bpf_map_lookup_elem(&free_splices_ends, &zero);

	if (!ends)
		return;
	place = __sync_fetch_and_add(&ends->tail, 1) % ends->size;
	slot = bpf_map_lookup_elem(&free_splices, &place);
	if (slot)
		*slot = found;
}

/* The splice of this name; NULL if its slot is somebody else's by now. */
static __always_inline struct hf_splice *splice_get(__u32 id)
{
	__u32 slot = id & HF_SPLICE_SLOT;
	struct hf_splice *splice = bpf_map_lookup_elem(&splices, &slot);

	return splice && slot && splice->id == id && splice->state != HF_SPLICE_FREE ? splice : NULL;
}

/* What is there of an unfinished head goes: it is whole, or nobody wants it. Global: verified once. */
__noinline int early_delete(__u32 id, __u32 run)
{
	__u32 slot = id & HF_SPLICE_SLOT, pieces = 0, charged;
	struct hf_splice *splice = bpf_map_lookup_elem(&splices, &slot);
	struct hf_early_key key = {.splice = id};

	for (__u32 i = 0; i <= HF_MESSAGE_BYTES / HF_PIECE_BYTES; i++) {
		key.number = run + i;
		if (bpf_map_delete_elem(&early_data, &key))
			break;
		early_pieces_add(-1);
		pieces++;
	}
	if (!splice || run != HF_EARLY_REQUEST)
		return 0;
	charged = splice->charged;
	pieces *= HF_PIECE_BYTES;
	if (pieces > charged)
		pieces = charged;
	if (pieces && __sync_val_compare_and_swap(&splice->charged, charged, charged - pieces) == charged)
		share_give_back(&splice->client, pieces);
	return 0;
}

/* Nothing is read of this connection any more, in either direction: it keeps its member. */
static __always_inline void reader_give_up(struct hf_splice *splice)
{
	if (splice->requests.state == HF_READER_HEAD)
		early_delete(splice->id, HF_EARLY_REQUEST);
	if (splice->answers.state == HF_READER_HEAD)
		early_delete(splice->id, HF_EARLY_ANSWER);
	splice->requests.state = splice->answers.state = HF_READER_OFF;
	splice->held_since = 0;
	if (splice->edited[HF_REQUESTS])
		edits_close(splice->id, HF_REQUESTS);
	if (splice->edited[HF_ANSWERS])
		edits_close(splice->id, HF_ANSWERS);
}

#define SPLICE_MOST_PIECES (HF_MESSAGE_BYTES / HF_PIECE_SHORTEST + 2)

/*
 * The early data has arrived, or is not wanted any more. All that is charged is given
 * back, also for an unfinished head: there is little of that. Global: verified once.
 */
__noinline int splice_release_early(__u32 id)
{
	__u32 slot = id & HF_SPLICE_SLOT, charged;
	struct hf_splice *splice = bpf_map_lookup_elem(&splices, &slot);
	struct hf_early_key key = {.splice = id};

	if (!splice)
		return 0;
	for (__u32 i = 0; i < SPLICE_MOST_PIECES; i++) {
		if (i >= splice->pieces)
			break;
		key.number = i;
		if (!bpf_map_delete_elem(&early_data, &key))
			early_pieces_add(-1);
	}
	splice->pieces = 0;
	charged = splice->charged;
	if (charged && __sync_val_compare_and_swap(&splice->charged, charged, 0) == charged)
		share_give_back(&splice->client, charged);
	return 0;
}

/* A slot for a client that has proved its address; 0: there is none, or not for this client. Global: verified once. */
__noinline __u32 splice_take(const struct hf_flow_key *flow, __u32 now)
{
	struct hf_splice *splice;
	struct hf_flow_key client;
	__u32 slot = 0, id;

	if (!flow)
		return 0;
	client = *flow;
	if (!share_take(&client, HF_OPENING_BYTES)) {
		reason_count(HF_REASON_early_client_full);
		return 0;
	}
	slot = splice_slot_take();
	if (!slot) {
		share_give_back(&client, HF_OPENING_BYTES);
		reason_count(HF_REASON_opening_full);
		return 0;
	}
	splice = bpf_map_lookup_elem(&splices, &slot);
	if (!splice)
		return 0;
	id = ((splice->id & HF_SPLICE_GENERATION) + HF_SPLICE_GENERATION_STEP) | slot;
	__builtin_memset(splice, 0, sizeof(*splice));
	splice->client = client;
	splice->begun = now;
	splice->charged = HF_OPENING_BYTES;
	splice->id = id;
	splice->state = HF_SPLICE_COLLECTING;
	return id;
}

/*
 * What is not bound yet is worked on by one at a time, and so is the end. There is no
 * waiting here, but for what cannot be repeated soon.
 */
static __always_inline bool splice_try_lock(struct hf_splice *splice)
{
	return !__sync_val_compare_and_swap(&splice->busy, 0, 1);
}

static __always_inline bool splice_lock(struct hf_splice *splice)
{
	if (splice_try_lock(splice))
		return true;
	reason_count(HF_REASON_opening_busy);
	return false;
}

#define SPLICE_PATIENCE 256

static __always_inline bool splice_lock_patiently(struct hf_splice *splice)
{
	for (int i = 0; i < SPLICE_PATIENCE; i++) {
		if (splice_try_lock(splice))
			return true;
	}
	reason_count(HF_REASON_opening_busy);
	return false;
}

/* Whoever has ended the splice has given the lock back with it: the slot may be another one's. */
static __always_inline void splice_unlock(struct hf_splice *splice, __u32 id)
{
	if (splice->id == id && splice->state != HF_SPLICE_FREE)
		splice->busy = 0;
}

static __always_inline void splice_give_back(struct hf_splice *splice, __u32 id)
{
	splice_release_early(id);
	if (splice->requests.state == HF_READER_HEAD)
		early_delete(id, HF_EARLY_REQUEST);
	if (splice->answers.state == HF_READER_HEAD)
		early_delete(id, HF_EARLY_ANSWER);
	if (splice->edited[HF_REQUESTS])
		edits_forget(id, HF_REQUESTS);
	if (splice->edited[HF_ANSWERS])
		edits_forget(id, HF_ANSWERS);
	splice->state = HF_SPLICE_FREE;
	splice->busy = 0;
	splice_slot_give_back(id & HF_SPLICE_SLOT);
}

/* The end of a splice whose lock the caller has. Global: verified once. */
__noinline int splice_end_locked(__u32 id)
{
	struct hf_splice *splice = splice_get(id);

	if (splice)
		splice_give_back(splice, id);
	return 0;
}

/*
 * The end of a splice. One that somebody is working on stays for now: without its
 * entries in `connections`, it is ended by the sweeper.
 */
static __always_inline void splice_end(__u32 id)
{
	struct hf_splice *splice = splice_get(id);

	if (!splice || !splice_try_lock(splice))
		return;
	/* It may have ended between the look and the lock. */
	if (splice->id != id || splice->state == HF_SPLICE_FREE)
		splice->busy = 0;
	else
		splice_give_back(splice, id);
}
