/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The persistence table: key -> member. An entry that is older than its timeout
 * is dead the instant that is true, swept or not. An entry that the sweeper has
 * claimed (HF_SESSION_DEAD) is as good as gone: the claim and the refresh are
 * compare-and-exchange on the same word, so that one of them sees the other.
 */
#pragma once

#include "clock.h"
#include "select.h"

/* A key, and what the rule and the virtual server say about its session. */
struct session_query {
	struct hf_session_key key;
	__u32 pool;
	__u32 timeout;
	__u32 now;
};

static __always_inline bool session_alive(const struct hf_session *session, __u32 timeout, __u32 now)
{
	__u32 seen = session->last_seen;

	/* Another CPU's clock may be a tick ahead: a negative age is no age. */
	return seen != HF_SESSION_DEAD && (__s32)(now - seen) <= (__s32)timeout;
}

/* False if the sweeper was first. */
static __always_inline bool session_refresh(struct hf_session *session, __u32 now)
{
	__u32 seen = session->last_seen;

	if (seen == now)
		return true;
	return seen != HF_SESSION_DEAD && __sync_val_compare_and_swap(&session->last_seen, seen, now) == seen;
}

/*
 * The member that the table gives for `key`, 0 if it gives none: a live session
 * whose member takes sessions, or that of a client whose handshake is under way.
 */
static __noinline __u32 session_find(const struct session_query *query)
{
	struct hf_session *session = bpf_map_lookup_elem(&sessions, &query->key);
	__u32 member;

	if (session) {
		if (!session_alive(session, query->timeout, query->now)) {
			reason_count(HF_REASON_session_expired);
		} else if (!member_honours_session(session->member, query->pool)) {
			reason_count(HF_REASON_session_moved);
		} else {
			member = session->member;
			if (session_refresh(session, query->now)) {
				__sync_fetch_and_add(&session->hits, 1);
				return member;
			}
		}
	}
	session = bpf_map_lookup_elem(&embryonic_sessions, &query->key);
	if (session && session_alive(session, HF_EMBRYONIC_TIMEOUT, query->now) &&
	    member_takes_new(session->member, query->pool))
		return session->member;
	return 0;
}

/* A choice that becomes a session when the client has proved itself. */
static __always_inline void session_propose(const struct session_query *query, __u32 member)
{
	struct hf_session session = {.member = member, .created = query->now, .last_seen = query->now};

	bpf_map_update_elem(&embryonic_sessions, &query->key, &session, BPF_ANY);
}

/* The client has proved itself: its connection goes to `member`. */
static __noinline void session_record(const struct session_query *query, __u32 virtual_server, __u32 member)
{
	struct hf_session *session = bpf_map_lookup_elem(&sessions, &query->key);
	struct hf_session fresh = {.member = member, .created = query->now, .last_seen = query->now, .hits = 1};

	if (session && session_alive(session, query->timeout, query->now) &&
	    member_honours_session(session->member, query->pool) && session_refresh(session, query->now))
		return; /* it was there, or a parallel connection of the client was first: that one counts */
	bpf_map_update_elem(&sessions, &query->key, &fresh, session ? BPF_ANY : BPF_NOEXIST);
	bpf_map_delete_elem(&embryonic_sessions, &query->key);
	session_count(virtual_server, member);
}

/* A packet of the client came on a bound connection. */
static __always_inline void session_touch(const struct session_query *query)
{
	struct hf_session *session = bpf_map_lookup_elem(&sessions, &query->key);

	if (session && session_alive(session, query->timeout, query->now))
		session_refresh(session, query->now);
}
