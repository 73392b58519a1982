/* SPDX-License-Identifier: GPL-2.0 */
/*
 * From bytes to a struct packet: Ethernet, VLAN tags, IPv4 with options, IPv6
 * with extension headers, TCP, UDP. The addresses are looked at as soon as they
 * are known, so that nobody's packet costs no more than that.
 *
 * The struct keeps offsets, not pointers: helpers may move the packet.
 */
#pragma once

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "counters.h"

/* Bounds of the offsets, as masks, which the verifier can follow through the stack. */
#define NETWORK_OFFSET_MASK 0x1f
#define TRANSPORT_OFFSET_MASK 0xff

/* The field of the IPv4 header; IPv6's is brought into the same form. */
#define FRAGMENT_OFFSET 0x1fff
#define FRAGMENT_MORE 0x2000
#define FRAGMENT_NEVER 0x4000 /* "do not fragment" */

struct packet {
	struct hf_flow_key flow;
	__u32 network;        /* offsets from the start of the frame */
	__u32 transport;      /* of a later fragment: of its payload */
	__u32 network_length; /* header and payload */
	__u32 payload_length; /* behind the transport header */
	__u8 ipv4;
	__u8 tags;
	__u8 to_virtual; /* the destination may be a virtual address */
	__u8 tcp_flags;  /* byte 13 of the TCP header; 0 for UDP */
	__u16 fragment;  /* FRAGMENT_*; 0: whole. A later fragment has no transport header: its ports are 0 */
	__u16 pad;
	__be32 fragment_id; /* if it is one */
};

static __always_inline bool packet_is_first_fragment(const struct packet *packet)
{
	return packet->fragment == FRAGMENT_MORE;
}

static __always_inline bool packet_is_later_fragment(const struct packet *packet)
{
	return packet->fragment & FRAGMENT_OFFSET;
}

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* A TCP segment that opens a connection. */
static __always_inline bool packet_opens(const struct packet *packet)
{
	return (packet->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
}

/*
 * A packet that cannot be balanced: the reason matters only to virtual addresses.
 * The filter may have taken another address for one, so ask exactly.
 */
static __noinline int parse_refuse(const struct packet *packet, enum hf_reason reason)
{
	struct hf_service_key key = {};

	__builtin_memcpy(key.address, packet->flow.destination, sizeof(key.address));
	if (!packet->to_virtual || !bpf_map_lookup_elem(&virtual_servers, &key))
		return HOOK_PASS;
	return drop(reason);
}

static __always_inline __u32 address_filter_slot(const __u8 *address)
{
	const __u32 *word = (const __u32 *)address;

	/* Documented in userspace/datapath/encode.h, with which the filter is filled. */
	return ((word[0] ^ word[1] ^ word[2] ^ word[3]) * 0x9e3779b1U) >> 16;
}

/* False: certainly neither to a virtual address nor from a member. */
static __always_inline bool parse_addresses_matter(struct packet *packet)
{
	__u32 zero = 0;
	const struct hf_address_filter *filter = bpf_map_lookup_elem(&addresses, &zero);

	if (!filter)
		return false;
	packet->to_virtual = filter->bits[address_filter_slot(packet->flow.destination)] & HF_ADDRESS_VIRTUAL;
	return packet->to_virtual || filter->bits[address_filter_slot(packet->flow.source)] & HF_ADDRESS_MEMBER;
}

/*
 * Addresses are stored in whole 8-byte words: the hash table reads them so right
 * after, and a read that spans two smaller writes has to wait for both.
 */
static __always_inline void address_from_ipv4(__u8 *address, __be32 ipv4)
{
	__u64 *word = (__u64 *)address;

	word[0] = 0;
	word[1] = (__u64)ipv4 << 32 | bpf_htonl(0xffff);
}

static __always_inline void address_from_ipv6(__u8 *address, const struct in6_addr *ipv6)
{
	__u64 *word = (__u64 *)address;

	word[0] = ((const __u64 *)ipv6)[0];
	word[1] = ((const __u64 *)ipv6)[1];
}

static __always_inline bool address_is_mapped(const __u8 *address)
{
	const __u64 *word = (const __u64 *)address;

	return !word[0] && (__u32)word[1] == bpf_htonl(0xffff);
}

/* Returns the transport protocol, 0 with `verdict` set otherwise. */
static __always_inline __u8 parse_ipv4(hook_context *context, struct packet *packet, int *verdict)
{
	struct iphdr *ip = packet_data(context) + packet->network;
	__u32 header, length;

	*verdict = HOOK_PASS;
	if ((void *)(ip + 1) > packet_end(context))
		return 0;
	packet->ipv4 = true;
	address_from_ipv4(packet->flow.source, ip->saddr);
	address_from_ipv4(packet->flow.destination, ip->daddr);
	/* An error may come from anywhere: whose packet it is about, its quote says. */
	if (!parse_addresses_matter(packet) && ip->protocol != IPPROTO_ICMP)
		return 0;
	header = ip->ihl * 4;
	length = packet_network_length(context, packet->network, bpf_ntohs(ip->tot_len));
	if (ip->version != 4 || header < sizeof(*ip) || length < header) {
		*verdict = parse_refuse(packet, HF_REASON_malformed);
		return 0;
	}
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP && ip->protocol != IPPROTO_ICMP)
		return 0;
	packet->fragment = bpf_ntohs(ip->frag_off) & (FRAGMENT_OFFSET | FRAGMENT_MORE);
	packet->fragment_id = ip->id;
	packet->network_length = length;
	packet->transport = packet->network + header;
	return ip->protocol;
}

