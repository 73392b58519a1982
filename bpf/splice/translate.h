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

/* Milliseconds between two replays of the same: one lost segment makes many acknowledgements. */
#define TRANSLATE_REPLAY_EVERY 50

/* Is `a` behind `b`? */
static __always_inline bool sequence_after(__u32 a, __u32 b)
{
	return (__s32)(a - b) > 0;
}

static __always_inline __u32 translate_difference(__be32 from, __be32 to)
{
	return csum_add32(csum_add32(0, ~from), to);
}

/* What a client's acknowledgement, or a SACK edge of its, is to the member. */
static __always_inline __u32 translate_acknowledgement(const struct hf_splice *splice, __u32 number)
{
	number -= splice->shift;
	return sequence_after(splice->member_first, number) ? splice->member_first : number;
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
	if (reply)
		return difference;
	for (int i = 0; i < 8; i++) {
		__u32 edge;

		at = seen->sack_at + i * 4;
		if ((i + 1) * 4 > seen->sack_length)
			break;
		edge = tcp_header_word(seen, at);
		difference += translate_put(context, packet->transport, at, edge, edge - splice->shift);
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
 * `read`, where it has to be. Global: verified once.
 */
__noinline int splice_translate(hook_context *context, const struct packet *packet,
				const struct hf_connection *connection, bool read)
{
	__u32 sequence, acknowledgement, difference = 0, offset;
	struct hf_splice *splice;
	struct tcphdr *tcp;
	bool reply, again;
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
		reason_count(HF_REASON_stream_unframed);
		reader_give_up(splice);
	}
	if (reply) {
		/* The SYN-ACK again: the replay was lost. */
		if (unlikely(packet->tcp_flags & TCP_SYN))
			return HAND_OVER;
		if (unlikely(sequence_after(preface_first(splice), acknowledgement)) && packet->tcp_flags & TCP_ACK &&
		    !(packet->tcp_flags & TCP_RST))
			return drop(HF_REASON_splice_stray);
	}
	if (!read && packet->payload_length &&
	    !reader_passes(reply ? &splice->answers : &splice->requests, sequence, packet->payload_length))
		return SPLICE_READ;
	if (reply) {
		if (unlikely(splice->pieces || splice->flags & HF_SPLICE_PREFACE) && packet->tcp_flags & TCP_ACK) {
			acknowledgement = translate_early(packet, splice, acknowledgement, &again);
			if (again)
				return HAND_OVER;
		}
		sequence += splice->shift;
	} else if (packet->tcp_flags & TCP_ACK) {
		acknowledgement = translate_acknowledgement(splice, acknowledgement);
		if (unlikely(splice->pieces))
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
