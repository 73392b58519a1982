/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Following: what a bound connection's segments say, where a message may begin in
 * them. Requests: does each belong to the connection's member? Of responses: answers.h.
 *
 *   entry --> request --> parser --> followed --> forward (commit.h), or rebind (TC)
 *   entry --> answer  ---------------------------> forward
 *
 * A segment may have several messages: the programs go round, and only when all of it
 * is read is the splice's state changed. So XDP can leave a segment to TC at any
 * point: it keeps no unfinished heads, and moves nobody.
 */
#pragma once

#include "../message.h"
#include "../persist/http.h"
#include "marks.h"
#include "reader.h"

/* Looks into one segment: tail calls are counted by the kernel. */
#define FOLLOW_MOST_LOOKS 6

/* Of the connection as it is now, which may be another than task->connection. */
static __always_inline struct hf_splice *follow_splice(const struct task *task, struct hf_connection **connection)
{
	*connection = bpf_map_lookup_elem(&connections, &task->packet.flow);
	if (!*connection || !((*connection)->flags & HF_CONNECTION_SPLICED))
		return NULL;
	return splice_get((*connection)->splice);
}

static __always_inline __u32 follow_sequence(hook_context *context, const struct packet *packet)
{
	const struct tcphdr *tcp = packet_data(context) + (packet->transport & TRANSPORT_OFFSET_MASK);

	return (void *)(tcp + 1) > packet_end(context) ? 0 : bpf_ntohl(tcp->seq);
}

/*
 * Is the payload, which is in the message, what its sender meant? What is left to
 * hardware, or was put together of several segments, has been checked.
 */
static __noinline bool follow_checksum_is_right(hook_context *context, const struct packet *packet,
						struct message *message)
{
	struct tcp_workplace *workplace = tcp_workplace_get();
	__u32 offset = packet->transport + offsetof(struct tcphdr, check);

	if (!workplace || tcp_load_header(context, packet, &workplace->seen))
		return false;
	if (packet->payload_length > HF_MESSAGE_BYTES || packet_is_segmented_later(context) ||
	    csum_fold(tcp_sum(packet, &workplace->seen) + early_sum(message, 0, packet->payload_length)) == 0xffff)
		return true;
	if (packet_checksum_is_partial(context, offset))
		return true;
	if (!HOOK_HAS_LOWER_HOOK)
		reason_count(HF_REASON_early_corrupt);
	return false;
}

/* The payload from `at` on is the message's, behind `stored` bytes. False: it is not there. */
static __noinline bool follow_load(hook_context *context, const struct packet *packet, struct message *message,
				   __u32 at, __u32 stored)
{
	struct tcphdr *tcp = packet_data(context) + (packet->transport & TRANSPORT_OFFSET_MASK);
	__u32 size = packet->payload_length - at, offset;

	if ((void *)(tcp + 1) > packet_end(context) || stored >= HF_MESSAGE_BYTES || !size)
		return false;
	offset = packet->transport + tcp->doff * 4 + at;
	if (size > HF_MESSAGE_BYTES - stored)
		size = HF_MESSAGE_BYTES - stored;
	if (packet_load(context, offset, message->bytes + below(stored, HF_MESSAGE_BYTES),
			below(size - 1, HF_MESSAGE_BYTES) + 1))
		return false;
	early_end(message, stored, size);
	message->available = stored + size;
	return true;
}

/* The first look at a segment. CONTINUE: task has what is to be read. */
static __always_inline int follow_begin(hook_context *context, struct task *task, struct hf_splice *splice,
					struct hf_reader *reader)
{
	struct message *message = message_get();
	const struct packet *packet = &task->packet;

	if (!message)
		return drop(HF_REASON_state_missing);
	if (!reader_lock(reader))
		return drop(HF_REASON_opening_busy);
	task->reader = *reader;
	reader_unlock(reader);
	task->read_next = task->reader.next;
	task->sequence = follow_sequence(context, packet);
	task->at = task->reader.next - task->sequence;
	task->requested = splice->requested;
	task->answered = splice->answered;
	task->methods = splice->methods;
	task->unmarked = splice->unmarked;
	task->edits.count = 0;
	task->optional = task->tunnel = false;
	task->limit = 0;
	task->looks = 0;
	task->wanted = 0;
	/* What is missing may be on its way to TC, where the kernel puts segments together. */
	if ((__s32)task->at < 0)
		return HOOK_HAS_LOWER_HOOK ? HOOK_PASS : drop(HF_REASON_stream_gap);
	/* Another packet was faster. */
	if (task->at >= packet->payload_length)
		return CONTINUE;
	if (!follow_load(context, packet, message, 0, 0))
		return HOOK_HAS_LOWER_HOOK ? HOOK_PASS : drop(HF_REASON_malformed);
	if (!follow_checksum_is_right(context, packet, message))
		return HOOK_HAS_LOWER_HOOK ? HOOK_PASS : HOOK_DROP; /* counted there */
	task->reading = true;
	task->loaded = !task->at;
	return CONTINUE;
}

