/* SPDX-License-Identifier: GPL-2.0 */
/*
 * rdp-cookie: the X.224 Connection Request with which an RDP client begins, in its
 * TPKT ([MS-RDPBCGR] 2.2.1.1; RFC 1006, 6). Behind the fixed part there may be one of
 *   Cookie: mstshash=USER\r\n      the key is the user
 *   Cookie: msts=A.P.0000\r\n      a token that names a member: its IPv4 address and
 *                                  port as little-endian numbers, in decimal
 */
#pragma once

#include "parser.h"

enum {
	RDP_TPKT = 4,
	RDP_TPKT_VERSION = 3,
	RDP_COOKIE_AT = 11,
	RDP_SHORTEST = RDP_COOKIE_AT,
	RDP_LONGEST = 4096,
	RDP_CONNECTION_REQUEST = 0xe0,
};

/* "Cookie: ", "mstshash" and "msts=" as they lie in memory. */
#define RDP_COOKIE 0x203a65696b6f6f43ULL
#define RDP_USER 0x687361687374736dULL
#define RDP_TOKEN 0x0000003d7374736dULL
#define RDP_TOKEN_MASK 0x000000ffffffffffULL

/* A decimal number at `at`: digits << 32 | value; 0: none, or more than 32 bits. */
__noinline __u64 rdp_number(const struct message *message, __u32 at)
{
	__u64 value = 0, digits = 0;

	if (!message)
		return 0;
	for (int i = 0; i < 10; i++) {
		__u8 c = message_byte(message, at);

		if (c < '0' || c > '9')
			break;
		value = value * 10 + (c - '0');
		digits++;
		at++;
	}
	return value > 0xffffffffULL ? 0 : digits << 32 | value;
}

/* The token's value in [at, end). */
static __always_inline int rdp_token(struct message *message, __u32 at, __u32 end)
{
	__u64 address = rdp_number(message, at), port;

	at += address >> 32;
	if (!address || message_byte(message, at) != '.')
		return HF_PARSER_NONE;
	at++;
	port = rdp_number(message, at);
	at += port >> 32;
	if (!port || (__u32)port > 0xffff || at + 5 != end ||
	    (message_word(message, at) & 0xffffffffffULL) != 0x303030302eULL /* ".0000" */)
		return HF_PARSER_NONE;
	__builtin_memset(message->address, 0, 10);
	message->address[10] = message->address[11] = 0xff;
	*(__u32 *)(message->address + 12) = (__u32)address;
	message->port = (__u16)port;
	return HF_PARSER_MEMBER;
}

/* The cookie in [RDP_COOKIE_AT, end). Global: verified once. */
__noinline int rdp_cookie(struct message *message, __u32 end)
{
	__u32 at = RDP_COOKIE_AT, stop;
	__u64 last;

	if (!message || end < at + 8 || message_word(message, at) != RDP_COOKIE)
		return HF_PARSER_NONE;
	at += 8;
	stop = message_find_byte(message, at, end, '\r');
	if (stop + 1 >= end || message_byte(message, stop + 1) != '\n')
		return HF_PARSER_MALFORMED;
	if ((message_word(message, at) & RDP_TOKEN_MASK) == RDP_TOKEN)
		return rdp_token(message, at + 5, stop);
	if (message_word(message, at) != RDP_USER || message_byte(message, at + 8) != '=' || stop <= at + 9 ||
	    !message_digest_begin(message, false))
		return HF_PARSER_NONE;
	at += 9;
	last = message_digest_bytes(message, at, stop - at);
	message_add_key(message, last, stop - at);
	return HF_PARSER_KEYS;
}

static __always_inline int rdp_cookie_parse(struct message *message, const struct hf_rule *rule)
{
	int more = message->available < message->length ? HF_PARSER_MORE : HF_PARSER_MALFORMED;
	__u32 available = message->available, length;

	message->keys.kind = HF_SESSION_RDP;
	/* What can be told from the first bytes is told at once. */
	if (available && message_byte(message, 0) != RDP_TPKT_VERSION)
		return HF_PARSER_MALFORMED;
	if (available < RDP_TPKT)
		return more;
	length = message_byte(message, 2) << 8 | message_byte(message, 3);
	if (length < RDP_SHORTEST || length > RDP_LONGEST)
		return HF_PARSER_MALFORMED;
	if (available > RDP_TPKT + 1 && (message_byte(message, RDP_TPKT + 1) & 0xf0) != RDP_CONNECTION_REQUEST)
		return HF_PARSER_MALFORMED;
	return available < length ? more : rdp_cookie(message, length);
}
