/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Rebinding, on TC: a request on a bound connection belongs to another member. What is
 * there of it becomes early data, and the connection is bound as it was the first
 * time, from the request's first byte on. The old member is reset.
 *
 * Nothing may be on its way: all earlier requests are answered, the client has
 * acknowledged all of the answers, and the member all of the requests. Until then the
 * request is held: it is dropped, and its client sends it again. Not without a limit.
 */
#pragma once

#include "emit.h"

/* May the connection leave its member now? 0: not yet; -1: it never may. */
static __always_inline int rebind_may(struct hf_splice *splice, const struct hf_connection *forward,
				      const struct tcp_seen *seen)
{
	__u32 acknowledged = seen->acknowledgement;

	if (splice->answers.state == HF_READER_OFF || splice->answers.state == HF_READER_REST ||
	    forward->flags & HF_CONNECTION_MEMBER_FIN)
		return -1;
	return splice->state == HF_SPLICE_BOUND && splice->requested == splice->answered && !splice->pieces &&
	       splice->answers.state == HF_READER_HEAD && splice->answers.next == splice->answers.head &&
	       !translate_acknowledgement(splice, HF_ANSWERS, &acknowledged) && acknowledged == splice->answers.next &&
	       !splice->edited[HF_ANSWERS];
}

/* The request waits. CONTINUE: it has waited for long enough. */
static __always_inline int rebind_hold(struct hf_splice *splice, __u32 now)
{
	__u32 zero = 0;
	const struct hf_early_limits *limits = bpf_map_lookup_elem(&early_limits, &zero);

	if (!splice->held_since)
		splice->held_since = now | 1;
	if (limits && (__s32)(now - splice->held_since) > (__s32)limits->timeout)
		return CONTINUE;
	return drop(HF_REASON_request_held);
}

/* The request goes where its connection is, which stays there. HAND_OVER: task->stage. */
static __noinline int rebind_give_up(struct task *task, struct hf_splice *splice, const struct message *message,
				     const struct hf_virtual_server *settings)
{
	reason_count(HF_REASON_request_given_up);
	/* Requests that are changed are read on, wherever they go. */
	if (settings->flags & (HF_SERVER_FORWARDED_FOR | HF_SERVER_WRITES))
		return follow_stay(task, splice, settings, message);
	task->reader.state = HF_READER_OFF;
	task->stage = HF_STAGE_FORWARD;
	return HAND_OVER;
}

/*
 * What lies in front of the request in its segment goes to the present member (again, if
 * it is not `fresh`: it may have been lost), the rest is held.
 */
static __noinline int rebind_cut(struct task *task, struct hf_splice *splice, bool fresh)
{
	if (fresh) {
		if (!edits_commit(splice, splice->id, HF_REQUESTS, &task->edits))
			return drop(HF_REASON_edit_held);
		reason_count(HF_REASON_request_held);
		task->reader.next = task->sequence + task->at;
		task->reader.busy = 0;
		follow_move(splice, task, false);
		splice->methods = task->methods;
		splice->unmarked = task->unmarked;
		splice->requested = task->requested;
	}
	task->limit = task->at;
	task->source = EMIT_SEGMENT;
	task->stage = HF_STAGE_EMIT;
	return HAND_OVER;
}

/* The packet becomes the RST for the old member, whose copy leaves, and then a SYN. */
static __always_inline int rebind_connect(hook_context *context, struct task *task, struct hf_splice *splice,
					  __u32 forwarded)
{
	struct tcp_workplace *workplace = tcp_workplace_get();
	struct packet *packet = &task->packet;
	struct segment *segment;

	if (!workplace)
		return drop(HF_REASON_state_missing);
	segment = &workplace->segment;
	segment_begin(segment, TCP_RST, forwarded, 0, 0);
	bind_address(segment, splice, &task->left);
	segment->partial = packet_checksum_is_partial(context, packet->transport + offsetof(struct tcphdr, check));
	if (bind_write(context, packet, segment))
		return drop(HF_REASON_packet_resize);
	bind_send(context, packet, &task->left, true);
	return bind_connect(context, packet, splice, &task->connection, false);
}

