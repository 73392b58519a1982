/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Marks: the cookies that name members, in both directions of a connection. Whom a
 * request's cookie names; which responses are to get one; and the edits by which the
 * streams are changed. Where the cookies lie, persist/member_cookies.h finds out.
 */
#pragma once

#include "../member.h"
#include "../persist/http.h"
#include "../task.h"
#include "splice.h"

#define MARK_DATE_MASK ((1U << 30) - 1)
/* "X-Forwarded-For: ", an IPv6 address in full, CR LF; with a 0 behind, and room for a CR. */
#define MARK_FORWARDED_LONGEST 64

/* In units of a cookie's date. */
static __always_inline __u32 mark_time(__u32 ahead)
{
	__u32 zero = 0;
	const struct hf_wall_clock *wall = bpf_map_lookup_elem(&wall_clock, &zero);

	return ((wall ? wall->offset : 0) + clock_now() + ahead) / HF_COOKIE_DATE_SECONDS & MARK_DATE_MASK;
}

/* The member that one cookie names, 0: nobody who may have it. `*fresh`: it need not be renewed. */
static __noinline __u32 mark_one(const struct message *message, const struct message_cookie *cookie,
				 const struct hf_rule *rule, __u32 pool, bool *fresh)
{
	struct hf_cookie_key key = {.pool = pool};
	__s32 length = cookie->length, left;
	const __u32 *found;

	*fresh = true;
	for (int i = 0; i < (HF_NAME_LENGTH + 1) / 8; i++) {
		__u64 word = message_word(message, cookie->at + i * 8);

		if (length < 8)
			word = length <= 0 ? 0 : word & ~(~0ULL << 8 * (length & 7));
		length -= 8;
		__builtin_memcpy(key.name + i * 8, &word, 8);
	}
	if (rule->type == HF_RULE_INSERT_COOKIE) {
		left = (__s32)((cookie->date - mark_time(0)) << 2) >> 2;
		if (left <= 0)
			return 0;
		/* One that lasts for longer was written under another timeout. */
		*fresh = left * HF_COOKIE_DATE_SECONDS * 2 >= (__s32)rule->timeout &&
			 left * HF_COOKIE_DATE_SECONDS <= (__s32)rule->timeout + HF_COOKIE_DATE_SECONDS;
	}
	found = bpf_map_lookup_elem(&cookie_members, &key);
	return found && member_honours_session(*found, pool) ? *found : 0;
}

/* The member of a request's first cookie that names one; 0: there is none. */
static __noinline __u32 mark_member(const struct message *message, const struct hf_rule *rule, __u32 pool, bool *fresh)
{
	__u32 member = 0;

	for (__u32 i = 0; i < HF_KEYS && !member; i++) {
		if (i >= message->cookie_count)
			break;
		member = mark_one(message, &message->cookies[i], rule, pool, fresh);
	}
	if (!member)
		reason_count(HF_REASON_cookie_stale);
	return member;
}

static __always_inline struct hf_edit *mark_edit(struct task *task, __u32 at, __u32 removed)
{
	__u32 count = task->edits.count;
	struct hf_edit *edit;

	if (count >= HF_EDITS)
		return NULL;
	edit = &task->edits.list[count];
	edit->at = at;
	edit->removed = removed;
	edit->put = edit->length = 0;
	edit->open = 0;
	edit->seen = 0;
	task->edits.count = count + 1;
	return edit;
}

static __always_inline void mark_text(struct hf_edit *edit, __u32 length)
{
	edit->length = length;
	edit->put = edit->open ? 0 : length;
}

/* What the rule writes for a member. */
static __always_inline const struct hf_cookie_text *mark_cookie(const struct task *task, __u32 member)
{
	const struct hf_virtual_server *settings = service_settings(task->virtual_server);
	struct hf_cookie_text_key key = {.rule = settings ? settings->rule : 0, .member = member};

	return bpf_map_lookup_elem(&cookie_texts, &key);
}

/*
 * The edits that the parser has found in a head whose first byte has the number `head`,
 * and of which `stored` bytes came in earlier segments. False: there is no room for all.
 */
static __noinline bool mark_head(struct task *task, const struct message *message, __u32 head, __u32 stored,
				 bool answer)
{
	const struct hf_cookie_text *text = answer ? mark_cookie(task, task->connection.member) : NULL;
	struct hf_edit *edit;

	for (__u32 i = 0; i < HF_EDITS; i++) {
		const struct message_edit *found = &message->edits[i];
		__u32 end = found->at + found->removed;

		if (i >= message->edit_count)
			break;
		/* Settled when the byte came that showed what it is: of a prefix its own last one. */
		if (!found->open && end + answer <= stored)
			continue;
		if (answer && !text)
			break; /* the member is just being removed */
		edit = mark_edit(task, head + found->at, found->removed);
		if (!edit)
			return false;
		edit->open = found->open;
		if (answer) {
			bpf_probe_read_kernel(edit->text, sizeof(edit->text), text->bytes);
			mark_text(edit, text->length);
			if (!stored || end + answer > stored)
				reason_count(HF_REASON_cookie_written);
		} else if (found->open) {
			/* If it is none, it is put back. */
			bpf_probe_read_kernel(edit->text, sizeof(edit->text),
					      message->bytes + below(found->at, HF_MESSAGE_BYTES));
			mark_text(edit, found->removed);
		}
	}
	return !message->crowded;
}

