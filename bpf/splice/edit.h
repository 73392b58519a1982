/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Edits: what is changed in one direction of a spliced connection, by the numbers of
 * its sender. Those that the receiver has acknowledged become a part of the
 * direction's shift; the others are kept in a list, so that whatever is sent again is
 * changed again in the same way:
 *
 *   sender    ...aaa[removed]bbb...      text is in front of the byte behind what is
 *   receiver  ...aaa[text   ]bbb...      removed, and leaves with that byte
 *
 * An acknowledgement within the text is one of what was removed, and no more: the
 * sender repeats the byte behind it, and with it comes the text.
 *
 * Only the sender's packets add to a list (under the lock of its reader), only the
 * receiver's take from it. A connection without edits pays for none of this.
 */
#pragma once

#include "share.h"

/* A list's lock is held for some memory accesses. */
#define EDIT_PATIENCE 1024
/* But its CPU may be interrupted meanwhile: milliseconds, for what cannot be repeated. */
#define EDIT_LONG_PATIENCE (1 << 20)

/* About a packet of one direction's sender, or of its receiver. */
struct edit_question {
	__u32 splice;
	__u32 direction;
	__u32 number; /* in and out: a sequence number, or an acknowledgement */
	__u32 size;   /* bytes from there on */
	bool covers;  /* out: something is changed in them */
	bool edge;    /* in: the number is an edge of a SACK block, */
	bool left;    /* the left one */
	__u8 pad;
};

static __always_inline bool edit_is_after(__u32 a, __u32 b)
{
	return (__s32)(a - b) > 0;
}

static __always_inline struct hf_edits *edits_find(__u32 splice, __u32 direction)
{
	struct hf_edits_key key = {.splice = splice, .direction = direction};

	return bpf_map_lookup_elem(&edits, &key);
}

enum { EDITS_BUSY = -1, EDITS_NONE = 0, EDITS_LOCKED = 1 };

/* Who waits for a lock. */
struct edits_wait {
	struct hf_edits *list;
	__u32 token;
	bool taken;
};

static long edits_try(__u32 index, struct edits_wait *wait)
{
	wait->taken = !__sync_val_compare_and_swap(&wait->list->busy, 0, wait->token);
	return wait->taken ? 1 : 0;
}

/* The lock is taken: is the list still the same one's? */
static __always_inline int edits_locked(struct hf_edits *list, __u32 splice, __u32 direction, __u32 token)
{
	if (list->owner.splice == splice && list->owner.direction == direction)
		return EDITS_LOCKED;
	/* The entry is another's by now, and so may be its lock. */
	__sync_val_compare_and_swap(&list->busy, token, 0);
	return EDITS_NONE;
}

static __always_inline int edits_lock(struct hf_edits *list, __u32 splice, __u32 direction)
{
	__u32 token = bpf_get_smp_processor_id() + 1;

	if (!list)
		return EDITS_NONE;
	for (int i = 0; i < EDIT_PATIENCE; i++) {
		if (!__sync_val_compare_and_swap(&list->busy, 0, token))
			return edits_locked(list, splice, direction, token);
	}
	reason_count(HF_REASON_opening_busy);
	return EDITS_BUSY;
}

/* With patience: it takes a frame of the stack more. */
static __always_inline int edits_lock_patiently(struct hf_edits *list, __u32 splice, __u32 direction)
{
	struct edits_wait wait = {.list = list, .token = bpf_get_smp_processor_id() + 1};

	if (!list)
		return EDITS_NONE;
	bpf_loop(EDIT_LONG_PATIENCE, edits_try, &wait, 0);
	if (wait.taken)
		return edits_locked(list, splice, direction, wait.token);
	reason_count(HF_REASON_opening_busy);
	return EDITS_BUSY;
}

static __always_inline void edits_unlock(struct hf_edits *list)
{
	__sync_val_compare_and_swap(&list->busy, bpf_get_smp_processor_id() + 1, 0);
}

static __always_inline __u32 *edits_shift(struct hf_splice *splice, __u32 direction)
{
	return direction == HF_ANSWERS ? &splice->shift : &splice->request_shift;
}

/*
 * Under the lock, which ends with it: the list is nobody's. As long as the splice says
 * that there is one, nobody makes another.
 */
static __always_inline void edits_end(struct hf_edits *list, struct hf_splice *splice, __u32 direction)
{
	struct hf_edits_key key = list->owner;

	list->owner.splice = 0;
	edits_unlock(list);
	if (!bpf_map_delete_elem(&edits, &key))
		share_give_back(&splice->client, HF_EDITED_BYTES);
	*(volatile __u8 *)&splice->edited[direction & 1] = 0;
}

/* What a number of the sender is to the receiver, but for the shift. */
static __always_inline __u32 edits_forward(const struct hf_edits *list, __u32 number)
{
	__u32 moved = 0;

	for (__u32 i = 0; i < HF_EDITS; i++) {
		const struct hf_edit *edit = &list->list[i];
		__u32 distance = number - edit->at;

		if (i >= list->count || (__s32)distance <= 0)
			break;
		moved -= distance < edit->removed ? distance : edit->removed;
		if (distance > edit->removed)
			moved += edit->put;
	}
	return number + moved;
}

