/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Cookies that name members, in requests and in what members set:
 *   insert-cookie    NAME|DATE is the whole value; no member sets it
 *   rewrite-cookie   NAME is the value; it takes the place of the one that a member sets
 *   embedded-cookie  NAME~ in front of the value that a member has set; it is put there in
 *                    responses, and taken off in requests
 *
 * NAME: 1-63 letters, digits, ".", "_" and "-". DATE: 30 bits in five characters of
 * base64 (RFC 4648, 4), the first one highest. What looks otherwise is no cookie of
 * ours. A value that is replaced goes as far as its ";", or its line.
 *
 * Edits are found as the bytes arrive, also in a line whose end is not here: what is
 * not decided yet is an open one.
 */
#pragma once

#include "http_head.h"

/* Of message->places, beside HTTP_*: a list of cookies. */
enum { MEMBER_COOKIES_MORE = HTTP_VALUES };

static __always_inline bool member_cookies_read(const struct hf_rule *rule)
{
	return rule->type >= HF_RULE_INSERT_COOKIE && rule->type <= HF_RULE_EMBEDDED_COOKIE;
}

/* Does the rule change the heads of requests, or, of `answer`s, their Set-Cookie? */
static __always_inline bool member_cookies_edit(const struct hf_rule *rule, bool answer)
{
	return rule->type == HF_RULE_EMBEDDED_COOKIE || (answer && rule->type == HF_RULE_REWRITE_COOKIE);
}

static __always_inline bool member_cookies_is_name(__u8 c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '.' || c == '_' || c == '-';
}

/* How many bytes from `at` on may be a name: at most one more than a name may have. Global: verified once. */
__noinline __u32 member_cookies_run(const struct message *message, __u32 at, __u32 end)
{
	__u32 length = 0;

	if (!message)
		return 0;
	for (__u32 i = 0; i <= HF_NAME_LENGTH; i++) {
		if ((__s32)(end - at - i) <= 0 || !member_cookies_is_name(message_byte(message, at + i)))
			break;
		length = i + 1;
	}
	return length;
}

static __always_inline int member_cookies_digit(__u8 c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* The date whose first character is at `at`; -1: it is none. */
static __always_inline int member_cookies_date(const struct message *message, __u32 at)
{
	__u32 date = 0;

	for (int i = 0; i < HF_COOKIE_DATE_LENGTH; i++) {
		int digit = member_cookies_digit(message_byte(message, at + i));

		if (digit < 0)
			return -1;
		date = date << 6 | digit;
	}
	return date;
}

static __always_inline void member_cookies_add_edit(struct message *message, __u32 at, __u32 removed, bool open)
{
	__u32 count = message->edit_count;

	if (count >= HF_EDITS) {
		message->crowded = true;
		return;
	}
	message->edits[count].at = at;
	message->edits[count].removed = removed;
	message->edits[count].open = open;
	message->edit_count = count + 1;
}

static __always_inline void member_cookies_add(struct message *message, __u32 at, __u32 length, __u32 date)
{
	__u32 count = message->cookie_count;

	if (count >= HF_KEYS)
		return;
	message->cookies[count].at = at;
	message->cookies[count].length = length;
	message->cookies[count].date = date;
	message->cookie_count = count + 1;
}

/* The value in [at, end) of a client's cookie; more of it may be to come. Global: verified once. */
__noinline int member_cookies_value(struct message *message, const struct hf_rule *rule, __u32 at, __u32 end)
{
	bool more, quoted;
	__u32 run;
	int date;

	if (!message || !rule)
		return 0;
	more = message->places[MEMBER_COOKIES_MORE] && end >= message->available;
	http_trim(message, at, end);
	at = message->places[HTTP_VALUE];
	quoted = at < end && message_byte(message, at) == '"';
	if (rule->type == HF_RULE_EMBEDDED_COOKIE) {
		at += quoted;
		run = member_cookies_run(message, at, end);
		if (!run || run > HF_NAME_LENGTH)
			return 0;
		if (at + run >= end) {
			if (more)
				member_cookies_add_edit(message, at, run, true);
			return 0;
		}
		if (message_byte(message, at + run) != '~')
			return 0;
		member_cookies_add(message, at, run, 0);
		member_cookies_add_edit(message, at, run + 1, false);
		return 0;
	}
	end = message->places[HTTP_VALUE_END];
	if (quoted && at + 2 <= end && message_byte(message, end - 1) == '"') {
		at++;
		end--;
	}
	run = member_cookies_run(message, at, end);
	if (more || !run || run > HF_NAME_LENGTH)
		return 0;
	if (rule->type == HF_RULE_REWRITE_COOKIE) {
		if (at + run == end)
			member_cookies_add(message, at, run, 0);
		return 0;
	}
	if (at + run + 1 + HF_COOKIE_DATE_LENGTH != end || message_byte(message, at + run) != '|')
		return 0;
	date = member_cookies_date(message, at + run + 1);
	if (date < 0)
		return 0;
	member_cookies_add(message, at, run, date);
	return 0;
}

static __always_inline bool member_cookies_ends(__u8 c)
{
	return c == ';' || c == '\r' || c == '\n';
}

/*
 * The value that a member sets, from `at` on; its line ends, or is not longer yet than,
 * `end`. Global: verified once.
 */
__noinline int member_cookies_set(struct message *message, const struct hf_rule *rule, __u32 at, __u32 end)
{
	__u32 last;

	if (!message || !rule)
		return 0;
	last = message_find_byte(message, at, end, ';');
	last = message_find_byte(message, at, last, '\r');
	message->places[HTTP_VALUE] = at;
	message->places[HTTP_VALUE_END] = last;
	if (at < last && http_is_blank(message_byte(message, at))) {
		http_trim(message, at, last);
		at = message->places[HTTP_VALUE];
	}
	if (rule->type == HF_RULE_EMBEDDED_COOKIE && at < last && message_byte(message, at) == '"')
		at++;
	if (at >= last)
		return 0;
	if (rule->type == HF_RULE_EMBEDDED_COOKIE) {
		if (message_byte(message, at) != '"')
			member_cookies_add_edit(message, at, 0, false);
		return 0;
	}
	member_cookies_add_edit(message, at, last - at, last >= end && message->places[MEMBER_COOKIES_MORE]);
	return 0;
}
