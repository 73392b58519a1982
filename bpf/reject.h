/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Telling a sender "no": a TCP segment becomes the RST that answers it (RFC 9293,
 * 3.10.7.1), any packet the ICMP error that quotes it (RFC 792, 1191, 4443), and goes
 * back the way it came.
 */
#pragma once

#include "task.h"
#include "tcp.h"

/* Global: verified once. */
__noinline int reject_with_reset(hook_context *context, const struct packet *packet)
{
	struct tcp_workplace *workplace = tcp_workplace_get();
	const struct tcphdr *tcp;
	struct segment *segment;

	if (!workplace || !packet)
		return drop(HF_REASON_state_missing);
	tcp = packet_data(context) + (packet->transport & TRANSPORT_OFFSET_MASK);
	if ((void *)(tcp + 1) > packet_end(context))
		return drop(HF_REASON_malformed);
	segment = &workplace->segment;
	if (tcp->ack)
		segment_begin(segment, TCP_RST, bpf_ntohl(tcp->ack_seq), 0, 0);
	else
		segment_begin(segment, TCP_RST | TCP_ACK, 0,
			      bpf_ntohl(tcp->seq) + packet->payload_length + tcp->syn + tcp->fin, 0);
	segment_turn(segment, &packet->flow);
	segment->partial = packet_checksum_is_partial(context, packet->transport + offsetof(struct tcphdr, check));
	if (segment_write(context, packet, segment))
		return drop(HF_REASON_packet_resize);
	return segment_return(context);
}

/* Why, as both families have it. */
enum icmp_error {
	ICMP_PORT_UNREACHABLE,
	ICMP_TOO_BIG,
	ICMP_HOPS_EXCEEDED,
};

/* Bytes of the packet that are quoted, at most. */
#define ICMP_QUOTE 512
#define ICMP_HEADER 8
/* Errors a second and CPU (RFC 4443, 2.4 f). */
#define ICMP_RATE 1000

struct icmp_rate {
	__u32 second;
	__u32 sent;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct icmp_rate);
	__uint(max_entries, 2);
} icmp_rates SEC(".maps");

/* What tells of a path's MTU is not to be crowded out by what anybody can ask for. */
static __always_inline bool icmp_may_send(bool too_big)
{
	__u32 which = too_big, now = clock_now();
	struct icmp_rate *rate = bpf_map_lookup_elem(&icmp_rates, &which);

	if (!rate)
		return false;
	if (rate->second != now) {
		rate->second = now;
		rate->sent = 0;
	}
	return rate->sent++ < ICMP_RATE;
}

/* Type and code, in the first two bytes. */
static __always_inline __u16 icmp_type(const struct packet *packet, enum icmp_error error)
{
	switch (error) {
	case ICMP_TOO_BIG:
		return bpf_htons(packet->ipv4 ? 0x0304 : 0x0200);
	case ICMP_HOPS_EXCEEDED:
		return bpf_htons(packet->ipv4 ? 0x0b00 : 0x0300);
	default:
		return bpf_htons(packet->ipv4 ? 0x0303 : 0x0104);
	}
}

/* The MTU that an error tells of. IPv6 has none that is less. */
static __always_inline __u16 icmp_mtu(bool ipv4, __u32 mtu)
{
	if (!ipv4 && mtu < 1280)
		return 1280;
	return mtu < 0xffff ? mtu : 0xffff;
}

/* The network header in front of an ICMP message of `length` bytes. */
static __always_inline int icmp_write_network(hook_context *context, const struct packet *packet, const __u8 *source,
					      const __u8 *destination, __u32 length, __u8 hops)
{
	struct task *task = task_get();
	struct ipv6hdr *ipv6;
	struct iphdr *ipv4;

	if (!task)
		return -1;
	ipv4 = &task->header.ipv4;
	ipv6 = &task->header.ipv6;
	if (!packet->ipv4) {
		*(__be32 *)ipv6 = bpf_htonl(0x60000000);
		ipv6->payload_len = bpf_htons(length);
		ipv6->nexthdr = IPPROTO_ICMPV6;
		ipv6->hop_limit = hops;
		__builtin_memcpy(&ipv6->saddr, source, 16);
		__builtin_memcpy(&ipv6->daddr, destination, 16);
		return packet_store(context, packet->network, ipv6, sizeof(*ipv6));
	}
	*(__be16 *)ipv4 = bpf_htons(0x4500);
	ipv4->tot_len = bpf_htons(sizeof(*ipv4) + length);
	ipv4->id = 0;
	ipv4->frag_off = bpf_htons(0x4000);
	ipv4->ttl = hops;
	ipv4->protocol = IPPROTO_ICMP;
	ipv4->check = 0;
	__builtin_memcpy(&ipv4->saddr, source + 12, 4);
	__builtin_memcpy(&ipv4->daddr, destination + 12, 4);
	ipv4->check = ~csum_fold(csum_words(0, ipv4, sizeof(*ipv4)));
	return packet_store(context, packet->network, ipv4, sizeof(*ipv4));
}

