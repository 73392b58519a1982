/* SPDX-License-Identifier: GPL-2.0 */
/*
 * sip-call-id: the value of Call-ID (RFC 3261, 20.8), or `i`, its compact form
 * (7.3.3). Names in any case; white space before the colon; white space and
 * folded lines after it (7.3.1); the value ends at the first white space. The
 * head ends at an empty line: what follows is a body, whatever it looks like. In a
 * stream all of the head is waited for, and Content-Length (20.14), or `l`, says
 * where the next message begins (18.3); without it there is no body.
 */
#pragma once

#include "http_head.h"

static __always_inline bool sip_is_space(__u8 c)
{
	return c == ' ' || c == '\t';
}

static __always_inline bool sip_is_line_end(__u8 c)
{
	return c == '\r' || c == '\n';
}

/* Letters in lower case; the byte of '-' as it is. */
#define SIP_CALL_ID_CASE 0x0020200020202020ULL
#define SIP_CALL_ID_NAME 0x0064692d6c6c6163ULL /* "call-id" */
#define SIP_SEVEN_BYTES 0x00ffffffffffffffULL

/* "SIP/2.0 ", letters in lower case: the first word of a response (7.2). */
#define SIP_VERSION_CASE 0x0000000000202020ULL
#define SIP_VERSION 0x20302e322f706973ULL

enum { SIP_OTHER_HEADER = -1 };

/* Steps over white space; a line's end followed by white space is white space. */
__noinline __u32 sip_skip_space(const struct message *message, __u32 at, bool folded)
{
	if (!message)
		return 0;
	for (int i = 0; i < HF_SIP_SPACES; i++) {
		__u64 word = message_word(message, at);
		__u8 first = word, second = word >> 8, third = word >> 16;

		if (sip_is_space(first))
			at++;
		else if (folded && first == '\r' && second == '\n' && sip_is_space(third))
			at += 3;
		else if (folded && first == '\n' && sip_is_space(second))
			at += 2;
		else
			break;
	}
	return at;
}

/* Where the value ends: at the first byte that is white space or a control character. */
__noinline __u32 sip_value_end(const struct message *message, __u32 at)
{
	if (!message)
		return 0;
	for (int i = 0; i < HF_DATAGRAM_BYTES / 8; i++) {
		__u64 found = word_find_less(message_word(message, at), 0x21);

		if (found)
			return at + word_first(found);
		if (message_left(message, at) <= 0)
			break;
		at += 8;
	}
	return at;
}

/* It ends with the bytes that are here: is there more of it? */
static __always_inline int sip_end_of_bytes(const struct message *message)
{
	return message->available < message->length ? HF_PARSER_MORE : HF_PARSER_MALFORMED;
}

/* A line of the head that may be it: an outcome, or SIP_OTHER_HEADER. */
__noinline int sip_header(struct message *message, __u32 at)
{
	__u32 start, end, before;
	__u64 word, last;
	__u8 c;

	if (!message || message_left(message, at) <= 0)
		return SIP_OTHER_HEADER;
	word = message_word(message, at);
	if ((__u8)word == '\n' || (__u16)word == ('\r' | '\n' << 8))
		return HF_PARSER_NONE; /* the end of the head */
	if (((word | SIP_CALL_ID_CASE) & SIP_SEVEN_BYTES) == SIP_CALL_ID_NAME)
		before = at + 7;
	else if (((__u8)word | 0x20) == 'i')
		before = at + 1;
	else
		return SIP_OTHER_HEADER;
	start = sip_skip_space(message, before, false);
	if (start - before >= HF_SIP_SPACES)
		return HF_PARSER_LIMIT;
	if (start >= message->available)
		return sip_end_of_bytes(message);
	if (message_byte(message, start) != ':')
		return SIP_OTHER_HEADER;
	start = sip_skip_space(message, start + 1, true);
	if (sip_is_space(message_byte(message, start)))
		return HF_PARSER_LIMIT;
	end = sip_value_end(message, start);
	/* A carriage return or line feed at the very end may be the beginning of a folded line. */
	if (end >= message->available || (end == start && end + 2 >= message->available))
		return sip_end_of_bytes(message);
	c = message_byte(message, end);
	if (end == start || !(sip_is_space(c) || sip_is_line_end(c)))
		return HF_PARSER_MALFORMED;
	if (!message_digest_begin(message, false))
		return HF_PARSER_NONE;
	last = message_digest_bytes(message, start, end - start);
	message_add_key(message, last, end - start);
	return HF_PARSER_KEYS;
}

