/* SPDX-License-Identifier: GPL-2.0 */
/*
 * SipHash-2-4 (Aumasson and Bernstein, 2012), with 64-bit and 128-bit results,
 * over 64-bit words: the shape in which the data path has its input. For bytes
 * read as little-endian words the result is that of the reference implementation.
 * The same code runs in BPF and in userspace.
 */
#ifndef HOLDFAST_SIPHASH_H
#define HOLDFAST_SIPHASH_H

#include <linux/types.h>

struct hf_siphash_state {
	__u64 v0, v1, v2, v3;
};

static inline __attribute__((always_inline)) __u64 hf_rotate(__u64 value, int bits)
{
	return value << bits | value >> (64 - bits);
}

static inline __attribute__((always_inline)) void hf_siphash_round(struct hf_siphash_state *s)
{
	s->v0 += s->v1;
	s->v1 = hf_rotate(s->v1, 13) ^ s->v0;
	s->v0 = hf_rotate(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = hf_rotate(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = hf_rotate(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = hf_rotate(s->v1, 17) ^ s->v2;
	s->v2 = hf_rotate(s->v2, 32);
}

static inline __attribute__((always_inline)) void hf_siphash_word(struct hf_siphash_state *s, __u64 word)
{
	s->v3 ^= word;
	hf_siphash_round(s);
	hf_siphash_round(s);
	s->v0 ^= word;
}

static inline __attribute__((always_inline)) void hf_siphash_begin(struct hf_siphash_state *s, const __u64 key[2])
{
	s->v0 = key[0] ^ 0x736f6d6570736575ULL;
	s->v1 = key[1] ^ 0x646f72616e646f6dULL;
	s->v2 = key[0] ^ 0x6c7967656e657261ULL;
	s->v3 = key[1] ^ 0x7465646279746573ULL;
}

static inline __attribute__((always_inline)) __u64 hf_siphash_end(struct hf_siphash_state *s)
{
	for (int i = 0; i < 4; i++)
		hf_siphash_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* The hash of `count` words; `count` is a compile-time constant in BPF. */
static inline __attribute__((always_inline)) __u64 hf_siphash(const __u64 key[2], const __u64 *words, __u32 count)
{
	struct hf_siphash_state s;

	hf_siphash_begin(&s, key);
	for (__u32 i = 0; i < count; i++)
		hf_siphash_word(&s, words[i]);
	hf_siphash_word(&s, (__u64)(count * 8) << 56);
	s.v2 ^= 0xff;
	return hf_siphash_end(&s);
}

/*
 * The 128-bit result, in steps: begin, a word for each 8 bytes, and at the end
 * the `length` of all and the last word of less than 8 bytes (unused bytes zero).
 */
static inline __attribute__((always_inline)) void hf_siphash128_begin(struct hf_siphash_state *s, const __u64 key[2])
{
	hf_siphash_begin(s, key);
	s->v1 ^= 0xee;
}

static inline __attribute__((always_inline)) void hf_siphash128_end(struct hf_siphash_state *s, __u64 last,
								    __u32 length, __u64 digest[2])
{
	hf_siphash_word(s, last | (__u64)length << 56);
	s->v2 ^= 0xee;
	digest[0] = hf_siphash_end(s);
	s->v1 ^= 0xdd;
	digest[1] = hf_siphash_end(s);
}

#endif