static __always_inline bool edits_cover(const struct hf_edits *list, __u32 number, __u32 size)
{
	for (__u32 i = 0; i < HF_EDITS; i++) {
		const struct hf_edit *edit = &list->list[i];

		if (i >= list->count || !size)
			break;
		if (edit_is_after(number + size, edit->at) && !edit_is_after(number, edit->at + edit->removed))
			return true;
	}
	return false;
}

static __always_inline void edits_note_sent(struct hf_edits *list, __u32 end)
{
	if (edit_is_after(end, list->sent))
		list->sent = end;
}

/* And what one of the receiver is to the sender. */
static __always_inline __u32 edits_backward(const struct hf_edits *list, __u32 number, bool left)
{
	for (__u32 i = 0; i < HF_EDITS; i++) {
		const struct hf_edit *edit = &list->list[i];
		__u32 distance = number - edit->at;

		if (i >= list->count || (__s32)distance < 0)
			break;
		if (distance < edit->put)
			/* A block that begins within the text says nothing about the text. */
			return edit->at + edit->removed + (left && distance);
		number += edit->removed - edit->put;
	}
	return number;
}

/* The first edits that the receiver has acknowledged become the shift. */
static __always_inline void edits_fold(struct hf_edits *list, struct hf_splice *splice, __u32 direction, __u32 number)
{
	__u32 *shift = edits_shift(splice, direction), done = 0, moved = 0;

	for (__u32 i = 0; i < HF_EDITS; i++) {
		const struct hf_edit *edit = &list->list[i];
		__u32 distance = number - edit->at;

		if (i >= list->count || edit->open || (__s32)distance < 0 || distance < edit->put)
			break;
		moved += edit->put - edit->removed;
		number += edit->removed - edit->put;
		done++;
	}
	if (!done)
		return;
	*shift += moved;
	list->count -= done;
	/* Of a list that is empty only its end may be told: see edits_end(). */
	if (list->count)
		splice->edited[direction & 1] = list->count;
	for (__u32 i = 0; i + 1 < HF_EDITS; i++) {
		if (i >= list->count || i + done >= HF_EDITS)
			break;
		bpf_probe_read_kernel(&list->list[i], sizeof(list->list[i]), &list->list[i + done]);
	}
}

static __always_inline struct hf_splice *edits_splice(__u32 id)
{
	__u32 slot = id & HF_SPLICE_SLOT;
	struct hf_splice *splice = bpf_map_lookup_elem(&splices, &slot);

	return splice && splice->id == id ? splice : NULL;
}

/* The sequence number of a segment of the sender's. -1: it cannot be known now. Global: verified once. */
__noinline int edit_sequence(struct edit_question *question)
{
	struct hf_splice *splice;
	struct hf_edits *list;
	int locked;

	if (!question)
		return -1;
	splice = edits_splice(question->splice);
	if (!splice)
		return -1;
	question->covers = false;
	list = edits_find(question->splice, question->direction);
	locked = edits_lock(list, question->splice, question->direction);
	if (locked == EDITS_LOCKED && list) {
		question->covers = edits_cover(list, question->number, question->size);
		edits_note_sent(list, question->number + question->size);
		question->number = edits_forward(list, question->number) + *edits_shift(splice, question->direction);
		edits_unlock(list);
	} else {
		question->number += *edits_shift(splice, question->direction);
	}
	return locked == EDITS_BUSY ? -1 : 0;
}

/* An acknowledgement of the receiver's. Likewise. */
__noinline int edit_acknowledge(struct edit_question *question)
{
	struct hf_splice *splice;
	struct hf_edits *list;
	__u32 number;
	int locked;

	if (!question)
		return -1;
	splice = edits_splice(question->splice);
	if (!splice)
		return -1;
	list = edits_find(question->splice, question->direction);
	locked = edits_lock(list, question->splice, question->direction);
	number = question->number - *edits_shift(splice, question->direction);
	question->number = number;
	if (locked == EDITS_LOCKED && list) {
		question->number = edits_backward(list, number, question->left);
		/* What has not been sent nobody can have: it is corrupt, or forged. */
		if (!question->edge && !edit_is_after(question->number, list->sent))
			edits_fold(list, splice, question->direction, number);
		if (list->count)
			edits_unlock(list);
		else
			edits_end(list, splice, question->direction);
	}
	return locked == EDITS_BUSY ? -1 : 0;
}

/* Nothing more becomes known: what is withheld is put back, as far as it goes. Global: verified once. */
__noinline int edits_close(__u32 splice, __u32 direction)
{
	struct hf_edits *list = edits_find(splice, direction);

	if (edits_lock(list, splice, direction) != EDITS_LOCKED || !list)
		return 0;
	for (__u32 i = 0; i < HF_EDITS; i++) {
		struct hf_edit *edit = &list->list[i];

		if (i >= list->count || !edit->open)
			continue;
		edit->put = edit->length;
		edit->open = false;
	}
	edits_unlock(list);
	return 0;
}

