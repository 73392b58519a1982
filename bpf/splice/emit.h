/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What leaves in segments of our own, on TC: early data for its member, and segments of
 * a bound connection in which something is changed. The bytes are put together in the
 * message, as their receiver is to get them; the packet then becomes one segment after
 * another: copies leave, and at last it itself.
 */
#pragma once

#include "bind.h"
#include "translate.h"

/* Of one packet, with what is put in, so that it ends within the message's first two parts. */
#define EMIT_MOST (2 * HF_MESSAGE_BYTES - HF_EDITS * HF_EDIT_BYTES - PREFACE_LONGEST)
/* Segments of the least MSS that there is. */
#define EMIT_MOST_SEGMENTS 1024

struct emit {
	hook_context *context;
	struct task *task;
	struct message *message;
	struct segment *segment;
	struct hf_splice *splice;
	__u32 from;   /* of the sender's stream: what comes next */
	__u32 until;  /* and where it ends */
	__u32 offset; /* of `from`, in the packet or in the early data */
	__u32 end;    /* bytes in the message */
	__u32 at;     /* those that have left */
	__u32 limit;  /* of a segment */
	__u32 number; /* of the message's first byte, as the receiver has it */
	__u32 acknowledgement;
	__u32 timestamp;
	__u32 timestamp_echo;
	__u16 window;
	__u8 flags; /* of the last one */
	bool timestamps;
	bool reply;
	bool ends; /* with the last byte, the stream */
	__u32 failed;
	int verdict; /* CONTINUE: more is to come */
};

/* Bytes of the packet. */
static __noinline int emit_load(hook_context *context, struct message *message, __u32 offset, __u32 at, __u32 size)
{
	for (int i = 0; i < 2 && size; i++) {
		__u32 part = size < HF_MESSAGE_BYTES ? size : HF_MESSAGE_BYTES;

		if (packet_load(context, offset, message->bytes + below(at, 2 * HF_MESSAGE_BYTES),
				below(part - 1, HF_MESSAGE_BYTES) + 1))
			return -1;
		offset += part;
		at += part;
		size -= part;
	}
	return 0;
}

/* The stream goes on with `size` bytes as they are. */
static __noinline void emit_copy(struct emit *emit, __u32 size)
{
	if (!size)
		return;
	if (emit->task->source == EMIT_EARLY)
		emit->failed |= early_copy(emit->message, emit->splice->id, emit->offset, emit->end, size) != 0;
	else
		emit->failed |= emit_load(emit->context, emit->message, emit->offset, emit->end, size) != 0;
	emit->from += size;
	emit->offset += size;
	emit->end += size;
}

/* What comes up to an edit, and the edit. */
static long emit_edit(__u32 index, struct emit *emit)
{
	const struct hf_edit *edit;
	__u32 left = emit->until - emit->from, ahead, gone;

	if (index >= emit->task->edits.count || index >= HF_EDITS)
		return 1;
	edit = &emit->task->edits.list[index];
	ahead = edit->at - emit->from;
	if ((__s32)ahead > 0) {
		if (ahead >= left)
			return 1;
		emit_copy(emit, ahead);
		left -= ahead;
	}
	gone = edit->at + edit->removed - emit->from;
	if ((__s32)gone < 0)
		return 0; /* it lies in front of the segment */
	if (gone > left)
		gone = left;
	emit->from += gone;
	emit->offset += gone;
	if (gone == left && !emit->ends)
		return 1; /* the text leaves with the byte behind, or with the end */
	if (edit->put) {
		bpf_probe_read_kernel(emit->message->bytes + below(emit->end, 2 * HF_MESSAGE_BYTES),
				      below(edit->put - 1, HF_EDIT_BYTES) + 1, edit->text);
		emit->end += edit->put;
	}
	return 0;
}

