/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The packets of a bound splice: sequence numbers, acknowledgements, SACK edges,
 * timestamps and windows. The checksum is updated, never made anew (RFC 1624), so
 * that an error on the wire stays visible to the end hosts.
 */
#pragma once

#include "../clock.h"
#include "../tcp.h"
#include "preface.h"
#include "reader.h"

/* The header's options as nearly every segment has them: NOP, NOP, timestamps. */
#define TRANSLATE_COMMON_OPTIONS bpf_htonl(TCP_WORD(TCP_OPTION_NOP, TCP_OPTION_NOP, TCP_OPTION_TIMESTAMPS, 10))

/* What splice_translate() returns where there is nothing to translate with. */
#define SPLICE_LOST (-3)
/* And where the segment has to be read first: a message may begin in it. */
#define SPLICE_READ (-4)
/* And where something in it is changed: HF_STAGE_EMIT has to send it (on TC). */
#define SPLICE_EDIT (-5)

/* What is known of a segment: whether its messages have been read, and its edits made. */
enum translate_known { TRANSLATE_UNREAD, TRANSLATE_READ, TRANSLATE_EDITED };

/* Milliseconds between two replays of the same: one lost segment makes many acknowledgements. */
#define TRANSLATE_REPLAY_EVERY 50

/* A quarter of all sequence numbers. */
#define TRANSLATE_FAR (1U << 30)

/* Is `a` behind `b`? */
static __always_inline bool sequence_after(__u32 a, __u32 b)
{
	return (__s32)(a - b) > 0;
}

static __always_inline __u32 translate_difference(__be32 from, __be32 to)
{
	return csum_add32(csum_add32(0, ~from), to);
}

/*
 * What an acknowledgement of the direction's receiver is to its sender. -1: it cannot
 * be known now.
 */
static __always_inline int translate_acknowledgement(struct hf_splice *splice, __u32 direction, __u32 *number)
{
	struct edit_question question = {.splice = splice->id, .direction = direction, .number = *number};

	if (likely(!splice->edited[direction])) {
		*number -= *edits_shift(splice, direction);
	} else {
		if (edit_acknowledge(&question))
			return -1;
		*number = question.number;
	}
	/* What a client got before there was a member. The first number follows, so that it is never half a circle behind. */
	if (direction == HF_ANSWERS) {
		if (sequence_after(splice->member_first, *number))
			*number = splice->member_first;
		else if (unlikely(*number - splice->member_first > TRANSLATE_FAR))
			splice->member_first += TRANSLATE_FAR / 2;
	}
	return 0;
}

/* A segment's number, of so many bytes. CONTINUE: it is translated. */
static __always_inline int translate_sequence(struct hf_splice *splice, __u32 direction, __u32 *number, __u32 size)
{
	struct edit_question question = {.splice = splice->id, .direction = direction, .number = *number, .size = size};

	if (likely(!splice->edited[direction])) {
		*number += *edits_shift(splice, direction);
		return CONTINUE;
	}
	if (edit_sequence(&question))
		return HOOK_DROP; /* counted there */
	*number = question.number;
	return question.covers ? SPLICE_EDIT : CONTINUE;
}

/* An edge of a block that the receiver of `direction` has. */
static __always_inline __u32 translate_edge(struct hf_splice *splice, __u32 direction, __u32 number, bool left)
{
	struct edit_question question = {
		.splice = splice->id, .direction = direction, .number = number, .edge = true, .left = left};

	if (likely(!splice->edited[direction]))
		return number - *edits_shift(splice, direction);
	return edit_acknowledge(&question) ? number : question.number;
}

static __always_inline __u32 translate_echo(const struct hf_splice *splice, __u32 echo)
{
	echo -= splice->timestamp_shift;
	/* What it got before there was a member. */
	return sequence_after(splice->member_timestamp, echo) ? splice->member_timestamp : echo;
}

static __always_inline __u32 translate_timestamp(struct hf_splice *splice, __u32 timestamp)
{
	timestamp += splice->timestamp_shift;
	if (sequence_after(timestamp, splice->timestamp_sent))
		splice->timestamp_sent = timestamp;
	return timestamp;
}

