/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The programs of a hook: the entry, and those that are reached by tail call.
 *
 *   entry --> (parser -->) decide                     a packet, a datagram
 *   entry --> front                                   a SYN, or what has no connection
 *   entry --> collect (--> parser) --> bind           a stream, on TC
 *   entry --> replay (--> watch) --> emit             its member, on TC
 *   entry --> request --> parser --> followed --> forward (or, on TC, rebind)
 *   entry --> icmp                                    pings, errors
 *   entry --> answer --> forward                      both once it is bound; on TC, what
 *                                                     is changed goes on to emit
 *
 * Include the hook's packet interface first.
 */
#pragma once

#include "common.h"

#include "holdfast/stages.h"

#define STAGE_OTHERS(STAGE)                                                                                            \
	HF_STAGES_ALWAYS(STAGE)                                                                                        \
	HF_STAGES_OF_DATAGRAMS(STAGE)                                                                                  \
	HF_STAGES_OF_STREAMS(STAGE)                                                                                    \
	HOOK_STAGES(STAGE)

/* A set of programs of its own for each load: an upgrade replaces all of them at once. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, HF_STAGES);
	__type(key, __u32);
	__type(value, __u32);
} stages SEC(".maps");