/* Has the splice's lock. HAND_OVER: it stays. */
static __noinline int rebind_locked(hook_context *context, struct task *task, struct hf_splice *splice,
				    const struct hf_connection *forward)
{
	struct decision decision = {.virtual_server = task->virtual_server, .beyond = task->beyond};
	struct tcp_workplace *workplace = tcp_workplace_get();
	const struct hf_virtual_server *settings = service_settings(task->virtual_server);
	__u32 now = clock_now(), forwarded, gone, available, first, next;
	__u16 flags;
	struct message *message = message_get();
	int may;

	if (!workplace || !message || !settings)
		return drop(HF_REASON_state_missing);
	task->connection = *forward;
	may = rebind_may(splice, forward, &workplace->seen);
	/* In front of it there are bytes of an earlier request, which nobody has had yet. */
	if (!task->stored && (__s32)(task->sequence + task->at - task->read_next) > 0)
		return rebind_cut(task, splice, true);
	if (may < 0 || (!may && rebind_hold(splice, now) == CONTINUE))
		return rebind_give_up(task, splice, message, settings);
	if (!may)
		return task->at ? rebind_cut(task, splice, false) : HOOK_DROP; /* counted there */
	available = message->available;
	forwarded = task->reader.head + task->stored;
	gone = forwarded;
	if (translate_sequence(splice, HF_REQUESTS, &gone, 0) != CONTINUE)
		return drop(HF_REASON_request_held);
	first = splice->client_first;
	next = splice->client_next;
	flags = splice->flags;
	splice->client_first = task->reader.head;
	splice->client_next = task->reader.head + available;
	if (early_store(splice->id, 0, 0, 0, available))
		goto stay;
	decision.member = task->wanted;
	task->left = *forward;
	splice->flags &= ~(HF_SPLICE_ACKNOWLEDGED | HF_SPLICE_UNSCALE);
	/* A FIN that has overtaken its request comes again: the old member could not acknowledge it. */
	if (task->packet.tcp_flags & TCP_FIN && splice->client_next == task->sequence + task->packet.payload_length)
		splice->flags |= HF_SPLICE_CLIENT_FIN;
	if (bind_member(task, message, splice, &decision, now) != CONTINUE)
		goto stay;
	bind_leave(&task->packet, &task->left, now);
	if (splice->rebinds != 0xffff)
		splice->rebinds++;
	splice->held_since = 0;
	splice->tries = splice->refused = splice->strays = 0;
	splice->server_first = workplace->seen.acknowledgement;
	opening_note(&task->packet, &workplace->seen, splice, context);
	if (task->stored) {
		/* What the old member has acknowledged its client does not send again: it is ours to deliver. */
		splice->flags |= HF_SPLICE_ACKNOWLEDGED;
		splice->acknowledged = forwarded;
		early_delete(splice->id, HF_EARLY_REQUEST);
	}
	/* The new member gets the client's numbers, as they are. */
	if (splice->edited[HF_REQUESTS])
		edits_forget(splice->id, HF_REQUESTS);
	splice->request_shift = 0;
	follow_bound(splice, message, HF_PARSER_NONE, false, task->marked);
	if (bind_edits(task, message, splice, settings) != CONTINUE)
		return bind_refuse_connecting(context, task, splice);
	reason_count(HF_REASON_request_moved);
	return rebind_connect(context, task, splice, gone);
stay:
	/* No room, no place: its client tries again. */
	splice_release_early(splice->id);
	splice->client_first = first;
	splice->client_next = next;
	splice->flags = flags;
	splice->member = forward->member;
	return rebind_hold(splice, now) == CONTINUE ? rebind_give_up(task, splice, message, settings)
						    : HOOK_DROP; /* counted there */
}

static __always_inline int rebind(hook_context *context, struct task *task)
{
	struct tcp_workplace *workplace = tcp_workplace_get();
	struct hf_connection *forward;
	struct hf_splice *splice = follow_splice(task, &forward);
	__u32 id;
	int verdict;

	if (!splice || !workplace)
		return drop(HF_REASON_splice_half);
	if (tcp_load(context, &task->packet, &workplace->seen))
		return drop(HF_REASON_malformed);
	if (!splice_lock(splice))
		return HOOK_DROP; /* counted there */
	id = splice->id;
	/* Another CPU may have been faster. */
	if (follow_splice(task, &forward) != splice || !forward || splice->state != HF_SPLICE_BOUND) {
		splice_unlock(splice, id);
		return drop(HF_REASON_opening_busy);
	}
	verdict = rebind_locked(context, task, splice, forward);
	splice_unlock(splice, id);
	return verdict;
}
