/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The programs of a hook that are reached by tail call: holdfast_HOOK_NAME, and its slot
 * in the hook's program array `stages`. The loader loads those that the configuration
 * needs, and puts them into their slots. A new parser is one more line in HF_PARSERS.
 */
#ifndef HOLDFAST_STAGES_H
#define HOLDFAST_STAGES_H

#include "settings.h"

/* PARSER(name, stage): the function is name_parse, in bpf/persist/name.h. */
#define HF_PARSERS(PARSER)                                                                                             \
	PARSER(sip_call_id, HF_RULE_SIP_CALL_ID)                                                                       \
	PARSER(radius_attribute, HF_RULE_RADIUS_ATTRIBUTE)                                                             \
	PARSER(http, HF_RULE_HTTP_HEADER_HASH)                                                                         \
	PARSER(rdp_cookie, HF_RULE_RDP_COOKIE)                                                                         \
	PARSER(iso8583_bitmap, HF_RULE_ISO8583_BITMAP)                                                                 \
	PARSER(ssl_session_id, HF_RULE_SSL_SESSION_ID)

/* Of every packet; of datagrams that are read; of streams, on both hooks, and on TC. */
#define HF_STAGES_ALWAYS(STAGE) STAGE(icmp, HF_STAGE_ICMP)
#define HF_STAGES_OF_DATAGRAMS(STAGE) STAGE(decide, HF_STAGE_DECIDE)
#define HF_STAGES_OF_STREAMS(STAGE)                                                                                    \
	STAGE(front, HF_STAGE_FRONT)                                                                                   \
	STAGE(request, HF_STAGE_REQUEST)                                                                               \
	STAGE(followed, HF_STAGE_FOLLOWED)                                                                             \
	STAGE(answer, HF_STAGE_ANSWER)                                                                                 \
	STAGE(forward, HF_STAGE_FORWARD)
#define HF_STAGES_OF_TC(STAGE)                                                                                         \
	STAGE(collect, HF_STAGE_COLLECT)                                                                               \
	STAGE(bind, HF_STAGE_BIND)                                                                                     \
	STAGE(replay, HF_STAGE_REPLAY)                                                                                 \
	STAGE(watch, HF_STAGE_WATCH)                                                                                   \
	STAGE(rebind, HF_STAGE_REBIND)                                                                                 \
	STAGE(emit, HF_STAGE_EMIT)

#endif
