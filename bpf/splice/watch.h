/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Watching, on TC: of protocols whose answers interleave, a connection stays with its
 * first message's member, and messages of other keys are counted. Those that the client
 * has sent before that member accepted are read here, on their way out of early data;
 * later ones as they pass (follow.h).
 */
#pragma once

#include "../persist/iso8583_bitmap.h"
#include "../persist/sip_call_id.h"
#include "replay.h"

/* Messages of early data that are read. */
#define WATCH_MOST 32

struct watch {
	struct message *message;
	const struct hf_rule *rule;
	const struct hf_splice *splice;
	struct hf_reader reader;
	__u32 at;
	bool more; /* the message at `at` is not complete */
};

/* A message. 1: there is no more, or no more that can be read. */
static long watch_one(__u32 index, struct watch *watch)
{
	struct message *message = watch->message;
	const struct hf_rule *rule = watch->rule;
	int outcome;

	if (watch->reader.state == HF_READER_BODY) {
		watch->at += reader_skip(&watch->reader, message->available - watch->at);
		if (watch->reader.left)
			return 1;
		watch->reader.state = HF_READER_HEAD;
	}
	if (watch->at >= message->available || watch->reader.state != HF_READER_HEAD)
		return 1;
	message->keys.count = 0;
	message->keys.replace = 0;
	message->keys.pad = 0;
	if (rule->type == HF_RULE_SIP_CALL_ID)
		outcome = sip_call_id_parse_at(message, rule, watch->at);
	else
		outcome = iso8583_bitmap_parse_at(message, rule, watch->at);
	watch->more = outcome == HF_PARSER_MORE;
	if (watch->more)
		return 1;
	if (!message->head) {
		watch->reader.state = HF_READER_BROKEN;
		return 1;
	}
	follow_count_others(watch->splice, message);
	reader_begin_body(&watch->reader, message);
	watch->at = message->head;
	return 0;
}

/* What is there of a message that is not complete is kept. False: there is no room for it. */
static __always_inline bool watch_keep(struct hf_splice *splice, const struct message *message, __u32 at)
{
	for (__u32 i = 0; i <= HF_MESSAGE_BYTES / HF_PIECE_BYTES; i++) {
		if (at + i * HF_PIECE_BYTES >= message->available)
			break;
		if (!early_store_piece(message, splice, HF_EARLY_REQUEST + i, at + i * HF_PIECE_BYTES, true))
			return false;
	}
	return true;
}

/* Global: verified once. */
__noinline int watch_early(__u32 id, __u32 rule_id)
{
	struct hf_splice *splice = splice_get(id);
	const struct hf_rule *rule = bpf_map_lookup_elem(&rules, &rule_id);
	struct message *message = message_get();
	struct watch watch = {.message = message, .rule = rule, .splice = splice};
	struct hf_reader *reader;
	__u32 stored;

	if (!splice || !rule || !message)
		return 0;
	stored = splice->client_next - splice->client_first;
	reader = &splice->requests;
	watch.reader = *reader;
	if (early_load(message, splice->id, 0, 0, stored)) {
		reason_count(HF_REASON_stream_unframed);
		reader->state = HF_READER_OFF;
		return 0;
	}
	early_end(message, 0, stored);
	message->available = stored;
	message->length = stored + 1;
	watch.at = reader->next - splice->client_first;
	bpf_loop(WATCH_MOST, watch_one, &watch, 0);
	watch.reader.next = splice->client_next;
	watch.reader.head = splice->client_first + watch.at;
	watch.reader.parsed = 0;
	/* Only a message that is not complete can be kept: behind so many others there may be more. */
	if (watch.reader.state == HF_READER_BROKEN ||
	    (watch.at < stored && (!watch.more || !watch_keep(splice, message, watch.at)))) {
		reason_count(HF_REASON_stream_unframed);
		watch.reader.state = HF_READER_OFF;
	}
	*reader = watch.reader;
	return 0;
}

/* Has the splice's lock, and hands it on. */
static __always_inline int watch(struct task *task)
{
	const struct hf_virtual_server *settings = service_settings(task->virtual_server);
	struct hf_splice *splice = splice_get(task->splice);

	if (!splice)
		return drop(HF_REASON_splice_half);
	if (settings)
		watch_early(task->splice, settings->rule);
	return replay_from(task, splice, 0);
}
