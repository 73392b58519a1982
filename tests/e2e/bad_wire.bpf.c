// SPDX-License-Identifier: GPL-2.0
/*
 * A wire that loses, doubles and reorders packets, on TC ingress. What is to come
 * late goes through the interface's queue once more, behind what is there already.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#define LATE 0x4c415445 /* this packet has been late already */

/* In parts of a thousand: set by the test, as the map's value. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} per_mille SEC(".maps");

SEC("tc")
int bad_wire(struct __sk_buff *context)
{
	__u32 zero = 0, dice = bpf_get_prandom_u32() % 1000;
	const __u32 *part = bpf_map_lookup_elem(&per_mille, &zero);

	if (!part || context->mark == LATE)
		return TC_ACT_UNSPEC; /* on to the next filter, which may be Holdfast's */
	if (dice < *part)
		return TC_ACT_SHOT;
	if (dice < 2 * *part) {
		context->mark = LATE;
		bpf_clone_redirect(context, context->ifindex, BPF_F_INGRESS);
		return TC_ACT_UNSPEC;
	}
	if (dice < 3 * *part) {
		context->mark = LATE;
		return bpf_redirect(context->ifindex, BPF_F_INGRESS);
	}
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "GPL";
