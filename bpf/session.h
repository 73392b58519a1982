/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The persistence table: key -> member. An entry that is older than its timeout
 * is dead the instant that is true, swept or not. An entry that the sweeper has
 * claimed (HF_SESSION_DEAD) is as good as gone: the claim and the refresh are
 * compare-and-exchange on the same word, so that one of them sees the other.
 */
#pragma once

#include "clock.h"
#include "events.h"
#include "gaps.h"
#include "select.h"

/*
 * The functions that are not static are global: the verifier walks each once, by
 * itself, and not again with every state in which it is called. They copy the key:
 * older kernels take none from memory that they know only as an argument.
 */

/* A key, and what the rule and the virtual server say about its session. */
struct session_query {
	struct hf_session_key key;
	__u32 pool;
	__u32 timeout;
	__u32 now;
};

/*
 * The scope of a rule's keys: the virtual server, or, where the rule is to match
 * across several, the rule and the pool.
 */
static __always_inline __u32 session_scope(const struct hf_virtual_server *settings, __u32 virtual_server,
					   const struct hf_rule *rule)
{
	if (rule->flags & HF_RULE_MATCH_ACROSS)
		return HF_SCOPE_ACROSS | settings->rule << HF_SCOPE_RULE_SHIFT | settings->pool;
	return virtual_server;
}

/* A key that only a proof is missing for stays as long as the session would: its message may be the last for long. */
static __always_inline __u32 session_embryonic_timeout(const struct hf_session_key *key, __u32 timeout)
{
	return key->kind == HF_SESSION_ADDRESS ? HF_EMBRYONIC_TIMEOUT : timeout;
}

static __always_inline bool session_alive(const struct hf_session *session, __u32 timeout, __u32 now)
{
	__u32 seen = session->last_seen;

	/* Another CPU's clock may be a tick ahead: a negative age is no age. */
	return seen != HF_SESSION_DEAD && (__s32)(now - seen) <= (__s32)timeout;
}

/* Its client came back too late. Claimed, as by the sweeper, so that of several packets one is counted. */
static __always_inline void session_late(struct hf_session *session, const struct session_query *query)
{
	__u32 seen = session->last_seen;

	if (seen != HF_SESSION_DEAD && __sync_val_compare_and_swap(&session->last_seen, seen, HF_SESSION_DEAD) == seen)
		gap_count(query->key.scope, seen, query->now);
}

/*
 * Its client came back: false if the sweeper was first. Whoever of several packets
 * refreshes it counts for how long it was away.
 */
static __always_inline bool session_return(struct hf_session *session, const struct session_query *query)
{
	__u32 seen = session->last_seen, was;

	if (seen == query->now)
		return true;
	if (seen == HF_SESSION_DEAD)
		return false;
	was = __sync_val_compare_and_swap(&session->last_seen, seen, query->now);
	if (was == seen)
		gap_count(query->key.scope, seen, query->now);
	return was != HF_SESSION_DEAD;
}

/* False if the sweeper was first. Another CPU that refreshes it at the same moment is no loss. */
static __always_inline bool session_refresh(struct hf_session *session, __u32 now)
{
	__u32 seen = session->last_seen;

	if (seen == now)
		return true;
	return seen != HF_SESSION_DEAD &&
	       __sync_val_compare_and_swap(&session->last_seen, seen, now) != HF_SESSION_DEAD;
}

/* The member of a live session that takes sessions; 0 if there is none. */
static __always_inline __u32 session_find(const struct session_query *query)
{
	struct hf_session *session = bpf_map_lookup_elem(&sessions, &query->key);
	__u32 member;

	if (!session)
		return 0;
	if (!session_alive(session, query->timeout, query->now)) {
		reason_count(HF_REASON_session_expired);
		session_late(session, query);
		return 0;
	}
	if (!member_honours_session(session->member, query->pool)) {
		reason_count(HF_REASON_session_moved);
		return 0;
	}
	member = session->member;
	if (!session_return(session, query))
		return 0;
	__sync_fetch_and_add(&session->hits, 1);
	return member;
}

