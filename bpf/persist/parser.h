/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The contract of every parser: bytes in; key(s), none, or "need more" out.
 *
 * A parser is a function of a message and its rule, and a program of its own
 * (stages.h). It writes digests into message->keys and answers with an outcome;
 * it knows nothing of sessions, members and packets, as they know nothing of its
 * protocol. Its work has a limit, and reaching that is an outcome, too. A plain
 * implementation in userspace/persist must come to the same answer for any bytes.
 *
 * How the verifier is kept content: functions with loops are global, so that each
 * is walked once, by itself, and not again with every state in which it is called;
 * and a loop compares a distance, not the place itself, about which the verifier
 * would otherwise learn something new in every round. Or the loop is the kernel's
 * (bpf_loop), and its place is in memory.
 */
#pragma once

#include "../maps.h"
#include "holdfast/siphash.h"

/* Reading a whole word at any place that MESSAGE_MASK allows stays within the buffer. */
#define MESSAGE_MASK (HF_MESSAGE_BYTES - 1)
#define MESSAGE_SLACK 16

/* A cookie that names a member: where the name lies, and the cookie's date, if it has one. */
struct message_cookie {
	__u32 at;
	__u32 length;
	__u32 date;
};

/* What of a message is to be changed: bytes from its first one on. */
struct message_edit {
	__u32 at;
	__u16 removed;
	__u8 open; /* the message ends before it is known: what is removed so far */
	__u8 pad;
};

struct message {
	__u32 available; /* bytes that are here */
	__u32 length;    /* of the whole message; of a stream's: more than that, unless its end is here */
	/*
	 * Of a stream, where it was read before: in, where to go on; out, with
	 * HF_PARSER_MORE, the bytes in front of it are not needed again. The parser must
	 * come to the same end wherever a stream is cut into segments.
	 */
	__u32 resume;
	bool begun;   /* in: what is at `resume` is not the beginning of the message */
	bool answer;  /* out: to a request of the other side, so not for balancing */
	bool crowded; /* out: there is more to be changed than `edits` holds */
	__u8 pad;
	__u32 places[24]; /* the parser's own: in memory, the verifier does not follow their values */
	/* out, of HTTP: the head that was read, and what follows it (http_head.h) */
	__u32 head;   /* its bytes */
	__u8 framing; /* enum http_framing */
	__u8 method;  /* enum http_method, of a request; in, of a response: of the request that it answers */
	__u16 status; /* of a response */
	__u64 body;   /* HTTP_LENGTH: bytes */
	__u64 wanted; /* the parser's own: how the name of a line begins that has a key, as it lies in memory */
	__u64 wanted_mask;
	struct hf_siphash_state digest;
	struct hf_keys keys;
	/* out, with HF_PARSER_COOKIE: the first cookies that name members */
	__u32 cookie_count;
	struct message_cookie cookies[HF_KEYS];
	/* out, of rules that write cookies: also with HF_PARSER_MORE, of the lines from `resume` on */
	__u32 edit_count;
	struct message_edit edits[HF_EDITS];
	/* out, with HF_PARSER_MEMBER */
	__u8 address[16];
	__be16 port;
	__u16 pad2[3];
	/* After the last byte there are 16 zeros. So long that what begins in the first two parts may be as long as one. */
	__u8 bytes[3 * HF_MESSAGE_BYTES + MESSAGE_SLACK];
};

static __always_inline __u8 message_byte(const struct message *message, __u32 offset)
{
	return message->bytes[offset & MESSAGE_MASK];
}

/* 8 bytes, the first one lowest. */
static __always_inline __u64 message_word(const struct message *message, __u32 offset)
{
	return *(const __u64 *)(message->bytes + (offset & MESSAGE_MASK));
}

/* Bytes from `at` to the end of those that are here. */
static __always_inline __s32 message_left(const struct message *message, __u32 at)
{
	return (__s32)(message->available - at);
}

/* A bit (0x80) in each byte of the word that is zero; of those, only the lowest one can be relied on. */
static __always_inline __u64 word_zero_bytes(__u64 word)
{
	return (word - 0x0101010101010101ULL) & ~word & 0x8080808080808080ULL;
}