/*
 * Loads what comes next, and walks along a body. CONTINUE: a head is to be parsed, it
 * is in the message. HAND_OVER: go on with task->stage.
 */
static __noinline int follow_step(hook_context *context, struct task *task, __u32 id, __u32 run)
{
	struct message *message = message_get();
	__u32 length = task->packet.payload_length, walked;

	if (!message)
		return drop(HF_REASON_state_missing);
	task->stage = HF_STAGE_FORWARD;
	if (task->at >= length)
		return HAND_OVER;
	if (task->reader.state != HF_READER_HEAD) {
		if (!task->loaded && !follow_load(context, &task->packet, message, task->at, 0))
			return HOOK_HAS_LOWER_HOOK ? HOOK_PASS : drop(HF_REASON_malformed);
		task->loaded = false;
		walked = reader_walk(message, &task->reader, 0, message->available);
		task->at += walked;
		if (task->reader.state == HF_READER_HEAD) {
			task->reader.head = task->sequence + task->at;
			task->reader.parsed = 0;
		}
		if (task->at >= length || task->reader.state == HF_READER_BROKEN)
			return HAND_OVER;
		task->stage = run == HF_EARLY_REQUEST ? HF_STAGE_REQUEST : HF_STAGE_ANSWER;
		return HAND_OVER;
	}
	task->stored = task->sequence + task->at - task->reader.head;
	if (task->stored && HOOK_HAS_LOWER_HOOK)
		return HOOK_PASS;
	if (task->stored && early_load(message, id, run, 0, task->stored)) {
		task->reader.state = HF_READER_BROKEN;
		return HAND_OVER;
	}
	if (!(task->loaded && !task->stored) && !follow_load(context, &task->packet, message, task->at, task->stored))
		return HOOK_HAS_LOWER_HOOK ? HOOK_PASS : drop(HF_REASON_stream_gap);
	task->loaded = false;
	message->length = message->available + 1;
	message->resume = task->reader.parsed;
	message->begun = task->reader.parsed > 0;
	message->answer = false;
	message->head = 0;
	message->framing = HTTP_UNFRAMED;
	message->keys.count = 0;
	message->keys.replace = 0;
	message->keys.pad = 0;
	message->edit_count = 0;
	return CONTINUE;
}

static __always_inline bool follow_keeps(const struct hf_reader *reader)
{
	return reader->state == HF_READER_HEAD && reader->next != reader->head;
}

/* The reader is moved. What was kept of a head that is read by now goes; follow_keep() has seen to the next one's. */
static __always_inline void follow_move(struct hf_splice *splice, const struct task *task, bool reply)
{
	struct hf_reader *reader = reply ? &splice->answers : &splice->requests;

	if (follow_keeps(reader) && !follow_keeps(&task->reader))
		early_delete(splice->id, reply ? HF_EARLY_ANSWER : HF_EARLY_REQUEST);
	*reader = task->reader;
}

/* The head is not all here: it is kept, and goes on its way. CONTINUE, or the packet is TC's. */
static __noinline int follow_keep(struct task *task, struct hf_splice *splice, __u32 run)
{
	__u32 zero = 0, available;
	const struct hf_early_limits *limits = bpf_map_lookup_elem(&early_limits, &zero);
	struct message *message = message_get();

	if (HOOK_HAS_LOWER_HOOK)
		return HOOK_PASS;
	if (!limits || !message)
		return drop(HF_REASON_state_missing);
	available = message->available;
	/* Of the head before there may be something, too. */
	if (!task->stored && follow_keeps(run == HF_EARLY_ANSWER ? &splice->answers : &splice->requests))
		early_delete(splice->id, run);
	if (available >= limits->max_head || early_store(splice->id, run, 0, task->stored, available)) {
		if (available >= limits->max_head)
			reason_count(HF_REASON_head_over_limit);
		task->reader.state = HF_READER_OFF;
		return CONTINUE;
	}
	if (!task->stored)
		splice->read_since = clock_now();
	task->reader.parsed = message->resume;
	task->at = task->packet.payload_length;
	return CONTINUE;
}