/*
 * The packet becomes an ICMP error for its sender, or, where that is not to be, is
 * dropped; the reason is counted by the caller. Global: verified once.
 */
__noinline int reject_with_icmp(hook_context *context, const struct packet *packet, __u32 error, __u32 mtu)
{
	struct message *message = message_get();
	__u32 header, size, sum, offset;
	__be16 *word;

	if (!message || !packet)
		return drop(HF_REASON_state_missing);
	if (packet_is_later_fragment(packet) || !icmp_may_send(error == ICMP_TOO_BIG))
		return HOOK_DROP;
	header = segment_network_length(packet);
	size = packet->network_length < ICMP_QUOTE ? packet->network_length : ICMP_QUOTE;
	offset = packet->network + header;
	/* Header and quote in the message, and zeros behind them. */
	__builtin_memset(message->bytes, 0, ICMP_HEADER + ICMP_QUOTE);
	if (packet_load(context, packet->network, message->bytes + ICMP_HEADER, below(size - 1, ICMP_QUOTE) + 1))
		return HOOK_DROP;
	/* A checksum that is left to hardware would be written into the quote. (This spoils the packet's own one.) */
	if (packet_checksum_is_partial(context, packet->transport + (packet->flow.protocol == IPPROTO_TCP
									     ? offsetof(struct tcphdr, check)
									     : offsetof(struct udphdr, check))))
		return HOOK_DROP;
	word = (__be16 *)message->bytes;
	word[0] = icmp_type(packet, error);
	if (error == ICMP_TOO_BIG)
		word[3] = bpf_htons(icmp_mtu(packet->ipv4, mtu));
	sum = bpf_csum_diff(NULL, 0, (__be32 *)message->bytes, ICMP_HEADER, 0);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)(message->bytes + ICMP_HEADER), ICMP_QUOTE, sum);
	sum = csum_fold(sum);
	if (!packet->ipv4) {
		sum = csum_words(sum, packet->flow.source, 16);
		sum = csum_words(sum, packet->flow.destination, 16);
		sum += bpf_htons(IPPROTO_ICMPV6) + bpf_htons(ICMP_HEADER + size);
	}
	word[1] = ~csum_fold(sum);
	/* XDP cannot always make a packet longer; TC can. */
	if (packet_resize(context, offset + ICMP_HEADER + size))
		return HOOK_HAS_LOWER_HOOK ? HOOK_PASS : HOOK_DROP;
	if (icmp_write_network(context, packet, packet->flow.destination, packet->flow.source, ICMP_HEADER + size,
			       64) ||
	    packet_store(context, offset, message->bytes, below(ICMP_HEADER + size - 1, 2 * ICMP_QUOTE) + 1))
		return drop(HF_REASON_packet_resize);
	return segment_return(context);
}

/* The end of a packet that cannot be served. */
static __always_inline int reject(hook_context *context, const struct packet *packet, enum hf_reason reason)
{
	if (packet->flow.protocol == IPPROTO_TCP && packet->tcp_flags & TCP_RST)
		return drop(HF_REASON_rejected_reset);
	reason_count(reason);
	if (packet->flow.protocol != IPPROTO_TCP)
		return reject_with_icmp(context, packet, ICMP_PORT_UNREACHABLE, 0);
	return reject_with_reset(context, packet);
}

/* One that is longer than what its way carries. */
static __always_inline int reject_too_big(hook_context *context, const struct packet *packet, __u32 mtu)
{
	reason_count(HF_REASON_too_big);
	return reject_with_icmp(context, packet, ICMP_TOO_BIG, mtu);
}

/* One that has spent its last hop. */
static __always_inline int reject_expired(hook_context *context, const struct packet *packet)
{
	reason_count(HF_REASON_hop_limit);
	return reject_with_icmp(context, packet, ICMP_HOPS_EXCEEDED, 0);
}
