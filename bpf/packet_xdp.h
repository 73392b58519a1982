/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The packet interface on XDP. The data path is written against the functions
 * of this file and its twin, packet_skb.h.
 */
#pragma once

#include <linux/if_ether.h>

#include "config.h"
#include "csum.h"

typedef struct xdp_md hook_context;

#define HOOK_PASS XDP_PASS
#define HOOK_DROP XDP_DROP

/* XDP may hand a packet, untouched, to the TC program of the same interface. */
#define HOOK_HAS_LOWER_HOOK true
/* Stages that only this hook has. */
#define HOOK_STAGES(STAGE)

/* "frags": also on interfaces with jumbo frames, whose packets are in pieces. */
#define HOOK_SECTION SEC("xdp.frags")
#define HOOK_PROGRAM(name) holdfast_xdp##name

static __always_inline void *packet_data(const hook_context *context)
{
	return (void *)(long)context->data;
}

static __always_inline void *packet_end(const hook_context *context)
{
	return (void *)(long)context->data_end;
}

/* The interface that the packet came in by. */
static __always_inline __u32 packet_interface(const hook_context *context)
{
	return context->ingress_ifindex;
}

/* Headers are always in the linear part of an XDP buffer. */
static __always_inline void packet_linearize(hook_context *context) {}

static __always_inline bool packet_restore_link(hook_context *context)
{
	return false; /* it is always there */
}

/* All bytes, also those of fragments behind the linear part. */
static __noinline __u32 packet_length(hook_context *context)
{
	return bpf_xdp_get_buff_len(context);
}

/* Copies `size` bytes, wherever they are. 0 if they are there. */
static __always_inline int packet_load(hook_context *context, __u32 offset, void *to, __u32 size)
{
	return bpf_xdp_load_bytes(context, offset, to, size);
}

/* Writes `size` bytes. 0 if they are there. */
static __always_inline int packet_store(hook_context *context, __u32 offset, void *from, __u32 size)
{
	return bpf_xdp_store_bytes(context, offset, from, size);
}

/* Likewise, of what the TCP checksum covers, where that follows by packet_add_to_checksum(). */
static __always_inline int packet_patch(hook_context *context, __u32 offset, void *from, __u32 size)
{
	return bpf_xdp_store_bytes(context, offset, from, size);
}

/* The network layer's length, where the header's own field claims `claimed`. */
static __always_inline __u32 packet_network_length(const hook_context *context, __u32 network, __u32 claimed)
{
	return claimed;
}

/* A frame cannot come in once more: TC's packets can. */
static __always_inline int packet_in(hook_context *context)
{
	return HOOK_PASS;
}

static __always_inline int packet_in_clone(hook_context *context)
{
	return -1;
}

/* XDP sees single frames; a TC packet may be many that GRO put together. */
static __always_inline bool packet_is_segmented_later(const hook_context *context)
{
	return false;
}

static __always_inline __u32 packet_segment_length(const hook_context *context, __u32 headers, __u32 whole)
{
	return whole;
}

/* Update a TCP or UDP checksum in place for a changed address and port. */
static __always_inline void packet_update_l4_checksum(hook_context *context, __u32 offset, __u16 *check,
						      __u16 address_difference, __be16 old_port, __be16 new_port,
						      bool udp)
{
	__u16 updated;

	if (udp && !*check)
		return; /* none was made (RFC 768); IPv6 packets without one keep it so */
	updated = csum_update(*check, address_difference + csum_difference16(old_port, new_port));
	*check = udp && !updated ? 0xffff : updated;
}

/* Update a TCP checksum in place for `difference` in what it covers, other than addresses. */
static __always_inline void packet_add_to_checksum(hook_context *context, __u32 offset, __u16 *check, __u16 difference)
{
	*check = csum_update(*check, difference);
}

static __always_inline bool packet_checksum_is_partial(hook_context *context, __u32 offset)
{
	return false;
}

/* Bytes that no checksum in the packet covers have changed by this sum. */
static __always_inline void packet_note_change(hook_context *context, __u32 difference) {}

/* Make the packet `length` bytes long. Growing may fail here. */
static __always_inline int packet_resize(hook_context *context, __u32 length)
{
	return bpf_xdp_adjust_tail(context, (int)length - (int)packet_length(context));
}

/* Room in front: its bytes are to be written. */
static __always_inline int packet_grow_front(hook_context *context, __u32 size)
{
	return bpf_xdp_adjust_head(context, -(int)size);
}

static __always_inline int packet_set_type(hook_context *context, bool ipv4)
{
	struct ethhdr *ethernet = packet_data(context);

	if ((void *)(ethernet + 1) > packet_end(context))
		return -1;
	ethernet->h_proto = ipv4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	return 0;
}

/*
 * What is in front of the transport header becomes a link header, without tags, and a
 * network header of `size` bytes, of the other family (`ipv4`), that is to be written. 0 if
 * it is done.
 */
static __always_inline int packet_change_header(hook_context *context, __u32 tags, bool ipv4, __u32 transport,
						__u32 size)
{
	if (bpf_xdp_adjust_head(context, (int)transport - (int)(sizeof(struct ethhdr) + size)))
		return -1;
	return packet_set_type(context, ipv4);
}

/* The packet becomes one of the other family, `length` bytes long: all of it is to be written. 0 if it is done. */
static __always_inline int packet_begin_anew(hook_context *context, __u32 tags, bool ipv4, __u32 length)
{
	int more = (int)length - (int)packet_length(context);

	if (more > 0 ? bpf_xdp_adjust_head(context, -more) : bpf_xdp_adjust_tail(context, more))
		return -1;
	return packet_set_type(context, ipv4);
}

static __always_inline int packet_out(hook_context *context, __u32 interface)
{
	if (interface == packet_interface(context) && !hairpin_by_redirect)
		return XDP_TX;
	return bpf_redirect(interface, 0);
}

/*
 * Change the tags in front of the network header: `tags` are there, the next hop
 * wants one or none. The link header is left to be written by the caller.
 */
static __noinline int packet_retag(hook_context *context, __u32 tags, __be16 protocol, __be16 tci)
{
	int wanted = tci ? 1 : 0;
	struct {
		__be16 tci;
		__be16 protocol;
	} *tag;
	__be16 *field;
	void *data;
	__be16 inner;

	if (tags > HF_VLAN_TAGS)
		return -1;
	/* The EtherType that belongs to the network header. */
	data = packet_data(context);
	field = data + 12 + 4 * tags;
	if ((void *)(field + 1) > packet_end(context))
		return -1;
	inner = *field;
	if ((int)tags != wanted && bpf_xdp_adjust_head(context, 4 * ((int)tags - wanted)))
		return -1;
	data = packet_data(context);
	field = data + 12;
	if ((void *)(field + 3) > packet_end(context))
		return -1;
	*field = inner;
	if (wanted) {
		*field = protocol;
		tag = (void *)(field + 1);
		tag->tci = tci;
		tag->protocol = inner;
	}
	return 0;
}

static __always_inline bool packet_has_link_tag(const hook_context *context)
{
	return false; /* XDP sees all tags in the packet */
}

static __always_inline int packet_out_neighbour(hook_context *context, __u32 interface)
{
	return HOOK_PASS;
}
