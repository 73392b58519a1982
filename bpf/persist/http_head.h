/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Heads of HTTP/1 messages (RFC 9112): where they end, and how much body follows.
 *
 * Lines end with LF, with or without CR. But whether a message is framed is judged
 * strictly: what two implementations could read in two ways (both lengths, two of
 * one, folded lines, a CR or LF by itself, a coding other than "chunked") is
 * HTTP_UNFRAMED, and nobody guesses where the next message begins.
 */
#pragma once

#include "parser.h"

enum http_framing {
	HTTP_UNFRAMED = 0,
	HTTP_LENGTH = 1, /* so many bytes, or none */
	HTTP_CHUNKED = 2,
	HTTP_UNTIL_CLOSE = 3, /* a response that ends with its connection */
	HTTP_INTERIM = 4,     /* a response before the response (1xx) */
	HTTP_TUNNEL = 5,      /* no HTTP from here on: 101, or CONNECT */
};

enum http_method { HTTP_OTHER = 0, HTTP_HEAD = 1, HTTP_CONNECT = 2 };

enum { HTTP_LONGEST_METHOD = 24, HTTP_EMPTY_LINES = 8, HTTP_MOST_LINES = HF_MESSAGE_BYTES };

/* As they lie in memory. */
#define HTTP_VERSION 0x2e312f5054544820ULL /* " HTTP/1." */
#define HTTP_RESPONSE 0x00312f50545448ULL  /* "HTTP/1" */
#define HTTP_CRLF 0x0a0d
#define HTTP_ANY_CASE 0x2020202020202020ULL
#define HTTP_CONTENT 0x2d746e65746e6f63ULL      /* "content-" */
#define HTTP_LENGTH_WORD 0x006874676e656cULL    /* "length" */
#define HTTP_TRANSFER 0x726566736e617274ULL     /* "transfer" */
#define HTTP_ENCODING 0x6e69646f636e652dULL     /* "-encodin" */
#define HTTP_CHUNKED_WORD 0x0064656b6e756863ULL /* "chunked" */
#define HTTP_6_BYTES 0x0000ffffffffffffULL
#define HTTP_7_BYTES 0x00ffffffffffffffULL

/* Of message->places, and what the framing's lines have said so far. */
enum {
	HTTP_LINE,
	HTTP_PAIR,
	HTTP_PAIR_END,
	HTTP_VALUE,
	HTTP_VALUE_END,
	HTTP_OUTCOME, /* of the list that is being walked, or of the walk along the lines */
	HTTP_FOUND,   /* the head has the key: HF_PARSER_KEYS */
	HTTP_SEEN,    /* HTTP_SAYS_* */
	HTTP_VALUES,  /* of known cookies: begin and end of each */
};

enum { HTTP_SAYS_LENGTH = 1, HTTP_SAYS_CHUNKED = 2, HTTP_SAYS_NONSENSE = 4, HTTP_SAYS_1_0 = 8, HTTP_SAYS_ANSWER = 16 };

struct http_scan {
	struct message *message;
	const struct hf_rule *rule;
};

static __always_inline bool http_is_blank(__u8 c)
{
	return c == ' ' || c == '\t';
}

static long http_skip_one(__u32 index, struct http_scan *scan)
{
	__u32 *places = scan->message->places, at = places[HTTP_VALUE];

	if (at >= places[HTTP_VALUE_END] || !http_is_blank(message_byte(scan->message, at)))
		return 1;
	places[HTTP_VALUE] = at + 1;
	return 0;
}

static long http_trim_one(__u32 index, struct http_scan *scan)
{
	__u32 *places = scan->message->places, end = places[HTTP_VALUE_END];
	__u8 c;

	if (places[HTTP_VALUE] >= end)
		return 1;
	c = message_byte(scan->message, end - 1);
	if (!http_is_blank(c) && c != '\r')
		return 1;
	places[HTTP_VALUE_END] = end - 1;
	return 0;
}

/* [at, end) without white space around it: HTTP_VALUE and HTTP_VALUE_END. */
static __always_inline void http_trim(struct message *message, __u32 at, __u32 end)
{
	struct http_scan scan = {.message = message};

	message->places[HTTP_VALUE] = at;
	message->places[HTTP_VALUE_END] = end;
	if (at < end && http_is_blank(message_byte(message, at)))
		bpf_loop(HF_MESSAGE_BYTES, http_skip_one, &scan, 0);
	if (at < end)
		bpf_loop(HF_MESSAGE_BYTES, http_trim_one, &scan, 0);
}

