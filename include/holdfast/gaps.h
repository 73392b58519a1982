/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How long clients were away between two requests: a histogram of seconds, four
 * buckets for each power of two, so that a bucket is at most a quarter wider than its
 * beginning.
 */
#ifndef HOLDFAST_GAPS_H
#define HOLDFAST_GAPS_H

#include "layout.h"

enum {
	HF_GAP_BUCKETS = 72,
	HF_GAP_LONGEST = 262143, /* what is longer counts as this */
	HF_GAP_SCOPES = 1024,    /* of so many scopes */
};

/* gaps: per CPU, by the scope of sessions, for those that the daemon has put in. */
struct hf_gaps {
	__u64 counts[HF_GAP_BUCKETS];
};
HF_SIZE(hf_gaps, 576);

/*
 * gaps_wanted: one entry: for how many seconds a session is kept although it has
 * expired, so that the return of its client is seen; 0: nothing is counted.
 */

static inline __u32 hf_gap_bucket(__u32 seconds)
{
	__u32 rest, power = 0;

	if (seconds < 4)
		return seconds;
	if (seconds > HF_GAP_LONGEST)
		seconds = HF_GAP_LONGEST;
	rest = seconds;
	if (rest >= 1U << 16) {
		rest >>= 16;
		power += 16;
	}
	if (rest >= 1U << 8) {
		rest >>= 8;
		power += 8;
	}
	if (rest >= 1U << 4) {
		rest >>= 4;
		power += 4;
	}
	if (rest >= 1U << 2) {
		rest >>= 2;
		power += 2;
	}
	if (rest >= 2)
		power++;
	return 4 * (power - 1) + ((seconds >> (power - 2)) & 3);
}

/* The shortest gap of a bucket. */
static inline __u32 hf_gap_floor(__u32 bucket)
{
	return bucket < 4 ? bucket : (4 + bucket % 4) << (bucket / 4 - 1);
}

#endif
