/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Constants that the loader sets before the programs are verified (.rodata):
 * the verifier sees their values and removes what they switch off.
 */
#pragma once

#include "common.h"

/* seconds = (jiffies - initial) * multiplier >> 32; found from the running kernel. */
const volatile __u64 clock_initial_jiffies;
const volatile __u64 clock_multiplier;

/* A packet that leaves by the interface it came from: XDP_TX, or, for drivers
 * whose XDP_TX depends on the peer (veth), a redirect to the same interface. */
const volatile __u8 hairpin_by_redirect;
