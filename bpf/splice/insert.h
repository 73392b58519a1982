/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A text is put into a segment in place, on XDP: one, near the segment's beginning, as
 * that of insert-cookie is. What lies in front of it moves into the headroom, the rest
 * stays where it is. Whatever does not fit is TC's (emit.h).
 *
 * The checksum is not made anew: what it says of the bytes behind the text holds, with
 * its two halves exchanged where the text is of odd length.
 */
#pragma once

#include "early_data.h"
#include "marks.h"

/* Of the segment's payload; a status line's end is not further away. Powers of two. */
#define INSERT_FURTHEST 256
#define INSERT_FRONT 512
/* A text that leaves enough of the headroom for 20 bytes more. */
#define INSERT_BEFORE_GROWTH 128

/* Headers and payload in front of the text, then the text, lie in the message. The new checksum. */
static __always_inline __u16 insert_checksum(struct message *message, const struct packet *packet,
					     const struct tcp_seen *seen, __u16 check, __u32 payload, __u32 offset,
					     __u32 put, __u32 front)
{
	/* Of headers (the checksum's own field, too), and of the payload, which is what is missing to 0xffff. */
	__u16 headers = tcp_sum(packet, seen), all = ~headers, rest;
	__u32 sum;

	/* `front`: of the payload in front of the text. */
	rest = csum_fold(all + (__u16)~front);
	if (put & 1)
		rest = rest >> 8 | rest << 8;
	sum = csum_fold(headers + (__u16)~check) + bpf_htons(put);
	sum = csum_fold(sum) + early_sum(message, payload, offset + put);
	return ~csum_fold(csum_fold(sum) + rest);
}

/* The network header's length, in the message. */
static __always_inline void insert_lengthen(struct message *message, const struct packet *packet, __u32 put)
{
	__u32 at = packet->network & NETWORK_OFFSET_MASK;

	if (packet->ipv4) {
		struct iphdr *ip = (struct iphdr *)(message->bytes + at);
		__be16 length = bpf_htons(bpf_ntohs(ip->tot_len) + put);

		ip->check = csum_update(ip->check, csum_difference16(ip->tot_len, length));
		ip->tot_len = length;
	} else {
		struct ipv6hdr *ip = (struct ipv6hdr *)(message->bytes + at);

		ip->payload_len = bpf_htons(bpf_ntohs(ip->payload_len) + put);
	}
}

/* The segment's one edit; `longest`: what the way takes. CONTINUE: it is done. */
static __noinline int insert_in_place(hook_context *context, struct packet *packet, const struct hf_edits *edits,
				      __u32 sequence, __u32 longest)
{
	const struct hf_edit *edit = &edits->list[0];
	struct tcp_workplace *workplace = tcp_workplace_get();
	__u32 offset = edit->at - sequence, put = edit->put, payload, front, sum;
	struct message *message = message_get();
	struct tcphdr *tcp;
	__u16 check;

	if (!workplace || !message || edits->count != 1 || edit->removed || !put || put > HF_EDIT_BYTES ||
	    offset >= INSERT_FURTHEST || packet->network_length + put > longest || packet->fragment)
		return HOOK_PASS;
	payload = (packet->transport & TRANSPORT_OFFSET_MASK) + workplace->seen.length;
	front = payload + offset;
	if (front >= INSERT_FRONT || packet_load(context, 0, message->bytes, below(front - 1, INSERT_FRONT) + 1))
		return HOOK_PASS;
	early_end(message, 0, front);
	sum = early_sum(message, payload, offset);
	bpf_probe_read_kernel(message->bytes + below(front, INSERT_FRONT), HF_EDIT_BYTES, edit->text);
	front += put;
	early_end(message, 0, front);
	tcp = (struct tcphdr *)(message->bytes + (packet->transport & TRANSPORT_OFFSET_MASK));
	check = tcp->check;
	tcp->check = insert_checksum(message, packet, &workplace->seen, check, payload, offset, put, sum);
	insert_lengthen(message, packet, put);
	if (packet_grow_front(context, put))
		return HOOK_PASS; /* it is as it was */
	if (packet_store(context, 0, message->bytes, below(front - 1, 2 * INSERT_FRONT) + 1))
		return drop(HF_REASON_packet_resize);
	packet->network_length += put;
	packet->payload_length += put;
	return CONTINUE;
}
