/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The packet interface on TC (clsact ingress); see packet_xdp.h, its twin.
 * Here a packet may be one that GRO put together, its checksum may be left to
 * hardware (CHECKSUM_PARTIAL), and its outermost VLAN tag lies beside it.
 */
#pragma once

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include "config.h"
#include "csum.h"

typedef struct __sk_buff hook_context;

#define HOOK_PASS TC_ACT_OK
#define HOOK_DROP TC_ACT_SHOT
#define HOOK_HAS_LOWER_HOOK false
#define HOOK_STAGES(STAGE) HF_STAGES_OF_TC(STAGE)
#define HOOK_SECTION SEC("tc")
#define HOOK_PROGRAM(name) holdfast_tc##name

/* What is made linear: all that is parsed lies within (TRANSPORT_OFFSET_MASK). */
#define PACKET_HEADERS 256

static __always_inline void *packet_data(const hook_context *context)
{
	return (void *)(long)context->data;
}

static __always_inline void *packet_end(const hook_context *context)
{
	return (void *)(long)context->data_end;
}

static __always_inline __u32 packet_interface(const hook_context *context)
{
	return context->ifindex;
}

static __always_inline void packet_linearize(hook_context *context)
{
	__u32 linear = context->data_end - context->data;

	if (unlikely(linear < PACKET_HEADERS && linear < context->len))
		bpf_skb_pull_data(context, context->len < PACKET_HEADERS ? context->len : PACKET_HEADERS);
}

/*
 * A packet that generic XDP had to copy comes without its link header on some kernels
 * (seen on Linux 6.18: mac_len is 0, the header lies in front of the data). True: it
 * is where it should be now.
 */
static __noinline bool packet_restore_link(hook_context *context)
{
	struct ethhdr link, *here = packet_data(context);

	if ((void *)(here + 1) > packet_end(context) ||
	    bpf_skb_load_bytes_relative(context, 0, &link, sizeof(link), BPF_HDR_START_MAC) ||
	    link.h_proto == here->h_proto || link.h_proto != context->protocol ||
	    bpf_skb_change_head(context, sizeof(link), 0))
		return false;
	return !bpf_skb_store_bytes(context, 0, &link, sizeof(link), 0);
}

static __always_inline __u32 packet_length(const hook_context *context)
{
	return context->len;
}

static __always_inline int packet_load(hook_context *context, __u32 offset, void *to, __u32 size)
{
	return bpf_skb_load_bytes(context, offset, to, size);
}

static __always_inline int packet_store(hook_context *context, __u32 offset, void *from, __u32 size)
{
	return bpf_skb_store_bytes(context, offset, from, size, BPF_F_RECOMPUTE_CSUM);
}

/* Likewise, of what the TCP checksum covers, where that follows by packet_add_to_checksum(). */
static __always_inline int packet_patch(hook_context *context, __u32 offset, void *from, __u32 size)
{
	return bpf_skb_store_bytes(context, offset, from, size, 0);
}

/* BIG TCP (more than 64 KB in one packet) writes 0 into the length field. */
static __always_inline __u32 packet_network_length(const hook_context *context, __u32 network, __u32 claimed)
{
	return unlikely(!claimed && context->gso_size) ? context->len - network : claimed;
}

static __always_inline bool packet_is_segmented_later(const hook_context *context)
{
	return context->gso_size;
}

/* Of a packet that GRO put together, how long one of its parts is, whose headers have so many bytes. */
static __always_inline __u32 packet_segment_length(const hook_context *context, __u32 headers, __u32 whole)
{
	return context->gso_size ? headers + context->gso_size : whole;
}

/*
 * The kernel's helper knows how the packet's checksum stands: the address is
 * part of the pseudo header, which CHECKSUM_PARTIAL covers, the port is not.
 */
static __always_inline void packet_update_l4_checksum(hook_context *context, __u32 offset, __u16 *check,
						      __u16 address_difference, __be16 old_port, __be16 new_port,
						      bool udp)
{
	__u64 mangled = udp ? BPF_F_MARK_MANGLED_0 : 0;

	bpf_l4_csum_replace(context, offset, 0, address_difference, BPF_F_PSEUDO_HDR | mangled);
	if (old_port != new_port)
		bpf_l4_csum_replace(context, offset, old_port, new_port, sizeof(new_port) | mangled);
}

