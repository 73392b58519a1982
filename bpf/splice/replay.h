/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Replay, on TC: what a member sends before it has all of the early data. Its
 * SYN-ACK is answered with that (emit.h), and the connection is bound.
 */
#pragma once

#include "emit.h"

/* Answers to a SYN that are about something else. */
#define REPLAY_MOST_STRAYS 4

/*
 * The early data is sent; what the member has `acknowledged` is not (0: nothing of it).
 * The splice's lock goes with the packet.
 */
static __always_inline int replay_from(struct task *task, const struct hf_splice *splice, __u32 acknowledged)
{
	task->splice = splice->id;
	task->emit_from = acknowledged;
	task->source = EMIT_EARLY;
	task->stage = HF_STAGE_EMIT;
	return HAND_OVER;
}

/* Are the member's messages to be read? */
static __always_inline bool replay_reads(const struct hf_splice *splice)
{
	const struct hf_virtual_server *settings = service_settings(splice->virtual_server);

	if (!settings)
		return false;
	if (settings->flags & HF_SERVER_FOLLOWS)
		return splice->requests.state != HF_READER_OFF ||
		       (!splice->rebinds && settings->flags & (HF_SERVER_LEARNS | HF_SERVER_WRITES));
	return settings->flags & HF_SERVER_LEARNS;
}

/* What the member's SYN-ACK says: for this connection, and for those to come. */
static __noinline void replay_learn(const struct packet *packet, const struct tcp_seen *seen, struct hf_splice *splice,
				    struct hf_pool *pool)
{
	__u16 mss = seen->mss ?: packet->ipv4 ? TCP_MSS_DEFAULT_IPV4 : TCP_MSS_DEFAULT_IPV6;
	__u8 lacking = 0;

	splice->member_first = seen->sequence + 1;
	splice->answers.next = splice->answers.head = splice->member_first;
	splice->answers.parsed = 0;
	splice->answers.state = replay_reads(splice) ? HF_READER_HEAD : HF_READER_OFF;
	splice->shift = splice->server_first - splice->member_first;
	splice->request_shift = 0;
	splice->member_acknowledged = seen->acknowledgement;
	splice->member_timestamp = seen->timestamp;
	splice->timestamp_shift = splice->timestamp_sent - seen->timestamp;
	splice->member_scale = seen->scale == TCP_NO_SCALE ? 0 : seen->scale;
	splice->member_mss = mss < 88 ? 88 : mss;
	if (splice->flags & HF_SPLICE_SCALE && seen->scale == TCP_NO_SCALE) {
		splice->flags |= HF_SPLICE_UNSCALE;
		lacking |= HF_TCP_WINDOW_SCALE;
	}
	if (splice->flags & HF_SPLICE_SACK && !seen->sack_permitted)
		lacking |= HF_TCP_SACK;
	if (splice->flags & HF_SPLICE_TIMESTAMPS && !seen->timestamps_at)
		lacking |= HF_TCP_TIMESTAMPS;
	if (!pool)
		return;
	if (lacking && !pool->tcp_fixed)
		pool->tcp_lacking |= lacking;
	if (!pool->mss || mss < pool->mss)
		pool->mss = mss;
}

/* The member has accepted: both entries are established. */
static __noinline int replay_establish(struct task *task, struct hf_splice *splice, struct hf_connection *reply,
				       __u32 now)
{
	struct hf_connection *forward = bpf_map_lookup_elem(&connections, &splice->client);
	bool ended = splice->flags & HF_SPLICE_CLIENT_FIN;

	if (!forward || forward->splice != splice->id)
		return -1;
	splice->state = HF_SPLICE_BOUND;
	if (ended)
		reply->flags |= HF_CONNECTION_CLIENT_FIN;
	reply->state = connection_state(reply);
	reply->last_seen = now;
	forward->flags = reply->flags & ~HF_CONNECTION_REPLY;
	forward->last_seen = now;
	forward->state = reply->state;
	task->connection = *forward;
	splice->tries = splice->refused = 0;
	if (splice->rebinds)
		return 0;
	connection_count(reply->virtual_server, reply->member);
	share_give_back(&splice->client, HF_OPENING_BYTES);
	__sync_fetch_and_add(&splice->charged, -HF_OPENING_BYTES);
	return 0;
}

/* The member was proposed for the client's keys, and has refused: others may have them. */
static __noinline void replay_withdraw(const struct packet *packet, const struct hf_connection *reply)
{
	struct hf_keys *keys = bpf_map_lookup_elem(&embryonic_keys, &packet->flow);
	struct message_query query = {.keys = keys};
	__u32 now = clock_now();

	if (connection_query(&query.session, packet, reply, now))
		session_withdraw(&query.session, reply->member);
	if (!keys)
		return;
	for (__u32 i = 0; i < HF_KEYS && i < keys->count; i++) {
		message_use_key(&query, i);
		session_withdraw(&query.session, reply->member);
	}
}

/* The member says no: another one may say yes. The packet is the client's from here on. */
static __noinline int replay_refused(struct task *task, const struct hf_connection *reply,
				     const struct hf_splice *splice)
{
	task->left = *reply;
	replay_withdraw(&task->packet, &task->left);
	task->packet.flow = splice->client;
	task->virtual_server = splice->virtual_server;
	task->refused = true;
	task->splice = splice->id;
	task->stage = HF_STAGE_BIND;
	return HAND_OVER;
}

