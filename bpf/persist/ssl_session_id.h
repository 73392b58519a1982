/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ssl-session-id: the session id of the TLS ClientHello (RFC 5246, 7.4.1.2), up to TLS
 * 1.2. It is learnt from the ServerHello (7.4.1.3) that gives, or takes, it. A TLS 1.3
 * server only repeats what its client has made up (RFC 8446, 4.1.3): nothing is learnt
 * of one that says so in supported_versions.
 */
#pragma once

#include "parser.h"

enum {
	SSL_HANDSHAKE = 22,
	SSL_CLIENT_HELLO = 1,
	SSL_SERVER_HELLO = 2,
	SSL_RECORD = 5,
	SSL_ID_AT = SSL_RECORD + 4 + 2 + 32, /* behind handshake header, version, random */
	SSL_LONGEST_ID = 32,
	SSL_LONGEST_RECORD = 16384,
	SSL_EXTENSIONS = 64,
	SSL_SUPPORTED_VERSIONS = 43,
	SSL_TLS_1_3 = 0x0304,
};

static __always_inline __u32 ssl_word16(const struct message *message, __u32 at)
{
	return message_byte(message, at) << 8 | message_byte(message, at + 1);
}

/*
 * A hello of this type, as far as its session id. Returns HF_PARSER_KEYS where it has
 * one. Global: verified once.
 */
__noinline int ssl_hello(struct message *message, __u32 type)
{
	int more;
	__u32 available, record, hello, id;

	if (!message)
		return HF_PARSER_NONE;
	more = message->available < message->length ? HF_PARSER_MORE : HF_PARSER_MALFORMED;
	available = message->available;
	message->resume = 0;
	if (!available)
		return more;
	/* An SSLv2-style hello has none that lasts (RFC 5246, appendix E.2). */
	if (message_byte(message, 0) & 0x80 && type == SSL_CLIENT_HELLO)
		return available < 3                                  ? more
		       : message_byte(message, 2) == SSL_CLIENT_HELLO ? HF_PARSER_NONE
								      : HF_PARSER_MALFORMED;
	if (message_byte(message, 0) != SSL_HANDSHAKE)
		return HF_PARSER_MALFORMED;
	if (available < SSL_RECORD + 4)
		return more;
	record = ssl_word16(message, 3);
	hello = (__u32)message_byte(message, SSL_RECORD + 1) << 16 | ssl_word16(message, SSL_RECORD + 2);
	if (message_byte(message, 1) != 3 || message_byte(message, SSL_RECORD) != type || record > SSL_LONGEST_RECORD ||
	    record < 4 + hello || hello < 2 + 32 + 1)
		return HF_PARSER_MALFORMED;
	if (available <= SSL_ID_AT)
		return more;
	id = message_byte(message, SSL_ID_AT);
	if (id > SSL_LONGEST_ID || hello < 2 + 32 + 1 + id)
		return HF_PARSER_MALFORMED;
	if (!id)
		return HF_PARSER_NONE;
	return available < SSL_ID_AT + 1 + id ? more : HF_PARSER_KEYS;
}

static __always_inline int ssl_key(struct message *message)
{
	__u32 length = message_byte(message, SSL_ID_AT);
	__u64 last;

	if (!message_digest_begin(message, false))
		return HF_PARSER_NONE;
	last = message_digest_bytes(message, SSL_ID_AT + 1, length);
	message_add_key(message, last, length);
	return HF_PARSER_KEYS;
}

static __always_inline int ssl_session_id_parse(struct message *message, const struct hf_rule *rule)
{
	int outcome = ssl_hello(message, SSL_CLIENT_HELLO);

	message->keys.kind = HF_SESSION_SSL;
	return outcome == HF_PARSER_KEYS ? ssl_key(message) : outcome;
}

/* Of a ServerHello's extensions, from `at` to `end`: does it say TLS 1.3? Global: verified once. */
__noinline int ssl_is_1_3(const struct message *message, __u32 at, __u32 end)
{
	if (!message)
		return 0;
	for (int i = 0; i < SSL_EXTENSIONS; i++) {
		if (at + 4 > end)
			return 0;
		if (ssl_word16(message, at) == SSL_SUPPORTED_VERSIONS)
			return ssl_word16(message, at + 4) == SSL_TLS_1_3;
		at += 4 + ssl_word16(message, at + 2);
	}
	return 0;
}

static __always_inline int ssl_session_id_answer_parse(struct message *message, const struct hf_rule *rule)
{
	int outcome = ssl_hello(message, SSL_SERVER_HELLO);
	__u32 end, at;

	message->keys.kind = HF_SESSION_SSL;
	if (outcome != HF_PARSER_KEYS)
		return outcome;
	end = SSL_RECORD + 4 + ssl_word16(message, SSL_RECORD + 2);
	if (message->available < end)
		return message->available < message->length ? HF_PARSER_MORE : HF_PARSER_MALFORMED;
	/* Behind cipher suite, compression and the extensions' length. */
	at = SSL_ID_AT + 1 + message_byte(message, SSL_ID_AT) + 2 + 1 + 2;
	return ssl_is_1_3(message, at, end) ? HF_PARSER_NONE : ssl_key(message);
}
