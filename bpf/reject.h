/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Telling a client "no": a TCP segment becomes the RST that answers it (RFC 9293,
 * 3.10.7.1), and goes back the way it came. Extension headers, IP options and
 * payload are cut off, so the checksums are made from nothing.
 */
#pragma once

#include "parse.h"

static __always_inline __u32 csum_words(__u32 sum, const void *bytes, int count)
{
	const __u16 *word = bytes;

	for (int i = 0; i < count / 2; i++)
		sum += word[i];
	return sum;
}

static __noinline int reject_with_reset(hook_context *context, const struct packet *packet)
{
	__u32 network = packet->network & NETWORK_OFFSET_MASK;
	__u32 header = packet->ipv4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	struct tcphdr *old = packet_data(context) + (packet->transport & TRANSPORT_OFFSET_MASK);
	__u8 mac[ETH_ALEN];
	struct tcphdr reset = {};
	struct ethhdr *ethernet;
	struct tcphdr *tcp;
	__u32 sum;

	if ((void *)(old + 1) > packet_end(context))
		return HOOK_DROP;
	reset.source = old->dest;
	reset.dest = old->source;
	reset.doff = sizeof(reset) / 4;
	reset.rst = 1;
	if (old->ack) {
		reset.seq = old->ack_seq;
	} else {
		reset.ack = 1;
		reset.ack_seq = bpf_htonl(bpf_ntohl(old->seq) + packet->payload_length + old->syn + old->fin);
	}
	/* The pseudo header of the answer has the same sum as that of the question. */
	sum = csum_words(0, packet->flow.source + (packet->ipv4 ? 12 : 0), packet->ipv4 ? 4 : 16);
	sum = csum_words(sum, packet->flow.destination + (packet->ipv4 ? 12 : 0), packet->ipv4 ? 4 : 16);
	sum += bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(reset));
	if (packet_checksum_is_partial(context, packet->transport + offsetof(struct tcphdr, check))) {
		if (packet->transport != network + header)
			return HOOK_DROP; /* the place where hardware begins to sum would be wrong */
		reset.check = csum_fold(sum);
	} else {
		reset.check = ~csum_fold(csum_words(sum, &reset, sizeof(reset)));
	}
	if (packet_shrink(context, network + header + sizeof(reset)))
		return HOOK_DROP;
	packet_linearize(context);
	ethernet = packet_data(context);
	if ((void *)(ethernet + 1) > packet_end(context))
		return HOOK_DROP;
	__builtin_memcpy(mac, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, ethernet->h_source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, mac, ETH_ALEN);
	if (packet->ipv4) {
		struct iphdr *ip = packet_data(context) + network;

		if ((void *)(ip + 1) > packet_end(context))
			return HOOK_DROP;
		*(__u16 *)ip = bpf_htons(0x4500);
		ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(reset));
		ip->id = 0;
		ip->frag_off = bpf_htons(0x4000);
		ip->ttl = 64;
		ip->protocol = IPPROTO_TCP;
		ip->check = 0;
		__builtin_memcpy(&ip->saddr, packet->flow.destination + 12, 4);
		__builtin_memcpy(&ip->daddr, packet->flow.source + 12, 4);
		ip->check = ~csum_fold(csum_words(0, ip, sizeof(*ip)));
		tcp = (void *)(ip + 1);
	} else {
		struct ipv6hdr *ip = packet_data(context) + network;

		if ((void *)(ip + 1) > packet_end(context))
			return HOOK_DROP;
		*(__be32 *)ip = bpf_htonl(0x60000000);
		ip->payload_len = bpf_htons(sizeof(reset));
		ip->nexthdr = IPPROTO_TCP;
		ip->hop_limit = 64;
		__builtin_memcpy(&ip->saddr, packet->flow.destination, 16);
		__builtin_memcpy(&ip->daddr, packet->flow.source, 16);
		tcp = (void *)(ip + 1);
	}
	if ((void *)(tcp + 1) > packet_end(context))
		return HOOK_DROP;
	*tcp = reset;
	return packet_out(context, packet_interface(context));
}

/* The end of a packet for a virtual server that cannot be served. */
static __always_inline int reject(hook_context *context, const struct packet *packet, enum hf_reason reason)
{
	if (packet->flow.protocol != IPPROTO_TCP) {
		reason_count(reason);
		return HOOK_DROP;
	}
	if (packet->tcp_flags & TCP_RST) {
		reason_count(HF_REASON_rejected_reset);
		return HOOK_DROP;
	}
	reason_count(reason);
	return reject_with_reset(context, packet);
}
