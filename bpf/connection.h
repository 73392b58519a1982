/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Connections: one entry per direction, each enough to translate a packet. What
 * concerns both is written to both, at most once a second, or when a TCP segment
 * changes the state. What has only been asked for is an embryo (embryo.h).
 */
#pragma once

#include "decide.h"
#include "fragment.h"
#include "nexthop.h"
#include "splice/splice.h"

static __always_inline void flow_turn(struct hf_flow_key *to, const struct hf_flow_key *flow)
{
	__builtin_memcpy(to->source, flow->destination, 16);
	__builtin_memcpy(to->destination, flow->source, 16);
	to->source_port = flow->destination_port;
	to->destination_port = flow->source_port;
}

/*
 * Likewise, in the other modes. With `direct` no packet of the other direction is ever
 * seen: its entry is there for what concerns both, and is marked with the member.
 * Global: verified once.
 */
__noinline int connection_partner_key_of_mode(struct hf_flow_key *partner, const struct hf_flow_key *flow,
					      const struct hf_connection *connection)
{
	const struct hf_other_end *end;
	struct hf_flow_key key;
	bool reply;

	if (!partner || !flow || !connection)
		return 0;
	reply = connection->flags & HF_CONNECTION_REPLY;
	*partner = *flow;
	if (connection->forwarding == HF_FORWARDING_DIRECT) {
		flow_turn(partner, flow);
		flow_mark_member(partner, reply ? 0 : connection->member);
		return 0;
	}
	end = other_end_find(&key, flow, connection);
	if (!end) {
		__builtin_memset(partner, 0, sizeof(*partner)); /* nobody's */
	} else if (reply) {
		__builtin_memcpy(partner->source, end->address, 16);
		__builtin_memcpy(partner->destination, connection->address, 16);
		partner->source_port = end->port;
		partner->destination_port = connection->port;
	} else {
		__builtin_memcpy(partner->source, connection->address, 16);
		__builtin_memcpy(partner->destination, end->address, 16);
		partner->source_port = connection->port;
		partner->destination_port = end->port;
	}
	return 0;
}

/* The key of the other direction of the same connection. */
static __always_inline void connection_partner_key(struct hf_flow_key *partner, const struct hf_flow_key *flow,
						   const struct hf_connection *connection)
{
	if (unlikely(connection->forwarding > HF_FORWARDING_DNAT)) {
		connection_partner_key_of_mode(partner, flow, connection);
		return;
	}
	*partner = *flow;
	if (connection->flags & HF_CONNECTION_REPLY) {
		__builtin_memcpy(partner->source, flow->destination, 16);
		__builtin_memcpy(partner->destination, connection->address, 16);
		partner->source_port = flow->destination_port;
		partner->destination_port = connection->port;
	} else {
		__builtin_memcpy(partner->source, connection->address, 16);
		__builtin_memcpy(partner->destination, flow->source, 16);
		partner->source_port = connection->port;
		partner->destination_port = flow->source_port;
	}
}

