/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The opening of a spliced connection, the client's side, on TC:
 *
 *   cookie acknowledged -> COLLECTING: early data is stored, and read by the rule's
 *   parser as it arrives -> bind.h
 *
 * There is no timer here that could send: every loss is mended by the repetitions
 * of the end hosts. So the client must always have something that it has not been
 * told has arrived: a stored prefix is acknowledged only where the client would
 * otherwise not go on (a gap, a repetition, many segments), and never the segment
 * with which the member is chosen.
 */
#pragma once

#include "early_data.h"
#include "front.h"

/*
 * Segments of one head, or as many bytes as they have, after which the client is told
 * that they have arrived: it sends ten at first (RFC 6928), and then waits.
 */
#define OPENING_QUIET_SEGMENTS 8

/* Tells the client how much of its early data is stored. */
static __noinline int opening_acknowledge(hook_context *context, const struct packet *packet, struct hf_splice *splice)
{
	struct tcp_workplace *workplace = tcp_workplace_get();
	__u32 zero = 0, stored = splice->client_next - splice->client_first, window;
	const struct hf_early_limits *limits = bpf_map_lookup_elem(&early_limits, &zero);
	struct segment *segment;

	if (!workplace || !limits)
		return drop(HF_REASON_state_missing);
	segment = &workplace->segment;
	window = early_window(limits, stored);
	if (splice->flags & HF_SPLICE_SCALE)
		window >>= HF_WINDOW_SCALE;
	segment_begin(segment, TCP_ACK, splice->server_first, splice->client_next, window);
	if (splice->flags & HF_SPLICE_TIMESTAMPS)
		segment_add_timestamps(segment, splice->timestamp_sent, splice->client_timestamp);
	segment_turn(segment, &packet->flow);
	segment->partial = packet_checksum_is_partial(context, packet->transport + offsetof(struct tcphdr, check));
	splice->acknowledged = splice->client_next;
	splice->flags |= HF_SPLICE_ACKNOWLEDGED;
	if (segment_write(context, packet, segment))
		return drop(HF_REASON_packet_resize);
	return segment_return(context);
}

/*
 * A client's RST. Only one with exactly the next sequence number counts (RFC 5961,
 * 3.2): another may be forged. The member, if it has been sent a SYN, is told.
 */
static __always_inline int opening_reset(const struct packet *packet, const struct tcp_seen *seen,
					 struct hf_splice *splice)
{
	if (seen->sequence != splice->client_next && seen->sequence != splice->client_first)
		return drop(HF_REASON_opening_stray);
	if (splice->state == HF_SPLICE_CONNECTING)
		return HAND_OVER;
	bpf_map_delete_elem(&connections, &packet->flow);
	splice_end_locked(splice->id);
	return PACKET_TAKEN;
}

/*
 * Nothing of it is stored, and what it began with cannot be trusted, or kept: the
 * client's repetition begins anew.
 */
static __always_inline int opening_forget(const struct packet *packet, struct hf_splice *splice)
{
	if (splice->state != HF_SPLICE_COLLECTING || splice->client_next != splice->client_first)
		return HOOK_DROP; /* the reason is counted */
	bpf_map_delete_elem(&connections, &packet->flow);
	splice_end_locked(splice->id);
	return PACKET_TAKEN;
}

/*
 * A segment with nothing new. CONTINUE: it is to be waited for more; HAND_OVER: the
 * member is to be chosen, or sent its SYN again.
 */
static __always_inline int opening_repeated(const struct packet *packet, struct hf_splice *splice, bool at_once)
{
	if (splice->state == HF_SPLICE_CONNECTING) {
		/* The client's time is up: so is that of the SYN to the member. */
		return packet->payload_length || splice->wake || packet->tcp_flags & TCP_FIN ? HAND_OVER : PACKET_TAKEN;
	}
	if (at_once || splice->wake)
		return HAND_OVER;
	return CONTINUE;
}

/*
 * A segment of a client whose connection is being opened. HAND_OVER: task->stage goes
 * on with it, and has the splice's lock.
 */