/* HAND_OVER: the program goes on with task->stage. */
static __always_inline int follow_request(hook_context *context, struct task *task)
{
	const struct hf_virtual_server *settings = service_settings(task->virtual_server);
	struct hf_splice *splice = splice_get(task->connection.splice);
	int verdict;

	if (!splice || !settings)
		return drop(HF_REASON_splice_half);
	if (!(settings->flags & (HF_SERVER_FOLLOWS | HF_SERVER_WATCHES))) {
		/* The rule is another one by now. */
		reader_give_up(splice);
		task->stage = HF_STAGE_FORWARD;
		return HAND_OVER;
	}
	if (!task->reading) {
		verdict = follow_begin(context, task, splice, &splice->requests);
		if (verdict != CONTINUE)
			return verdict;
	}
	verdict = follow_step(context, task, splice->id, HF_EARLY_REQUEST);
	if (verdict != CONTINUE)
		return verdict;
	task->stage = settings->parser;
	task->next = HF_STAGE_FOLLOWED;
	return HAND_OVER;
}

/*
 * Who is to have a request. 0: it stays where it is. A key that nobody knows goes to
 * the method's choice, as on a connection of its own.
 */
static __noinline __u32 follow_choose(struct task *task, struct message *message, __u32 present, __u32 now)
{
	const struct hf_virtual_server *settings = service_settings(task->virtual_server);
	const struct hf_rule *rule = task_rule(task);
	struct message_query query = {};
	__u32 member;

	task->marked = false;
	if (!settings || !rule || !service_reads(settings))
		return 0;
	message_count_outcome(task->outcome);
	task->beyond = false;
	if (member_cookies_read(rule)) {
		member = 0;
		if (task->outcome == HF_PARSER_COOKIE)
			member = mark_member(message, rule, settings->pool, &task->marked);
		task->beyond = member;
		task->marked = task->marked && member;
		message->keys.count = 0;
		/* Who has no member yet is not given one that takes nobody new. */
		if (!member && !member_accepts_clients(present, settings->pool))
			member = select_by_method(settings, &task->packet.flow, false);
		return member;
	}
	if (task->outcome != HF_PARSER_KEYS)
		return 0;
	if (rule->flags & HF_RULE_STATELESS) {
		member = select_by_hash(settings->pool, *(const __u64 *)message->keys.keys[0], false);
		message->keys.count = 0;
		return member;
	}
	message_ask(&query, message, settings, task->virtual_server, rule, now);
	query.unlimited = true;
	member = message_find(&query, &task->packet);
	task->beyond = member;
	if (!member)
		member = select_by_method(settings, &task->packet.flow, false);
	if (!member)
		return 0;
	/* For another member it is a proposal, until that has accepted: whoever looks again finds it. */
	query.proved = member == present;
	return message_record(&query, member);
}

/* On behind a head, which is in the message. */
static __always_inline void follow_past_head(struct task *task, const struct message *message)
{
	task->tunnel = message->status && message->framing == HTTP_TUNNEL;
	task->at += message->head - task->stored;
	reader_begin_body(&task->reader, message);
	task->reader.head = task->sequence + task->at;
}

/* HAND_OVER: task->stage. */
static __always_inline int follow_go_on(struct task *task)
{
	bool more = task->at < task->packet.payload_length && task->reader.state != HF_READER_OFF;

	task->stage = more ? HF_STAGE_REQUEST : HF_STAGE_FORWARD;
	return HAND_OVER;
}

/* The head is the present member's. Likewise. */
static __always_inline int follow_stay(struct task *task, struct hf_splice *splice,
				       const struct hf_virtual_server *settings, const struct message *message)
{
	__u32 place = task->requested & 15;
	bool marked = task->marked && task->wanted == task->connection.member;

	__u32 edits = task->edits.count;

	if (!mark_request(task, message, settings, task->reader.head, task->stored)) {
		/* What lies in front of it goes on; it comes again. */
		task->edits.count = edits;
		if (HOOK_HAS_LOWER_HOOK)
			return HOOK_PASS;
		if (task->stored || (__s32)(task->sequence + task->at - task->read_next) <= 0)
			return drop(HF_REASON_edit_held);
		task->stage = HF_STAGE_REBIND;
		return HAND_OVER;
	}
	if (HOOK_HAS_LOWER_HOOK && task->edits.count)
		return HOOK_PASS;
	task->methods = (task->methods & ~(3U << 2 * place)) | (message->method & 3U) << 2 * place;
	task->unmarked = (task->unmarked & ~(1U << place)) | !marked << place;
	task->requested++;
	follow_past_head(task, message);
	/* More are on their way than are remembered. */
	if ((__u16)(task->requested - splice->answered) > 15 && splice->answers.state != HF_READER_OFF &&
	    task->reader.state != HF_READER_OFF) {
		reason_count(HF_REASON_stream_unframed);
		task->reader.state = HF_READER_OFF;
	}
	return follow_go_on(task);
}

