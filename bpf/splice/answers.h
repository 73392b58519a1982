/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What members answer: where their responses end, and which keys they give: cookies that
 * they set, and session ids of TLS. A key that a member gives is its own.
 */
#pragma once

#include "../persist/ssl_session_id.h"
#include "follow.h"

/* What a member's message says of its keys: they are its own. */
static __noinline void follow_learn(const struct task *task, struct message *message, __u32 member, __u32 now)
{
	const struct hf_virtual_server *settings = service_settings(task->virtual_server);
	const struct hf_rule *rule = task_rule(task);
	struct message_query query = {};

	if (!settings || !rule)
		return;
	message_ask(&query, message, settings, task->virtual_server, rule, now);
	query.keys->replace = true;
	query.proved = true;
	reason_count(HF_REASON_key_learnt);
	message_record(&query, member);
}

/* A final response's head: it answers a request. */
static __always_inline void follow_answered(struct task *task, const struct hf_splice *splice,
					    const struct message *message)
{
	if (message->framing == HTTP_INTERIM)
		return;
	task->answered++;
	if ((__s16)(splice->requested - task->answered) >= 0 || task->reader.state == HF_READER_OFF)
		return;
	/* Nobody has asked. */
	reason_count(HF_REASON_stream_unframed);
	task->reader.state = HF_READER_OFF;
}

/* What of a response's head is to be changed. CONTINUE, or the packet is TC's. */
static __always_inline int follow_mark(struct task *task, struct message *message, const struct hf_splice *splice,
				       const struct hf_rule *rule)
{
	__u32 place = mark_place(task, message, splice, rule);

	if (!place && !message->edit_count)
		return CONTINUE;
	/* XDP puts one text in, into a segment that begins with a head that is whole (insert.h). */
	if (HOOK_HAS_LOWER_HOOK && (message->edit_count || task->edits.count || task->outcome == HF_PARSER_MORE ||
				    task->read_next != task->sequence || splice->edited[HF_ANSWERS]))
		return HOOK_PASS;
	task->optional = rule->type == HF_RULE_INSERT_COOKIE;
	if (place)
		mark_insert(task, rule, task->reader.head + place);
	if (!mark_head(task, message, task->reader.head, task->stored, true))
		reason_count(HF_REASON_cookie_skipped);
	return CONTINUE;
}

/* Likewise, a member's segment; `http`: or else TLS. */
static __always_inline int follow_answer(hook_context *context, struct task *task)
{
	const struct hf_virtual_server *settings = service_settings(task->virtual_server);
	const struct hf_rule *rule = task_rule(task);
	struct message *message = message_get();
	struct hf_splice *splice = splice_get(task->connection.splice);
	bool http;
	int verdict;

	if (!splice || !settings || !message || !rule)
		return drop(HF_REASON_splice_half);
	if (!(settings->flags & (HF_SERVER_FOLLOWS | HF_SERVER_LEARNS))) {
		reader_give_up(splice);
		task->stage = HF_STAGE_FORWARD;
		return HAND_OVER;
	}
	http = settings->flags & HF_SERVER_FOLLOWS;
	if (!task->reading) {
		verdict = follow_begin(context, task, splice, &splice->answers);
		if (verdict != CONTINUE)
			return verdict;
	}
	verdict = follow_step(context, task, splice->id, HF_EARLY_ANSWER);
	if (verdict != CONTINUE)
		return verdict;
	task->looks++;
	message->method = task->methods >> 2 * (task->answered & 15) & 3;
	task->outcome = http ? http_answer_parse(message, rule) : ssl_session_id_answer_parse(message, rule);
	task->stage = HF_STAGE_FORWARD;
	if (settings->flags & HF_SERVER_WRITES && task->looks <= FOLLOW_MOST_LOOKS) {
		verdict = follow_mark(task, message, splice, rule);
		if (verdict != CONTINUE)
			return verdict;
	}
	if (task->outcome == HF_PARSER_MORE) {
		verdict = follow_keep(task, splice, HF_EARLY_ANSWER);
		return verdict == CONTINUE ? HAND_OVER : verdict;
	}
	if (message->keys.count)
		follow_learn(task, message, task->connection.member, clock_now());
	if (http && message->head && task->looks > FOLLOW_MOST_LOOKS &&
	    settings->flags & (HF_SERVER_WRITES | HF_SERVER_FORWARDED_FOR)) {
		/* So far it goes on; the member repeats the rest. */
		if (HOOK_HAS_LOWER_HOOK)
			return HOOK_PASS;
		reason_count(HF_REASON_edit_held);
		task->limit = task->at;
		return HAND_OVER;
	}
	if (!http || !message->head || task->looks > FOLLOW_MOST_LOOKS) {
		if (http)
			reason_count(HF_REASON_stream_unframed);
		task->reader.state = HF_READER_OFF;
		return HAND_OVER;
	}
	follow_past_head(task, message);
	follow_answered(task, splice, message);
	if (task->reader.state == HF_READER_REST)
		task->at = task->packet.payload_length;
	if (task->at < task->packet.payload_length && task->reader.state != HF_READER_OFF)
		task->stage = HF_STAGE_ANSWER;
	return HAND_OVER;
}