/* Likewise, in each byte that is `c`. */
static __always_inline __u64 word_find(__u64 word, __u8 c)
{
	return word_zero_bytes(word ^ (0x0101010101010101ULL * c));
}

/* Likewise, in each byte that is less than `limit` (at most 0x80). */
static __always_inline __u64 word_find_less(__u64 word, __u8 limit)
{
	return (word - 0x0101010101010101ULL * limit) & ~word & 0x8080808080808080ULL;
}

/* The number (0-7) of the byte of the lowest bit; `found` is not 0. */
static __always_inline __u32 word_first(__u64 found)
{
	/* Below the bit, one in each byte up to its own: their sum, in the highest byte, is one too many. */
	return ((((found & -found) - 1) & 0x0101010101010101ULL) * 0x0101010101010101ULL >> 56) - 1;
}

enum { MESSAGE_NEAR = 512 };

/* Where `c` is first in the next bytes from `at`: its place, or at + MESSAGE_NEAR. Global: verified once. */
__noinline __u32 message_find_near(const struct message *message, __u32 at, __u8 c)
{
	if (!message)
		return at;
	for (int i = 0; i < MESSAGE_NEAR / 8; i++) {
		__u64 found = word_find(message_word(message, at), c);

		if (found)
			return at + word_first(found);
		at += 8;
	}
	return at;
}

/* Where `c` is first in [at, end); `end` if nowhere. Likewise. */
__noinline __u32 message_find_byte(const struct message *message, __u32 at, __u32 end, __u8 c)
{
	if (!message)
		return end;
	for (int i = 0; i <= HF_MESSAGE_BYTES / MESSAGE_NEAR; i++) {
		__u32 found;

		if ((__s32)(end - at) <= 0)
			break;
		found = message_find_near(message, at, c);
		if (found - at < MESSAGE_NEAR)
			return (__s32)(end - found) > 0 ? found : end;
		at = found;
	}
	return end;
}

/* Under the installation's secret, or, for a `hash` that is to be the same on every machine, under the hashes' key. */
static __always_inline bool message_digest_begin(struct message *message, bool hash)
{
	__u32 zero = 0;
	const struct hf_installation *settings = bpf_map_lookup_elem(&installation, &zero);

	if (!settings)
		return false;
	hf_siphash128_begin(&message->digest, hash ? settings->hash_key : settings->digest_key);
	return true;
}

/* Digests the whole words of a run of less than 8 * (most + 1) bytes. Returns the rest, zeros above. */
static __always_inline __u64 message_digest_words(struct message *message, __u32 offset, __u32 length, __u32 most)
{
	struct hf_siphash_state state = message->digest;
	__u32 left = length;

	for (__u32 i = 0; i < most; i++) {
		if (left < 8)
			break;
		hf_siphash_word(&state, message_word(message, offset));
		offset += 8;
		left -= 8;
	}
	message->digest = state;
	return message_word(message, offset) & ~(~0ULL << 8 * (length & 7));
}

/* Likewise, of any run of bytes. Global: verified once. */
__noinline __u64 message_digest_bytes(struct message *message, __u32 offset, __u32 length)
{
	return message ? message_digest_words(message, offset, length, HF_DATAGRAM_BYTES / 8) : 0;
}

/* Likewise, of a run that may be as long as a message: the whole words in front of the last few thousand bytes. */
static __always_inline __u64 message_digest_run(struct message *message, __u32 offset, __u32 length)
{
	for (__u32 i = 0; i < HF_MESSAGE_BYTES / HF_DATAGRAM_BYTES && length >= HF_DATAGRAM_BYTES; i++) {
		message_digest_bytes(message, offset, HF_DATAGRAM_BYTES);
		offset += HF_DATAGRAM_BYTES;
		length -= HF_DATAGRAM_BYTES;
	}
	return message_digest_bytes(message, offset, length);
}

/* The digest is the message's next key. */
static __always_inline void message_add_key(struct message *message, __u64 last, __u32 length)
{
	__u32 number = message->keys.count;

	if (number >= HF_KEYS)
		return;
	hf_siphash128_end(&message->digest, last, length, (__u64 *)message->keys.keys[number]);
	message->keys.count = number + 1;
}
