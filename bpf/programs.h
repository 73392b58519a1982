/* SPDX-License-Identifier: GPL-2.0 */
/* The hook's programs, entry points and nothing else. Include the hook's packet interface first. */
#pragma once

#include "datapath.h"
#include "icmp.h"
#include "persist/http.h"
#include "persist/iso8583_bitmap.h"
#include "persist/radius_attribute.h"
#include "persist/rdp_cookie.h"
#include "persist/sip_call_id.h"
#include "persist/ssl_session_id.h"
#include "splice/front.h"
#include "stages.h"

/* A tail call whose slot is a constant is a direct jump. */
static __always_inline int stage_go(hook_context *context, __u32 stage)
{
#define STAGE_GO(name, slot)                                                                                           \
	if (stage == slot)                                                                                             \
		bpf_tail_call_static(context, &stages, slot);
	HF_PARSERS(STAGE_GO)
	STAGE_OTHERS(STAGE_GO)
#undef STAGE_GO
	return drop(HF_REASON_stage_missing);
}

HOOK_SECTION
int HOOK_PROGRAM()(hook_context *context)
{
	__u32 next = 0;
	int verdict = datapath(context, &next);

	return verdict == HAND_OVER ? stage_go(context, next) : verdict;
}

#define STAGE_PROGRAM(name, stage)                                                                                     \
	HOOK_SECTION                                                                                                   \
	int HOOK_PROGRAM(_##name)(hook_context * context)                                                              \
	{                                                                                                              \
		struct message *message = message_get();                                                               \
		struct task *task = task_get();                                                                        \
		const struct hf_rule *rule = task ? task_rule(task) : NULL;                                            \
                                                                                                                       \
		if (message && rule)                                                                                   \
			task->outcome = name##_parse(message, rule);                                                   \
		return stage_go(context, task ? task->next : HF_STAGE_DECIDE);                                         \
	}
HF_PARSERS(STAGE_PROGRAM)
#undef STAGE_PROGRAM

HOOK_SECTION
int HOOK_PROGRAM(_decide)(hook_context *context)
{
	return datapath_decided(context);
}

HOOK_SECTION
int HOOK_PROGRAM(_front)(hook_context *context)
{
	const struct task *task = task_get();
	int verdict;

	if (!task)
		return drop(HF_REASON_state_missing);
	verdict = front(context, &task->packet, task->virtual_server);
	return verdict == HAND_OVER ? stage_go(context, HF_STAGE_COLLECT) : verdict;
}

HOOK_SECTION
int HOOK_PROGRAM(_request)(hook_context *context)
{
	struct task *task = task_get();
	int verdict;

	if (!task)
		return drop(HF_REASON_state_missing);
	verdict = follow_request(context, task);
	return verdict == HAND_OVER ? stage_go(context, task->stage) : verdict;
}

HOOK_SECTION
int HOOK_PROGRAM(_followed)(hook_context *context)
{
	struct task *task = task_get();
	int verdict;

	if (!task)
		return drop(HF_REASON_state_missing);
	verdict = followed(context, task);
	return verdict == HAND_OVER ? stage_go(context, task->stage) : verdict;
}

HOOK_SECTION
int HOOK_PROGRAM(_answer)(hook_context *context)
{
	struct task *task = task_get();
	int verdict;

	if (!task)
		return drop(HF_REASON_state_missing);
	verdict = follow_answer(context, task);
	return verdict == HAND_OVER ? stage_go(context, task->stage) : verdict;
}

HOOK_SECTION
int HOOK_PROGRAM(_forward)(hook_context *context)
{
	__u32 next = 0;
	int verdict = datapath_read(context, &next);

	return verdict == HAND_OVER ? stage_go(context, next) : verdict;
}

HOOK_SECTION
int HOOK_PROGRAM(_icmp)(hook_context *context)
{
	struct task *task = task_get();

	return task ? icmp(context, task) : drop(HF_REASON_state_missing);
}

char LICENSE[] SEC("license") = "GPL";
