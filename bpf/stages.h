/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The programs of a hook: the entry, and those that are reached by tail call. A
 * new parser is one more line in STAGE_PARSERS.
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

/* PARSER(name, stage): the function is name_parse, in persist/name.h. */
#define STAGE_PARSERS(PARSER)                                                                                          \
	PARSER(sip_call_id, HF_RULE_SIP_CALL_ID)                                                                       \
	PARSER(radius_attribute, HF_RULE_RADIUS_ATTRIBUTE)                                                             \
	PARSER(http, HF_RULE_HTTP_HEADER_HASH)                                                                         \
	PARSER(rdp_cookie, HF_RULE_RDP_COOKIE)                                                                         \
	PARSER(iso8583_bitmap, HF_RULE_ISO8583_BITMAP)                                                                 \
	PARSER(ssl_session_id, HF_RULE_SSL_SESSION_ID)

#define STAGE_OTHERS(STAGE)                                                                                            \
	STAGE(decide, HF_STAGE_DECIDE)                                                                                 \
	STAGE(front, HF_STAGE_FRONT)                                                                                   \
	STAGE(request, HF_STAGE_REQUEST)                                                                               \
	STAGE(followed, HF_STAGE_FOLLOWED)                                                                             \
	STAGE(answer, HF_STAGE_ANSWER)                                                                                 \
	STAGE(forward, HF_STAGE_FORWARD)                                                                               \
	STAGE(icmp, HF_STAGE_ICMP)                                                                                     \
	HOOK_STAGES(STAGE)

#define STAGE_DECLARE(name, stage) int HOOK_PROGRAM(_##name)(hook_context * context);
STAGE_PARSERS(STAGE_DECLARE)
STAGE_OTHERS(STAGE_DECLARE)
#undef STAGE_DECLARE

#define STAGE_SLOT(name, stage) [stage] = (void *)&HOOK_PROGRAM(_##name),

/* A set of programs of its own for each load: an upgrade replaces all of them at once. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, HF_STAGES);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} stages SEC(".maps") = {
	.values = {STAGE_PARSERS(STAGE_SLOT) STAGE_OTHERS(STAGE_SLOT)},
};
#undef STAGE_SLOT
