/* SPDX-License-Identifier: GPL-2.0 */
/*
 * nat46 and nat64: the network header becomes one of the other family (RFC 7915, 4.1
 * and 5.1). Options and extension headers end here; a fragment keeps being one. The
 * transport checksum follows by the addresses alone, which stand in one form here: what
 * else is in the two pseudo headers makes the same sum.
 */
#pragma once

#include "../family.h"
#include "../reject.h"

/* An IPv4 packet that is no longer may be fragmented on its way: its sender takes no smaller MTU (RFC 7915, 5.1). */
#define FAMILY_MAY_FRAGMENT 1260
/* A piece of what is summed: more is too much for the helper. A power of two. */
#define FAMILY_SUM_BYTES 512
/* Where it lies in the message, behind what ICMP has there. */
#define FAMILY_SUM_AT 1024

/* 0: there is no such header. */
static __always_inline __u32 family_make_ipv6(hook_context *context, const struct packet *packet, struct task *task,
					      const __u8 *source, const __u8 *destination)
{
	const struct iphdr *old = packet_data(context) + (packet->network & NETWORK_OFFSET_MASK);
	__u32 payload = packet->network_length - (packet->transport - packet->network);
	struct ipv6hdr *made = &task->header.ipv6;
	__u32 size = sizeof(*made);

	if ((void *)(old + 1) > packet_end(context))
		return 0;
	*(__be32 *)made = bpf_htonl(0x60000000 | (__u32)old->tos << 20);
	made->nexthdr = old->protocol;
	made->hop_limit = old->ttl - 1;
	if (packet->fragment) {
		task->header.fragment.next = old->protocol;
		task->header.fragment.reserved = 0;
		task->header.fragment.offset =
			bpf_htons(packet->fragment << 3 | (packet->fragment & FRAGMENT_MORE ? 1 : 0));
		/* One source of ours has many clients, whose numbers may be the same (RFC 6864, 5.3.1). */
		task->header.fragment.id =
			bpf_htonl((bpf_ntohl(old->saddr) * 0x9e3779b1U & 0xffff0000) | bpf_ntohs(old->id));
		made->nexthdr = IPPROTO_FRAGMENT;
		payload += FAMILY_FRAGMENT_HEADER;
		size += FAMILY_FRAGMENT_HEADER;
	}
	/* More than 64 KB are many segments yet. */
	made->payload_len = payload > 0xffff ? 0 : bpf_htons(payload);
	__builtin_memcpy(&made->saddr, source, 16);
	__builtin_memcpy(&made->daddr, destination, 16);
	return size;
}

static __always_inline __u32 family_make_ipv4(hook_context *context, const struct packet *packet, struct task *task,
					      const __u8 *source, const __u8 *destination)
{
	const struct ipv6hdr *old = packet_data(context) + (packet->network & NETWORK_OFFSET_MASK);
	__u32 headers = packet->transport - packet->network, length;
	struct iphdr *made = &task->header.ipv4;

	if ((void *)(old + 1) > packet_end(context))
		return 0;
	length = packet->network_length - headers + sizeof(*made);
	__builtin_memset(made, 0, sizeof(*made));
	*(__be16 *)made = bpf_htons(0x4500 | (bpf_ntohl(*(const __be32 *)old) >> 20 & 0xff));
	made->tot_len = length > 0xffff ? 0 : bpf_htons(length);
	made->ttl = old->hop_limit - 1;
	made->protocol = packet->flow.protocol;
	if (packet->fragment) {
		made->id = bpf_htons(bpf_ntohl(packet->fragment_id));
		made->frag_off = bpf_htons(packet->fragment);
	} else if (packet_segment_length(context, packet->network_length - packet->payload_length,
					 packet->network_length) -
			   headers + sizeof(*made) <=
		   FAMILY_MAY_FRAGMENT) {
		made->id = bpf_get_prandom_u32();
	} else {
		made->frag_off = bpf_htons(0x4000);
	}
	__builtin_memcpy(&made->saddr, source + 12, 4);
	__builtin_memcpy(&made->daddr, destination + 12, 4);
	made->check = ~csum_fold(csum_words(0, made, sizeof(*made)));
	return sizeof(*made);
}

