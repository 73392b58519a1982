/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Internet checksums (RFC 1071) and their incremental update (RFC 1624, eqn. 3).
 * Sums are kept as the words lie in memory: ones' complement addition does not
 * care about byte order.
 */
#pragma once

#include "common.h"

static __always_inline __u16 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline __u32 csum_add32(__u32 sum, __u32 word)
{
	return sum + (word & 0xffff) + (word >> 16);
}

/* HC' = ~(~HC + difference), where the difference is that of the covered words. */
static __always_inline __u16 csum_update(__u16 check, __u32 difference)
{
	return ~csum_fold((__u16)~check + difference);
}

static __always_inline __u32 csum_difference16(__u16 from, __u16 to)
{
	return (__u16)~from + to;
}

/* The folded difference that replacing one address by another makes. */
static __always_inline __u16 csum_difference_address(const __u8 *from, const __u8 *to)
{
	const __u32 *old = (const __u32 *)from, *new = (const __u32 *)to;
	__u32 sum = 0;

	for (int i = 0; i < 4; i++) {
		sum = csum_add32(sum, ~old[i]);
		sum = csum_add32(sum, new[i]);
	}
	return csum_fold(sum);
}