/* Where in a list of `count` edits the one at this place is; HF_EDITS: it is not there. */
static __noinline __u32 edits_place(const struct hf_edits *list, __u32 count, __u32 at)
{
	for (__u32 i = 0; i < HF_EDITS; i++) {
		if (i < count && list->list[i].at == at)
			return i;
	}
	return HF_EDITS;
}

struct edits_merge {
	struct hf_edits *list;
	const struct hf_edits *found;
	__u32 count; /* of the list, before */
	__u32 fresh; /* edits that are not in it */
	bool write;
};

/* One edit that was found: in the list there is none at its place, an open one, or it itself. */
static long edits_merge_one(__u32 index, struct edits_merge *merge)
{
	const struct hf_edit *found;
	struct hf_edit *edit;
	__u32 place;

	if (index >= merge->found->count || index >= HF_EDITS)
		return 1;
	found = &merge->found->list[index];
	place = edits_place(merge->list, merge->count, found->at);
	if (place < HF_EDITS) {
		edit = &merge->list->list[place];
		if (merge->write && edit->open)
			bpf_probe_read_kernel(edit, sizeof(*edit), found);
		edit->seen = true;
		return 0;
	}
	place = merge->count + merge->fresh++;
	if (merge->write && place < HF_EDITS) {
		edit = &merge->list->list[place];
		bpf_probe_read_kernel(edit, sizeof(*edit), found);
		edit->seen = true;
	}
	return 0;
}

/* What was found in a segment joins what is there already. False: there is no room. */
static __always_inline bool edits_merge(struct hf_edits *list, const struct hf_edits *found)
{
	struct edits_merge merge = {.list = list, .found = found, .count = list->count};

	for (__u32 i = 0; i < HF_EDITS; i++)
		list->list[i].seen = false;
	bpf_loop(HF_EDITS, edits_merge_one, &merge, 0);
	if (merge.count + merge.fresh > HF_EDITS)
		return false;
	merge.fresh = 0;
	merge.write = true;
	bpf_loop(HF_EDITS, edits_merge_one, &merge, 0);
	/* Of others it has turned out that they are not what they might have become. */
	for (__u32 i = 0; i < HF_EDITS; i++) {
		struct hf_edit *edit = &list->list[i];

		if (i >= merge.count || !edit->open || edit->seen)
			continue;
		edit->put = edit->length;
		edit->open = false;
	}
	list->count = merge.count + merge.fresh;
	return true;
}

static long edits_wait_for_end(__u32 index, const volatile __u8 **edited)
{
	return **edited ? 0 : 1;
}

/* A list that its receiver has just emptied is about to be gone. False: it is not. */
static __always_inline bool edits_are_over(const struct hf_splice *splice, __u32 direction)
{
	const volatile __u8 *edited = &splice->edited[direction & 1];

	bpf_loop(EDIT_LONG_PATIENCE, edits_wait_for_end, &edited, 0);
	return !*edited;
}

/* The direction begins anew, or is over. Global: verified once. */
__noinline int edits_forget(__u32 id, __u32 direction)
{
	struct hf_edits *list = edits_find(id, direction);
	struct hf_splice *splice = edits_splice(id);

	if (!splice)
		return 0;
	if (edits_lock_patiently(list, id, direction) == EDITS_LOCKED && list)
		edits_end(list, splice, direction);
	else
		edits_are_over(splice, direction);
	return 0;
}

/* A new list. False: there is no room. */
static __always_inline bool edits_create(struct hf_splice *splice, __u32 id, __u32 direction, struct hf_edits *found)
{
	struct hf_edits_key key = {.splice = id, .direction = direction};

	if (!found->count)
		return true;
	found->owner = key;
	found->busy = 0;
	found->sent = found->list[0].at;
	__builtin_memcpy(found->client, splice->client.source, sizeof(found->client));
	if (!share_take(&splice->client, HF_EDITED_BYTES))
		return false;
	if (bpf_map_update_elem(&edits, &key, found, BPF_ANY)) {
		share_give_back(&splice->client, HF_EDITED_BYTES);
		return false;
	}
	/* The connection may have ended meanwhile: then the sweeper takes it. */
	if (splice->id != id || splice->state == HF_SPLICE_FREE)
		return false;
	splice->edited[direction & 1] = found->count;
	return true;
}

/* What was found is changed from now on. False: there is no room: nothing has changed. */
static __noinline bool edits_commit(struct hf_splice *splice, __u32 id, __u32 direction, struct hf_edits *found)
{
	struct hf_edits *list;
	int locked;
	bool merged;

	if (splice->edited[direction & 1]) {
		list = edits_find(id, direction);
		locked = edits_lock_patiently(list, id, direction);
		if (locked == EDITS_LOCKED && list) {
			merged = edits_merge(list, found);
			splice->edited[direction & 1] = list->count;
			edits_unlock(list);
			return merged;
		}
		if (locked == EDITS_BUSY || !edits_are_over(splice, direction))
			return false;
	}
	return edits_create(splice, id, direction, found);
}