static __always_inline void packet_add_to_checksum(hook_context *context, __u32 offset, __u16 *check, __u16 difference)
{
	bpf_l4_csum_replace(context, offset, 0, difference, 0);
}

/*
 * Is the checksum left to hardware? There is no field that says so, but the
 * helper leaves the checksum of such a packet alone. Spoils the checksum.
 */
static __always_inline bool packet_checksum_is_partial(hook_context *context, __u32 offset)
{
	__u16 before, after;

	if (bpf_skb_load_bytes(context, offset, &before, sizeof(before)) ||
	    bpf_l4_csum_replace(context, offset, 0, 1, 0) || bpf_skb_load_bytes(context, offset, &after, sizeof(after)))
		return false;
	return before == after;
}

/* Hardware's sum over the whole packet (CHECKSUM_COMPLETE), where it gave one, follows. */
static __always_inline void packet_note_change(hook_context *context, __u32 difference)
{
	bpf_csum_update(context, difference);
}

static __always_inline int packet_resize(hook_context *context, __u32 length)
{
	return bpf_skb_change_tail(context, length, 0);
}

/* The checksum's place, where it is left to hardware, would not move along. */
static __always_inline int packet_grow_front(hook_context *context, __u32 size)
{
	return -1;
}

static __always_inline int packet_out(hook_context *context, __u32 interface)
{
	return bpf_redirect(interface, 0);
}

static __noinline int packet_retag(hook_context *context, __u32 tags, __be16 protocol, __be16 tci)
{
	/* Popping the tag beside the packet moves the next one from the packet to its place. */
	for (int i = 0; i < HF_VLAN_TAGS + 1; i++) {
		if (!context->vlan_present && context->protocol != bpf_htons(0x8100) &&
		    context->protocol != bpf_htons(0x88a8))
			break;
		if (bpf_skb_vlan_pop(context))
			return -1;
	}
	return tci ? bpf_skb_vlan_push(context, protocol, bpf_ntohs(tci)) : 0;
}

/* The plain network header's length becomes the other family's (`ipv4`), and tags end. 0 if it is done. */
static __noinline int packet_set_family(hook_context *context, __u32 tags, bool ipv4)
{
	__be16 type = ipv4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);

	if ((tags && packet_retag(context, tags, 0, 0)) || bpf_skb_change_proto(context, type, 0))
		return -1;
	return bpf_skb_store_bytes(context, offsetof(struct ethhdr, h_proto), &type, sizeof(type), 0);
}

/* What the network header has beside the plain one grows, or shrinks. */
static __always_inline int packet_extend_header(hook_context *context, int difference)
{
	return difference ? bpf_skb_adjust_room(context, difference, BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO) : 0;
}

static __noinline int packet_change_header(hook_context *context, __u32 tags, bool ipv4, __u32 transport, __u32 size)
{
	int plain = ipv4 ? 20 : 40, plain_before = ipv4 ? 40 : 20;
	int before = (int)transport - (int)sizeof(struct ethhdr) - 4 * (int)tags;

	/* The kernel does so only in front of a packet whose tags are gone. */
	if (tags && packet_retag(context, tags, 0, 0))
		return -1;
	if (packet_extend_header(context, plain_before - before) || packet_set_family(context, 0, ipv4))
		return -1;
	return packet_extend_header(context, (int)size - plain);
}

static __noinline int packet_begin_anew(hook_context *context, __u32 tags, bool ipv4, __u32 length)
{
	return packet_set_family(context, tags, ipv4) || packet_resize(context, length) ? -1 : 0;
}

static __always_inline bool packet_has_link_tag(const hook_context *context)
{
	return context->vlan_present;
}

/* The kernel finds, or first resolves, the neighbour. */
static __always_inline int packet_out_neighbour(hook_context *context, __u32 interface)
{
	return bpf_redirect_neigh(interface, NULL, 0, 0);
}

/* The packet, or a copy of it as it is now, comes in once more by the interface that it came by. */
static __always_inline int packet_in(hook_context *context)
{
	return bpf_redirect(context->ifindex, BPF_F_INGRESS);
}

static __always_inline int packet_in_clone(hook_context *context)
{
	return bpf_clone_redirect(context, context->ifindex, BPF_F_INGRESS);
}

/* Sends a copy of the packet, as it is now. */
static __always_inline int packet_out_clone(hook_context *context, __u32 interface)
{
	return bpf_clone_redirect(context, interface, 0);
}
