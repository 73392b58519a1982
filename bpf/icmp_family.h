/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ICMP errors with nat46 and nat64: types, codes, MTUs and pointers of one family in the
 * other's (RFC 7915, 4.2 and 5.2), and the quote, whose header is the other family's, too.
 */
#pragma once

#include "forward/nat46.h"

/* Where the error is made, in the message: behind what was read. */
#define ICMP_MADE 256
/* Of the quoted transport header and what follows it. */
#define ICMP_QUOTED_TRANSPORT 96
#define ICMP_MADE_MOST (ICMP_HEADER + sizeof(struct ipv6hdr) + ICMP_QUOTED_TRANSPORT)
#define ICMP_NO_EQUIVALENT 0xffff

/* What an error quotes, in the message. */
struct icmp_quote {
	__u32 at;     /* of the transport header */
	__u32 length; /* of what is here, from the ICMP header on */
	__u8 protocol;
	bool ipv4;
	bool fragment; /* IPv6: the first one, with a header of its own in front of `at` */
};

/* Where a field of IPv4's header is in IPv6's, by its first byte, and the other way round. 0xff: nowhere. */
static __always_inline __u32 icmp_pointer_to_ipv6(__u32 pointer)
{
	if (pointer < 2)
		return pointer;
	if (pointer < 4)
		return 4; /* the length */
	if (pointer == 8)
		return 7; /* the hops */
	if (pointer == 9)
		return 6; /* the protocol */
	if (pointer >= 12 && pointer < 20)
		return pointer < 16 ? 8 : 24; /* the addresses */
	return 0xff;
}

static __always_inline __u32 icmp_pointer_to_ipv4(__u32 pointer)
{
	if (pointer < 2)
		return pointer;
	if (pointer == 4 || pointer == 5)
		return 2;
	if (pointer == 6)
		return 9;
	if (pointer == 7)
		return 8;
	if (pointer >= 8 && pointer < 40)
		return pointer < 24 ? 12 : 16;
	return 0xff;
}

/* Type and code of an IPv4 error in IPv6, and the word behind its checksum. */
static __always_inline __u32 icmp_to_ipv6(__u8 type, __u8 code, __u32 *word)
{
	__u32 mtu = *word & 0xffff, pointer = icmp_pointer_to_ipv6(*word >> 24);

	*word = 0;
	if (type == 11)
		return 0x0300 | code;
	if (type == 12) {
		*word = pointer;
		return pointer == 0xff || (code != 0 && code != 2) ? ICMP_NO_EQUIVALENT : 0x0400;
	}
	switch (code) {
	case 2: /* the protocol: IPv6's field for it */
		*word = 6;
		return 0x0401;
	case 3:
		return 0x0104;
	case 4:
		*word = icmp_mtu(false, mtu + sizeof(struct ipv6hdr) - sizeof(struct iphdr));
		return 0x0200;
	case 9:
	case 10:
	case 13:
	case 15:
		return 0x0101;
	case 0:
	case 1:
	case 5:
	case 6:
	case 7:
	case 8:
	case 11:
	case 12:
		return 0x0100;
	default: /* about precedence, or unknown */
		return ICMP_NO_EQUIVALENT;
	}
}

static __always_inline __u32 icmp_to_ipv4(__u8 type, __u8 code, __u32 *word)
{
	__u32 value = *word, pointer = icmp_pointer_to_ipv4(value);

	*word = 0;
	switch (type) {
	case 1:
		if (code == 4)
			return 0x0303;
		if (code == 1)
			return 0x030a;
		return code > 4 ? ICMP_NO_EQUIVALENT : 0x0301;
	case 2:
		if (value < 1280)
			value = 1280;
		value -= sizeof(struct ipv6hdr) - sizeof(struct iphdr);
		*word = value < 0xffff ? value : 0xffff;
		return 0x0304;
	case 3:
		return 0x0b00 | code;
	default:
		if (code == 1)
			return 0x0302;
		*word = pointer << 24;
		return code || pointer == 0xff ? ICMP_NO_EQUIVALENT : 0x0c00;
	}
}

