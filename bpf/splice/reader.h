/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Readers: where in a stream the messages begin. There is one for each direction of a
 * connection; it is moved by sequence numbers, so that what is repeated, or comes
 * out of order within a body, needs no look:
 *
 *   HEAD --> BODY, or the parts of a chunked one --> HEAD
 *     |
 *     +--> OFF: a tunnel, another protocol, or a message whose end is not clear
 */
#pragma once

#include "../persist/http_head.h"
#include "early_data.h"

/* Of message->places: the bytes that are walked. */
enum { READER_AT, READER_END };

struct reader_walk {
	struct message *message;
	struct hf_reader *reader;
};

/* Bytes of a body that say nothing. Returns how many of `size` belong to it. */
static __always_inline __u32 reader_skip(struct hf_reader *reader, __u32 size)
{
	if (size > reader->left)
		size = reader->left;
	reader->left -= size;
	return size;
}

static __always_inline int reader_digit(__u8 c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The next byte is to be `c`, and leads to `state`. */
static __always_inline __u8 reader_expect(__u8 byte, __u8 c, __u8 state)
{
	return byte == c ? state : HF_READER_BROKEN;
}

/* A byte of a chunk's size, 15 digits at most. */
static __always_inline __u8 reader_size(struct hf_reader *reader, __u8 byte)
{
	int digit = reader_digit(byte);

	if (digit >= 0) {
		reader->left = reader->left << 4 | digit;
		return ++reader->digits > 15 ? HF_READER_BROKEN : HF_READER_SIZE;
	}
	if (!reader->digits)
		return HF_READER_BROKEN;
	if (byte == ';' || byte == ' ' || byte == '\t')
		return HF_READER_EXTENSION;
	return reader_expect(byte, '\r', HF_READER_SIZE_LF);
}

/* The state behind a byte that is not data. */
static __always_inline __u8 reader_byte(struct hf_reader *reader, __u8 byte)
{
	switch (reader->state) {
	case HF_READER_SIZE:
		return reader_size(reader, byte);
	case HF_READER_EXTENSION:
		return byte == '\r' ? HF_READER_SIZE_LF : byte == '\n' ? HF_READER_BROKEN : HF_READER_EXTENSION;
	case HF_READER_SIZE_LF:
		return reader_expect(byte, '\n', reader->left ? HF_READER_DATA : HF_READER_TRAILER);
	case HF_READER_DATA_CR:
		return reader_expect(byte, '\r', HF_READER_DATA_LF);
	case HF_READER_DATA_LF:
		reader->digits = 0;
		return reader_expect(byte, '\n', HF_READER_SIZE);
	case HF_READER_TRAILER:
		return byte == '\r' ? HF_READER_LAST_LF : byte == '\n' ? HF_READER_BROKEN : HF_READER_TRAILER_LINE;
	case HF_READER_TRAILER_LINE:
		return byte == '\r' ? HF_READER_TRAILER_LF : byte == '\n' ? HF_READER_BROKEN : HF_READER_TRAILER_LINE;
	case HF_READER_TRAILER_LF:
		return reader_expect(byte, '\n', HF_READER_TRAILER);
	case HF_READER_LAST_LF:
		return reader_expect(byte, '\n', HF_READER_HEAD);
	}
	return HF_READER_BROKEN;
}

/* A run of data, or one byte of what is around it. 1: no more. */
static long reader_step(__u32 index, struct reader_walk *walk)
{
	struct message *message = walk->message;
	struct hf_reader *reader = walk->reader;
	__u32 at = message->places[READER_AT], end = message->places[READER_END];

	if (at >= end || reader->state == HF_READER_HEAD || reader->state == HF_READER_BROKEN)
		return 1;
	if (reader->state == HF_READER_BODY || reader->state == HF_READER_DATA) {
		message->places[READER_AT] = at + reader_skip(reader, end - at);
		if (!reader->left)
			reader->state = reader->state == HF_READER_BODY ? HF_READER_HEAD : HF_READER_DATA_CR;
		return 0;
	}
	reader->state = reader_byte(reader, message_byte(message, at));
	message->places[READER_AT] = at + 1;
	return 0;
}

/*
 * Walks along a body in [at, end) of the message: as far as it goes, or to where the
 * next message begins (HF_READER_HEAD). Returns how far. Global: verified once.
 */
__noinline __u32 reader_walk(struct message *message, struct hf_reader *reader, __u32 at, __u32 end)
{
	struct reader_walk walk = {.message = message, .reader = reader};

	if (!message || !reader)
		return at;
	message->places[READER_AT] = at;
	message->places[READER_END] = end;
	bpf_loop(2 * HF_MESSAGE_BYTES, reader_step, &walk, 0);
	return message->places[READER_AT];
}

/* Behind a head: what its message's framing makes of the reader. False: it is of no more use. */
static __always_inline bool reader_begin_body(struct hf_reader *reader, const struct message *message)
{
	reader->digits = 0;
	reader->parsed = 0;
	reader->left = 0;
	switch (message->framing) {
	case HTTP_LENGTH:
		reader->left = message->body;
		reader->state = message->body ? HF_READER_BODY : HF_READER_HEAD;
		return true;
	case HTTP_CHUNKED:
		reader->state = HF_READER_SIZE;
		return true;
	case HTTP_INTERIM:
		reader->state = HF_READER_HEAD;
		return true;
	case HTTP_UNTIL_CLOSE:
		reader->state = HF_READER_REST;
		return true;
	}
	reader->state = HF_READER_OFF;
	reason_count(message->framing == HTTP_TUNNEL ? HF_REASON_stream_tunnel : HF_REASON_stream_unframed);
	return false;
}

/*
 * Packets of one direction may be on two CPUs at the same time, where no queue of the
 * interface keeps them together (TC behind a veth): a reader is moved by one of them.
 */
#define READER_PATIENCE 256

static __always_inline bool reader_lock(struct hf_reader *reader)
{
	for (int i = 0; i < READER_PATIENCE; i++) {
		if (!__sync_val_compare_and_swap(&reader->busy, 0, 1))
			return true;
	}
	return false;
}

static __always_inline void reader_unlock(struct hf_reader *reader)
{
	*(volatile __u32 *)&reader->busy = 0;
}

/*
 * A segment's payload, [sequence, sequence + size). True: the reader needs no look at
 * it, and has moved. Within data a gap is no matter: what is in it will come.
 */
static __always_inline bool reader_skips(struct hf_reader *reader, __u32 sequence, __u32 size)
{
	__u32 end = sequence + size, fresh = end - reader->next;

	if ((__s32)fresh <= 0)
		return true;
	if ((reader->state != HF_READER_BODY && reader->state != HF_READER_DATA) || fresh > reader->left)
		return false;
	reader->left -= fresh;
	reader->next = end;
	if (!reader->left) {
		reader->state = reader->state == HF_READER_BODY ? HF_READER_HEAD : HF_READER_DATA_CR;
		reader->head = end;
		reader->parsed = 0;
	}
	return true;
}

static __always_inline bool reader_passes(struct hf_reader *reader, __u32 sequence, __u32 size)
{
	bool passes;

	if (reader->state == HF_READER_OFF || reader->state == HF_READER_REST)
		return true;
	if (!reader_lock(reader))
		return false;
	passes = reader_skips(reader, sequence, size);
	reader_unlock(reader);
	return passes;
}
