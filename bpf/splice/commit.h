/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Commits: what was found in a segment of a bound connection becomes the splice's state,
 * when all of the segment is read: the reader, what is counted, and what is changed in
 * the stream from now on.
 */
#pragma once

#include "follow.h"

/*
 * Nothing more is read of the direction. Where a header has to tell members who their
 * clients are, what is not read does not go on.
 */
static __always_inline int follow_give_up(struct task *task, struct hf_splice *splice, bool reply)
{
	const struct hf_virtual_server *settings = service_settings(task->virtual_server);
	__u8 flags = settings && !task->tunnel ? settings->flags : 0;

	if (flags & HF_SERVER_FORWARDED_FOR && !reply)
		return HAND_OVER;
	if (task->reader.state == HF_READER_BROKEN)
		reason_count(HF_REASON_stream_unframed);
	if (!reply || !(flags & (HF_SERVER_FORWARDED_FOR | HF_SERVER_WRITES))) {
		reader_give_up(splice);
		return CONTINUE;
	}
	/* Requests are still to be changed: only the answers are left alone. */
	if (splice->answers.state == HF_READER_HEAD)
		early_delete(splice->id, HF_EARLY_ANSWER);
	splice->answers.state = HF_READER_OFF;
	if (splice->edited[HF_ANSWERS])
		edits_close(splice->id, HF_ANSWERS);
	return CONTINUE;
}

/* What was found in the segment is to be changed from now on. False: there is no room for that. */
static __always_inline bool follow_commit_edits(struct task *task, struct hf_splice *splice, bool reply)
{
	/* XDP changes responses only. */
	if (HOOK_HAS_LOWER_HOOK && !reply)
		return true;
	if (edits_commit(splice, splice->id, reply ? HF_ANSWERS : HF_REQUESTS, &task->edits))
		return true;
	if (!task->optional)
		return false;
	reason_count(HF_REASON_cookie_skipped);
	task->edits.count = 0;
	return true;
}

/* Under the reader's lock. CONTINUE: the segment goes on. HAND_OVER: it is refused. */
static __always_inline int follow_commit_locked(struct task *task, struct hf_splice *splice, bool reply)
{
	struct hf_reader *reader = reply ? &splice->answers : &splice->requests;

	if (reader->state == HF_READER_OFF) {
		task->edits.count = 0;
		return CONTINUE;
	}
	if (task->read_next - task->sequence >= task->packet.payload_length)
		return CONTINUE; /* nothing of it is new */
	if (reader->next != task->read_next)
		return drop(HF_REASON_opening_busy);
	if (!follow_commit_edits(task, splice, reply))
		return drop(HF_REASON_edit_held);
	if (task->reader.state == HF_READER_BROKEN || task->reader.state == HF_READER_OFF)
		return follow_give_up(task, splice, reply);
	task->reader.next = task->sequence + (task->limit ?: task->packet.payload_length);
	task->reader.busy = 1;
	follow_move(splice, task, reply);
	if (reply) {
		splice->answered = task->answered;
	} else {
		splice->methods = task->methods;
		splice->unmarked = task->unmarked;
		splice->requested = task->requested;
		splice->held_since = 0;
	}
	return CONTINUE;
}

/* The segment was read. CONTINUE, unless another packet of its direction was faster, with the same bytes. */
static __always_inline int follow_commit(struct task *task, struct hf_splice *splice, bool reply)
{
	struct hf_reader *reader = reply ? &splice->answers : &splice->requests;
	int verdict;

	task->reading = false;
	if (!reader_lock(reader))
		return drop(HF_REASON_opening_busy);
	verdict = follow_commit_locked(task, splice, reply);
	reader_unlock(reader);
	return verdict;
}
