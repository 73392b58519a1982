/* SPDX-License-Identifier: GPL-2.0 */
/*
 * radius-attribute: one to four attributes of Access-Request, Accounting-Request
 * and Status-Server (RFC 2865, 2866, 5997), the first of each type. A part of a
 * Vendor-Specific attribute (RFC 2865, 5.26) is named by vendor and vendor type.
 * Every length is checked: a malformed packet has no key.
 *
 * What is said about loops and global functions in parser.h holds here, too.
 */
#pragma once

#include "parser.h"

enum {
	RADIUS_ACCESS_REQUEST = 1,
	RADIUS_ACCOUNTING_REQUEST = 4,
	RADIUS_STATUS_SERVER = 12,

	RADIUS_HEADER = 20,
	RADIUS_LONGEST = 4096,
	RADIUS_LONGEST_VALUE = 253,

	RADIUS_VENDOR_SPECIFIC = 26,
};

/* Where the values of the rule's attributes are; length 0: not found (no value is empty). */
struct radius_values {
	__u16 offset[HF_KEYS];
	__u16 length[HF_KEYS];
};

/* A vendor's part of the attribute at `at`: its value's place << 16 | length; 0: none; below 0: an outcome. */
__noinline int radius_vendor_part(const struct message *message, __u32 at, __u32 length, __u8 type)
{
	__u32 end = at + length;

	if (!message)
		return 0;
	at += 6;
	for (int i = 0; i < HF_RADIUS_VENDOR_PARTS; i++) {
		__u32 part;

		if (at == end)
			return 0;
		part = message_byte(message, at + 1);
		if (at + 2 > end || part < 2 || at + part > end)
			return -HF_PARSER_MALFORMED;
		if (message_byte(message, at) == type)
			return part == 2 ? -HF_PARSER_MALFORMED : (int)((at + 2) << 16 | (part - 2));
		at += part;
	}
	return -HF_PARSER_LIMIT;
}

static __always_inline int radius_note(const struct hf_radius_attribute *wanted, struct radius_values *values,
				       __u32 number, __u32 offset, __u32 length)
{
	if (length < wanted->shortest || length > wanted->longest)
		return HF_PARSER_MALFORMED;
	values->offset[number & (HF_KEYS - 1)] = offset;
	values->length[number & (HF_KEYS - 1)] = length;
	return 0;
}

/* A Vendor-Specific attribute: may hold several of the wanted values. Returns 0 or an outcome. */
__noinline int radius_vendor_attribute(const struct message *message, const struct hf_rule *rule,
				       struct radius_values *values, __u32 at)
{
	__u32 length;

	if (!message || !rule || !values)
		return 0;
	length = message_byte(message, at + 1);
	for (int i = 0; i < HF_KEYS; i++) {
		const struct hf_radius_attribute *wanted = &rule->attributes[i];
		__u32 offset = at + 2, size = length - 2;
		int outcome;

		if (!wanted->type)
			break;
		if (wanted->type != RADIUS_VENDOR_SPECIFIC || values->length[i])
			continue;
		if (wanted->vendor_id) {
			int part;

			if (length < 6)
				return HF_PARSER_MALFORMED;
			if (bpf_ntohl((__u32)message_word(message, at + 2)) != wanted->vendor_id)
				continue;
			part = radius_vendor_part(message, at, length, wanted->vendor_type);
			if (part < 0)
				return -part;
			if (!part)
				continue;
			offset = (__u32)part >> 16;
			size = part & 0xffff;
		}
		outcome = radius_note(wanted, values, i, offset, size);
		if (outcome)
			return outcome;
	}
	return 0;
}

/* Adds one attribute to the digest that was begun. Returns the bytes added. */
static __always_inline __u32 radius_digest(struct message *message, const struct hf_radius_attribute *wanted,
					   __u32 offset, __u32 length)
{
	__u64 rest;

	hf_siphash_word(&message->digest, wanted->type | (__u64)wanted->vendor_type << 8 | (__u64)length << 16 |
						  (__u64)wanted->vendor_id << 32);
	rest = message_digest_words(message, offset, length, RADIUS_LONGEST_VALUE / 8);
	if (length & 7)
		hf_siphash_word(&message->digest, rest);
	return 8 + ((length + 7) & ~7U);
}