/* Puts `size` bytes of the stream together, from `emit->from` on. The edits are those of now. */
static __noinline void emit_compose(struct emit *emit, __u32 direction, __u32 size)
{
	struct hf_edits *edits = &emit->task->edits, *list = NULL;
	struct hf_splice *splice = emit->splice;
	__u32 number = emit->from;

	edits->count = 0;
	if (splice->edited[direction & 1])
		list = edits_find(splice->id, direction);
	if (list) {
		int locked = edits_lock(list, splice->id, direction);

		if (locked == EDITS_BUSY)
			emit->failed = true;
		if (locked == EDITS_LOCKED) {
			bpf_probe_read_kernel(edits, sizeof(*edits), list);
			edits_note_sent(list, number + size);
			number = edits_forward(list, number);
			number += *edits_shift(splice, direction);
			edits_unlock(list);
		} else {
			number += *edits_shift(splice, direction);
		}
	} else {
		number += *edits_shift(splice, direction);
	}
	/* A preface lies in front already. */
	emit->number = number - emit->end;
	emit->until = emit->from + size;
	bpf_loop(HF_EDITS, emit_edit, emit, 0);
	emit_copy(emit, emit->until - emit->from);
	__builtin_memset(emit->message->bytes + below(emit->end, 2 * HF_MESSAGE_BYTES), 0, MESSAGE_SLACK);
}

/* The packet becomes a segment, and leaves. */
static __always_inline void emit_send(struct emit *emit, __u32 length, bool last)
{
	struct packet *packet = &emit->task->packet;
	struct segment *segment = emit->segment;
	struct hf_splice *splice = emit->splice;
	__u8 flags = last ? emit->flags : emit->flags & ~(TCP_FIN | TCP_PSH);

	segment_begin(segment, flags, emit->number + emit->at, emit->acknowledgement, emit->window);
	if (emit->timestamps)
		segment_add_timestamps(segment, emit->timestamp, emit->timestamp_echo);
	segment->payload_length = length;
	if (length) {
		/* What lies behind is that of the next segment. */
		__u64 *behind = (__u64 *)(emit->message->bytes + below(emit->at + length, 2 * HF_MESSAGE_BYTES));
		__u64 kept = *behind;

		*behind = 0;
		segment->payload_sum = early_sum(emit->message, emit->at, length);
		*behind = kept;
	}
	if (bind_write(emit->context, packet, segment) ||
	    (length && packet_store(emit->context, segment_frame_length(segment, packet) - length,
				    emit->message->bytes + below(emit->at, 2 * HF_MESSAGE_BYTES),
				    below(length - 1, HF_MESSAGE_BYTES) + 1))) {
		reason_count(HF_REASON_packet_resize);
		emit->verdict = HOOK_DROP;
		emit->failed = true;
		return;
	}
	traffic_count(splice->virtual_server, emit->task->connection.member, emit->reply,
		      segment_network_length(packet) + sizeof(struct tcphdr) + segment->options_length + length);
	emit->verdict = bind_send(emit->context, packet, &emit->task->connection, !last);
}

/* One segment. 1: it was the last. */
static long emit_one(__u32 index, struct emit *emit)
{
	__u32 length = emit->end - emit->at;
	bool last = length <= emit->limit;

	if (!last)
		length = emit->limit;
	emit_send(emit, length, last);
	emit->at += length;
	return last || emit->failed ? 1 : 0;
}

/* What is in the message, from emit->at on, leaves for the connection's receiver. */
static __always_inline int emit_all(struct emit *emit)
{
	struct packet *packet = &emit->task->packet;
	struct hf_splice *splice = emit->splice;
	__u32 room = bind_room(&emit->task->connection);

	emit->limit = emit->reply ? splice->client_mss : splice->member_mss;
	if (!emit->limit)
		emit->limit =
			address_is_mapped(emit->task->connection.address) ? TCP_MSS_DEFAULT_IPV4 : TCP_MSS_DEFAULT_IPV6;
	if (emit->limit > room)
		emit->limit = room;
	if (emit->timestamps)
		emit->limit -= 12;
	if (emit->reply)
		segment_turn(emit->segment, &splice->client);
	else
		bind_address(emit->segment, splice, &emit->task->connection);
	emit->segment->partial =
		packet_checksum_is_partial(emit->context, packet->transport + offsetof(struct tcphdr, check));
	emit->verdict = HOOK_DROP;
	bpf_loop(EMIT_MOST_SEGMENTS, emit_one, emit, 0);
	return emit->verdict;
}

/* The window that the client's last one is to the member. */
static __always_inline __u16 emit_window(const struct hf_splice *splice)
{
	__u32 window = splice->client_window;

	if (splice->flags & HF_SPLICE_UNSCALE) {
		window <<= splice->client_scale & 15;
		if (window > 0xffff)
			window = 0xffff;
	}
	return window;
}

