/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The rules that read a request head (RFC 9112):
 *   http-header-hash   the value of a header, whose name may be in any case
 *   http-request-hash  the value of a URL parameter; percent-escapes are not decoded
 *   cookie-hash        the value of a cookie, or of the first Cookie header
 *
 * Lines end with LF, with or without CR. White space around a value, and quotes
 * around a cookie's, are no part of it; an empty value is none. A stream is read
 * line by line: a line counts when all of it is there.
 */
#pragma once

#include "parser.h"

/* Nothing is decided by this line. */
#define HTTP_GO_ON (-1)

enum { HTTP_LONGEST_METHOD = 24, HTTP_EMPTY_LINES = 8, HTTP_COOKIE_LENGTH = 6 };

/* "cookie" and " HTTP/1." as they lie in memory. */
#define HTTP_COOKIE 0x000065696b6f6f63ULL
#define HTTP_COOKIE_CASE 0x0000202020202020ULL
#define HTTP_COOKIE_MASK 0x0000ffffffffffffULL
#define HTTP_VERSION 0x2e312f5054544820ULL

/* Of message->places. */
enum { HTTP_LINE, HTTP_PAIR, HTTP_PAIR_END, HTTP_VALUE, HTTP_VALUE_END, HTTP_OUTCOME };

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

/* The value in [at, end), without what surrounds it, is the key. */
__noinline int http_value(struct message *message, __u32 at, __u32 end, bool quotes)
{
	struct http_scan scan = {.message = message};
	__u64 last;

	if (!message)
		return HF_PARSER_NONE;
	message->places[HTTP_VALUE] = at;
	message->places[HTTP_VALUE_END] = end;
	bpf_loop(HF_MESSAGE_BYTES, http_skip_one, &scan, 0);
	bpf_loop(HF_MESSAGE_BYTES, http_trim_one, &scan, 0);
	at = message->places[HTTP_VALUE];
	end = message->places[HTTP_VALUE_END];
	if (quotes && at + 2 <= end && message_byte(message, at) == '"' && message_byte(message, end - 1) == '"') {
		at++;
		end--;
	}
	if (at >= end || !message_digest_begin(message, true))
		return HTTP_GO_ON;
	last = message_digest_run(message, at, end - at);
	message_add_key(message, last, end - at);
	return HF_PARSER_KEYS;
}

/* Is the rule's keyword at this place? */
static __always_inline bool http_matches(const struct message *message, const struct hf_rule *rule, __u32 at)
{
	__s32 left = rule->keyword_length;

	if (!left)
		return false;
	for (int i = 0; i < (HF_KEYWORD_LENGTH + 1) / 8; i++) {
		__u64 word = message_word(message, at + i * 8) | ((const __u64 *)rule->keyword_case)[i];
		__u64 wanted = ((const __u64 *)rule->keyword)[i], mask = ~0ULL;

		if (left <= 0)
			break;
		if (left < 8)
			mask = ~(~0ULL << 8 * (left & 7));
		if ((word ^ wanted) & mask)
			return false;
		left -= 8;
	}
	return true;
}

/* One NAME=VALUE of a list whose separator is ';' (cookies) or '&' (parameters). */
static __always_inline long http_pair(struct http_scan *scan, __u8 separator, bool cookie)
{
	struct message *message = scan->message;
	__u32 at = message->places[HTTP_PAIR], last = message->places[HTTP_PAIR_END], value, end;

	if (at >= last)
		return 1;
	if (cookie && http_is_blank(message_byte(message, at))) {
		message->places[HTTP_PAIR] = at + 1;
		return 0;
	}
	end = message_find_byte(message, at, last, separator);
	message->places[HTTP_PAIR] = end + 1;
	value = at + scan->rule->keyword_length + 1;
	if (value <= end && message_byte(message, value - 1) == '=' && http_matches(message, scan->rule, at)) {
		int outcome = http_value(message, value, end, cookie);

		message->places[HTTP_OUTCOME] = outcome;
		return outcome != HTTP_GO_ON;
	}
	return 0;
}

static long http_cookie(__u32 index, struct http_scan *scan)
{
	return http_pair(scan, ';', true);
}

static long http_parameter(__u32 index, struct http_scan *scan)
{
	return http_pair(scan, '&', false);
}

/* The value of the rule's cookie in a Cookie header's value. */
__noinline int http_cookies(struct message *message, const struct hf_rule *rule, __u32 at, __u32 end)
{
	struct http_scan scan = {.message = message, .rule = rule};

	if (!message || !rule)
		return HF_PARSER_NONE;
	message->places[HTTP_PAIR] = at;
	message->places[HTTP_PAIR_END] = end;
	message->places[HTTP_OUTCOME] = HTTP_GO_ON;
	bpf_loop(HF_MESSAGE_BYTES, http_cookie, &scan, 0);
	return message->places[HTTP_OUTCOME];
}

