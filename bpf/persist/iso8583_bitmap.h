/* SPDX-License-Identifier: GPL-2.0 */
/*
 * iso8583-bitmap: data elements of an ISO 8583 message (1987, 1993, 2003), which
 * has a length in front, a message type of four ASCII digits, a bitmap that says
 * which of the elements are there, and the elements one after another: to reach
 * one, the lengths of all before it have to be known (holdfast/iso8583.h).
 */
#pragma once

#include "holdfast/iso8583.h"
#include "http_head.h"

enum { ISO8583_TYPE = 4, ISO8583_BITMAP = 8 };

/* Of message->places. */
enum { ISO8583_AT, ISO8583_END, ISO8583_EDITION, ISO8583_FOUND, ISO8583_DIGESTED, ISO8583_OUTCOME };

struct iso8583_scan {
	struct message *message;
	const struct hf_rule *rule;
	__u64 present[2];
	__u32 last; /* element that is looked for */
};

static __always_inline bool iso8583_has(const __u64 *bits, __u32 number)
{
	__u64 word = number > 64 ? bits[1] : bits[0];

	return word >> (63 - ((number - 1) & 63)) & 1;
}

/* A decimal number of `digits` ASCII digits; below 0: that is none. Global: verified once. */
__noinline int iso8583_number(const struct message *message, __u32 at, __u32 digits)
{
	int number = 0;

	if (!message)
		return -1;
	for (__u32 i = 0; i < 4; i++) {
		__u8 c = message_byte(message, at + i);

		if (i >= digits)
			break;
		if (c < '0' || c > '9')
			return -1;
		number = number * 10 + (c - '0');
	}
	return number;
}

/* 16 hexadecimal digits; the outcome says if they are none. Likewise. */
__noinline __u64 iso8583_hex(struct message *message, __u32 at)
{
	__u64 value = 0;

	if (!message)
		return 0;
	for (int i = 0; i < 16; i++) {
		__u8 c = message_byte(message, at + i), digit = 0;

		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			digit = (c | 0x20) - 'a' + 10;
		else
			message->places[ISO8583_OUTCOME] = HF_PARSER_MALFORMED;
		value = value << 4 | digit;
	}
	return value;
}

/* An element that is a key, or a part of one. */
static __always_inline void iso8583_add(struct iso8583_scan *scan, __u32 number, __u32 at, __u32 length)
{
	struct message *message = scan->message;
	bool each = scan->rule->relation == HF_RELATION_OR;
	__u32 padded = (length + 7) & ~7U;
	__u64 last;

	if (each && !message_digest_begin(message, false))
		return;
	hf_siphash_word(&message->digest, number | (__u64)length << 16);
	last = message_digest_bytes(message, at, length);
	if (length & 7)
		hf_siphash_word(&message->digest, last);
	message->places[ISO8583_FOUND]++;
	if (each)
		message_add_key(message, 0, 8 + padded);
	else
		message->places[ISO8583_DIGESTED] += 8 + padded;
}

/* The next element. 1: it was the last, or something is wrong. */
static long iso8583_element(__u32 index, struct iso8583_scan *scan)
{
	struct message *message = scan->message;
	__u32 number = index + 2, at = message->places[ISO8583_AT], length, digits, edition;
	int prefix;
	__u16 entry;

	if (number > scan->last || number > HF_ISO8583_FIELDS)
		return 1;
	if (!iso8583_has(scan->present, number))
		return 0;
	edition = message->places[ISO8583_EDITION];
	if (edition > 2)
		return 1;
	entry = hf_iso8583_elements[edition][number];
	digits = entry >> HF_ISO8583_PREFIX_SHIFT;
	length = entry & HF_ISO8583_LENGTH;
	if (entry & HF_ISO8583_BINARY && scan->rule->flags & HF_RULE_ENCODING_ASCII)
		length *= 2;
	if (digits) {
		prefix = iso8583_number(message, at, digits);
		at += digits;
		length = prefix < 0 ? HF_MESSAGE_BYTES : prefix;
	}
	if (length >= HF_MESSAGE_BYTES || at + length > message->places[ISO8583_END]) {
		message->places[ISO8583_OUTCOME] = HF_PARSER_MALFORMED;
		return 1;
	}
	if (length && iso8583_has(scan->rule->fields, number))
		iso8583_add(scan, number, at, length);
	message->places[ISO8583_AT] = at + length;
	return 0;
}