/* The header of the quoted packet, as its sender had written it, but for the addresses. Its length. */
static __always_inline __u32 icmp_make_quoted_header(struct message *message, const struct icmp_quote *quote)
{
	__u8 *old = message->bytes + ICMP_HEADER, *made = message->bytes + ICMP_MADE + ICMP_HEADER;
	struct ipv6hdr *ipv6 = quote->ipv4 ? (void *)made : (void *)old;
	struct iphdr *ipv4 = quote->ipv4 ? (void *)old : (void *)made;

	if (quote->ipv4) {
		*(__be32 *)ipv6 = bpf_htonl(0x60000000 | (__u32)ipv4->tos << 20);
		ipv6->payload_len = bpf_htons(bpf_ntohs(ipv4->tot_len) - ipv4->ihl * 4);
		ipv6->nexthdr = ipv4->protocol;
		ipv6->hop_limit = ipv4->ttl;
		return sizeof(*ipv6);
	}
	*(__be16 *)ipv4 = bpf_htons(0x4500 | (bpf_ntohl(*(__be32 *)ipv6) >> 20 & 0xff));
	ipv4->tot_len =
		bpf_htons(bpf_ntohs(ipv6->payload_len) + ICMP_HEADER + sizeof(*ipv6) - quote->at + sizeof(*ipv4));
	ipv4->id = quote->fragment ? *(__be16 *)(message->bytes + ICMP_HEADER + sizeof(*ipv6) + 6) : 0;
	ipv4->frag_off = quote->fragment ? bpf_htons(FRAGMENT_MORE) : bpf_htons(0x4000);
	ipv4->ttl = ipv6->hop_limit;
	ipv4->protocol = quote->protocol;
	ipv4->check = 0;
	return sizeof(*ipv4);
}

/* Its addresses, and behind it what is quoted of the rest. */
static __always_inline void icmp_make_quote(struct message *message, const struct icmp_quote *quote, const __u8 *source,
					    const __u8 *destination)
{
	__u8 *made = message->bytes + ICMP_MADE + ICMP_HEADER;
	const __u8 *rest = message->bytes + below(quote->at, 128);
	struct ipv6hdr *ipv6 = (void *)made;
	struct iphdr *ipv4 = (void *)made;

	if (quote->ipv4) {
		__builtin_memcpy(&ipv6->saddr, source, 16);
		__builtin_memcpy(&ipv6->daddr, destination, 16);
		bpf_probe_read_kernel(made + sizeof(*ipv6), ICMP_QUOTED_TRANSPORT, rest);
		return;
	}
	__builtin_memcpy(&ipv4->saddr, source + 12, 4);
	__builtin_memcpy(&ipv4->daddr, destination + 12, 4);
	ipv4->check = ~csum_fold(csum_words(0, ipv4, sizeof(*ipv4)));
	bpf_probe_read_kernel(made + sizeof(*ipv4), ICMP_QUOTED_TRANSPORT, rest);
}

/* The packet becomes the error between the ends of task->reply. Ports and checksum in the quote are right already. */
static __always_inline int icmp_change_family(hook_context *context, struct task *task, struct message *message,
					      const struct icmp_quote *quote)
{
	const __u8 *source = task->reply.source, *destination = task->reply.destination;
	struct packet *packet = &task->packet;
	__be32 *old = (__be32 *)message->bytes, *made = (__be32 *)(message->bytes + ICMP_MADE);
	const __u8 *network = packet_data(context) + (packet->network & NETWORK_OFFSET_MASK);
	__u32 word = bpf_ntohl(old[1]), type, size, sum;
	__u8 *bytes = message->bytes, hops;

	if ((void *)(network + sizeof(struct iphdr)) > packet_end(context))
		return drop(HF_REASON_malformed);
	hops = network[packet->ipv4 ? offsetof(struct iphdr, ttl) : offsetof(struct ipv6hdr, hop_limit)] - 1;
	type = packet->ipv4 ? icmp_to_ipv6(bytes[0], bytes[1], &word) : icmp_to_ipv4(bytes[0], bytes[1], &word);
	if (type == ICMP_NO_EQUIVALENT)
		return drop(HF_REASON_icmp_untranslated);
	__builtin_memset(made, 0, ICMP_MADE_MOST);
	*(__be16 *)made = bpf_htons(type);
	made[1] = bpf_htonl(word);
	size = quote->length - quote->at;
	if (size > ICMP_QUOTED_TRANSPORT)
		size = ICMP_QUOTED_TRANSPORT;
	size += ICMP_HEADER + icmp_make_quoted_header(message, quote);
	/* The quoted packet goes the other way. */
	icmp_make_quote(message, quote, destination, source);
	sum = bpf_csum_diff(NULL, 0, made, ICMP_MADE_MOST, 0);
	sum = csum_fold(sum);
	if (packet->ipv4) {
		sum = csum_words(sum, source, 16);
		sum = csum_words(sum, destination, 16);
		sum += bpf_htons(IPPROTO_ICMPV6) + bpf_htons(size);
	}
	((__be16 *)made)[1] = ~csum_fold(sum);
	word = family_header_length(!packet->ipv4);
	if (packet_begin_anew(context, packet->tags, !packet->ipv4, sizeof(struct ethhdr) + word + size))
		return drop(HF_REASON_packet_resize);
	family_note(packet, !packet->ipv4, word);
	if (icmp_write_network(context, packet, source, destination, size, hops) ||
	    packet_store(context, packet->transport, made, below(size - 1, 256) + 1))
		return drop(HF_REASON_packet_resize);
	return CONTINUE;
}