/* RFC 9110, 5.6.2 */
static __always_inline bool http_is_token(__u8 c)
{
	/* "!#$%&'*+-." and the digits; then letters, "^_`" and "|~" */
	__u64 low = 0x03ff6cfa00000000ULL, high = 0x57ffffffc7fffffeULL;

	return c < 128 && (c < 64 ? low >> c : high >> (c - 64)) & 1;
}

/* The bytes end in the middle of something: is there more to come? */
static __always_inline int http_more(struct message *message, __u32 resume)
{
	message->resume = resume;
	return message->available < message->length ? HF_PARSER_MORE : HF_PARSER_MALFORMED;
}

/* A bit in the first CR or LF of a word; most words have nothing that is even close. */
static __always_inline __u64 http_find_break(__u64 word)
{
	return word_find_less(word, '\r' + 1) ? word_find(word, '\r') | word_find(word, '\n') : 0;
}

/* Where the first CR or LF is in the next bytes from `at`: its place, or at + MESSAGE_NEAR. Global: verified once. */
__noinline __u32 http_find_break_near(const struct message *message, __u32 at)
{
	if (!message)
		return at;
	for (int i = 0; i < MESSAGE_NEAR / 8; i++) {
		__u64 found = http_find_break(message_word(message, at));

		if (found)
			return at + word_first(found);
		at += 8;
	}
	return at;
}

/*
 * Where the line that begins at `at` has its LF; message->available if that is not here.
 * A line that does not end with CR LF, or has a CR elsewhere, frames nothing. Likewise.
 */
__noinline __u32 http_line_end(struct message *message, __u32 at)
{
	__u32 end, found;

	if (!message)
		return at;
	end = message->available;
	for (int i = 0; i <= HF_MESSAGE_BYTES / MESSAGE_NEAR; i++) {
		if ((__s32)(end - at) <= 0)
			return end;
		found = http_find_break_near(message, at);
		if (found - at < MESSAGE_NEAR) {
			at = found;
			break;
		}
		at = found;
	}
	if ((__s32)(end - at) <= 0)
		return end;
	if (message_byte(message, at) == '\r' && at + 1 >= end)
		return end;
	if (message_byte(message, at) == '\r' && message_byte(message, at + 1) == '\n')
		return at + 1;
	message->places[HTTP_SEEN] |= HTTP_SAYS_NONSENSE;
	return message_find_byte(message, at, end, '\n');
}

/* A number of at most 18 digits in [HTTP_VALUE, HTTP_VALUE_END). False: it is none. */
static __always_inline bool http_number(struct message *message)
{
	__u32 at = message->places[HTTP_VALUE], length = message->places[HTTP_VALUE_END] - at;
	__u64 value = 0;

	if (!length || length > 18)
		return false;
	for (__u32 i = 0; i < 18; i++) {
		__u8 c = message_byte(message, at + i);

		if (i >= length)
			break;
		if (c < '0' || c > '9')
			return false;
		value = value * 10 + (c - '0');
	}
	message->body = value;
	return true;
}

/* What the value in [at, end) says of the body. Global: verified once. */
__noinline int http_note_length(struct message *message, __u32 at, __u32 end)
{
	if (!message)
		return 0;
	http_trim(message, at, end);
	if (message->places[HTTP_SEEN] & HTTP_SAYS_LENGTH || !http_number(message))
		message->places[HTTP_SEEN] |= HTTP_SAYS_NONSENSE;
	message->places[HTTP_SEEN] |= HTTP_SAYS_LENGTH;
	return 0;
}

__noinline int http_note_coding(struct message *message, __u32 at, __u32 end)
{
	__u64 word;

	if (!message)
		return 0;
	http_trim(message, at, end);
	at = message->places[HTTP_VALUE];
	word = message_word(message, at) | HTTP_ANY_CASE;
	if (message->places[HTTP_SEEN] & HTTP_SAYS_CHUNKED || message->places[HTTP_VALUE_END] - at != 7 ||
	    (word & HTTP_7_BYTES) != HTTP_CHUNKED_WORD)
		message->places[HTTP_SEEN] |= HTTP_SAYS_NONSENSE;
	message->places[HTTP_SEEN] |= HTTP_SAYS_CHUNKED;
	return 0;
}