static __always_inline __u32 iso8583_count(__u64 bits)
{
	bits -= bits >> 1 & 0x5555555555555555ULL;
	bits = (bits & 0x3333333333333333ULL) + (bits >> 2 & 0x3333333333333333ULL);
	return ((bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fULL) * 0x0101010101010101ULL >> 56;
}

/* The number of the last element of the two words; they are not both 0. */
static __always_inline __u32 iso8583_last(const __u64 *bits)
{
	__u64 word = bits[1] ?: bits[0], lowest = word & -word;

	return (bits[1] ? 128 : 64) - iso8583_count(lowest - 1);
}

/* What follows the length: [at, end). Global: verified once. */
__noinline int iso8583_message(struct message *message, const struct hf_rule *rule, __u32 at, __u32 end)
{
	struct iso8583_scan scan = {.message = message, .rule = rule};
	__u64 wanted[2];
	__u32 size;

	if (!message || !rule)
		return HF_PARSER_NONE;
	message->places[ISO8583_OUTCOME] = HF_PARSER_NONE;
	message->places[ISO8583_EDITION] = message_byte(message, at) - '0';
	at += ISO8583_TYPE;
	size = rule->flags & HF_RULE_ENCODING_ASCII ? 2 * ISO8583_BITMAP : ISO8583_BITMAP;
	if (at + size > end)
		return HF_PARSER_MALFORMED;
	scan.present[0] =
		size == ISO8583_BITMAP ? bpf_be64_to_cpu(message_word(message, at)) : iso8583_hex(message, at);
	at += size;
	if (scan.present[0] >> 63) {
		if (at + size > end)
			return HF_PARSER_MALFORMED;
		scan.present[1] =
			size == ISO8583_BITMAP ? bpf_be64_to_cpu(message_word(message, at)) : iso8583_hex(message, at);
		at += size;
	}
	if (message->places[ISO8583_OUTCOME] != HF_PARSER_NONE)
		return HF_PARSER_MALFORMED;
	wanted[0] = rule->fields[0] & scan.present[0];
	wanted[1] = rule->fields[1] & scan.present[1];
	if (!wanted[0] && !wanted[1])
		return HF_PARSER_NONE;
	if (rule->flags & HF_RULE_BITMAP_AND && (wanted[0] != rule->fields[0] || wanted[1] != rule->fields[1]))
		return HF_PARSER_NONE;
	if (!message_digest_begin(message, false))
		return HF_PARSER_NONE;
	scan.last = iso8583_last(wanted);
	message->places[ISO8583_AT] = at;
	message->places[ISO8583_END] = end;
	message->places[ISO8583_FOUND] = message->places[ISO8583_DIGESTED] = 0;
	bpf_loop(HF_ISO8583_FIELDS, iso8583_element, &scan, 0);
	if (message->places[ISO8583_OUTCOME] == HF_PARSER_MALFORMED) {
		message->keys.count = 0;
		return HF_PARSER_MALFORMED;
	}
	/* An element without a value is as good as absent. */
	if (!message->places[ISO8583_FOUND] ||
	    (rule->flags & HF_RULE_BITMAP_AND &&
	     message->places[ISO8583_FOUND] != iso8583_count(rule->fields[0]) + iso8583_count(rule->fields[1]))) {
		message->keys.count = 0;
		return HF_PARSER_NONE;
	}
	if (rule->relation != HF_RELATION_OR)
		message_add_key(message, 0, message->places[ISO8583_DIGESTED]);
	return HF_PARSER_KEYS;
}

/* The message that begins at `at`. */
static __always_inline int iso8583_bitmap_parse_at(struct message *message, const struct hf_rule *rule, __u32 at)
{
	int more = message->available < message->length ? HF_PARSER_MORE : HF_PARSER_MALFORMED;
	__u32 header = rule->flags & HF_RULE_FRAMING_ASCII ? 4 : 2, available = message->available - at;
	int length;

	message->keys.kind = HF_SESSION_ISO8583;
	message->head = 0;
	if (available < header)
		return more;
	if (header == 4)
		length = iso8583_number(message, at, 4);
	else
		length = message_byte(message, at) << 8 | message_byte(message, at + 1);
	if (length < ISO8583_TYPE + ISO8583_BITMAP)
		return HF_PARSER_MALFORMED;
	/* What is no message of these need not be waited for. */
	if (available < header + ISO8583_TYPE)
		return more;
	at += header;
	if (iso8583_number(message, at, ISO8583_TYPE) < 0 || message_byte(message, at) > '2')
		return HF_PARSER_MALFORMED;
	message->framing = HTTP_LENGTH;
	if (length + header > HF_DATAGRAM_BYTES) {
		message->head = at;
		message->body = length;
		return HF_PARSER_LIMIT;
	}
	if (available < length + header)
		return more;
	message->head = at + length;
	message->body = 0;
	return iso8583_message(message, rule, at, at + length);
}

static __always_inline int iso8583_bitmap_parse(struct message *message, const struct hf_rule *rule)
{
	return iso8583_bitmap_parse_at(message, rule, 0);
}