/* Has the message another key than its connection's first one? It is counted. */
static __always_inline void follow_count_others(const struct hf_splice *splice, const struct message *message)
{
	const __u64 *first = (const __u64 *)splice->key;
	bool known = false;

	for (__u32 i = 0; i < HF_KEYS && i < message->keys.count; i++) {
		const __u64 *key = (const __u64 *)message->keys.keys[i];

		known |= key[0] == first[0] && key[1] == first[1];
	}
	if (message->keys.count && !known)
		reason_count(HF_REASON_key_of_another);
}

/* A message of a protocol whose answers interleave: its connection stays. Likewise. */
static __always_inline int follow_watched(struct task *task, const struct hf_splice *splice,
					  const struct message *message)
{
	follow_count_others(splice, message);
	follow_past_head(task, message);
	if (task->looks > FOLLOW_MOST_LOOKS) {
		reason_count(HF_REASON_stream_unframed);
		task->reader.state = HF_READER_OFF;
	}
	return follow_go_on(task);
}

/* A request's head was parsed. */
static __always_inline int followed(hook_context *context, struct task *task)
{
	const struct hf_virtual_server *settings = service_settings(task->virtual_server);
	struct hf_splice *splice = splice_get(task->connection.splice);
	struct message *message = message_get();
	int verdict;

	if (!splice || !message || !settings)
		return drop(HF_REASON_splice_half);
	task->stage = HF_STAGE_FORWARD;
	if (task->outcome == HF_PARSER_MORE) {
		verdict = follow_keep(task, splice, HF_EARLY_REQUEST);
		if (verdict != CONTINUE)
			return verdict;
		if (!mark_request(task, message, settings, task->reader.head, task->stored))
			return drop(HF_REASON_edit_held);
		return HAND_OVER;
	}
	if (!message->head) {
		message_count_outcome(task->outcome);
		task->reader.state = HF_READER_OFF;
		return HAND_OVER;
	}
	task->looks++;
	if (settings->flags & HF_SERVER_WATCHES) {
		if (HOOK_HAS_LOWER_HOOK && task->looks > FOLLOW_MOST_LOOKS)
			return HOOK_PASS;
		return follow_watched(task, splice, message);
	}
	task->wanted = follow_choose(task, message, task->connection.member, clock_now());
	if ((!task->wanted || task->wanted == task->connection.member || message->framing == HTTP_UNFRAMED) &&
	    task->looks <= FOLLOW_MOST_LOOKS)
		return follow_stay(task, splice, settings, message);
	if (HOOK_HAS_LOWER_HOOK)
		return HOOK_PASS;
	task->stage = HF_STAGE_REBIND;
	return HAND_OVER;
}

/*
 * Of a client's early data, which its member is about to get: requests from its second one
 * on are looked at; of a connection that is `watched`, when it is established (watch.h).
 */
static __noinline void follow_bound(struct hf_splice *splice, struct message *message, int outcome, bool watched,
				    bool marked)
{
	__u32 stored = splice->client_next - splice->client_first, end;
	struct hf_reader *reader = &splice->requests;

	__builtin_memset(reader, 0, sizeof(*reader));
	__builtin_memset(splice->key, 0, sizeof(splice->key));
	if (outcome == HF_PARSER_KEYS)
		__builtin_memcpy(splice->key, message->keys.keys[0], sizeof(splice->key));
	reader->next = reader->head = splice->client_next;
	if (!stored) {
		/* It may still ask. */
		reader->state = HF_READER_HEAD;
		return;
	}
	if (!message->head)
		return;
	splice->methods = (splice->methods & ~(3U << 2 * (splice->requested & 15))) |
			  (message->method & 3U) << 2 * (splice->requested & 15);
	splice->unmarked = (splice->unmarked & ~(1U << (splice->requested & 15))) | !marked << (splice->requested & 15);
	splice->requested++;
	if (!reader_begin_body(reader, message))
		return;
	end = message->head;
	if (end < stored && reader->state != HF_READER_HEAD)
		end = reader_walk(message, reader, end, stored);
	if (reader->state == HF_READER_BROKEN) {
		reason_count(HF_REASON_stream_unframed);
		reader->state = HF_READER_OFF;
		return;
	}
	if (end < stored && !watched) {
		/* Another request is behind: the client sends it again, unless it was told that it is here. */
		if (splice->flags & HF_SPLICE_ACKNOWLEDGED &&
		    (__s32)(splice->acknowledged - splice->client_first - end) > 0) {
			reason_count(HF_REASON_stream_unframed);
			reader->state = HF_READER_OFF;
			return;
		}
		splice->client_next = splice->client_first + end;
		splice->flags &= ~HF_SPLICE_CLIENT_FIN;
	}
	reader->next = reader->head = splice->client_first + end;
}