/* Puts a word into the packet's header at any place. Returns the difference that makes to the checksum. */
static __always_inline __u32 translate_put(hook_context *context, __u32 transport, __u32 at, __u32 from, __u32 to)
{
	__be32 word = bpf_htonl(to);
	__u16 difference;

	if (from == to || packet_patch(context, transport + at, &word, sizeof(word)))
		return 0;
	difference = csum_fold(translate_difference(bpf_htonl(from), word));
	return at & 1 ? (__u16)(difference >> 8 | difference << 8) : difference;
}

/* Options that lie elsewhere, and SACK. Returns the checksum's difference. */
static __noinline __u32 translate_options(hook_context *context, const struct packet *packet, struct hf_splice *splice,
					  bool reply)
{
	struct tcp_workplace *workplace = tcp_workplace_get();
	__u32 difference = 0, at;
	struct tcp_seen *seen;

	if (!workplace)
		return 0;
	seen = &workplace->seen;
	if (tcp_load(context, packet, seen))
		return 0;
	at = seen->timestamps_at;
	if (at && reply)
		difference += translate_put(context, packet->transport, at, seen->timestamp,
					    translate_timestamp(splice, seen->timestamp));
	else if (at && packet->tcp_flags & TCP_ACK)
		difference += translate_put(context, packet->transport, at + 4, seen->timestamp_echo,
					    translate_echo(splice, seen->timestamp_echo));
	if (reply && !splice->request_shift && !splice->edited[HF_REQUESTS])
		return difference;
	for (int i = 0; i < 8; i++) {
		__u32 edge;

		at = seen->sack_at + i * 4;
		if ((i + 1) * 4 > seen->sack_length)
			break;
		edge = tcp_header_word(seen, at);
		difference += translate_put(context, packet->transport, at, edge,
					    translate_edge(splice, reply ? HF_REQUESTS : HF_ANSWERS, edge, !(i & 1)));
	}
	return difference;
}

/*
 * What a member's acknowledgement means for the early data. Returns the number that
 * the client is to get. `*again`: the early data is to be sent once more.
 */
static __noinline __u32 translate_early(const struct packet *packet, struct hf_splice *splice, __u32 acknowledgement,
					bool *again)
{
	__u32 floor = splice->flags & HF_SPLICE_ACKNOWLEDGED ? splice->acknowledged : splice->client_first;

	*again = false;
	if (!sequence_after(splice->client_first, acknowledgement))
		splice->flags &= ~HF_SPLICE_PREFACE;
	if (!sequence_after(splice->client_next, acknowledgement)) {
		splice->flags &= ~HF_SPLICE_ACKNOWLEDGED;
		splice_release_early(splice->id);
		return acknowledgement;
	}
	if (splice->flags & (HF_SPLICE_ACKNOWLEDGED | HF_SPLICE_PREFACE) && sequence_after(floor, acknowledgement)) {
		/* The client does not send it again: a repeated acknowledgement asks us to. */
		*again = !packet->payload_length && acknowledgement == splice->member_acknowledged &&
			 clock_milliseconds() - splice->replayed_at > TRANSLATE_REPLAY_EVERY &&
			 !(packet->tcp_flags & (TCP_FIN | TCP_RST));
		if (!*again)
			splice->member_acknowledged = acknowledgement;
		return floor;
	}
	return acknowledgement;
}

/* The windows of the two halves are scaled differently (RFC 7323, 2.3). */
static __always_inline __u16 translate_window(const struct hf_splice *splice, __u16 window, bool reply)
{
	__u32 wide = window;

	if (reply && splice->flags & HF_SPLICE_SCALE && splice->member_scale != HF_WINDOW_SCALE)
		wide = (wide << (splice->member_scale & 15)) >> HF_WINDOW_SCALE;
	else if (!reply && splice->flags & HF_SPLICE_UNSCALE)
		wide <<= splice->client_scale & 15;
	return wide > 0xffff ? 0xffff : wide;
}

/*
 * CONTINUE: the segment is translated, but for addresses and ports. HAND_OVER: it is
 * not, HF_STAGE_REPLAY has to see it (on TC). SPLICE_READ: nor is one that was not
 * read, where it has to be. SPLICE_EDIT: nor is one that has to be changed. Global:
 * verified once.
 */
