/* SPDX-License-Identifier: GPL-2.0 */
/* The hook's programs, entry points and nothing else. Include the hook's packet interface first. */
#pragma once

#include "datapath.h"
#include "persist/radius_attribute.h"
#include "persist/sip_call_id.h"
#include "stages.h"

/* A tail call whose slot is a constant is a direct jump. */
static __always_inline int stage_go(hook_context *context, __u32 stage)
{
	if (stage == HF_STAGE_DECIDE)
		bpf_tail_call_static(context, &stages, HF_STAGE_DECIDE);
#define STAGE_GO(name, slot) else if (stage == slot) bpf_tail_call_static(context, &stages, slot);
	STAGE_PARSERS(STAGE_GO)
#undef STAGE_GO
	reason_count(HF_REASON_stage_missing);
	return HOOK_DROP;
}

HOOK_SECTION
int HOOK_PROGRAM()(hook_context *context)
{
	__u32 parser = 0;
	int verdict = datapath(context, &parser);

	return verdict == HAND_OVER ? stage_go(context, parser) : verdict;
}

#define STAGE_PROGRAM(name, stage)                                                                                     \
	HOOK_SECTION                                                                                                   \
	int HOOK_PROGRAM(_##name)(hook_context * context)                                                              \
	{                                                                                                              \
		struct datagram *datagram = datagram_get();                                                            \
		const struct hf_rule *rule = datagram ? datagram_rule(datagram) : NULL;                                \
                                                                                                                       \
		if (rule)                                                                                              \
			datagram->outcome = name##_parse(&datagram->message, rule);                                    \
		return stage_go(context, HF_STAGE_DECIDE);                                                             \
	}
STAGE_PARSERS(STAGE_PROGRAM)
#undef STAGE_PROGRAM

HOOK_SECTION
int HOOK_PROGRAM(_decide)(hook_context *context)
{
	return datapath_decided(context);
}

char LICENSE[] SEC("license") = "GPL";