static __always_inline int radius_keys(struct message *message, const struct hf_rule *rule,
				       const struct radius_values *values)
{
	bool together = rule->relation == HF_RELATION_AND;
	__u32 length = 0;

	if (together && !message_digest_begin(message, false))
		return HF_PARSER_NONE;
	for (int i = 0; i < HF_KEYS; i++) {
		if (!rule->attributes[i].type)
			break;
		if (!values->length[i]) {
			if (together)
				return HF_PARSER_NONE;
			continue;
		}
		if (!together && !message_digest_begin(message, false))
			return HF_PARSER_NONE;
		length += radius_digest(message, &rule->attributes[i], values->offset[i], values->length[i]);
		if (!together) {
			message_add_key(message, 0, length);
			length = 0;
		}
	}
	if (together)
		message_add_key(message, 0, length);
	return message->keys.count ? HF_PARSER_KEYS : HF_PARSER_NONE;
}

/* Is the rule content with the values that there are: all of them, or, where each is a key, any? */
static __always_inline bool radius_enough(const struct hf_rule *rule, const struct radius_values *values)
{
	bool any = false;

	for (int i = 0; i < HF_KEYS; i++) {
		if (!rule->attributes[i].type)
			break;
		if (values->length[i])
			any = true;
		else if (rule->relation == HF_RELATION_AND)
			return false;
	}
	return any;
}

/* The types that the rule looks for, one in each byte. */
static __always_inline __u32 radius_types(const struct hf_rule *rule)
{
	__u32 types = 0;

	for (int i = 0; i < HF_KEYS; i++)
		types |= (__u32)rule->attributes[i].type << 8 * i;
	return types;
}

/* Goes through the attributes from `at` to `end`. HF_PARSER_KEYS: the values that there are can be trusted. */
__noinline int radius_walk(const struct message *message, const struct hf_rule *rule, struct radius_values *values,
			   __u32 at, __u32 end)
{
	__u32 available, types;
	__u64 wanted;

	if (!message || !rule || !values)
		return HF_PARSER_NONE;
	available = message->available;
	types = radius_types(rule);
	for (int i = 0; i < HF_RADIUS_ATTRIBUTES; i++) {
		__u32 type = message_byte(message, at), size = message_byte(message, at + 1);
		/* What is compared is the distance: it is forgotten after each round. */
		__u32 left = end - at, here = available - at;

		if (!left)
			return HF_PARSER_KEYS;
		if (here < 2 && here < left)
			return HF_PARSER_MORE;
		if (left < 2 || size < 2 || size > left)
			return HF_PARSER_MALFORMED;
		if (size > here)
			return HF_PARSER_MORE;
		/* Is it one of the four (0 is none)? Both sides hold four bytes. */
		wanted = word_zero_bytes((types ^ 0x01010101U * type) | 0xffffffff00000000ULL);
		if (wanted && type) {
			__u32 number = word_first(wanted) & (HF_KEYS - 1);
			int outcome = 0;

			if (type == RADIUS_VENDOR_SPECIFIC)
				outcome = radius_vendor_attribute(message, rule, values, at);
			else if (!values->length[number])
				outcome = radius_note(&rule->attributes[number], values, number, at + 2, size - 2);
			if (outcome)
				return outcome;
		}
		at += size;
	}
	return at == end ? HF_PARSER_KEYS : HF_PARSER_LIMIT;
}

static __always_inline int radius_attribute_parse(struct message *message, const struct hf_rule *rule)
{
	struct radius_values values = {};
	__u8 code = message_byte(message, 0);
	__u32 length;
	int outcome;

	message->keys.kind = HF_SESSION_RADIUS;
	if (message->available < RADIUS_HEADER)
		return message->length < RADIUS_HEADER ? HF_PARSER_MALFORMED : HF_PARSER_MORE;
	if (code != RADIUS_ACCESS_REQUEST && code != RADIUS_ACCOUNTING_REQUEST && code != RADIUS_STATUS_SERVER)
		return HF_PARSER_NONE;
	length = message_byte(message, 2) << 8 | message_byte(message, 3);
	if (length < RADIUS_HEADER || length > RADIUS_LONGEST || length > message->length)
		return HF_PARSER_MALFORMED;
	outcome = radius_walk(message, rule, &values, RADIUS_HEADER, length);
	if (outcome == HF_PARSER_MORE && radius_enough(rule, &values))
		outcome = HF_PARSER_KEYS;
	return outcome == HF_PARSER_KEYS ? radius_keys(message, rule, &values) : outcome;
}
