/* SPDX-License-Identifier: GPL-2.0 */
/* The programs of an opening, of the hook that has them: entry points, nothing else. */
#pragma once

#include "rebind.h"
#include "replay.h"
#include "watch.h"

HOOK_SECTION
int HOOK_PROGRAM(_collect)(hook_context *context)
{
	struct task *task = task_get();
	int verdict;

	if (!task)
		return drop(HF_REASON_state_missing);
	verdict = opening(context, task);
	return verdict == HAND_OVER ? stage_go(context, task->stage) : verdict;
}

HOOK_SECTION
int HOOK_PROGRAM(_bind)(hook_context *context)
{
	struct task *task = task_get();

	return task ? bind(context, task) : drop(HF_REASON_state_missing);
}

HOOK_SECTION
int HOOK_PROGRAM(_replay)(hook_context *context)
{
	struct task *task = task_get();
	int verdict;

	if (!task)
		return drop(HF_REASON_state_missing);
	verdict = replay(context, task);
	return verdict == HAND_OVER ? stage_go(context, task->stage) : verdict;
}

HOOK_SECTION
int HOOK_PROGRAM(_watch)(hook_context *context)
{
	struct task *task = task_get();

	int verdict;

	if (!task)
		return drop(HF_REASON_state_missing);
	verdict = watch(task);
	return verdict == HAND_OVER ? stage_go(context, task->stage) : verdict;
}

HOOK_SECTION
int HOOK_PROGRAM(_emit)(hook_context *context)
{
	struct task *task = task_get();

	return task ? emit(context, task) : drop(HF_REASON_state_missing);
}

HOOK_SECTION
int HOOK_PROGRAM(_rebind)(hook_context *context)
{
	struct task *task = task_get();
	int verdict;

	if (!task)
		return drop(HF_REASON_state_missing);
	verdict = rebind(context, task);
	return verdict == HAND_OVER ? stage_go(context, task->stage) : verdict;
}
