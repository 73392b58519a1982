/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Connections: one entry per direction, each enough to translate a packet. What
 * concerns both is written to both, at most once a second, or when a TCP segment
 * changes the state. What has only been asked for lives in the embryonic table
 * until both sides have shown that it is real:
 *   TCP  the client acknowledges the member's SYN-ACK, with its sequence number
 *   UDP  the member answers, or the client is still there in a later second
 */
#pragma once

#include "decide.h"
#include "fragment.h"
#include "nexthop.h"

/* The key of the other direction of the same connection. */
static __always_inline void connection_partner_key(struct hf_flow_key *partner, const struct hf_flow_key *flow,
						   const struct hf_connection *connection)
{
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

/*
 * Does `partner` translate back to this flow? The entry under the partner's key
 * may be another connection's by now.
 */
static __always_inline bool connection_pairs(const struct hf_connection *partner, const struct hf_flow_key *flow,
					     bool reply)
{
	return address_equal(partner->address, reply ? flow->source : flow->destination) &&
	       partner->port == (reply ? flow->source_port : flow->destination_port);
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
	if (partner && connection_pairs(partner, flow, reply)) {
		if (connection_holds_place(partner))
			member_give_place_back(partner->member);
		bpf_map_delete_elem(&connections, &key);
	}
	bpf_map_delete_elem(&connections, flow);
}

/* The entry of the other direction, its next hop not known yet. */
static __always_inline void connection_partner(struct hf_connection *partner, const struct packet *packet,
					       const struct hf_connection *connection)
{
	bool reply = connection->flags & HF_CONNECTION_REPLY;

	*partner = *connection;
	partner->flags ^= HF_CONNECTION_REPLY;
	partner->address_checksum = ~connection->address_checksum;
	partner->next_hop = 0;
	__builtin_memcpy(partner->address, reply ? packet->flow.source : packet->flow.destination, 16);
	partner->port = reply ? packet->flow.source_port : packet->flow.destination_port;
}

#define CONNECTION_BOTH_FINS (HF_CONNECTION_CLIENT_FIN | HF_CONNECTION_MEMBER_FIN)

static __always_inline bool connection_finished(const struct hf_connection *connection)
{
	return (connection->flags & CONNECTION_BOTH_FINS) == CONNECTION_BOTH_FINS;
}

static __always_inline __u32 connection_timeout(const struct hf_connection *connection)
{
	const struct hf_virtual_server *settings;

	/* A RST may be forged: its connection gets some time to show that it lives. */
	if (connection->state == HF_CONNECTION_CLOSED)
		return connection_finished(connection) ? HF_CLOSED_TIMEOUT : HF_HALF_CLOSED_TIMEOUT;
	if (connection->state == HF_CONNECTION_HALF_CLOSED)
		return HF_HALF_CLOSED_TIMEOUT;
	settings = service_settings(connection->virtual_server);
	return settings ? settings->idle_timeout : 0;
}

/* Its member is gone from the configuration: its entries are about to be swept. */
static __always_inline bool connection_orphaned(const struct hf_connection *connection)
{
	const struct hf_member *member = member_get(connection->member);

	return !member || member->state == HF_MEMBER_ABSENT;
}

static __always_inline bool connection_expired(const struct hf_connection *connection, __u32 now)
{
	return (__s32)(now - connection->last_seen) > (__s32)connection_timeout(connection);
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
		 (connection->flags & HF_CONNECTION_REPLY && !(tcp_flags & TCP_SYN)))
		/* A member that goes on has not accepted the RST (RFC 5961). */
		connection->state = connection_state(connection);
}

/* A connection that is closed needs no place any more; one that goes on after a RST does. */
static __always_inline void connection_adjust_place(struct hf_connection *connection)
{
	bool closed = connection->state == HF_CONNECTION_CLOSED, counted = connection->flags & HF_CONNECTION_COUNTED;
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

	query->now = now;
	return settings && decide_query(query, settings, connection->virtual_server,
					reply ? packet->flow.destination : packet->flow.source, packet->ipv4);
}

/*
 * The rare work of an established connection: the first packet of each second,
 * and segments that change the state. False: the connection is over, the packet
 * is to be decided anew.
 */
