/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The rules that read addresses only:
 *   source-address            key: the client's address, cut to the rule's mask
 *   source-address-hash       hash of the whole address
 *   source-address-port-hash  hash of address and port
 */
#pragma once

#include "../parse.h"
#include "holdfast/siphash.h"

static __always_inline void address_mask(__u8 *address, __u32 first_bit, __u32 bits)
{
	__be32 *word = (__be32 *)address;

	for (__u32 i = 0; i < 4; i++) {
		__u32 start = i * 32, end = first_bit + bits;

		if (end <= start)
			word[i] = 0;
		else if (end < start + 32)
			word[i] &= bpf_htonl(~0U << (start + 32 - end));
	}
}

/* The client's address is given by itself: in a reply it is the destination. */
static __always_inline void source_address_key(struct hf_session_key *key, const struct hf_rule *rule, __u32 scope,
					       const __u8 *client)
{
	key->scope = scope;
	key->kind = HF_SESSION_ADDRESS;
	key->pad[0] = key->pad[1] = key->pad[2] = 0;
	__builtin_memcpy(key->key, client, sizeof(key->key));
	if (address_is_mapped(client))
		address_mask(key->key, 96, rule->ipv4_mask_bits);
	else
		address_mask(key->key, 0, rule->ipv6_mask_bits);
}

/* Words: the address as two little-endian ones, then the port's number, if any. Global: verified once. */
__noinline __u64 source_address_hash(const struct hf_flow_key *flow, bool with_port)
{
	__u32 zero = 0;
	const struct hf_installation *settings = bpf_map_lookup_elem(&installation, &zero);
	__u64 words[3];

	if (!settings || !flow)
		return 0;
	__builtin_memcpy(words, flow->source, 16);
	words[2] = bpf_ntohs(flow->source_port);
	return with_port ? hf_siphash(settings->hash_key, words, 3) : hf_siphash(settings->hash_key, words, 2);
}