/* A line of the head, [at, end) without its LF: what does it say of the body? */
static __always_inline void http_note_line(struct message *message, __u32 at, __u32 end)
{
	__u64 word = message_word(message, at) | HTTP_ANY_CASE, next;
	__u32 colon;

	/* A folded line (RFC 9112, 5.2). Its first byte has the bit of every blank already set. */
	if (http_is_blank(message_byte(message, at)))
		message->places[HTTP_SEEN] |= HTTP_SAYS_NONSENSE;
	if (word != HTTP_CONTENT && word != HTTP_TRANSFER)
		return;
	next = message_word(message, at + 8) | HTTP_ANY_CASE;
	if (word == HTTP_CONTENT && (next & HTTP_6_BYTES) == HTTP_LENGTH_WORD) {
		colon = at + 14;
	} else if (word == HTTP_TRANSFER && next == HTTP_ENCODING && (message_byte(message, at + 16) | 0x20) == 'g') {
		colon = at + 17;
	} else {
		return;
	}
	if (colon >= end || message_byte(message, colon) != ':') {
		/* White space in front of the colon (RFC 9112, 5.1), or another name. */
		if (colon >= end || http_is_blank(message_byte(message, colon)))
			message->places[HTTP_SEEN] |= HTTP_SAYS_NONSENSE;
		return;
	}
	if (word == HTTP_CONTENT)
		http_note_length(message, colon + 1, end);
	else
		http_note_coding(message, colon + 1, end);
}

/* What all lines together say (RFC 9112, 6.3), where nothing else is known of the message. */
static __always_inline __u8 http_framing(const struct message *message, __u8 otherwise)
{
	__u32 seen = message->places[HTTP_SEEN];

	if (seen & HTTP_SAYS_NONSENSE || (seen & HTTP_SAYS_LENGTH && seen & HTTP_SAYS_CHUNKED) ||
	    (seen & HTTP_SAYS_1_0 && seen & HTTP_SAYS_CHUNKED))
		return HTTP_UNFRAMED;
	if (seen & HTTP_SAYS_CHUNKED)
		return HTTP_CHUNKED;
	return seen & HTTP_SAYS_LENGTH ? HTTP_LENGTH : otherwise;
}

/*
 * Does the line that begins here say anything? Most do not; one that may is looked at
 * again by those who know (http_note_line, http_request_header, http_response_header).
 */
static __always_inline bool http_line_may_matter(const struct message *message, __u32 at)
{
	__u64 word = message_word(message, at), folded = word | HTTP_ANY_CASE;

	if (folded == HTTP_CONTENT)
		return (message_byte(message, at + 8) | 0x20) == 'l';
	return (word & 0xff) <= ' ' || folded == HTTP_TRANSFER || (folded & message->wanted_mask) == message->wanted;
}

enum { HTTP_SEEK_WORDS = 128 };

/*
 * From the line at `at` on, the beginning of the first one that may matter, is not
 * whole, or is further away than this looks. Global: verified once.
 */
__noinline __u32 http_seek_line(const struct message *message, __u32 at)
{
	__u32 line = at;
	__u64 found;

	if (!message || http_line_may_matter(message, at))
		return line;
	for (int i = 0; i < HTTP_SEEK_WORDS; i++) {
		found = http_find_break(message_word(message, at));
		if (!found) {
			at += 8;
			continue;
		}
		at += word_first(found);
		/* What ends in another way, http_line_end() judges. */
		if (message_left(message, at) < 2 || (message_word(message, at) & 0xffff) != HTTP_CRLF)
			break;
		at += 2;
		line = at;
		if (http_line_may_matter(message, at))
			break;
	}
	return line;
}

static __always_inline void http_head_begin(struct message *message)
{
	message->head = 0;
	message->framing = HTTP_UNFRAMED;
	message->body = 0;
	message->status = 0;
	message->cookie_count = 0;
	message->edit_count = 0;
	message->crowded = false;
	message->places[HTTP_SEEN] = 0;
	message->places[HTTP_FOUND] = 0;
}

static long http_skip_line(__u32 index, struct http_scan *scan)
{
	struct message *message = scan->message;
	__u32 at = message->places[HTTP_LINE], end = message_find_byte(message, at, message->available, '\n');

	if (end >= message->available)
		return 1;
	if (end == at || (end == at + 1 && message_byte(message, at) == '\r')) {
		message->head = end + 1;
		return 1;
	}
	message->places[HTTP_LINE] = end + 1;
	return 0;
}

/* Is the end of the head among the lines from `at` on? Otherwise HTTP_LINE is where to look again. Likewise. */
__noinline int http_ends(struct message *message, __u32 at)
{
	struct http_scan scan = {.message = message};

	if (!message)
		return 0;
	message->places[HTTP_LINE] = at;
	message->head = 0;
	bpf_loop(HTTP_MOST_LINES, http_skip_line, &scan, 0);
	return message->head != 0;
}