static __noinline bool connection_track(const struct packet *packet, struct hf_connection *connection, __u32 now)
{
	bool reply = connection->flags & HF_CONNECTION_REPLY;
	struct hf_connection *partner, made;
	struct session_query query;
	struct hf_flow_key key;
	__u8 before;

	if (connection_expired(connection, now) || connection_orphaned(connection)) {
		if (connection->state != HF_CONNECTION_CLOSED)
			reason_count(HF_REASON_connection_expired);
		connection_remove(&packet->flow, connection);
		return false;
	}
	if (connection->state == HF_CONNECTION_CLOSED && !reply && packet_opens(packet)) {
		connection_remove(&packet->flow, connection);
		return false;
	}
	before = connection->state;
	connection_advance(connection, packet->tcp_flags);
	if (connection->last_seen == now && before == connection->state && !(packet->tcp_flags & TCP_FIN))
		return true;

	connection->last_seen = now;
	connection_partner_key(&key, &packet->flow, connection);
	partner = bpf_map_lookup_elem(&connections, &key);
	if (partner && connection_pairs(partner, &packet->flow, reply)) {
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
	} else if (!partner && connection->state != HF_CONNECTION_CLOSED) {
		connection_partner(&made, packet, connection);
		if (!bpf_map_update_elem(&connections, &key, &made, BPF_NOEXIST))
			reason_count(HF_REASON_connection_healed);
	}
	if (connection_query(&query, packet, connection, now))
		session_touch(&query);
	return true;
}

/*
 * Both sides have shown that it is real: record the connection. `connection` comes as the embryo's and becomes what is recorded.
 */
