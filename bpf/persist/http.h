/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The rules that read the heads of HTTP messages (RFC 9112):
 *   http-header-hash   the value of a header, whose name may be in any case
 *   http-request-hash  the value of a URL parameter; percent-escapes are not decoded
 *   cookie-hash        the value of a cookie, or of the first Cookie header
 *   persistent-cookie, passive-cookie
 *                      the value of a cookie, which members set (cookies.h)
 *   insert-cookie, rewrite-cookie, embedded-cookie
 *                      a cookie that names a member (member_cookies.h)
 *
 * White space around a value, and quotes around a cookie's, are no part of it; an
 * empty value is none. A head is read when all of it is there.
 */
#pragma once

#include "cookies.h"
#include "http_head.h"
#include "member_cookies.h"

/* Nothing is decided by this line. */
#define HTTP_GO_ON (-1)

enum { HTTP_COOKIE_LENGTH = 6 };

/* "cookie" as it lies in memory. */
#define HTTP_COOKIE 0x000065696b6f6f63ULL
#define HTTP_COOKIE_CASE 0x0000202020202020ULL
#define HTTP_COOKIE_MASK 0x0000ffffffffffffULL

/* The value in [at, end), without what surrounds it, is the key. */
__noinline int http_value(struct message *message, const struct hf_rule *rule, __u32 at, __u32 end, bool quotes)
{
	__u64 last;

	if (!message || !rule)
		return HF_PARSER_NONE;
	http_trim(message, at, end);
	at = message->places[HTTP_VALUE];
	end = message->places[HTTP_VALUE_END];
	if (quotes && at + 2 <= end && message_byte(message, at) == '"' && message_byte(message, end - 1) == '"') {
		at++;
		end--;
	}
	if (at >= end || !message_digest_begin(message, rule->flags & HF_RULE_STATELESS))
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
		if (cookie && member_cookies_read(scan->rule)) {
			member_cookies_value(message, scan->rule, value, end);
			return 0;
		}
		int outcome = http_value(message, scan->rule, value, end, cookie);

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

/* "set-cook" and "ie" as they lie in memory. */
#define HTTP_SET_COOK 0x6b6f6f632d746573ULL
#define HTTP_IE 0x6569

static __always_inline bool http_learns(const struct hf_rule *rule)
{
	return rule->type == HF_RULE_PERSISTENT_COOKIE || rule->type == HF_RULE_PASSIVE_COOKIE;
}

static __always_inline bool http_is_cookie_rule(const struct hf_rule *rule)
{
	return rule->type == HF_RULE_COOKIE_HASH || http_learns(rule) || member_cookies_read(rule);
}

/* Does it matter what members set? */
static __always_inline bool http_reads_answers(const struct hf_rule *rule)
{
	return http_learns(rule) || member_cookies_edit(rule, true);
}

/* Lines whose first bytes, in any case, are those of `name` are to be looked at; `length` 0: none are. */
static __always_inline void http_want(struct message *message, __u64 name, __u32 length)
{
	message->wanted_mask = length >= 8 ? ~0ULL : ~(~0ULL << 8 * (length & 7));
	message->wanted = length ? (name | HTTP_ANY_CASE) & message->wanted_mask : ~0ULL;
}

static __always_inline void http_want_request(struct message *message, const struct hf_rule *rule)
{
	if (rule->type == HF_RULE_HTTP_HEADER_HASH)
		http_want(message, *(const __u64 *)rule->keyword, rule->keyword_length);
	else
		http_want(message, HTTP_COOKIE, http_is_cookie_rule(rule) ? HTTP_COOKIE_LENGTH : 0);
}

/* Cookies in [at, end): the value of a header Cookie, or the first part of one Set-Cookie. */
static __always_inline int http_cookie_list(struct message *message, const struct hf_rule *rule, __u32 at, __u32 end)
{
	if (rule->cookies) {
		cookies_note(message, at, end);
		return HTTP_GO_ON;
	}
	return rule->keyword_length ? http_cookies(message, rule, at, end) : http_value(message, rule, at, end, false);
}

/* A line of a request's head, [at, end): an outcome, or HTTP_GO_ON. Global: verified once. */
__noinline int http_request_header(struct message *message, const struct hf_rule *rule, __u32 at, __u32 end)
{
	if (!message || !rule)
		return HF_PARSER_NONE;
	if (rule->type == HF_RULE_HTTP_HEADER_HASH) {
		__u32 colon = at + rule->keyword_length;

		if (colon >= end || message_byte(message, colon) != ':' || !http_matches(message, rule, at))
			return HTTP_GO_ON;
		return http_value(message, rule, colon + 1, end, false);
	}
	if (!http_is_cookie_rule(rule) ||
	    ((message_word(message, at) | HTTP_COOKIE_CASE) & HTTP_COOKIE_MASK) != HTTP_COOKIE ||
	    at + HTTP_COOKIE_LENGTH >= end || message_byte(message, at + HTTP_COOKIE_LENGTH) != ':')
		return HTTP_GO_ON;
	return http_cookie_list(message, rule, at + HTTP_COOKIE_LENGTH + 1, end);
}

/* Likewise, of a response's: what its Set-Cookie says, but for the attributes. Likewise. */
__noinline int http_response_header(struct message *message, const struct hf_rule *rule, __u32 at, __u32 end)
{
	if (!message || !rule || !http_reads_answers(rule))
		return HTTP_GO_ON;
	/* A CR, too, becomes a "-". */
	if ((message_word(message, at) | HTTP_ANY_CASE) != HTTP_SET_COOK || message_byte(message, at + 3) != '-' ||
	    ((__u32)(message_word(message, at + 8) | HTTP_ANY_CASE) & 0xffff) != HTTP_IE || at + 10 >= end ||
	    message_byte(message, at + 10) != ':')
		return HTTP_GO_ON;
	at += 11;
	if (http_learns(rule))
		return http_cookie_list(message, rule, at, message_find_byte(message, at, end, ';'));
	if (at < end && http_is_blank(message_byte(message, at))) {
		http_trim(message, at, end);
		at = message->places[HTTP_VALUE];
	}
	if (at + rule->keyword_length < end && message_byte(message, at + rule->keyword_length) == '=' &&
	    http_matches(message, rule, at))
		member_cookies_set(message, rule, at + rule->keyword_length + 1, end);
	return HTTP_GO_ON;
}

/* What a line says, of which there is more to come, of what is to be changed. */
static __always_inline void http_unfinished_header(struct message *message, const struct hf_rule *rule, __u32 at)
{
	bool answer = message->places[HTTP_SEEN] & HTTP_SAYS_ANSWER;

	if (!member_cookies_edit(rule, answer))
		return;
	message->places[MEMBER_COOKIES_MORE] = true;
	if (answer)
		http_response_header(message, rule, at, message->available);
	else
		http_request_header(message, rule, at, message->available);
	message->places[MEMBER_COOKIES_MORE] = false;
}

/* Lines that were not whole when the head was last looked at: what is to be changed in them. */
static long http_edit_line(__u32 index, struct http_scan *scan)
{
	struct message *message = scan->message;
	__u32 at = message->places[HTTP_LINE], end = message_find_byte(message, at, message->available, '\n');

	if (end >= message->available) {
		http_unfinished_header(message, scan->rule, at);
		return 1;
	}
	if (message->places[HTTP_SEEN] & HTTP_SAYS_ANSWER)
		http_response_header(message, scan->rule, at, end);
	else
		http_request_header(message, scan->rule, at, end);
	message->places[HTTP_LINE] = end + 1;
	return 0;
}

/* What is here of the head does not reach its end: nothing of it is known but what is to be changed. */
static __always_inline int http_go_on(struct message *message, const struct hf_rule *rule)
{
	struct http_scan scan = {.message = message, .rule = rule};
	__u32 last = message->places[HTTP_LINE];

	if (member_cookies_edit(rule, message->places[HTTP_SEEN] & HTTP_SAYS_ANSWER)) {
		cookies_begin(message);
		message->places[HTTP_LINE] = message->resume;
		bpf_loop(HTTP_MOST_LINES, http_edit_line, &scan, 0);
	}
	return http_more(message, last);
}

/* The parameters of a request's target, [at, end). */
__noinline int http_target(struct message *message, const struct hf_rule *rule, __u32 at, __u32 end)
{
	struct http_scan scan = {.message = message, .rule = rule};

	if (!message || !rule)
		return HF_PARSER_NONE;
	if (rule->type != HF_RULE_HTTP_REQUEST_HASH && !(rule->cookies & HF_COOKIE_JSESSIONID))
		return HTTP_GO_ON;
	end = message_find_byte(message, at, end, '#');
	if (rule->cookies & HF_COOKIE_JSESSIONID)
		cookies_note_path(message, at, message_find_byte(message, at, end, '?'));
	if (rule->type != HF_RULE_HTTP_REQUEST_HASH)
		return HTTP_GO_ON;
	message->places[HTTP_PAIR] = message_find_byte(message, at, end, '?') + 1;
	message->places[HTTP_PAIR_END] = end;
	message->places[HTTP_OUTCOME] = HTTP_GO_ON;
	bpf_loop(HF_MESSAGE_BYTES, http_parameter, &scan, 0);
	return message->places[HTTP_OUTCOME];
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
	/* "HEAD " and "CONNECT " */
	if ((message_word(message, line) & 0xffffffffffULL) == 0x2044414548ULL)
		message->method = HTTP_HEAD;
	else if (message_word(message, line) == 0x205443454e4e4f43ULL)
		message->method = HTTP_CONNECT;
	else
		message->method = HTTP_OTHER;
	at++;
	line = http_line_end(message, at);
	if (line >= message->available)
		return -http_more(message, 0);
	end = line;
	if (message_byte(message, end - 1) == '\r')
		end--;
	if (end < at + 9 || message_word(message, end - 9) != HTTP_VERSION || message_byte(message, end - 1) < '0' ||
	    message_byte(message, end - 1) > '9')
		return -HF_PARSER_FOREIGN;
	if (message_byte(message, end - 1) == '0')
		message->places[HTTP_SEEN] |= HTTP_SAYS_1_0;
	message->places[HTTP_FOUND] = http_target(message, rule, at, end - 9);
	return line + 1;
}

/* The status line: likewise; of the lines behind it, those are passed over that do not matter. */
__noinline int http_status_line(struct message *message)
{
	__u32 line, next, status = 0;

	if (!message)
		return -HF_PARSER_MALFORMED;
	next = http_seek_line(message, 0);
	line = next;
	if (!next) {
		line = http_line_end(message, 0);
		if (line >= message->available)
			return -http_more(message, 0);
		next = line + 1;
	}
	/* "HTTP/1.d ddd", and a reason or nothing. */
	if ((message_word(message, 0) & HTTP_6_BYTES) != HTTP_RESPONSE || message_byte(message, 6) != '.' ||
	    message_byte(message, 8) != ' ' || line < 12)
		return -HF_PARSER_FOREIGN;
	for (int i = 0; i < 3; i++) {
		__u8 c = message_byte(message, 9 + i);

		if (c < '0' || c > '9')
			return -HF_PARSER_FOREIGN;
		status = status * 10 + (c - '0');
	}
	if (message_byte(message, 7) == '0')
		message->places[HTTP_SEEN] |= HTTP_SAYS_1_0;
	message->status = status;
	return next;
}

/* One line. 1: it was the last, or there is no more here. */
static __always_inline long http_line(struct http_scan *scan, bool answer)
{
	struct message *message = scan->message;
	__u32 at = message->places[HTTP_LINE], end = http_line_end(message, at);

	if (end >= message->available) {
		http_unfinished_header(message, scan->rule, at);
		message->places[HTTP_OUTCOME] = http_more(message, at);
		return 1;
	}
	if (end == at || (end == at + 1 && message_byte(message, at) == '\r')) {
		message->head = end + 1;
		message->places[HTTP_OUTCOME] = HF_PARSER_NONE;
		return 1;
	}
	http_note_line(message, at, end);
	if (scan->rule->cookies || answer || message->places[HTTP_FOUND] != HF_PARSER_KEYS) {
		int found = answer ? http_response_header(message, scan->rule, at, end)
				   : http_request_header(message, scan->rule, at, end);

		if (found == HF_PARSER_KEYS)
			message->places[HTTP_FOUND] = found;
		/* Of what a response sets the last counts (RFC 6265, 5.3). */
		if (message->keys.count > 1) {
			__builtin_memcpy(message->keys.keys[0], message->keys.keys[1], 16);
			message->keys.count = 1;
		}
	}
	message->places[HTTP_LINE] = http_seek_line(message, end + 1);
	return 0;
}

static long http_request_line_next(__u32 index, struct http_scan *scan)
{
	return http_line(scan, false);
}

static long http_response_line_next(__u32 index, struct http_scan *scan)
{
	return http_line(scan, true);
}

/* The head is here: its outcome. */
static __always_inline int http_end(struct message *message, const struct hf_rule *rule)
{
	if (rule->cookies)
		cookies_make_keys(message, rule);
	if (message->cookie_count)
		return HF_PARSER_COOKIE;
	return message->keys.count ? HF_PARSER_KEYS : HF_PARSER_NONE;
}

/* A request's head. Before all of it is here, nothing is known but that it is HTTP. */
static __always_inline int http_parse(struct message *message, const struct hf_rule *rule)
{
	struct http_scan scan = {.message = message, .rule = rule};
	int next;

	message->keys.kind = rule->flags & HF_RULE_STATELESS ? 0 : HF_SESSION_COOKIE;
	http_head_begin(message);
	if (message->begun && !http_ends(message, message->resume))
		return http_go_on(message, rule);
	cookies_begin(message);
	http_want_request(message, rule);
	next = http_request_line(message, rule);
	if (next <= 0)
		return -next;
	message->places[HTTP_LINE] = http_seek_line(message, next);
	bpf_loop(HTTP_MOST_LINES, http_request_line_next, &scan, 0);
	if (!message->head) {
		message->keys.count = 0;
		message->cookie_count = 0;
		return message->places[HTTP_OUTCOME];
	}
	message->framing = message->method == HTTP_CONNECT ? HTTP_TUNNEL : http_framing(message, HTTP_LENGTH);
	return http_end(message, rule);
}

/* A response's head: keys are those of the cookies that it sets. message->method: of its request. */
static __always_inline int http_answer_parse(struct message *message, const struct hf_rule *rule)
{
	struct http_scan scan = {.message = message, .rule = rule};
	int next;

	message->keys.kind = HF_SESSION_COOKIE;
	http_head_begin(message);
	message->places[HTTP_SEEN] = HTTP_SAYS_ANSWER;
	if (message->begun && !http_ends(message, message->resume))
		return http_go_on(message, rule);
	cookies_begin(message);
	http_want(message, HTTP_SET_COOK, http_reads_answers(rule) ? 8 : 0);
	next = http_status_line(message);
	if (next <= 0)
		return -next;
	message->places[HTTP_LINE] = next;
	bpf_loop(HTTP_MOST_LINES, http_response_line_next, &scan, 0);
	if (!message->head) {
		message->keys.count = 0;
		return message->places[HTTP_OUTCOME];
	}
	message->framing = http_framing(message, HTTP_UNTIL_CLOSE);
	if (message->status == 101 || (message->method == HTTP_CONNECT && message->status / 100 == 2)) {
		message->framing = HTTP_TUNNEL;
	} else if (message->status < 200) {
		message->framing = HTTP_INTERIM;
	} else if (message->framing != HTTP_UNFRAMED &&
		   (message->method == HTTP_HEAD || message->status == 204 || message->status == 304)) {
		message->framing = HTTP_LENGTH;
		message->body = 0;
	}
	return http_end(message, rule);
}
