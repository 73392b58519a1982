/* SPDX-License-Identifier: GPL-2.0 */
/* What every header of the data path needs. */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_helpers.h>
/* Keep this order: bpf_endian.h uses what bpf_helpers.h brings. */
#include <bpf/bpf_endian.h>

#include "holdfast/abi.h"

#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

/*
 * "Not decided yet": no verdict of any hook. A function that returns an int
 * returns this, or the verdict with which the program ends.
 */
#define CONTINUE (-1)

/* "Another program goes on with it": the caller, which is the program itself, makes the tail call. */
#define HAND_OVER (-2)

/*
 * A value that is below `size`, a power of two, in a form of which also older
 * verifiers see that it is: the compiler, which knows it, would drop the mask.
 */
static __always_inline __u32 below(__u32 value, __u32 size)
{
	asm volatile("" : "+r"(value));
	return value & (size - 1);
}