static __always_inline bool address_equal(const __u8 *left, const __u8 *right)
{
	const __u32 *a = (const __u32 *)left, *b = (const __u32 *)right;

	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

/* Global: verified once. */
__noinline int connection_pairs_at_both_ends(const struct hf_flow_key *partner_key, const struct hf_connection *partner,
					     const struct hf_flow_key *flow, bool reply)
{
	const struct hf_other_end *end;
	struct hf_flow_key key;

	if (!partner_key || !partner || !flow)
		return false;
	end = other_end_find(&key, partner_key, partner);
	return end && address_equal(end->address, reply ? flow->destination : flow->source) &&
	       end->port == (reply ? flow->destination_port : flow->source_port);
}

/* Does the entry put in the address and port that the flow has? */
static __always_inline bool connection_restores(const struct hf_connection *partner, const struct hf_flow_key *flow,
						bool reply)
{
	return address_equal(partner->address, reply ? flow->source : flow->destination) &&
	       partner->port == (reply ? flow->source_port : flow->destination_port);
}

/*
 * Does `partner` translate back to this flow? The entry under the partner's key
 * may be another connection's by now.
 */
static __always_inline bool connection_pairs(const struct hf_flow_key *key, const struct hf_connection *partner,
					     const struct hf_flow_key *flow, bool reply)
{
	return connection_restores(partner, flow, reply) &&
	       (likely(!connection_has_other_end(partner)) || connection_pairs_at_both_ends(key, partner, flow, reply));
}

/*
 * Does this entry stand for one of its member's places? Of the two directions one
 * does: the forward one, or, where a client's datagrams go to several members, the
 * reply.
 */
static __always_inline bool connection_holds_place(const struct hf_connection *connection)
{
	__u8 flags = connection->flags;

	return flags & HF_CONNECTION_COUNTED && !(flags & HF_CONNECTION_REPLY) == !(flags & HF_CONNECTION_PER_DATAGRAM);
}

static __always_inline bool connection_is_established(const struct hf_connection *connection)
{
	return connection->state == HF_CONNECTION_ESTABLISHED || connection->state == HF_CONNECTION_HALF_CLOSED;
}

/* The forward entry of a socket whose datagrams are decided one by one. */
static __always_inline bool connection_goes_by_datagram(const struct hf_connection *connection)
{
	return (connection->flags & (HF_CONNECTION_PER_DATAGRAM | HF_CONNECTION_REPLY)) == HF_CONNECTION_PER_DATAGRAM;
}

/* An opening that comes to nothing. */
static __always_inline void connection_count_timeout(const struct hf_connection *connection)
{
	if (connection->state == HF_CONNECTION_COLLECTING)
		reason_count(HF_REASON_early_timeout);
	else if (connection->state == HF_CONNECTION_CONNECTING && !(connection->flags & HF_CONNECTION_REPLY))
		reason_count(HF_REASON_connecting_timeout);
}

/* Removes an entry and, if it is still this one's, its partner. */
static __noinline void connection_remove(const struct hf_flow_key *flow, const struct hf_connection *connection)
{
	bool reply = connection->flags & HF_CONNECTION_REPLY;
	const struct hf_connection *partner;
	struct hf_flow_key key;

	connection_partner_key(&key, flow, connection);
	partner = bpf_map_lookup_elem(&connections, &key);
	if (connection_holds_place(connection))
		member_give_place_back(connection->member);
	if (partner && connection_pairs(&key, partner, flow, reply)) {
		if (connection_holds_place(partner))
			member_give_place_back(partner->member);
		if (connection_has_other_end(partner))
			other_end_forget(&key, partner);
		bpf_map_delete_elem(&connections, &key);
	}
	if (connection_has_other_end(connection))
		other_end_forget(flow, connection);
	bpf_map_delete_elem(&connections, flow);
}

/*
 * Likewise, and ends its splice at once. Where that is not called for, the sweeper does:
 * the call chain's stack is short on Linux 6.1.
 */
static __always_inline void connection_end(const struct hf_flow_key *flow, const struct hf_connection *connection)
{
	if (connection->flags & HF_CONNECTION_SPLICED)
		splice_end(connection->splice);
	connection_remove(flow, connection);
}

/* The entry of the other direction, its next hop not known yet. */
static __always_inline void connection_partner(struct hf_connection *partner, const struct hf_flow_key *flow,
					       const struct hf_connection *connection)
{
	bool reply = connection->flags & HF_CONNECTION_REPLY;

	*partner = *connection;
	partner->flags ^= HF_CONNECTION_REPLY;
	partner->address_checksum = ~connection->address_checksum;
	partner->next_hop = 0;
	__builtin_memcpy(partner->address, reply ? flow->source : flow->destination, 16);
	partner->port = reply ? flow->source_port : flow->destination_port;
}

#define CONNECTION_BOTH_FINS (HF_CONNECTION_CLIENT_FIN | HF_CONNECTION_MEMBER_FIN)

static __always_inline bool connection_finished(const struct hf_connection *connection)
{
	return (connection->flags & CONNECTION_BOTH_FINS) == CONNECTION_BOTH_FINS;
}

/* Global: verified once. */
__noinline __u32 connection_timeout(__u32 virtual_server, __u32 state, __u32 flags)
{
	bool finished = (flags & CONNECTION_BOTH_FINS) == CONNECTION_BOTH_FINS;
	const struct hf_virtual_server *settings;
	const struct hf_early_limits *limits;
	__u32 zero = 0;

	switch (state) {
	case HF_CONNECTION_COLLECTING:
		limits = bpf_map_lookup_elem(&early_limits, &zero);
		return limits ? limits->timeout : 0;
	case HF_CONNECTION_CONNECTING:
		return HF_CONNECTING_TIMEOUT;
	case HF_CONNECTION_HALF_CLOSED:
		return HF_HALF_CLOSED_TIMEOUT;
	case HF_CONNECTION_CLOSED:
		/* A RST may be forged: its connection gets some time to show that it lives. */
		if (!finished)
			return HF_HALF_CLOSED_TIMEOUT;
		settings = service_settings(virtual_server);
		return settings && settings->forwarding >= HF_FORWARDING_FULLNAT ? HF_CLOSED_SOURCE_TIMEOUT
										 : HF_CLOSED_TIMEOUT;
	default:
		settings = service_settings(virtual_server);
		return settings ? settings->idle_timeout : 0;
	}
}

/* Its member is gone from the configuration: its entries are about to be swept. */
static __always_inline bool connection_orphaned(const struct hf_connection *connection)
{
	const struct hf_member *member = member_get(connection->member);

	return !member || member->state == HF_MEMBER_ABSENT;
}

static __always_inline bool connection_expired(const struct hf_connection *connection, __u32 now)
{
	return (__s32)(now - connection->last_seen) >
	       (__s32)connection_timeout(connection->virtual_server, connection->state, connection->flags);
}

/* The state that the FINs so far make. */
static __always_inline __u8 connection_state(const struct hf_connection *connection)
{
	if (connection_finished(connection))
		return HF_CONNECTION_CLOSED;
	return connection->flags & CONNECTION_BOTH_FINS ? HF_CONNECTION_HALF_CLOSED : HF_CONNECTION_ESTABLISHED;
}

static __always_inline void connection_note_fin(struct hf_connection *connection, __u8 tcp_flags)
{
	if (tcp_flags & TCP_FIN)
		connection->flags |=
			connection->flags & HF_CONNECTION_REPLY ? HF_CONNECTION_MEMBER_FIN : HF_CONNECTION_CLIENT_FIN;
}

/* The state after this segment, which both entries then share. */
static __always_inline void connection_advance(struct hf_connection *connection, __u8 tcp_flags)
{
	connection_note_fin(connection, tcp_flags);
	if (tcp_flags & TCP_RST)
		connection->state = HF_CONNECTION_CLOSED;
	else if (connection->state != HF_CONNECTION_CLOSED ||
		 ((connection->flags & HF_CONNECTION_REPLY || connection->forwarding == HF_FORWARDING_DIRECT) &&
		  !(tcp_flags & TCP_SYN)))
		/* A member that goes on has not accepted the RST (RFC 5961). With `direct` only the client can tell. */
		connection->state = connection_state(connection);
}

/* A connection that is closed needs no place any more; one that goes on after a RST does. */
static __always_inline void connection_adjust_place(struct hf_connection *connection)
{
	/* With `direct`, a FIN of the client's is all that is seen of an end. */
	bool closed = connection->state == HF_CONNECTION_CLOSED ||
		      (connection->forwarding == HF_FORWARDING_DIRECT && connection->flags & HF_CONNECTION_CLIENT_FIN);
	bool counted = connection->flags & HF_CONNECTION_COUNTED;
	const struct hf_member *member = member_get(connection->member);

	if (closed && counted) {
		connection->flags &= ~HF_CONNECTION_COUNTED;
		member_give_place_back(connection->member);
	} else if (!closed && !counted && member && member_take_place(member, connection->member, true)) {
		connection->flags |= HF_CONNECTION_COUNTED;
	}
}

/* What to ask the table of sessions about the connection's client. */
static __always_inline bool connection_query(struct session_query *query, const struct packet *packet,
					     const struct hf_connection *connection, __u32 now)
{
	const struct hf_virtual_server *settings = service_settings(connection->virtual_server);
	bool reply = connection->flags & HF_CONNECTION_REPLY;
	const __u8 *client = reply ? packet->flow.destination : packet->flow.source;
	const struct hf_other_end *end;

	query->now = now;
	/* A member does not know the client. */
	if (reply && connection_has_other_end(connection)) {
		end = fragment_other_end(packet);
		if (!end)
			return false;
		client = end->address;
	}
	return settings && decide_query(query, settings, connection->virtual_server, client);
}

/* What the other direction puts in at its other end: it is known from this one's flow. 0 if it is there. */
static __always_inline int connection_record_partners_end(const struct hf_flow_key *flow,
							  const struct hf_connection *connection,
							  const struct hf_flow_key *key)
{
	if (connection->flags & HF_CONNECTION_REPLY)
		return other_end_record(key, connection->member, flow->destination, flow->destination_port);
	return other_end_record(key, 0, flow->source, flow->source_port);
}

/*
 * A SYN on a connection that is over. With `direct` that is known only of the client's
 * side.
 */
static __always_inline bool connection_begins_anew(const struct packet *packet, const struct hf_connection *connection)
{
	bool over = connection->state == HF_CONNECTION_CLOSED ||
		    (connection->forwarding == HF_FORWARDING_DIRECT && connection->flags & HF_CONNECTION_CLIENT_FIN);

	return over && packet_opens(packet) && !(connection->flags & HF_CONNECTION_SPLICED);
}

/* The connection's member is down. What the member still says is answered with a RST. */
static __noinline void connection_reset(const struct hf_flow_key *flow, const struct hf_connection *connection,
					__u32 now)
{
	struct hf_connection left = *connection;
	struct hf_flow_key key = *flow;

	if (!(connection->flags & HF_CONNECTION_REPLY))
		connection_partner_key(&key, flow, connection);
	connection_end(flow, connection);
	left.flags = HF_CONNECTION_REPLY | HF_CONNECTION_LEFT;
	left.state = HF_CONNECTION_CLOSED;
	left.created = left.last_seen = now;
	bpf_map_update_elem(&connections, &key, &left, BPF_NOEXIST);
}

enum connection_fate {
	CONNECTION_GOES_ON,
	CONNECTION_OVER,  /* the packet is to be decided anew */
	CONNECTION_RESET, /* it is to be reset, and its sender told */
};

/* The entry of the other direction is made again. False: its key is another connection's. */
static __noinline bool connection_heal(const struct hf_flow_key *flow, const struct hf_connection *connection,
				       const struct hf_flow_key *key)
{
	struct hf_connection made;

	connection_partner(&made, flow, connection);
	if (bpf_map_update_elem(&connections, key, &made, BPF_NOEXIST))
		return false;
	if (connection_has_other_end(connection))
		connection_record_partners_end(flow, connection, key);
	reason_count(HF_REASON_connection_healed);
	return true;
}

/*
 * The rare work of an established connection: the first packet of each second,
 * and segments that change the state.
 */
static __noinline enum connection_fate connection_track(const struct packet *packet, struct hf_connection *connection,
							__u32 now)
{
	bool reply = connection->flags & HF_CONNECTION_REPLY;
	const struct hf_member *member;
	struct hf_connection *partner;
	struct session_query query;
	bool lost;
	struct hf_flow_key key;
	__u8 before;

	if (connection_expired(connection, now) || connection_orphaned(connection)) {
		if (connection->state >= HF_CONNECTION_COLLECTING)
			connection_count_timeout(connection);
		else if (connection->state != HF_CONNECTION_CLOSED)
			reason_count(HF_REASON_connection_expired);
		connection_end(&packet->flow, connection);
		return CONNECTION_OVER;
	}
	member = member_get(connection->member);
	if (member && member_resets(member) && connection->state != HF_CONNECTION_CLOSED) {
		if (packet->flow.protocol == IPPROTO_TCP)
			return CONNECTION_RESET;
		connection_remove(&packet->flow, connection);
		return CONNECTION_OVER;
	}
	if (connection_begins_anew(packet, connection) && !reply) {
		connection_remove(&packet->flow, connection);
		return CONNECTION_OVER;
	}
	before = connection->state;
	connection_advance(connection, packet->tcp_flags);
	if (connection->last_seen == now && before == connection->state && !(packet->tcp_flags & TCP_FIN))
		return CONNECTION_GOES_ON;

	connection->last_seen = now;
	connection_partner_key(&key, &packet->flow, connection);
	partner = bpf_map_lookup_elem(&connections, &key);
	if (partner && connection_pairs(&key, partner, &packet->flow, reply)) {
		partner->last_seen = now;
		partner->flags |= connection->flags & CONNECTION_BOTH_FINS;
		connection->flags |= partner->flags & CONNECTION_BOTH_FINS;
		if (connection->state != HF_CONNECTION_CLOSED)
			connection->state = connection_state(connection);
		if (before != connection->state)
			connection_adjust_place(connection);
		partner->flags =
			(partner->flags & ~HF_CONNECTION_COUNTED) | (connection->flags & HF_CONNECTION_COUNTED);
		partner->state = connection->state;
	} else {
		lost = partner;
		if (!partner && connection->state != HF_CONNECTION_CLOSED)
			lost = !connection_heal(&packet->flow, connection, &key);
		/*
		 * Its source is another connection's by now: the table had needed the entry's place. (Of a socket
		 * whose datagrams go to many members, the forward entry names one of them.)
		 */
		if (lost && connection_has_other_end(connection) && !(connection->flags & HF_CONNECTION_PER_DATAGRAM)) {
			connection_remove(&packet->flow, connection);
			return CONNECTION_OVER;
		}
	}
	if (connection_query(&query, packet, connection, now))
		session_touch(&query);
	return CONNECTION_GOES_ON;
}

/*
 * Both sides have shown that it is real: record the connection. `connection` comes as the embryo's and becomes what is recorded.
 */
static __noinline int connection_establish(const struct packet *packet, struct hf_connection *connection, __u32 now)
{
	struct hf_connection partner;
	struct hf_other_end end;
	struct hf_flow_key key;

	if (connection_orphaned(connection))
		return -1;
	if (connection_has_other_end(connection) &&
	    (!other_end_get(&packet->flow, connection, &end) ||
	     other_end_record(&packet->flow, other_end_mark(connection), end.address, end.port)))
		return -1;
	connection->state = connection_state(connection);
	connection->flags &=
		CONNECTION_BOTH_FINS | HF_CONNECTION_REPLY | HF_CONNECTION_PER_DATAGRAM | HF_CONNECTION_COUNTED;
	connection->created = connection->last_seen = now;
	connection_partner_key(&key, &packet->flow, connection);
	connection_partner(&partner, &packet->flow, connection);
	if (connection_has_other_end(connection)) {
		const struct hf_connection *other = bpf_map_lookup_elem(&connections, &key);

		/* The table had needed the embryo's place, and its source is another connection's by now. */
		if (other && !(connection->flags & HF_CONNECTION_REPLY) &&
		    !connection_pairs(&key, other, &packet->flow, false))
			return -1;
		if (connection_record_partners_end(&packet->flow, connection, &key))
			return -1;
	}
	if (bpf_map_update_elem(&connections, &packet->flow, connection, BPF_ANY))
		return -1;
	if (bpf_map_update_elem(&connections, &key, &partner, BPF_ANY)) {
		bpf_map_delete_elem(&connections, &packet->flow);
		return -1;
	}
	bpf_map_delete_elem(&embryonic_connections, &packet->flow);
	bpf_map_delete_elem(&embryonic_connections, &key);
	connection_count(connection->virtual_server, connection->member);
	return 0;
}

/* The keys of the datagram that began this connection. */
static __noinline void connection_record_keys(const struct hf_flow_key *reply, const struct hf_connection *connection,
					      __u32 now)
{
	const struct hf_virtual_server *settings = service_settings(connection->virtual_server);
	struct hf_keys *keys = bpf_map_lookup_elem(&embryonic_keys, reply);
	__u32 rule_id = settings ? settings->rule : 0;
	const struct hf_rule *rule = bpf_map_lookup_elem(&rules, &rule_id);
	struct message_query query = {};

	if (!keys || !settings || !rule)
		return;
	query.session.pool = settings->pool;
	query.session.timeout = rule->timeout;
	query.session.now = now;
	query.keys = keys;
	query.virtual_server = connection->virtual_server;
	query.proved = true;
	message_record(&query, connection->member);
	bpf_map_delete_elem(&embryonic_keys, reply);
}

/* The client of a connection that was just established has proved itself: so has its session. */
static __noinline void connection_record(const struct packet *packet, const struct hf_connection *connection, __u32 now)
{
	struct session_query query;
	struct hf_flow_key key;

	if (connection->flags & HF_CONNECTION_PER_DATAGRAM) {
		key = packet->flow;
		if (!(connection->flags & HF_CONNECTION_REPLY))
			connection_partner_key(&key, &packet->flow, connection);
		connection_record_keys(&key, connection, now);
	} else if (connection_query(&query, packet, connection, now)) {
		session_record(&query, connection->virtual_server, connection->member, false);
	}
}