struct extension_header {
	__u8 next;
	__u8 length;
	union {
		struct {
			__u8 routing_type;
			__u8 segments_left;
		};
		__be16 fragment_offset; /* and, in the lowest bit, "more fragments" */
	};
};

static __always_inline __u8 parse_ipv6(hook_context *context, struct packet *packet, int *verdict)
{
	struct ipv6hdr *ip = packet_data(context) + packet->network;
	__u32 offset;
	__u8 protocol;

	*verdict = HOOK_PASS;
	if ((void *)(ip + 1) > packet_end(context))
		return 0;
	packet->ipv4 = false;
	address_from_ipv6(packet->flow.source, &ip->saddr);
	address_from_ipv6(packet->flow.destination, &ip->daddr);
	/* On a wire a mapped address is nobody's; here it would be an IPv4 one. */
	if (address_is_mapped(packet->flow.source) || address_is_mapped(packet->flow.destination))
		return 0;
	if (!parse_addresses_matter(packet) && ip->nexthdr != IPPROTO_ICMPV6)
		return 0;
	if (ip->version != 6) {
		*verdict = parse_refuse(packet, HF_REASON_malformed);
		return 0;
	}
	packet->network_length =
		packet_network_length(context, packet->network + sizeof(*ip), bpf_ntohs(ip->payload_len)) + sizeof(*ip);
	packet->fragment = 0;
	protocol = ip->nexthdr;
	offset = packet->network + sizeof(*ip);

	if (unlikely(protocol == IPPROTO_ICMPV6)) {
		packet->transport = offset;
		return protocol;
	}
	for (int i = 0; i <= HF_EXTENSION_HEADERS; i++) {
		struct extension_header *extension;

		if (likely(protocol == IPPROTO_TCP || protocol == IPPROTO_UDP)) {
			packet->transport = offset;
			return protocol;
		}
		if (protocol != IPPROTO_HOPOPTS && protocol != IPPROTO_ROUTING && protocol != IPPROTO_DSTOPTS &&
		    protocol != IPPROTO_FRAGMENT)
			return 0;
		extension = packet_data(context) + (offset & TRANSPORT_OFFSET_MASK);
		if (i == HF_EXTENSION_HEADERS || offset > TRANSPORT_OFFSET_MASK - 60 ||
		    (void *)(extension + 1) > packet_end(context)) {
			*verdict = parse_refuse(packet, HF_REASON_malformed);
			return 0;
		}
		/* An atomic fragment (RFC 6946) is whole. */
		if (protocol == IPPROTO_FRAGMENT && extension->fragment_offset & bpf_htons(0xfff9)) {
			__u16 field = bpf_ntohs(extension->fragment_offset);
			__be32 *id = (void *)(extension + 1);

			if (packet->fragment || (void *)(id + 1) > packet_end(context)) {
				*verdict = parse_refuse(packet, HF_REASON_malformed);
				return 0;
			}
			packet->fragment_id = *id;
			packet->fragment = field >> 3 | (field & 1 ? FRAGMENT_MORE : 0);
			if (packet_is_later_fragment(packet)) {
				packet->transport = offset + 8;
				if (packet->transport > packet->network + packet->network_length) {
					*verdict = parse_refuse(packet, HF_REASON_malformed);
					return 0;
				}
				/* What the first one has behind this header; nobody's if that can be neither TCP nor UDP. */
				protocol = extension->next;
				return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_DSTOPTS
					       ? protocol
					       : 0;
			}
		}
		if (protocol == IPPROTO_ROUTING && extension->segments_left) {
			*verdict = parse_refuse(packet, HF_REASON_routing_header);
			return 0;
		}
		offset += protocol == IPPROTO_FRAGMENT ? 8 : 8 + extension->length * 8;
		protocol = extension->next;
	}
	return 0;
}

