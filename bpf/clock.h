/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The data path's clock: whole seconds since boot, without suspend. It is made
 * of jiffies, which the JIT inlines, where every other clock is a helper call.
 */
#pragma once

#include "config.h"

static __always_inline __u32 clock_now(void)
{
	return (bpf_jiffies64() - clock_initial_jiffies) * clock_multiplier >> 32;
}

/* Milliseconds, nearly (1/1024 s); they wrap. */
static __always_inline __u32 clock_milliseconds(void)
{
	return (bpf_jiffies64() - clock_initial_jiffies) * clock_multiplier >> 22;
}
