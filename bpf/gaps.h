/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How long a client was away before it came back, for `holdfast advise`. While nobody
 * wants to know, that is one look at a word, where a session is found that was not used
 * in this second; packets of connections never come here.
 */
#pragma once

#include "holdfast/gaps.h"
#include "maps.h"

/* For how long a session is kept although it has expired: its client may come back. */
static __always_inline __u32 gaps_remembered(void)
{
	__u32 zero = 0;
	const __u32 *wanted = bpf_map_lookup_elem(&gaps_wanted, &zero);

	return wanted ? *(const volatile __u32 *)wanted : 0;
}

/*
 * Once for each return: by whoever refreshes the session, or finds that it is over. Global:
 * verified once, and with a stack of its own.
 */
__noinline int gap_count(__u32 scope, __u32 seen, __u32 now)
{
	struct hf_gaps *counted;
	__u32 bucket;

	/* Another CPU's clock may be a tick ahead, and one that the sweeper has claimed says nothing. */
	if (likely(!gaps_remembered()) || seen == HF_SESSION_DEAD || (__s32)(now - seen) <= 0)
		return 0;
	counted = bpf_map_lookup_elem(&gaps, &scope);
	bucket = hf_gap_bucket(now - seen);
	if (counted && bucket < HF_GAP_BUCKETS)
		counted->counts[bucket]++;
	return 0;
}