/* A line of the head, [at, end): an outcome, or HTTP_GO_ON. */
__noinline int http_header(struct message *message, const struct hf_rule *rule, __u32 at, __u32 end)
{
	if (!message || !rule)
		return HF_PARSER_NONE;
	if (rule->type == HF_RULE_HTTP_HEADER_HASH) {
		__u32 colon = at + rule->keyword_length;

		if (colon >= end || message_byte(message, colon) != ':' || !http_matches(message, rule, at))
			return HTTP_GO_ON;
		return http_value(message, colon + 1, end, false);
	}
	if (((message_word(message, at) | HTTP_COOKIE_CASE) & HTTP_COOKIE_MASK) != HTTP_COOKIE ||
	    at + HTTP_COOKIE_LENGTH >= end || message_byte(message, at + HTTP_COOKIE_LENGTH) != ':')
		return HTTP_GO_ON;
	at += HTTP_COOKIE_LENGTH + 1;
	return rule->keyword_length ? http_cookies(message, rule, at, end) : http_value(message, at, end, false);
}

/* The parameters of a request's target, [at, end). */
__noinline int http_target(struct message *message, const struct hf_rule *rule, __u32 at, __u32 end)
{
	struct http_scan scan = {.message = message, .rule = rule};

	if (!message || !rule)
		return HF_PARSER_NONE;
	end = message_find_byte(message, at, end, '#');
	message->places[HTTP_PAIR] = message_find_byte(message, at, end, '?') + 1;
	message->places[HTTP_PAIR_END] = end;
	message->places[HTTP_OUTCOME] = HTTP_GO_ON;
	bpf_loop(HF_MESSAGE_BYTES, http_parameter, &scan, 0);
	return message->places[HTTP_OUTCOME] == HF_PARSER_KEYS ? HF_PARSER_KEYS : HF_PARSER_NONE;
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

/* The request line: where the next one begins, or a negative outcome. */
__noinline int http_request_line(struct message *message, const struct hf_rule *rule)
{
	__u32 at = 0, line, end;

	if (!message || !rule)
		return -HF_PARSER_MALFORMED;
	/* Empty lines in front (RFC 9112, 2.2). */
	for (int i = 0; i < HTTP_EMPTY_LINES; i++) {
		__u8 c = message_byte(message, at);

		if (c != '\r' && c != '\n')
			break;
		at++;
	}
	line = at;
	for (int i = 0; i < HTTP_LONGEST_METHOD; i++) {
		if (message_left(message, at) <= 0)
			return -http_more(message, 0);
		if (!http_is_token(message_byte(message, at)))
			break;
		at++;
	}
	if (message_left(message, at) <= 0)
		return -http_more(message, 0);
	if (at == line || message_byte(message, at) != ' ')
		return -HF_PARSER_FOREIGN;
	at++;
	line = message_find_byte(message, at, message->available, '\n');
	if (line >= message->available)
		return -http_more(message, 0);
	end = line;
	if (message_byte(message, end - 1) == '\r')
		end--;
	if (end < at + 9 || message_word(message, end - 9) != HTTP_VERSION || message_byte(message, end - 1) < '0' ||
	    message_byte(message, end - 1) > '9')
		return -HF_PARSER_FOREIGN;
	if (rule->type == HF_RULE_HTTP_REQUEST_HASH) {
		return -http_target(message, rule, at, end - 9);
	}
	return line + 1;
}

static long http_line(__u32 index, struct http_scan *scan)
{
	struct message *message = scan->message;
	__u32 at = message->places[HTTP_LINE], end;
	int outcome;
	__u8 c;

	end = message_find_byte(message, at, message->available, '\n');
	if (end >= message->available) {
		message->places[HTTP_OUTCOME] = http_more(message, at);
		return 1;
	}
	c = message_byte(message, at);
	if (end == at || (c == '\r' && end == at + 1)) {
		message->places[HTTP_OUTCOME] = HF_PARSER_NONE; /* the end of the head */
		return 1;
	}
	outcome = http_header(message, scan->rule, at, end);
	message->places[HTTP_LINE] = end + 1;
	message->places[HTTP_OUTCOME] = outcome;
	return outcome != HTTP_GO_ON;
}

static __always_inline int http_parse(struct message *message, const struct hf_rule *rule)
{
	struct http_scan scan = {.message = message, .rule = rule};
	int next;

	message->keys.kind = 0;
	message->places[HTTP_LINE] = message->resume;
	if (!message->begun) {
		next = http_request_line(message, rule);
		if (next <= 0)
			return -next;
		message->places[HTTP_LINE] = next;
	}
	bpf_loop(HF_MESSAGE_BYTES, http_line, &scan, 0);
	return message->places[HTTP_OUTCOME];
}
