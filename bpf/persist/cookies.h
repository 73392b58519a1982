/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The session cookies of known frameworks, of which a head may have several: each
 * that is there is a key, in the order of HF_COOKIE_*. Of two with one name the first
 * that has a value counts; in a response, which sets them, the last.
 */
#pragma once

#include "http_head.h"

#define COOKIES_KNOWN 5

/* Names, with their "=", as they lie in memory. */
#define COOKIE_PHPSESSI 0x4953534553504850ULL
#define COOKIE_JSESSION 0x4e4f49535345534aULL
#define COOKIE_CFID 0x0000003d44494643ULL /* "CFID=" */
#define COOKIE_CFTOKEN 0x3d4e454b4f544643ULL
#define COOKIE_ASP_NET 0x5f54454e2e505341ULL /* "ASP.NET_" */
#define COOKIE_SESSIONI 0x496e6f6973736553ULL
#define COOKIE_PATH 0x6f69737365736a3bULL /* ";jsessio" */
#define COOKIE_PATH_END 0x3d64696eU       /* "nid=" */

static __always_inline void cookies_begin(struct message *message)
{
	for (int i = 0; i < 2 * (COOKIES_KNOWN + 1); i++)
		message->places[HTTP_VALUES + i] = 0;
}

/* Which of the known names is at this place, with its "="? Its number and, in *length, its length; -1: none. */
static __always_inline int cookies_which(const struct message *message, __u32 at, __u32 *length)
{
	__u64 word = message_word(message, at), next = message_word(message, at + 8);

	if (word == COOKIE_PHPSESSI && (next & 0xffff) == 0x3d44) {
		*length = 10;
		return 0;
	}
	if (word == COOKIE_JSESSION && (next & 0xffffff) == 0x3d4449) {
		*length = 11;
		return 1;
	}
	if ((word & 0xffffffffffULL) == COOKIE_CFID) {
		*length = 5;
		return 2;
	}
	if (word == COOKIE_CFTOKEN) {
		*length = 8;
		return 3;
	}
	if (word == COOKIE_ASP_NET && next == COOKIE_SESSIONI && (message_word(message, at + 16) & 0xffff) == 0x3d64) {
		*length = 18;
		return 4;
	}
	return -1;
}

/* [at, end) is the value of the known cookie `number`. Global: verified once. */
__noinline int cookies_value(struct message *message, __u32 number, __u32 at, __u32 end)
{
	if (!message || number >= COOKIES_KNOWN)
		return 0;
	if (message->places[HTTP_VALUES + 2 * number + 1] && !(message->places[HTTP_SEEN] & HTTP_SAYS_ANSWER))
		return 0;
	http_trim(message, at, end);
	at = message->places[HTTP_VALUE];
	end = message->places[HTTP_VALUE_END];
	if (at + 2 <= end && message_byte(message, at) == '"' && message_byte(message, end - 1) == '"') {
		at++;
		end--;
	}
	if (at >= end)
		return 0;
	message->places[HTTP_VALUES + 2 * number] = at;
	message->places[HTTP_VALUES + 2 * number + 1] = end;
	return 0;
}

/* One NAME=VALUE of a list. */
static long cookies_pair(__u32 index, struct http_scan *scan)
{
	struct message *message = scan->message;
	__u32 at = message->places[HTTP_PAIR], last = message->places[HTTP_PAIR_END], end, length;
	int number;

	if (at >= last)
		return 1;
	if (http_is_blank(message_byte(message, at))) {
		message->places[HTTP_PAIR] = at + 1;
		return 0;
	}
	end = message_find_byte(message, at, last, ';');
	message->places[HTTP_PAIR] = end + 1;
	number = cookies_which(message, at, &length);
	if (number >= 0 && at + length <= end)
		cookies_value(message, number, at + length, end);
	return 0;
}

/* The known cookies of a list, [at, end). Global: verified once. */
__noinline int cookies_note(struct message *message, __u32 at, __u32 end)
{
	struct http_scan scan = {.message = message};

	if (!message)
		return 0;
	message->places[HTTP_PAIR] = at;
	message->places[HTTP_PAIR_END] = end;
	bpf_loop(HF_MESSAGE_BYTES, cookies_pair, &scan, 0);
	return 0;
}

/* One part of a path, behind a ";". */
static long cookies_path_part(__u32 index, struct http_scan *scan)
{
	struct message *message = scan->message;
	__u32 last = message->places[HTTP_PAIR_END], at, end;

	at = message_find_byte(message, message->places[HTTP_PAIR], last, ';');
	if (at >= last)
		return 1;
	message->places[HTTP_PAIR] = at + 1;
	if (message_word(message, at) != COOKIE_PATH || (__u32)message_word(message, at + 8) != COOKIE_PATH_END ||
	    at + 12 >= last)
		return 0;
	at += 12;
	end = message_find_byte(message, at, last, ';');
	end = message_find_byte(message, at, end, '/');
	message->places[HTTP_VALUE] = at;
	message->places[HTTP_VALUE_END] = end;
	return end > at;
}

/* ";jsessionid=" in a path, [at, end): where no cookie says something else. Global: verified once. */
__noinline int cookies_note_path(struct message *message, __u32 at, __u32 end)
{
	struct http_scan scan = {.message = message};

	if (!message)
		return 0;
	message->places[HTTP_PAIR] = at;
	message->places[HTTP_PAIR_END] = end;
	message->places[HTTP_VALUE] = message->places[HTTP_VALUE_END] = 0;
	bpf_loop(HF_MESSAGE_BYTES, cookies_path_part, &scan, 0);
	/* Kept apart: a cookie of that name comes first. */
	message->places[HTTP_VALUES + 2 * COOKIES_KNOWN] = message->places[HTTP_VALUE];
	message->places[HTTP_VALUES + 2 * COOKIES_KNOWN + 1] = message->places[HTTP_VALUE_END];
	return 0;
}

/* The value of one, and, where it is CFID, of CFTOKEN behind it, is a key. Global: verified once. */
__noinline int cookies_make_key(struct message *message, __u32 number)
{
	__u32 at, end, length;
	__u64 last;

	if (!message || number > COOKIES_KNOWN)
		return 0;
	at = message->places[HTTP_VALUES + 2 * number];
	end = message->places[HTTP_VALUES + 2 * number + 1];
	if (at >= end || !message_digest_begin(message, false))
		return 0;
	length = end - at;
	last = message_digest_run(message, at, length);
	if (number == 2) {
		hf_siphash_word(&message->digest, last);
		at = message->places[HTTP_VALUES + 6];
		end = message->places[HTTP_VALUES + 7];
		if (at >= end)
			return 0;
		length = (length & ~7U) + 8 + (end - at);
		last = message_digest_run(message, at, end - at);
	}
	message_add_key(message, last, length);
	return 0;
}

static __always_inline void cookies_make_keys(struct message *message, const struct hf_rule *rule)
{
	__u32 cookies = rule->cookies;

	if (cookies & HF_COOKIE_PHPSESSID)
		cookies_make_key(message, 0);
	if (cookies & HF_COOKIE_JSESSIONID)
		cookies_make_key(message, message->places[HTTP_VALUES + 3] ? 1 : COOKIES_KNOWN);
	if (cookies & HF_COOKIE_CFID)
		cookies_make_key(message, 2);
	if (cookies & HF_COOKIE_ASP_NET)
		cookies_make_key(message, 4);
}
