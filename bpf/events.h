/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What happens to sessions, told to whoever listens (`holdfast events --follow`).
 * While nobody does, that is one look at a word, where a session is recorded; packets
 * of connections and of sessions that are there never come here.
 */
#pragma once

#include "clock.h"
#include "counters.h"

static __always_inline bool event_is_wanted(void)
{
	__u32 zero = 0;
	const __u32 *wanted = bpf_map_lookup_elem(&events_wanted, &zero);

	return unlikely(wanted && *(const volatile __u32 *)wanted);
}

/* `from`: the member that it had; 0: none. */
static __always_inline void event_of_session(enum hf_event_kind kind, const struct hf_session_key *key, __u32 member,
					     __u32 from, __u32 virtual_server)
{
	struct hf_event *event;

	if (!event_is_wanted())
		return;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		reason_count(HF_REASON_event_lost);
		return;
	}
	event->at = clock_now();
	event->kind = kind;
	event->session_kind = key->kind;
	event->pad = 0;
	event->scope = key->scope;
	event->virtual_server = virtual_server;
	event->member = member;
	event->from = from;
	__builtin_memcpy(event->key, key->key, sizeof(event->key));
	bpf_ringbuf_submit(event, 0);
}

/* Nobody could be given this client. Global: verified once. */
__noinline int event_of_refusal(const struct hf_flow_key *flow, __u32 virtual_server)
{
	struct hf_event *event;

	if (!flow || !event_is_wanted())
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		reason_count(HF_REASON_event_lost);
		return 0;
	}
	event->at = clock_now();
	event->kind = HF_EVENT_REFUSED;
	event->session_kind = HF_SESSION_ADDRESS;
	event->pad = 0;
	event->scope = virtual_server;
	event->virtual_server = virtual_server;
	event->member = event->from = 0;
	__builtin_memcpy(event->key, flow->source, sizeof(event->key));
	bpf_ringbuf_submit(event, 0);
	return 0;
}