/* Is the response whose head is in the message to get a cookie, behind its first line? The place; 0: it is not. */
static __always_inline __u32 mark_place(const struct task *task, const struct message *message,
					const struct hf_splice *splice, const struct hf_rule *rule)
{
	__u32 end;

	if (rule->type != HF_RULE_INSERT_COOKIE || message->begun || message->status < 200 ||
	    (__s16)(splice->requested - task->answered) <= 0 || !(splice->unmarked >> (task->answered & 15) & 1))
		return 0;
	end = message_find_byte(message, 0, message->available, '\n');
	return end < message->available ? end + 1 : 0;
}

static const char mark_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The response gets it, in front of the byte with the number `at`. */
static __noinline void mark_insert(struct task *task, const struct hf_rule *rule, __u32 at)
{
	const struct hf_cookie_text *text = mark_cookie(task, task->connection.member);
	/* Not before its time is over. */
	__u32 date = mark_time(rule->timeout + HF_COOKIE_DATE_SECONDS - 1);
	struct hf_edit *edit = text ? mark_edit(task, at, 0) : NULL;

	if (!edit) {
		reason_count(HF_REASON_cookie_skipped);
		return;
	}
	/* What XDP leaves to TC is found again there. */
	if (!HOOK_HAS_LOWER_HOOK)
		reason_count(HF_REASON_cookie_written);
	bpf_probe_read_kernel(edit->text, sizeof(edit->text), text->bytes);
	for (int i = 0; i < HF_COOKIE_DATE_LENGTH; i++)
		edit->text[(text->date + i) & (HF_EDIT_BYTES - 1)] =
			mark_digits[date >> 6 * (HF_COOKIE_DATE_LENGTH - 1 - i) & 63];
	mark_text(edit, text->length);
}

/* A request tells its member who its client is: in front of the empty line, which begins at `at`. False: no room. */
static __noinline bool mark_forwarded(struct task *task, __u32 at, bool open, bool behind)
{
	static const char ipv4[] = "X-Forwarded-For: %pI4\r\n", ipv6[] = "X-Forwarded-For: %pI6\r\n";
	static const char ipv4_behind[] = "X-Forwarded-For: %pI4\r\n\r", ipv6_behind[] = "X-Forwarded-For: %pI6\r\n\r";
	bool is_ipv4 = address_is_mapped(task->packet.flow.source);
	__u64 values[] = {(__u64)(task->packet.flow.source + (is_ipv4 ? 12 : 0))};
	struct hf_edit *edit = mark_edit(task, at, open || behind);
	long length;

	if (!edit)
		return false;
	edit->open = open;
	if (open) {
		edit->text[0] = '\r';
		mark_text(edit, 1);
		return true;
	}
	if (behind)
		length = is_ipv4 ? bpf_snprintf((char *)edit->text, MARK_FORWARDED_LONGEST, ipv4_behind, values,
						sizeof(values))
				 : bpf_snprintf((char *)edit->text, MARK_FORWARDED_LONGEST, ipv6_behind, values,
						sizeof(values));
	else
		length =
			is_ipv4 ? bpf_snprintf((char *)edit->text, MARK_FORWARDED_LONGEST, ipv4, values, sizeof(values))
				: bpf_snprintf((char *)edit->text, MARK_FORWARDED_LONGEST, ipv6, values,
					       sizeof(values));
	mark_text(edit, length > 1 ? length - 1 : 0);
	return true;
}

/* What a request's head is changed by; all of it is here if message->head says so. False: there is no room for that. */
static __always_inline bool mark_request(struct task *task, const struct message *message,
					 const struct hf_virtual_server *settings, __u32 head, __u32 stored)
{
	__u32 line = message->resume;

	if (settings->flags & HF_SERVER_WRITES && !mark_head(task, message, head, stored, false))
		return false;
	if (!(settings->flags & HF_SERVER_FORWARDED_FOR))
		return true;
	if (message->head) {
		/* The empty line is CR LF, or LF. */
		line = message->head - 1;
		if (message_byte(message, line - 1) == '\r')
			line--;
		/* A CR that came alone was withheld. */
		return mark_forwarded(task, head + line, false, line < stored);
	}
	if (message->available - line == 1 && message_byte(message, line) == '\r')
		return mark_forwarded(task, head + line, true, false);
	return true;
}
