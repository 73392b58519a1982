// SPDX-License-Identifier: GPL-2.0
/*
 * Two readings of time in one go, from which the loader finds the kernel's HZ
 * before it loads anything that depends on it.
 */
#include "common.h"

struct probe_clocks {
	__u64 jiffies;
	__u64 nanoseconds; /* CLOCK_MONOTONIC */
};

SEC("syscall")
int probe_clocks(struct probe_clocks *clocks)
{
	clocks->jiffies = bpf_jiffies64();
	clocks->nanoseconds = bpf_ktime_get_ns();
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