/* May the virtual server record one more in this second? */
static __always_inline bool session_has_room(__u32 virtual_server, __u32 now)
{
	const struct hf_virtual_server *settings = bpf_map_lookup_elem(&virtual_server_settings, &virtual_server);
	__u64 *recorded;

	if (likely(!settings || !settings->session_rate))
		return true;
	recorded = bpf_map_lookup_elem(&session_rates, &virtual_server);
	if (!recorded || rate_take(recorded, settings->session_rate, now, false))
		return true;
	reason_count(HF_REASON_session_rate);
	return false;
}

/*
 * The client has proved itself: its connection goes to `member`. Returns the
 * session's member: of parallel choices the first one's, unless this one is to
 * `replace` it.
 */
__noinline __u32 session_record(const struct session_query *query, __u32 virtual_server, __u32 member, bool replace)
{
	struct hf_session_key key;
	struct hf_session *session;
	struct hf_session fresh = {.member = member, .hits = 1};
	__u32 from;

	if (!query)
		return member;
	key = query->key;
	session = bpf_map_lookup_elem(&sessions, &key);
	fresh.created = fresh.last_seen = query->now;
	if (session && (!replace || session->member == member) && session_alive(session, query->timeout, query->now) &&
	    member_honours_session(session->member, query->pool) && session_refresh(session, query->now))
		return session->member;
	if (!member_honours_session(member, query->pool))
		return member; /* taken out of service during the handshake */
	/* One that is over, and not swept yet, is as good as none. */
	from = session && session_alive(session, query->timeout, query->now) ? session->member : 0;
	if (!from && !session_has_room(virtual_server, query->now))
		return member;
	if (!bpf_map_update_elem(&sessions, &key, &fresh, session ? BPF_ANY : BPF_NOEXIST)) {
		session_count(virtual_server, member);
		event_of_session(from && from != member ? HF_EVENT_SESSION_MOVED : HF_EVENT_SESSION_MADE, &key, member,
				 from, virtual_server);
	} else {
		session = bpf_map_lookup_elem(&sessions, &key);
		if (session && member_honours_session(session->member, query->pool))
			member = session->member;
	}
	bpf_map_delete_elem(&embryonic_sessions, &key);
	return member;
}

/*
 * The member that a client was given whose handshake is still under way. Where
 * datagrams prove a client by going on (see connection.h), a proposal of an
 * earlier second becomes a session.
 */
__noinline __u32 session_proposed(const struct session_query *query, __u32 virtual_server, bool datagram)
{
	struct hf_session_key key;
	struct hf_session *session;
	__u32 member;

	if (!query)
		return 0;
	key = query->key;
	session = bpf_map_lookup_elem(&embryonic_sessions, &key);
	if (!session || !session_alive(session, session_embryonic_timeout(&key, query->timeout), query->now) ||
	    !member_accepts_clients(session->member, query->pool))
		return 0;
	member = session->member;
	/* As it stays as long as a session would, it is also kept by use. */
	if (key.kind != HF_SESSION_ADDRESS)
		session_refresh(session, query->now);
	if (datagram && session->created != query->now)
		session_record(query, virtual_server, member, false);
	return member;
}

/*
 * A choice that becomes a session when the client has proved itself. Returns the
 * member that the client is to have: of parallel choices the first one's.
 */
static __always_inline __u32 session_propose(const struct session_query *query, __u32 virtual_server, __u32 member)
{
	struct hf_session session = {.member = member, .created = query->now, .last_seen = query->now};
	__u32 first;

	if (!bpf_map_update_elem(&embryonic_sessions, &query->key, &session, BPF_NOEXIST))
		return member;
	first = session_proposed(query, virtual_server, false);
	if (first)
		return first;
	bpf_map_update_elem(&embryonic_sessions, &query->key, &session, BPF_ANY);
	return member;
}

/* The member refused: the client's next attempt is decided anew. */
static __always_inline void session_withdraw(const struct session_query *query, __u32 member)
{
	const struct hf_session *session = bpf_map_lookup_elem(&embryonic_sessions, &query->key);

	if (session && session->member == member)
		bpf_map_delete_elem(&embryonic_sessions, &query->key);
}

/* A packet of a bound connection: its client is there. */
static __always_inline void session_touch(const struct session_query *query)
{
	struct hf_session *session = bpf_map_lookup_elem(&sessions, &query->key);

	if (session && session_alive(session, query->timeout, query->now))
		session_refresh(session, query->now);
}