static __noinline int opening_segment(hook_context *context, struct task *task, struct hf_splice *splice)
{
	__u32 zero = 0;
	const struct hf_early_limits *limits = bpf_map_lookup_elem(&early_limits, &zero);
	const struct hf_virtual_server *settings = service_settings(task->virtual_server);
	struct tcp_workplace *workplace = tcp_workplace_get();
	const struct packet *packet = &task->packet;
	__u32 stored = splice->client_next - splice->client_first, most, base;
	struct message *message = message_get();
	const struct tcp_seen *seen;
	bool at_once, ends;
	int fresh = 0, verdict;
	__s32 skip;

	if (!limits || !settings || !workplace || !message)
		return drop(HF_REASON_state_missing);
	at_once = settings->flags & HF_SERVER_BINDS_AT_ONCE;
	seen = &workplace->seen;
	skip = (__s32)(splice->client_next - seen->sequence);
	task->stage = task->next = HF_STAGE_BIND;
	task->outcome = HF_PARSER_NONE;
	message->head = 0;
	message->keys.count = 0;
	message->keys.replace = 0;
	message->keys.pad = 0;
	message->answer = false;
	if (packet->tcp_flags & TCP_RST)
		return opening_reset(packet, seen, splice);
	if (!packet->payload_length) {
		if (!early_checksum_is_right(context, packet, seen, message, 0)) {
			reason_count(HF_REASON_early_corrupt);
			return opening_forget(packet, splice);
		}
		opening_note(packet, seen, splice, context);
	}
	if (skip < 0) {
		reason_count(HF_REASON_early_out_of_order);
		return splice->state == HF_SPLICE_COLLECTING && stored ? opening_acknowledge(context, packet, splice)
								       : HOOK_DROP; /* counted above */
	}
	if (settings->flags & (HF_SERVER_FOLLOWS | HF_SERVER_WATCHES))
		splice->flags |= HF_SPLICE_WHOLE;
	base = early_base(splice);
	most = limits->max_head > stored ? limits->max_head - stored : 0;
	if (packet->payload_length > (__u32)skip && !(splice->flags & HF_SPLICE_CLIENT_FIN)) {
		/* What follows the request while its member is asked has to belong to it. */
		if (splice->state == HF_SPLICE_CONNECTING && settings->flags & HF_SERVER_FOLLOWS &&
		    !reader_passes(&splice->requests, seen->sequence, packet->payload_length))
			return drop(HF_REASON_request_held);
		if (!most)
			return drop(HF_REASON_early_beyond);
		fresh = early_take(context, packet, splice, skip, most);
		if (fresh <= 0 || early_store(splice->id, 0, base, stored, stored + fresh))
			return stored ? HOOK_DROP : opening_forget(packet, splice); /* counted there */
		opening_note(packet, seen, splice, context);
		splice->client_next += fresh;
		splice->segments++;
	}
	ends = packet->tcp_flags & TCP_FIN && seen->sequence + packet->payload_length == splice->client_next &&
	       !(splice->flags & HF_SPLICE_CLIENT_FIN);
	if (ends) {
		splice->flags |= HF_SPLICE_CLIENT_FIN;
		/* What was not enough is all that there will be. */
		if (fresh <= 0 && stored) {
			if (early_load(message, splice->id, 0, base, stored))
				return drop(HF_REASON_state_missing);
			early_end(message, 0, stored - base);
		}
	} else if (fresh <= 0) {
		if (packet->payload_length)
			reason_count(HF_REASON_early_repeated);
		verdict = opening_repeated(packet, splice, at_once);
		if (verdict == CONTINUE)
			verdict = packet->payload_length && stored ? opening_acknowledge(context, packet, splice)
								   : PACKET_TAKEN;
		return verdict;
	}
	if (splice->state == HF_SPLICE_CONNECTING)
		return PACKET_TAKEN; /* it goes to the member with the rest */
	if (!at_once && settings->parser && (fresh > 0 || (ends && stored))) {
		message->available = stored + (fresh > 0 ? fresh : 0) - base;
		message->length = message->available + !ends;
		message->resume = splice->parsed - base;
		message->begun = splice->parsed;
		task->stage = settings->parser;
	}
	return HAND_OVER;
}

/* HAND_OVER: the program goes on with task->stage. */
static __always_inline int opening(hook_context *context, struct task *task)
{
	struct tcp_workplace *workplace = tcp_workplace_get();
	const struct packet *packet = &task->packet;
	const struct hf_virtual_server *settings = service_settings(task->virtual_server);
	const struct hf_connection *connection;
	struct hf_splice *splice = NULL;
	__u32 now = clock_now(), id;
	bool proved;
	int verdict;

	if (!workplace || !settings)
		return drop(HF_REASON_state_missing);
	if (packet_opens(packet))
		return cookie_answer(context, packet, settings); /* whatever there is: an acknowledgement will tell */
	if (tcp_load(context, packet, &workplace->seen))
		return drop(HF_REASON_malformed);
	connection = bpf_map_lookup_elem(&connections, &packet->flow);
	if (connection && connection->flags & HF_CONNECTION_SPLICED)
		splice = splice_get(connection->splice);
	if (!splice || workplace->seen.acknowledgement != splice->server_first) {
		/* Nobody, or somebody who has begun anew from the same port. */
		proved = !(packet->tcp_flags & TCP_RST) &&
			 cookie_is_ours(&packet->flow, workplace->seen.sequence, workplace->seen.acknowledgement, now);
		if (!proved) {
			if (splice && !(packet->tcp_flags & TCP_RST))
				return drop(HF_REASON_opening_stray);
			if (!splice)
				return front(context, packet, task->virtual_server);
		} else {
			if (splice)
				connection_end(&packet->flow, connection);
			splice = opening_begin(packet, &workplace->seen, task->virtual_server, now);
			if (!splice)
				return HOOK_DROP; /* counted there */
		}
	}
	if (!splice)
		return drop(HF_REASON_state_missing);
	if (!splice_lock(splice))
		return HOOK_DROP; /* likewise */
	id = splice->id;
	task->splice = id;
	verdict = opening_segment(context, task, splice);
	if (verdict != HAND_OVER)
		splice_unlock(splice, id);
	return verdict;
}