/*
 * The member still has the connection that it was left with: the RST has been lost. It
 * gets another one, with the number that it expects, and a SYN behind it.
 */
static __noinline int replay_reset_old(hook_context *context, struct task *task, struct hf_splice *splice)
{
	const struct hf_connection *forward = bpf_map_lookup_elem(&connections, &splice->client);
	struct tcp_workplace *workplace = tcp_workplace_get();
	struct packet *packet = &task->packet;
	struct segment *segment;

	if (!workplace || !forward || packet->tcp_flags & TCP_RST || !(packet->tcp_flags & TCP_ACK))
		return drop(HF_REASON_splice_stray);
	reason_count(HF_REASON_member_left);
	segment = &workplace->segment;
	task->connection = *forward;
	packet->flow = splice->client;
	segment_begin(segment, TCP_RST, workplace->seen.acknowledgement, 0, 0);
	bind_address(segment, splice, &task->connection);
	segment->partial = packet_checksum_is_partial(context, packet->transport + offsetof(struct tcphdr, check));
	if (bind_write(context, packet, segment))
		return drop(HF_REASON_packet_resize);
	bind_send(context, packet, &task->connection, true);
	return bind_connect(context, packet, splice, &task->connection, false);
}

/* A segment of a member that is to be established. Has the splice's lock. */
static __noinline int replay_connecting(hook_context *context, struct task *task, struct hf_connection *reply,
					struct hf_splice *splice)
{
	struct tcp_workplace *workplace = tcp_workplace_get();
	struct packet *packet = &task->packet;
	const struct hf_virtual_server *settings = service_settings(splice->virtual_server);
	__u32 pool_id = settings ? settings->pool : 0;
	const struct tcp_seen *seen;
	__u32 now = clock_now();
	bool ours;

	if (!workplace)
		return drop(HF_REASON_state_missing);
	seen = &workplace->seen;
	ours = packet->tcp_flags & TCP_ACK && seen->acknowledgement == preface_first(splice);
	if (ours && packet->tcp_flags & TCP_RST) {
		return replay_refused(task, reply, splice);
	}
	if (!ours || (packet->tcp_flags & (TCP_SYN | TCP_RST)) != TCP_SYN) {
		/*
		 * The member has another connection with the client's address and port:
		 * one of the client's own, or the remains of an earlier one. The client
		 * gets what is not ours, and answers it: what it does not know itself it
		 * resets, and the next SYN is welcome. Where that does not help, it has to
		 * take another port.
		 */
		if (splice->rebinds)
			return replay_reset_old(context, task, splice);
		reason_count(HF_REASON_member_in_other_talk);
		if (++splice->strays > REPLAY_MOST_STRAYS)
			return replay_refused(task, reply, splice);
		return HOOK_PASS;
	}
	replay_learn(packet, seen, splice, bpf_map_lookup_elem(&pools, &pool_id));
	if (replay_establish(task, splice, reply, now))
		return drop(HF_REASON_splice_half);
	connection_record_keys(&packet->flow, reply, now);
	if (splice->preface)
		splice->member_acknowledged = preface_first(splice);
	/* From here on the packet is one of the client's. */
	packet->flow = splice->client;
	if (!settings || !service_reads(settings))
		connection_record(packet, &task->connection, now);
	if (settings && settings->flags & HF_SERVER_WATCHES && splice->requests.state != HF_READER_OFF &&
	    splice->requests.next != splice->client_next) {
		task->splice = splice->id;
		task->stage = HF_STAGE_WATCH;
		return HAND_OVER;
	}
	return replay_from(task, splice, 0);
}

static __always_inline int replay(hook_context *context, struct task *task)
{
	struct tcp_workplace *workplace = tcp_workplace_get();
	struct packet *packet = &task->packet;
	struct hf_connection *reply = bpf_map_lookup_elem(&connections, &packet->flow);
	const struct hf_connection *forward;
	struct hf_splice *splice = NULL;
	const struct tcp_seen *seen;
	__u32 id;
	int verdict;

	if (!workplace || !reply || !(reply->flags & HF_CONNECTION_SPLICED))
		return drop(HF_REASON_splice_half);
	splice = splice_get(reply->splice);
	seen = &workplace->seen;
	if (!splice)
		return drop(HF_REASON_splice_half);
	if (tcp_load(context, packet, &workplace->seen))
		return drop(HF_REASON_malformed);
	/* A SYN-ACK is not repeated before a second has passed. */
	if (!splice_lock_patiently(splice))
		return HOOK_DROP; /* counted there */
	id = splice->id;
	if (splice->state == HF_SPLICE_CONNECTING) {
		verdict = replay_connecting(context, task, reply, splice);
	} else {
		/* The replay, or a part of it, was lost. */
		forward = bpf_map_lookup_elem(&connections, &splice->client);
		if (!forward || splice->state != HF_SPLICE_BOUND) {
			verdict = drop(HF_REASON_splice_half);
		} else {
			reason_count(HF_REASON_replayed_again);
			task->connection = *forward;
			packet->flow = splice->client;
			verdict = replay_from(task, splice, packet->tcp_flags & TCP_SYN ? 0 : seen->acknowledgement);
		}
	}
	/* With the packet, the lock is handed over, too. */
	if (verdict != HAND_OVER)
		splice_unlock(splice, id);
	return verdict;
}
