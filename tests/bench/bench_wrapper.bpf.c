// SPDX-License-Identifier: GPL-2.0
/*
 * What a benchmark runs in place of the data path: it restores the packet's
 * headers and what its connection has been read of, makes the packet that of the next
 * flow, and goes on to the program that is measured. Its own cost is measured with a program that does nothing,
 * and subtracted.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "holdfast/splice.h"

#define HEADERS 88 /* Ethernet, IPv6, TCP with timestamps: 86; the packets are longer than this */

struct bench_plan {
	__u8 headers[HEADERS];
	__u32 flow_mask;         /* flows - 1; a power of two less one */
	__u32 address_offset;    /* of the 4 bytes that tell clients apart */
	__u32 port_offset;       /* of the client's port */
	__u32 fresh_port;        /* 1: each run another port; 0: one port */
	__u32 length;            /* of the packet: what the run before has made longer, or shorter, in front */
	struct hf_splice splice; /* as it is before each run; without an id there is none */
};

/* The data path's own. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct hf_splice);
	__uint(max_entries, 1024);
} splices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct bench_plan);
	__uint(max_entries, 1);
} bench_plan SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} bench_turn SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 2);
} bench_xdp_target SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 2);
} bench_tc_target SEC(".maps");

static __always_inline int bench_prepare(void *data, void *end)
{
	__u32 zero = 0;
	const struct bench_plan *plan = bpf_map_lookup_elem(&bench_plan, &zero);
	__u64 *turn = bpf_map_lookup_elem(&bench_turn, &zero);
	struct hf_splice *splice;
	__u32 *address, flow;
	__u16 *port;

	if (!plan || !turn || data + HEADERS > end)
		return -1;
	__builtin_memcpy(data, plan->headers, HEADERS);
	/* Odd, so each flow comes once in a round, and far apart from the one before. */
	flow = (__u32)(*turn * 2654435761U) & plan->flow_mask;
	address = data + (plan->address_offset & 63);
	port = data + (plan->port_offset & 63);
	if ((void *)(address + 1) > end || (void *)(port + 1) > end)
		return -1;
	*address ^= bpf_htonl(flow);
	if (plan->fresh_port)
		*port = (__u16)(*turn / (plan->flow_mask + 1));
	(*turn)++;
	flow = plan->splice.id & HF_SPLICE_SLOT;
	splice = flow ? bpf_map_lookup_elem(&splices, &flow) : NULL;
	if (splice)
		*splice = plan->splice;
	return 0;
}

/* The packet is as long as it was: its headers' family may have changed. */
static __always_inline int bench_restore_length(struct xdp_md *context)
{
	__u32 zero = 0;
	const struct bench_plan *plan = bpf_map_lookup_elem(&bench_plan, &zero);
	int more;

	if (!plan)
		return -1;
	more = (int)bpf_xdp_get_buff_len(context) - (int)plan->length;
	return more ? bpf_xdp_adjust_head(context, more) : 0;
}

SEC("xdp.frags")
int bench_xdp(struct xdp_md *context)
{
	if (bench_restore_length(context))
		return XDP_ABORTED;
	if (bench_prepare((void *)(long)context->data, (void *)(long)context->data_end))
		return XDP_ABORTED;
	bpf_tail_call(context, &bench_xdp_target, 0);
	return XDP_ABORTED;
}

SEC("xdp.frags")
int bench_xdp_nothing(struct xdp_md *context)
{
	return XDP_PASS;
}

SEC("tc")
int bench_tc(struct __sk_buff *context)
{
	if (bench_prepare((void *)(long)context->data, (void *)(long)context->data_end))
		return TC_ACT_UNSPEC;
	bpf_tail_call(context, &bench_tc_target, 0);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int bench_tc_nothing(struct __sk_buff *context)
{
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