/* The last 8 bytes of the key: both ports as they lie in the packet, protocol, padding. */
static __always_inline void flow_set_ports(struct hf_flow_key *flow, const void *transport, __u8 protocol)
{
	*(__u64 *)&flow->source_port = *(const __u32 *)transport | (__u64)protocol << 32;
}

/* The key of what a flow has for one member. On a wire no flow is so marked. */
static __always_inline void flow_mark_member(struct hf_flow_key *key, __u32 member)
{
	key->pad[0] = member;
	key->pad[1] = member >> 8;
	key->pad[2] = member >> 16;
}

static __always_inline bool parse_ports(hook_context *context, struct packet *packet, __u8 protocol)
{
	__u32 payload_end = packet->network + packet->network_length;
	void *transport = packet_data(context) + (packet->transport & TRANSPORT_OFFSET_MASK);
	struct tcphdr *tcp = transport;
	struct udphdr *udp = transport;

	if (packet->transport > TRANSPORT_OFFSET_MASK - sizeof(*tcp))
		return false;
	/* What the network header promises must be there. */
	if (unlikely(packet_data(context) + (payload_end & 0xffff) > packet_end(context) || payload_end > 0xffff) &&
	    packet_length(context) < payload_end)
		return false;
	if (protocol == IPPROTO_TCP) {
		if ((void *)(tcp + 1) > packet_end(context))
			return false;
		if (tcp->doff < 5 || packet->transport + tcp->doff * 4 > payload_end)
			return false;
		flow_set_ports(&packet->flow, transport, protocol);
		packet->tcp_flags = ((__u8 *)tcp)[13];
		packet->payload_length = payload_end - packet->transport - tcp->doff * 4;
		return true;
	}
	if ((void *)(udp + 1) > packet_end(context))
		return false;
	if (packet->transport + sizeof(*udp) > payload_end || bpf_ntohs(udp->len) < sizeof(*udp))
		return false;
	flow_set_ports(&packet->flow, transport, protocol);
	packet->tcp_flags = 0;
	if (unlikely(packet->fragment)) {
		packet->payload_length = payload_end - packet->transport - sizeof(*udp);
		return true;
	}
	packet->payload_length = bpf_ntohs(udp->len) - sizeof(*udp);
	return packet->transport + bpf_ntohs(udp->len) <= payload_end;
}

/* CONTINUE: the packet is TCP or UDP and may be ours. HAND_OVER: it is ICMP. */
static __always_inline int parse_packet(hook_context *context, struct packet *packet)
{
	struct ethhdr *ethernet;
	__u8 protocol;
	__be16 type;
	int verdict;

	packet_linearize(context);
	ethernet = packet_data(context);
	if ((void *)(ethernet + 1) > packet_end(context))
		return HOOK_PASS;
	type = ethernet->h_proto;
	if (unlikely(type != bpf_htons(ETH_P_IP) && type != bpf_htons(ETH_P_IPV6)) && packet_restore_link(context)) {
		ethernet = packet_data(context);
		if ((void *)(ethernet + 1) > packet_end(context))
			return HOOK_PASS;
		type = ethernet->h_proto;
	}
	packet->network = sizeof(*ethernet);
	packet->tags = 0;
	while (unlikely(type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD))) {
		__be16 *tag = packet_data(context) + packet->network;

		if (packet->tags == HF_VLAN_TAGS || (void *)(tag + 2) > packet_end(context))
			return HOOK_PASS;
		type = tag[1];
		packet->network += 4;
		packet->tags++;
	}
	if (type == bpf_htons(ETH_P_IP))
		protocol = parse_ipv4(context, packet, &verdict);
	else if (type == bpf_htons(ETH_P_IPV6))
		protocol = parse_ipv6(context, packet, &verdict);
	else
		return HOOK_PASS;
	if (!protocol)
		return verdict;
	if (unlikely(protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6)) {
		*(__u64 *)&packet->flow.source_port = (__u64)protocol << 32;
		packet->tcp_flags = 0;
		return packet->fragment ? HOOK_PASS : HAND_OVER;
	}
	if (unlikely(packet_is_later_fragment(packet))) {
		/* This would overwrite a TCP header's flags (RFC 1858). */
		if (protocol == IPPROTO_TCP && (packet->fragment & FRAGMENT_OFFSET) == 1)
			return parse_refuse(packet, HF_REASON_malformed);
		packet->payload_length = packet->tcp_flags = 0;
		*(__u64 *)&packet->flow.source_port = (__u64)protocol << 32;
		return CONTINUE;
	}
	if (unlikely(!parse_ports(context, packet, protocol)))
		return parse_refuse(packet, HF_REASON_malformed);
	return CONTINUE;
}