/* The network header becomes one of the other family, between these addresses. */
static __always_inline int family_write_network(hook_context *context, struct packet *packet, const __u8 *source,
						const __u8 *destination)
{
	struct task *task = task_get();
	bool ipv4 = !packet->ipv4;
	__u32 size;

	if (!task)
		return drop(HF_REASON_state_missing);
	/* What its first one loses, all of them would have to. */
	if (packet_is_later_fragment(packet) && packet->flow.protocol == IPPROTO_DSTOPTS)
		return drop(HF_REASON_fragment_untranslated);
	size = ipv4 ? family_make_ipv4(context, packet, task, source, destination)
		    : family_make_ipv6(context, packet, task, source, destination);
	if (!size)
		return drop(HF_REASON_malformed);
	if (packet_change_header(context, packet->tags, ipv4, packet->transport, size) ||
	    packet_store(context, sizeof(struct ethhdr), &task->header, below(size - 1, 64) + 1))
		return drop(HF_REASON_packet_resize);
	family_note(packet, ipv4, size);
	return CONTINUE;
}

struct family_sum {
	hook_context *context;
	struct message *message;
	__u32 at;
	__u32 left;
	__u32 sum;
};

static long family_sum_piece(__u32 index, struct family_sum *sum)
{
	__u32 size = sum->left < FAMILY_SUM_BYTES ? sum->left : FAMILY_SUM_BYTES;
	__u8 *bytes = sum->message->bytes + FAMILY_SUM_AT;

	if (!size)
		return 1;
	if (size < FAMILY_SUM_BYTES)
		__builtin_memset(bytes, 0, FAMILY_SUM_BYTES);
	if (packet_load(sum->context, sum->at, bytes, below(size - 1, FAMILY_SUM_BYTES) + 1))
		return 1;
	sum->sum = csum_fold(sum->sum + csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)bytes, FAMILY_SUM_BYTES, 0)));
	sum->at += size;
	sum->left -= size;
	return 0;
}

/*
 * The sum of `length` bytes behind the network header, and of a pseudo header with the
 * addresses of the flow; without one, `protocol` is 0. Negative: they are not all
 * here. Global: verified once.
 */
__noinline int family_sum(hook_context *context, const struct packet *packet, const struct hf_flow_key *flow,
			  __u32 length, __u8 protocol)
{
	struct family_sum sum = {.context = context, .message = message_get(), .left = length};

	if (!packet || !flow || !sum.message)
		return -1;
	sum.at = packet->transport;
	bpf_loop(0x10000 / FAMILY_SUM_BYTES, family_sum_piece, &sum, 0);
	if (sum.left)
		return -1;
	if (protocol) {
		/* An IPv4 address' prefix is 0xffff, which is nothing to this sum. */
		sum.sum = csum_words(sum.sum, flow->source, 16);
		sum.sum = csum_words(sum.sum, flow->destination, 16);
		sum.sum += bpf_htons(protocol) + bpf_htons(length);
	}
	return csum_fold(sum.sum);
}

/*
 * An IPv4 datagram without a checksum gets one, for the addresses that it still has: IPv6
 * has none without (RFC 7915, 4.5). Of a fragment it cannot be known. Global: verified once.
 */
__noinline int family_sum_datagram(hook_context *context, const struct packet *packet)
{
	const struct udphdr *udp;
	__be16 check;
	int sum;

	if (!packet)
		return drop(HF_REASON_state_missing);
	udp = packet_data(context) + (packet->transport & TRANSPORT_OFFSET_MASK);
	if ((void *)(udp + 1) > packet_end(context))
		return drop(HF_REASON_malformed);
	if (likely(udp->check))
		return CONTINUE;
	if (packet->fragment)
		return drop(HF_REASON_checksum_missing);
	sum = family_sum(context, packet, &packet->flow, packet->payload_length + sizeof(*udp), IPPROTO_UDP);
	if (sum < 0)
		return drop(HF_REASON_malformed);
	check = ~sum & 0xffff;
	check = check ?: 0xffff;
	if (packet_store(context, packet->transport + offsetof(struct udphdr, check), &check, sizeof(check)))
		return drop(HF_REASON_malformed);
	return CONTINUE;
}
