/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where a translated packet leaves. Connections hold an index of `next_hops`,
 * which the daemon keeps from the kernel's neighbour table. Behind that stands
 * the FIB: asked when the index is not known, and once a second per next hop
 * and after every change of routes, so that a dead daemon is no black hole.
 */
#pragma once

#include "clock.h"
#include "family.h"
#include "fragment.h"

#ifndef AF_INET
#define AF_INET 2
#define AF_INET6 10
#endif

struct next_hop_answer {
	struct hf_next_hop hop; /* as the FIB has it */
	__u32 index;            /* of next_hops; 0: not in the mirror */
	bool resolved;          /* the neighbour's MAC is known */
};

static __always_inline __u16 routes_generation(void)
{
	__u32 zero = 0;
	const struct hf_routes *now = bpf_map_lookup_elem(&routes, &zero);

	return now ? now->generation : 0;
}

static __always_inline void routes_changed(void)
{
	__u32 zero = 0;
	struct hf_routes *now = bpf_map_lookup_elem(&routes, &zero);

	if (now)
		__sync_fetch_and_add(&now->generation, 1);
}

/*
 * Ask the FIB for the way of a packet, as it will be when `connection` has
 * translated it. 0 if there is one, otherwise the reason (too_big, no_route). Global:
 * verified once.
 */
__noinline int next_hop_ask(hook_context *context, const struct packet *packet, const struct hf_connection *connection,
			    struct next_hop_answer *answer)
{
	struct bpf_fib_lookup fib = {.ifindex = packet_interface(context)};
	struct hf_next_hop_key key = {};
	const __u8 *source, *destination;
	const struct hf_other_end *client;
	const __u32 *index;
	bool reply;
	int result;

	if (!packet || !connection || !answer)
		return HF_REASON_state_missing;
	reply = connection->flags & HF_CONNECTION_REPLY;
	source = reply ? connection->address : packet->flow.source;
	destination = reply ? packet->flow.destination : connection->address;
	if (unlikely(reply && connection_has_other_end(connection))) {
		client = fragment_other_end(packet);
		if (!client)
			return HF_REASON_state_missing;
		destination = client->address;
	}

	/* Its source may be of the other family (nat46, nat64): routes do not go by it then. */
	if (address_is_mapped(destination)) {
		fib.family = AF_INET;
		if (address_is_mapped(source))
			__builtin_memcpy(&fib.ipv4_src, source + 12, 4);
		__builtin_memcpy(&fib.ipv4_dst, destination + 12, 4);
	} else {
		fib.family = AF_INET6;
		if (!address_is_mapped(source))
			__builtin_memcpy(fib.ipv6_src, source, 16);
		__builtin_memcpy(fib.ipv6_dst, destination, 16);
	}
	/* Where the packet is to be of another length, the kernel is told: it would look at that of now. */
	if (family_changes(connection) && !packet_is_segmented_later(context))
		fib.tot_len =
			packet->network_length - (packet->transport - packet->network) + family_new_length(packet);
	result = bpf_fib_lookup(context, &fib, sizeof(fib), 0);
	__builtin_memset(answer, 0, sizeof(*answer));
	answer->hop.mtu = fib.mtu_result ?: ~0U;
	if (result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH)
		return result == BPF_FIB_LKUP_RET_FRAG_NEEDED ? HF_REASON_too_big : HF_REASON_no_route;
	answer->hop.interface = fib.ifindex;
	answer->resolved = result == BPF_FIB_LKUP_RET_SUCCESS;
	if (!answer->resolved)
		return 0;
	__builtin_memcpy(answer->hop.destination_mac, fib.dmac, 6);
	__builtin_memcpy(answer->hop.source_mac, fib.smac, 6);
	key.interface = fib.ifindex;
	__builtin_memcpy(key.mac, fib.dmac, 6);
	index = bpf_map_lookup_elem(&next_hop_index, &key);
	if (index)
		answer->index = *index;
	return 0;
}

static __noinline void next_hop_ask_again(hook_context *context, const struct packet *packet,
					  struct hf_connection *connection, struct hf_next_hop *hop, __u32 now)
{
	__u32 index = connection->next_hop, member_id = connection->member;
	__u16 generation = routes_generation();
	bool changed = connection->route_generation != generation;
	struct next_hop_answer answer;
	struct hf_member *member;

	hop->checked_at = now;
	connection->route_generation = generation;
	if (next_hop_ask(context, packet, connection, &answer))
		return; /* no answer at all: what was good is as good as anything */
	if (!answer.resolved && !changed)
		return;
	if (answer.index != index) {
		reason_count(HF_REASON_next_hop_changed);
		connection->next_hop = answer.index;
	}
	if (connection->flags & HF_CONNECTION_REPLY)
		member = NULL;
	else
		member = bpf_map_lookup_elem(&members, &member_id);
	if (member && member->next_hop == index) {
		member->next_hop = answer.index;
		member->route_generation = generation;
	}
	/* Nobody has told of this change: all others have to look for themselves. */
	if (answer.index != index && !changed)
		routes_changed();
}

/*
 * Once a second for one connection of each next hop, and for each connection and
 * member once after routes have changed: does the FIB still agree?
 */
static __always_inline void next_hop_check(hook_context *context, const struct packet *packet,
					   struct hf_connection *connection, __u32 now)
{
	__u32 index = connection->next_hop;
	struct hf_next_hop *hop = bpf_map_lookup_elem(&next_hops, &index);

	if (!hop || !index)
		return; /* not known: asked for with every packet anyway */
	if (hop->checked_at != now || connection->route_generation != routes_generation())
		next_hop_ask_again(context, packet, connection, hop, now);
}
