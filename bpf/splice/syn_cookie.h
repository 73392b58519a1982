/* SPDX-License-Identifier: GPL-2.0 */
/*
 * SYN cookies: what a client asks for with its SYN is kept by the client itself, in
 * the sequence number that it has to acknowledge (RFC 4987, 3.6). A SYN costs no
 * memory; who acknowledges has received the SYN-ACK, so the address is not forged.
 *
 *   bits 31-10  SipHash-2-4 of the flow, the client's sequence number, the span and the rest
 *   bits  9-8   the span of time (HF_COOKIE_SPAN_SHIFT) in which it was made
 *   bits  7-5   the client's MSS, the highest of a table that is not above it
 *   bit   4     the client permits SACK
 *   bits  3-0   the client's window scale; 15: none
 *
 * Unlike cookies that hide options in the timestamp, these serve clients without
 * timestamps as well. Of the two keys, one is for spans whose number has bit
 * HF_COOKIE_KEY_SHIFT set, the other for the others: the daemon replaces the one
 * that is not in use.
 */
#pragma once

#include "../clock.h"
#include "../service.h"
#include "../tcp.h"
#include "holdfast/siphash.h"

#define COOKIE_LOW_BITS 10
#define COOKIE_LOW ((1U << COOKIE_LOW_BITS) - 1)

static __always_inline __u16 cookie_mss(__u32 index)
{
	switch (index & 7) {
	case 0:
		return 536;
	case 1:
		return 1024;
	case 2:
		return 1220;
	case 3:
		return 1360;
	case 4:
		return 1400;
	case 5:
		return 1440;
	case 6:
		return 1460;
	default:
		return 8940;
	}
}

static __always_inline __u32 cookie_mss_index(__u16 mss)
{
	__u32 index = 0;

	for (__u32 i = 1; i < 8; i++) {
		if (mss >= cookie_mss(i))
			index = i;
	}
	return index;
}

/* Global: verified once. */
__noinline __u32 cookie_of(const struct hf_flow_key *flow, __u32 client_sequence, __u32 low, __u32 span)
{
	__u32 zero = 0;
	const struct hf_syn_cookie_keys *keys = bpf_map_lookup_elem(&syn_cookie_keys, &zero);
	const __u64 *words = (const __u64 *)flow;
	struct hf_siphash_state state;
	__u64 key[2];

	if (!keys || !flow)
		return 0;
	if (span >> HF_COOKIE_KEY_SHIFT & 1)
		__builtin_memcpy(key, keys->keys[1], sizeof(key));
	else
		__builtin_memcpy(key, keys->keys[0], sizeof(key));
	hf_siphash_begin(&state, key);
	for (int i = 0; i < 5; i++)
		hf_siphash_word(&state, words[i]);
	hf_siphash_word(&state, (__u64)client_sequence << 32 | low);
	hf_siphash_word(&state, 52ULL << 56 | span); /* all of its number: `low` has two bits */
	state.v2 ^= 0xff;
	return (__u32)hf_siphash_end(&state) << COOKIE_LOW_BITS | low;
}

/* Could the number be a cookie that is still good? Of numbers that are none, half could. */
static __always_inline bool cookie_is_plausible(__u32 cookie, __u32 now)
{
	return (((now >> HF_COOKIE_SPAN_SHIFT) - (cookie >> 8)) & 3) <= 1;
}

/* Does a segment acknowledge a cookie that was given for its flow, in this or the last span? */
static __always_inline bool cookie_is_ours(const struct hf_flow_key *flow, __u32 sequence, __u32 acknowledgement,
					   __u32 now)
{
	__u32 span = now >> HF_COOKIE_SPAN_SHIFT, cookie = acknowledgement - 1;

	if (!cookie_is_plausible(cookie, now))
		return false;
	span -= (span - (cookie >> 8)) & 3;
	return cookie_of(flow, sequence - 1, cookie & COOKIE_LOW, span) == cookie;
}

/*
 * What an opening offers a client as its window: a whole segment more than is stored, for
 * of a window that is smaller than a segment a client may use nothing (RFC 9293, 3.8.6.2.1).
 * What does not fit goes to the member when the client sends it again.
 */
static __always_inline __u32 early_window(const struct hf_early_limits *limits, __u32 stored)
{
	__u32 room = limits->max_head > stored ? limits->max_head - stored : 0;

	return room + HF_PIECE_LONGEST + (1 << HF_WINDOW_SCALE);
}

/*
 * Answers a SYN. What its client offers is taken as far as the pool's members are
 * known to support it. XDP leaves a SYN to TC if the answer is longer than it.
 */
static __noinline int cookie_answer(hook_context *context, const struct packet *packet,
				    const struct hf_virtual_server *settings)
{
	struct tcp_workplace *workplace = tcp_workplace_get();
	__u32 zero = 0, now = clock_now(), pool_id = settings->pool, low, span = now >> HF_COOKIE_SPAN_SHIFT;
	const struct hf_early_limits *limits = bpf_map_lookup_elem(&early_limits, &zero);
	const struct hf_pool *pool = bpf_map_lookup_elem(&pools, &pool_id);
	struct tcp_offer offer = {};
	struct segment *segment;
	struct tcp_seen *seen;

	if (!workplace || !pool || !limits)
		return drop(HF_REASON_state_missing);
	seen = &workplace->seen;
	segment = &workplace->segment;
	if (tcp_load(context, packet, seen))
		return drop(HF_REASON_malformed);
	/* With nat46, segments grow. */
	offer.mss = pool->mss ?: packet->ipv4 && settings->forwarding != HF_FORWARDING_NAT46 ? 1460 : 1440;
	offer.sack = seen->sack_permitted && !(pool->tcp_lacking & HF_TCP_SACK);
	offer.timestamps = seen->timestamps_at && !(pool->tcp_lacking & HF_TCP_TIMESTAMPS);
	offer.timestamp = clock_milliseconds(); /* RFC 7323, 5.4 */
	offer.timestamp_echo = seen->timestamp;
	offer.scale =
		seen->scale == TCP_NO_SCALE || pool->tcp_lacking & HF_TCP_WINDOW_SCALE ? TCP_NO_SCALE : HF_WINDOW_SCALE;
	low = (span & 3) << 8 | (__u32)offer.sack << 4 | (offer.scale == TCP_NO_SCALE ? TCP_NO_SCALE : seen->scale);
	low |= cookie_mss_index(seen->mss ?: packet->ipv4 ? TCP_MSS_DEFAULT_IPV4 : TCP_MSS_DEFAULT_IPV6) << 5;
	segment_begin(segment, TCP_SYN | TCP_ACK, cookie_of(&packet->flow, seen->sequence, low, span),
		      seen->sequence + 1, early_window(limits, 0));
	segment_add_offer(segment, &offer);
	segment_turn(segment, &packet->flow);
	if (HOOK_HAS_LOWER_HOOK && segment_frame_length(segment, packet) > packet_length(context))
		return HOOK_PASS;
	segment->partial = packet_checksum_is_partial(context, packet->transport + offsetof(struct tcphdr, check));
	if (segment_write(context, packet, segment))
		return drop(HF_REASON_packet_resize);
	return segment_return(context);
}