static __noinline int connection_establish(const struct packet *packet, struct hf_connection *connection, __u32 now)
{
	struct hf_connection partner;
	struct hf_flow_key key;

	if (connection_orphaned(connection))
		return -1;
	connection->state = connection_state(connection);
	connection->flags &=
		CONNECTION_BOTH_FINS | HF_CONNECTION_REPLY | HF_CONNECTION_PER_DATAGRAM | HF_CONNECTION_COUNTED;
	connection->created = connection->last_seen = now;
	connection_partner_key(&key, &packet->flow, connection);
	connection_partner(&partner, packet, connection);
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

static __always_inline bool embryo_alive(const struct hf_embryonic_connection *embryo, __u32 now)
{
	return (__s32)(now - embryo->connection.last_seen) <= HF_EMBRYONIC_TIMEOUT;
}

/* Removes an embryo that is over. Its place is given back by whoever removes it. */
static __always_inline void embryo_remove(const struct hf_flow_key *key, const struct hf_embryonic_connection *embryo)
{
	bool held = connection_holds_place(&embryo->connection);
	__u32 member = embryo->connection.member;

	if (!bpf_map_delete_elem(&embryonic_connections, key) && held)
		member_give_place_back(member);
}

/* Does the packet belong to this embryo? A SYN begins anew what it did not begin itself. */
static __always_inline bool embryo_has(const struct hf_embryonic_connection *embryo, const struct packet *packet,
				       __u32 now)
{
	const struct hf_member *member;

	if (!embryo_alive(embryo, now))
		return false;
	if (!packet_opens(packet))
		return true;
	member = member_get(embryo->connection.member);
	return embryo->connection.state == HF_CONNECTION_SYN && member &&
	       (member->state == HF_MEMBER_UP || member->state == HF_MEMBER_DRAINING);
}

/*
 * A RST ends what has not yet begun. The embryo stays for a while, closed, so
 * that this packet, and its repetition, still find their way.
 */
static __noinline void embryo_reset(const struct packet *packet, struct hf_embryonic_connection *embryo, __u32 now)
{
	struct hf_embryonic_connection *partner;
	struct session_query query;
	struct hf_flow_key key;

	embryo->connection.state = HF_CONNECTION_CLOSED;
	connection_adjust_place(&embryo->connection);
	connection_partner_key(&key, &packet->flow, &embryo->connection);
	partner = bpf_map_lookup_elem(&embryonic_connections, &key);
	if (partner) {
		partner->connection.state = HF_CONNECTION_CLOSED;
		partner->connection.flags &= ~HF_CONNECTION_COUNTED;
	}
	if (embryo->connection.flags & HF_CONNECTION_REPLY &&
	    connection_query(&query, packet, &embryo->connection, now))
		session_withdraw(&query, embryo->connection.member);
}

/* The member's SYN-ACK: the number that the client's ACK has to name. */
static __always_inline void embryo_note_syn_ack(const struct packet *packet, const struct hf_connection *connection,
						__u32 sequence)
{
	struct hf_embryonic_connection *partner;
	struct hf_flow_key key;

	connection_partner_key(&key, &packet->flow, connection);
	partner = bpf_map_lookup_elem(&embryonic_connections, &key);
	if (!partner)
		return;
	partner->server_sequence = sequence + 1;
	partner->connection.flags |= HF_CONNECTION_SYN_ACK;
}

/* Does the client's segment show that it has seen the SYN-ACK? */
static __always_inline bool embryo_acknowledged(const struct hf_embryonic_connection *embryo,
						const struct packet *packet, __u32 acknowledgement)
{
	/* More than the SYN-ACK may be acknowledged at once where the SYN carried data. */
	__u32 window = embryo->connection.flags & HF_CONNECTION_SYN_DATA ? 0xffff : 0;

	return packet->tcp_flags & TCP_ACK && embryo->connection.flags & HF_CONNECTION_SYN_ACK &&
	       acknowledgement - embryo->server_sequence <= window;
}

/*
 * A packet of an embryonic connection. CONTINUE: translate it with `connection`,
 * which is set to what the embryo holds, or, if the packet was the proof, to what
 * is established: then its session is still to be recorded.
 */
static __noinline int connection_nurse(hook_context *context, const struct packet *packet,
				       struct hf_embryonic_connection *embryo, struct hf_connection *connection,
				       __u32 now)
{
	bool reply = embryo->connection.flags & HF_CONNECTION_REPLY, proved = false;
	struct tcphdr *tcp = packet_data(context) + (packet->transport & TRANSPORT_OFFSET_MASK);
	__u8 flags = packet->tcp_flags;

	connection_note_fin(&embryo->connection, flags);
	*connection = embryo->connection;
	if (flags & TCP_RST) {
		embryo_reset(packet, embryo, now);
	} else if (packet->flow.protocol == IPPROTO_UDP) {
		proved = reply || now != embryo->connection.created;
	} else if (embryo->connection.state == HF_CONNECTION_UNCONFIRMED) {
		proved = reply && !(flags & TCP_SYN);
	} else if (embryo->connection.state == HF_CONNECTION_SYN) {
		if ((void *)(tcp + 1) > packet_end(context)) {
			reason_count(HF_REASON_malformed);
			return HOOK_DROP;
		}
		if (reply && (flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK)) {
			embryo_note_syn_ack(packet, connection, bpf_ntohl(tcp->seq));
		} else if (!reply && !(flags & TCP_SYN)) {
			proved = embryo_acknowledged(embryo, packet, bpf_ntohl(tcp->ack_seq));
			if (!proved) {
				reason_count(HF_REASON_not_yet_open);
				return HOOK_DROP;
			}
		}
	}
	embryo->connection.last_seen = now;
	if (!proved)
		return CONTINUE;
	if (connection_establish(packet, connection, now)) {
		reason_count(HF_REASON_table_full);
		return HOOK_DROP;
	}
	return CONTINUE;
}

/*
 * May this connection have the tuple between member and client? Not while it
 * is another one's: the member's answers could not be told apart. What is only
 * left over is removed.
 */
static __noinline bool connection_claim_tuple(const struct hf_flow_key *key, const struct packet *packet, __u32 now)
{
	const struct hf_embryonic_connection *embryo = bpf_map_lookup_elem(&embryonic_connections, key);
	const struct hf_connection *other = bpf_map_lookup_elem(&connections, key);

	if (embryo && embryo_alive(embryo, now) && embryo->connection.state != HF_CONNECTION_CLOSED &&
	    !connection_pairs(&embryo->connection, &packet->flow, false))
		return false;
	if (!other)
		return true;
	if (!connection_pairs(other, &packet->flow, false) && other->state != HF_CONNECTION_CLOSED &&
	    !connection_expired(other, now))
		return false;
	connection_remove(key, other);
	return true;
}

/*
 * A datagram that a member sends from its service's port, to somebody who has no
 * connection with it: it leaves with the virtual server's address, as all others
 * do. No connection is recorded. False: the port is no such service's.
 */
static __noinline bool connection_member_speaks(const struct packet *packet, struct hf_connection *connection)
{
	struct hf_service_key key = {.port = packet->flow.source_port, .protocol = packet->flow.protocol};
	const struct hf_member_service *service;
	__be16 port;

	if (packet->flow.protocol != IPPROTO_UDP)
		return false;
	__builtin_memcpy(key.address, packet->flow.source, sizeof(key.address));
	service = bpf_map_lookup_elem(&member_services, &key);
	if (!service) {
		key.port = 0;
		service = bpf_map_lookup_elem(&member_services, &key);
	}
	if (!service)
		return false;
	port = service->port ?: packet->flow.source_port;
	if (service_find(service->address, port, IPPROTO_UDP) != service->virtual_server)
		return false;
	__builtin_memset(connection, 0, sizeof(*connection));
	__builtin_memcpy(connection->address, service->address, 16);
	connection->port = port;
	connection->address_checksum = csum_difference_address(packet->flow.source, service->address);
	connection->member = service->member;
	connection->virtual_server = service->virtual_server;
	connection->flags = HF_CONNECTION_REPLY | HF_CONNECTION_PER_DATAGRAM;
	return true;
}

/* The host's packet. If it is a first fragment, so are the later ones. */
static __always_inline int connection_not_ours(const struct packet *packet)
{
	struct hf_connection none = {};

	if (unlikely(packet->fragment) && packet->to_virtual)
		fragment_remember(packet, &none);
	return HOOK_PASS;
}

/*
 * A packet that belongs to no connection: whose is it, and which member is to
 * have it? CONTINUE: `decision` says so, unless `refused` names a reason.
 * HAND_OVER: the virtual server's parser has to look at it first.
 */
static __noinline int connection_place(const struct packet *packet, struct decision *decision, enum hf_reason *refused,
				       __u32 now)
{
	bool midstream = packet->flow.protocol == IPPROTO_TCP && !packet_opens(packet);
	const struct hf_virtual_server *settings;

	if (!packet->to_virtual)
		return connection_not_ours(packet);
	decision->virtual_server =
		service_find(packet->flow.destination, packet->flow.destination_port, packet->flow.protocol);
	settings = service_settings(decision->virtual_server);
	if (!decision->virtual_server || !settings)
		return connection_not_ours(packet);
	if (settings->parser)
		return HAND_OVER;
	*refused = HF_REASON_rejected_reset;
	if (packet->tcp_flags & TCP_RST)
		return CONTINUE;
	/* Every segment in mid-stream has an ACK (RFC 9293, 3.10.7.4). */
	*refused = HF_REASON_no_connection;
	if (midstream && !(packet->tcp_flags & TCP_ACK))
		return CONTINUE;
	decide(packet, settings, decision, now);
	if (midstream && !decision->placed)
		return CONTINUE;
	*refused = HF_REASON_no_usable_member;
	if (!decision->member)
		return CONTINUE;
	if (midstream)
		reason_count(HF_REASON_connection_rebuilt);
	*refused = HF_REASON_COUNT;
	return CONTINUE;
}

/* The forward direction of a new connection. */
static __always_inline void connection_make(struct hf_connection *connection, const struct packet *packet,
					    const struct decision *decision, const struct hf_member *member, __u32 now)
{
	__builtin_memcpy(connection->address, member->address, 16);
	connection->port = member->port ?: packet->flow.destination_port;
	connection->address_checksum = csum_difference_address(packet->flow.destination, member->address);
	connection->member = decision->member;
	connection->created = now;
	connection->last_seen = now;
	connection->virtual_server = decision->virtual_server;
	connection->next_hop = member->next_hop;
	connection->state = packet_opens(packet) ? HF_CONNECTION_SYN : HF_CONNECTION_UNCONFIRMED;
	connection->flags = packet_opens(packet) && packet->payload_length ? HF_CONNECTION_SYN_DATA : 0;
	connection->route_generation = member->route_generation;
}

/* Takes what a new connection needs: the tuple of its replies, and a place with its member. */
static __noinline int connection_claim(const struct packet *packet, struct hf_connection *connection, bool beyond)
{
	const struct hf_member *member = member_get(connection->member);
	struct hf_flow_key key;

	connection_partner_key(&key, &packet->flow, connection);
	if (!connection_claim_tuple(&key, packet, connection->created)) {
		reason_count(HF_REASON_tuple_in_use);
		return HOOK_DROP;
	}
	if (!member || !member_take_place(member, connection->member, beyond)) {
		reason_count(HF_REASON_member_full);
		return HOOK_DROP;
	}
	connection->flags |= HF_CONNECTION_COUNTED;
	return CONTINUE;
}

/*
 * The embryo of a new connection, both directions, in the place of an `old` one
 * that is over. CONTINUE: translate the packet with `connection`.
 */
static __noinline int connection_conceive(const struct packet *packet, const struct decision *decision,
					  struct hf_connection *connection, const struct hf_embryonic_connection *old,
					  __u32 now)
{
	const struct hf_member *member = member_get(decision->member);
	struct hf_embryonic_connection embryo = {};
	struct hf_flow_key key;
	int verdict;

	if (!member) {
		reason_count(HF_REASON_no_usable_member);
		return HOOK_DROP;
	}
	if (old)
		embryo_remove(&packet->flow, old);
	connection_make(connection, packet, decision, member, now);
	verdict = connection_claim(packet, connection, decision->beyond);
	if (verdict != CONTINUE)
		return verdict;
	connection_partner_key(&key, &packet->flow, connection);
	embryo.connection = *connection;
	if (bpf_map_update_elem(&embryonic_connections, &packet->flow, &embryo, BPF_ANY)) {
		reason_count(HF_REASON_table_full);
		return HOOK_DROP;
	}
	connection_partner(&embryo.connection, packet, connection);
	if (bpf_map_update_elem(&embryonic_connections, &key, &embryo, BPF_ANY)) {
		reason_count(HF_REASON_table_full);
		return HOOK_DROP;
	}
	return CONTINUE;
}