/* Lines that begin with one of "CcIi\r\n" are looked at, and a few others: by the lower six bits. */
#define SIP_CANDIDATES (1ULL << 3 | 1ULL << 35 | 1ULL << 9 | 1ULL << 41 | 1ULL << 13 | 1ULL << 10)

/* Goes from line to line of the head, from any place in its first one. */
__noinline int sip_head(struct message *message, __u32 at)
{
	if (!message)
		return HF_PARSER_NONE;
	for (int i = 0; i < HF_SIP_STEPS; i++) {
		__u64 found;
		__u8 c;

		if (message_left(message, at) <= 0)
			return message->available < message->length ? HF_PARSER_MORE : HF_PARSER_NONE;
		found = word_find(message_word(message, at), '\n');
		if (!found) {
			at += 8;
			continue;
		}
		at += word_first(found) + 1;
		c = message_byte(message, at);
		if (SIP_CANDIDATES >> (c & 63) & 1) {
			int outcome = sip_header(message, at);

			if (outcome != SIP_OTHER_HEADER)
				return outcome;
		}
	}
	return HF_PARSER_LIMIT;
}

static long sip_frame_line(__u32 index, struct http_scan *scan)
{
	struct message *message = scan->message;
	__u32 at = message->places[HTTP_LINE], end = message_find_byte(message, at, message->available, '\n'), colon;
	__u64 word = message_word(message, at) | HTTP_ANY_CASE, next = message_word(message, at + 8) | HTTP_ANY_CASE;

	if (end >= message->available)
		return 1;
	if (end == at || (end == at + 1 && message_byte(message, at) == '\r')) {
		message->head = end + 1;
		return 1;
	}
	if (word == HTTP_CONTENT && (next & HTTP_6_BYTES) == HTTP_LENGTH_WORD)
		colon = at + 14;
	else
		colon = (__u8)word == 'l' ? at + 1 : end;
	if (colon < end) {
		colon = sip_skip_space(message, colon, false);
		if (colon < end && message_byte(message, colon) == ':')
			http_note_length(message, colon + 1, end);
	}
	message->places[HTTP_LINE] = end + 1;
	return 0;
}

/* Where the message that begins at `at` ends. 0: the end of its head is not here. Global: verified once. */
__noinline int sip_frame(struct message *message, __u32 at)
{
	struct http_scan scan = {.message = message};

	if (!message)
		return 0;
	http_head_begin(message);
	message->places[HTTP_LINE] = at;
	bpf_loop(HTTP_MOST_LINES, sip_frame_line, &scan, 0);
	message->framing = http_framing(message, HTTP_LENGTH);
	return message->head != 0;
}

/* The message that begins at `at`. */
static __always_inline int sip_call_id_parse_at(struct message *message, const struct hf_rule *rule, __u32 at)
{
	int outcome;

	message->keys.kind = HF_SESSION_SIP_CALL_ID;
	/* Empty lines in front, as a keep-alive has them (RFC 5626, 3.5.1). */
	for (int i = 0; i < 8 && sip_is_line_end(message_byte(message, at)); i++)
		at++;
	message->answer = (message_word(message, at) | SIP_VERSION_CASE) == SIP_VERSION;
	message->head = 0;
	outcome = sip_head(message, at);
	if (message->available >= message->length || (outcome != HF_PARSER_KEYS && outcome != HF_PARSER_NONE) ||
	    sip_frame(message, at))
		return outcome;
	message->keys.count = 0;
	return HF_PARSER_MORE;
}

static __always_inline int sip_call_id_parse(struct message *message, const struct hf_rule *rule)
{
	return sip_call_id_parse_at(message, rule, 0);
}