/* The early data, or what the member has not of it. */
static __noinline int emit_early(struct emit *emit)
{
	struct hf_splice *splice = emit->splice;
	__u32 had;

	if (splice->flags & HF_SPLICE_PREFACE)
		emit->end = preface_make(emit->message, splice);
	emit->from = splice->client_first;
	emit_compose(emit, HF_REQUESTS, splice->client_next - splice->client_first);
	if (emit->failed)
		return PACKET_TAKEN; /* it has arrived in the meantime */
	had = emit->task->emit_from - emit->number;
	if (emit->task->emit_from && had <= emit->end)
		emit->at = had;
	emit->flags =
		TCP_ACK | (emit->end > emit->at ? TCP_PSH : 0) | (splice->flags & HF_SPLICE_CLIENT_FIN ? TCP_FIN : 0);
	emit->acknowledgement = splice->member_first;
	emit->window = emit_window(splice);
	emit->timestamps = splice->flags & HF_SPLICE_TIMESTAMPS;
	emit->timestamp = splice->client_timestamp;
	emit->timestamp_echo = splice->member_timestamp;
	splice->replayed_at = clock_milliseconds();
	return emit_all(emit);
}

/* A segment of a bound connection in which something is changed. */
static __noinline int emit_segment(struct emit *emit, const struct tcp_seen *seen)
{
	struct task *task = emit->task;
	struct hf_splice *splice = emit->splice;
	const struct packet *packet = &task->packet;
	__u32 size = packet->payload_length;
	bool again;

	if (size && size <= HF_MESSAGE_BYTES) {
		if (!follow_load(emit->context, packet, emit->message, 0, 0))
			return drop(HF_REASON_malformed);
		if (!follow_checksum_is_right(emit->context, packet, emit->message))
			return HOOK_DROP; /* counted there */
	}
	emit->flags = packet->tcp_flags & (TCP_FIN | TCP_RST | TCP_PSH | TCP_ACK);
	if (task->limit && task->limit < size) {
		size = task->limit;
		emit->flags &= ~TCP_FIN;
	}
	if (size > EMIT_MOST) {
		size = EMIT_MOST;
		emit->flags &= ~TCP_FIN;
	}
	emit->ends = emit->flags & TCP_FIN;
	emit->from = seen->sequence;
	emit->offset = packet->transport + seen->length;
	emit_compose(emit, emit->reply ? HF_ANSWERS : HF_REQUESTS, size);
	emit->acknowledgement = seen->acknowledgement;
	if (emit->failed || (emit->reply ? translate_acknowledgement(splice, HF_REQUESTS, &emit->acknowledgement)
					 : translate_acknowledgement(splice, HF_ANSWERS, &emit->acknowledgement)))
		return drop(HF_REASON_edit_held);
	if (emit->reply && (splice->pieces || splice->flags & HF_SPLICE_PREFACE))
		emit->acknowledgement = translate_early(packet, splice, emit->acknowledgement, &again);
	emit->window = translate_window(splice, seen->window, emit->reply);
	emit->timestamps = seen->timestamps_at;
	emit->timestamp = emit->reply ? translate_timestamp(splice, seen->timestamp) : seen->timestamp;
	emit->timestamp_echo = emit->reply ? seen->timestamp_echo : translate_echo(splice, seen->timestamp_echo);
	if (!emit->end && !(emit->flags & TCP_FIN)) {
		/* So that its sender hears of it: as a probe of what the receiver has (RFC 9293, 3.8.4). */
		reason_count(HF_REASON_stream_withheld);
		emit->number--;
	} else {
		reason_count(HF_REASON_stream_edited);
	}
	return emit_all(emit);
}

static __always_inline int emit(hook_context *context, struct task *task)
{
	struct tcp_workplace *workplace = tcp_workplace_get();
	bool early = task->source == EMIT_EARLY;
	__u32 id = early ? task->splice : task->connection.splice;
	struct emit emit = {
		.context = context,
		.task = task,
		.message = message_get(),
		.splice = splice_get(id),
		.reply = task->connection.flags & HF_CONNECTION_REPLY,
	};
	int verdict;

	if (!emit.splice)
		return drop(HF_REASON_splice_half);
	if (!workplace || !emit.message) {
		verdict = drop(HF_REASON_state_missing);
	} else if (early) {
		emit.segment = &workplace->segment;
		verdict = emit_early(&emit);
	} else {
		emit.segment = &workplace->segment;
		if (tcp_load(context, &task->packet, &workplace->seen))
			return drop(HF_REASON_malformed);
		verdict = emit_segment(&emit, &workplace->seen);
	}
	/* The lock came with the packet. */
	if (early)
		splice_unlock(emit.splice, id);
	return verdict;
}
