/* SPDX-License-Identifier: GPL-2.0 */
/* Counting. The counters are per CPU: plain additions. */
#pragma once

#include "maps.h"

static __always_inline void reason_count(enum hf_reason reason)
{
	__u32 key = reason;
	__u64 *counter = bpf_map_lookup_elem(&reasons, &key);

	if (counter)
		(*counter)++;
}

/* The end of a packet, and why. */
static __always_inline int drop(enum hf_reason reason)
{
	reason_count(reason);
	return HOOK_DROP;
}

/* The end of a packet that has done its work: it is stored, or what it asked for is done. */
#define PACKET_TAKEN HOOK_DROP

static __always_inline void traffic_add(struct hf_traffic *traffic, bool reply, __u32 bytes)
{
	if (!traffic)
		return;
	if (reply) {
		traffic->reply_packets++;
		traffic->reply_bytes += bytes;
	} else {
		traffic->forward_packets++;
		traffic->forward_bytes += bytes;
	}
}

static __always_inline void traffic_count(__u32 virtual_server, __u32 member, bool reply, __u32 bytes)
{
	traffic_add(bpf_map_lookup_elem(&virtual_server_counters, &virtual_server), reply, bytes);
	traffic_add(bpf_map_lookup_elem(&member_counters, &member), reply, bytes);
}

static __always_inline void connection_count(__u32 virtual_server, __u32 member)
{
	struct hf_traffic *traffic = bpf_map_lookup_elem(&virtual_server_counters, &virtual_server);

	if (traffic)
		traffic->connections++;
	traffic = bpf_map_lookup_elem(&member_counters, &member);
	if (traffic)
		traffic->connections++;
}

static __always_inline void session_count(__u32 virtual_server, __u32 member)
{
	struct hf_traffic *traffic = bpf_map_lookup_elem(&virtual_server_counters, &virtual_server);

	if (traffic)
		traffic->sessions++;
	traffic = bpf_map_lookup_elem(&member_counters, &member);
	if (traffic)
		traffic->sessions++;
}
