/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Replay, on TC: what a member sends before it has all of the early data. Its
 * SYN-ACK is answered with that, and the connection is bound. The packet becomes
 * one segment after another: copies leave, and at last it itself.
 */
#pragma once

#include "bind.h"

/* More segments than early data can have: pieces, cut by a small MSS. */
#define REPLAY_MOST_SEGMENTS 128
/* Answers to a SYN that are about something else. */
#define REPLAY_MOST_STRAYS 4

struct replay {
	hook_context *context;
	struct task *task;
	struct message *message;
	struct segment *segment;
	struct hf_splice *splice;
	__u32 at;     /* in the stream */
	__u32 end;    /* of what is to be sent */
	__u32 limit;  /* of a segment */
	__u32 loaded; /* the number of the piece in the message, and one */
	int verdict;  /* CONTINUE: more is to come */
};

/* The window that the client's last one is to the member. */
static __always_inline __u16 replay_window(const struct hf_splice *splice)
{
	__u32 window = splice->client_window;

	if (splice->flags & HF_SPLICE_UNSCALE) {
		window <<= splice->client_scale & 15;
		if (window > 0xffff)
			window = 0xffff;
	}
	return window;
}

/* The packet becomes a segment, whose payload lies at `within` in the message, and leaves. False: it could not. */
static __always_inline bool replay_send(struct replay *replay, __u32 sequence, __u32 within, __u32 length, bool last)
{
	struct packet *packet = &replay->task->packet;
	struct hf_splice *splice = replay->splice;
	struct segment *segment = replay->segment;
	__u8 flags = TCP_ACK;

	if (length && (last || !replay->loaded))
		flags |= TCP_PSH;
	if (last && splice->flags & HF_SPLICE_CLIENT_FIN)
		flags |= TCP_FIN;
	segment_begin(segment, flags, sequence, splice->member_first, replay_window(splice));
	if (splice->flags & HF_SPLICE_TIMESTAMPS)
		segment_add_timestamps(segment, splice->client_timestamp, splice->member_timestamp);
	segment->payload_length = length;
	if (length) {
		/* What lies behind is the rest of the piece: kept, for the next segment. */
		__u64 *behind = (__u64 *)(replay->message->bytes + below(within + length, HF_MESSAGE_BYTES));
		__u64 kept = *behind;

		*behind = 0;
		segment->payload_sum = early_sum(replay->message, within, length);
		*behind = kept;
	}
	if (segment_write(replay->context, packet, segment) ||
	    (length && packet_store(replay->context, segment_frame_length(segment, packet) - length,
				    replay->message->bytes + below(within, HF_MESSAGE_BYTES),
				    below(length - 1, HF_MESSAGE_BYTES) + 1))) {
		reason_count(HF_REASON_packet_resize);
		replay->verdict = HOOK_DROP;
		return false;
	}
	traffic_count(splice->virtual_server, splice->member, false,
		      segment_network_length(packet) + sizeof(struct tcphdr) + segment->options_length + length);
	replay->verdict = bind_send(replay->context, packet, &replay->task->connection, !last);
	return true;
}

/* One segment. 1: it was the last. */
static long replay_one(__u32 index, struct replay *replay)
{
	struct hf_splice *splice = replay->splice;
	__u32 piece = splice->piece, left = replay->end - replay->at, number, within, length;
	bool last;

	if (!piece)
		return 1;
	number = replay->at / piece;
	within = replay->at - number * piece;
	length = piece - within;
	if (length > replay->limit)
		length = replay->limit;
	if (length > left)
		length = left;
	last = length == left;
	if (length) {
		if (replay->loaded != number + 1 && !early_load_piece(replay->message, splice->id, number, 0)) {
			/* It has arrived in the meantime. */
			replay->verdict = PACKET_TAKEN;
			return 1;
		}
		replay->loaded = number + 1;
	}
	if (!replay_send(replay, splice->client_first + replay->at, within, length, last))
		return 1;
	replay->at += length;
	return last;
}

static __noinline void replay_preface(struct replay *replay)
{
	const struct hf_splice *splice = replay->splice;
	__u32 length = preface_make(replay->message, splice, replay->task->packet.ipv4);

	replay_send(replay, preface_first(splice), 0, length, false);
}

/* Sends the early data from `at` on. The packet ends here. */
static __noinline int replay_from(hook_context *context, struct task *task, struct hf_splice *splice, __u32 at)
{
	struct tcp_workplace *workplace = tcp_workplace_get();
	struct replay replay = {
		.context = context,
		.task = task,
		.message = message_get(),
		.splice = splice,
		.at = at,
		.end = splice->client_next - splice->client_first,
		.limit = splice->member_mss,
		.verdict = PACKET_TAKEN,
	};

	if (!workplace || !replay.message)
		return drop(HF_REASON_state_missing);
	replay.segment = &workplace->segment;
	if (replay.limit > bind_room(&task->packet, &task->connection))
		replay.limit = bind_room(&task->packet, &task->connection);
	if (splice->flags & HF_SPLICE_TIMESTAMPS)
		replay.limit -= 12;
	bind_address(replay.segment, splice, &task->connection);
	replay.segment->partial =
		packet_checksum_is_partial(context, task->packet.transport + offsetof(struct tcphdr, check));
	splice->replayed_at = clock_milliseconds();
	if (splice->flags & HF_SPLICE_PREFACE && !at)
		replay_preface(&replay);
	bpf_loop(REPLAY_MOST_SEGMENTS, replay_one, &replay, 0);
	return replay.verdict;
}

/* Are the member's messages to be read? */
static __always_inline bool replay_reads(const struct hf_splice *splice)
{
	const struct hf_virtual_server *settings = service_settings(splice->virtual_server);

	if (!settings)
		return false;
	if (settings->flags & HF_SERVER_FOLLOWS)
		return splice->requests.state != HF_READER_OFF ||
		       (!splice->rebinds && settings->flags & HF_SERVER_LEARNS);
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
	if (segment_write(context, packet, segment))
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
	if (!settings || !settings->parser)
		connection_record(packet, &task->connection, now);
	if (settings && settings->flags & HF_SERVER_WATCHES && splice->requests.state != HF_READER_OFF &&
	    splice->requests.next != splice->client_next) {
		task->splice = splice->id;
		task->stage = HF_STAGE_WATCH;
		return HAND_OVER;
	}
	return replay_from(context, task, splice, 0);
}

static __always_inline int replay(hook_context *context, struct task *task)
{
	struct tcp_workplace *workplace = tcp_workplace_get();
	struct packet *packet = &task->packet;
	struct hf_connection *reply = bpf_map_lookup_elem(&connections, &packet->flow);
	const struct hf_connection *forward;
	struct hf_splice *splice = NULL;
	const struct tcp_seen *seen;
	__u32 at = 0, id;
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
			if (!(packet->tcp_flags & TCP_SYN))
				at = seen->acknowledgement - splice->client_first;
			if (at > splice->client_next - splice->client_first)
				at = 0;
			task->connection = *forward;
			packet->flow = splice->client;
			verdict = replay_from(context, task, splice, at);
		}
	}
	/* With the packet, the lock is handed over, too. */
	if (verdict != HAND_OVER)
		splice_unlock(splice, id);
	return verdict;
}