__noinline int splice_translate(hook_context *context, const struct packet *packet,
				const struct hf_connection *connection, enum translate_known known)
{
	__u32 sequence, acknowledgement, difference = 0, offset;
	struct hf_splice *splice;
	struct tcphdr *tcp;
	bool reply, again;
	int verdict;
	__be32 *option;
	__u16 window;

	if (!packet || !connection)
		return SPLICE_LOST;
	splice = splice_get(connection->splice);
	if (!splice)
		return SPLICE_LOST;
	reply = connection->flags & HF_CONNECTION_REPLY;
	offset = packet->transport & TRANSPORT_OFFSET_MASK;
	tcp = packet_data(context) + offset;
	if (splice->state != HF_SPLICE_BOUND)
		return drop(HF_REASON_opening_stray);
	if ((void *)(tcp + 1) > packet_end(context))
		return drop(HF_REASON_malformed);
	sequence = bpf_ntohl(tcp->seq);
	acknowledgement = bpf_ntohl(tcp->ack_seq);
	window = bpf_ntohs(tcp->window);
	/* Of a segment in fragments only the first would be seen. */
	if (unlikely(packet_is_first_fragment(packet)) && splice->requests.state != HF_READER_OFF) {
		const struct hf_virtual_server *settings = service_settings(splice->virtual_server);

		if (settings && settings->flags & HF_SERVER_FORWARDED_FOR)
			return drop(HF_REASON_request_unread);
		reason_count(HF_REASON_stream_unframed);
		reader_give_up(splice);
	}
	if (reply) {
		/* The SYN-ACK again: the replay was lost. */
		if (unlikely(packet->tcp_flags & TCP_SYN))
			return HAND_OVER;
		if (unlikely(sequence_after(preface_first(splice), acknowledgement)) &&
		    (splice->pieces || splice->flags & HF_SPLICE_PREFACE) && packet->tcp_flags & TCP_ACK &&
		    !(packet->tcp_flags & TCP_RST))
			return drop(HF_REASON_splice_stray);
	}
	if (known == TRANSLATE_UNREAD && packet->payload_length &&
	    !reader_passes(reply ? &splice->answers : &splice->requests, sequence, packet->payload_length))
		return SPLICE_READ;
	verdict = translate_sequence(splice, reply ? HF_ANSWERS : HF_REQUESTS, &sequence,
				     packet->payload_length + !!(packet->tcp_flags & TCP_FIN));
	if (unlikely(verdict != CONTINUE && (verdict != SPLICE_EDIT || known != TRANSLATE_EDITED)))
		return verdict;
	if (packet->tcp_flags & TCP_ACK) {
		if (unlikely(translate_acknowledgement(splice, reply ? HF_REQUESTS : HF_ANSWERS, &acknowledgement)))
			return HOOK_DROP; /* counted there */
		if (reply && unlikely(splice->pieces || splice->flags & HF_SPLICE_PREFACE)) {
			acknowledgement = translate_early(packet, splice, acknowledgement, &again);
			if (again)
				return HAND_OVER;
		}
		if (!reply && unlikely(splice->pieces))
			splice->client_window = window;
	}
	window = translate_window(splice, window, reply);

	option = (__be32 *)(tcp + 1);
	if (likely(tcp->doff == 8 && (void *)(option + 3) <= packet_end(context) &&
		   option[0] == TRANSLATE_COMMON_OPTIONS)) {
		__u32 stamp = bpf_ntohl(option[reply ? 1 : 2]);

		if (reply) {
			__be32 to = bpf_htonl(translate_timestamp(splice, stamp));

			difference += translate_difference(option[1], to);
			option[1] = to;
		} else if (packet->tcp_flags & TCP_ACK) {
			__be32 to = bpf_htonl(translate_echo(splice, stamp));

			difference += translate_difference(option[2], to);
			option[2] = to;
		}
	} else if (tcp->doff > 5) {
		difference += translate_options(context, packet, splice, reply);
		tcp = packet_data(context) + offset;
		if ((void *)(tcp + 1) > packet_end(context))
			return drop(HF_REASON_malformed);
	}
	difference += translate_difference(tcp->seq, bpf_htonl(sequence));
	difference += translate_difference(tcp->ack_seq, bpf_htonl(acknowledgement));
	difference += csum_difference16(tcp->window, bpf_htons(window));
	tcp->seq = bpf_htonl(sequence);
	tcp->ack_seq = bpf_htonl(acknowledgement);
	tcp->window = bpf_htons(window);
	packet_add_to_checksum(context, offset + offsetof(struct tcphdr, check), &tcp->check, csum_fold(difference));
	return CONTINUE;
}
