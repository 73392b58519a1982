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
#include "nexthop.h"

/* The key of the other direction of the same connection. */
static __always_inline void connection_partner_key(struct hf_flow_key *partner, const struct packet *packet,
						   const struct hf_connection *connection)
{
	*partner = packet->flow;
	if (connection->flags & HF_CONNECTION_REPLY) {
		__builtin_memcpy(partner->source, packet->flow.destination, 16);
		__builtin_memcpy(partner->destination, connection->address, 16);
		partner->source_port = packet->flow.destination_port;
		partner->destination_port = connection->port;
	} else {
		__builtin_memcpy(partner->source, connection->address, 16);
		__builtin_memcpy(partner->destination, packet->flow.source, 16);
		partner->source_port = connection->port;
		partner->destination_port = packet->flow.source_port;
	}
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

static __always_inline __u32 connection_timeout(const struct hf_connection *connection)
{
	const struct hf_virtual_server *settings;

	if (connection->state == HF_CONNECTION_CLOSED)
		return HF_CLOSED_TIMEOUT;
	if (connection->state == HF_CONNECTION_HALF_CLOSED)
		return HF_HALF_CLOSED_TIMEOUT;
	settings = service_settings(connection->virtual_server);
	return settings ? settings->idle_timeout : 0;
}

static __always_inline bool connection_expired(const struct hf_connection *connection, __u32 now)
{
	return (__s32)(now - connection->last_seen) > (__s32)connection_timeout(connection);
}

/* The state after this segment, which both entries then share. */
static __always_inline void connection_advance(struct hf_connection *connection, __u8 tcp_flags)
{
	const __u8 both = HF_CONNECTION_CLIENT_FIN | HF_CONNECTION_MEMBER_FIN;

	if (tcp_flags & TCP_RST) {
		connection->state = HF_CONNECTION_CLOSED;
	} else if (tcp_flags & TCP_FIN) {
		connection->flags |= connection->flags & HF_CONNECTION_REPLY ? HF_CONNECTION_MEMBER_FIN :
									       HF_CONNECTION_CLIENT_FIN;
		if ((connection->flags & both) == both)
			connection->state = HF_CONNECTION_CLOSED;
		else if (connection->state == HF_CONNECTION_ESTABLISHED)
			connection->state = HF_CONNECTION_HALF_CLOSED;
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
	bool reply = connection->flags & HF_CONNECTION_REPLY, changed;
	struct hf_connection *partner, made;
	struct session_query query;
	struct hf_flow_key key;
	__u8 before;

	connection_partner_key(&key, packet, connection);
	if (connection_expired(connection, now) ||
	    (connection->state == HF_CONNECTION_CLOSED && !reply && (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)) {
		if (connection->state != HF_CONNECTION_CLOSED)
			reason_count(HF_REASON_connection_expired);
		bpf_map_delete_elem(&connections, &key);
		bpf_map_delete_elem(&connections, &packet->flow);
		return false;
	}
	before = connection->state;
	connection_advance(connection, packet->tcp_flags);
	changed = before != connection->state;
	if (connection->last_seen == now && !changed && !(packet->tcp_flags & TCP_FIN))
		return true;

	connection->last_seen = now;
	partner = bpf_map_lookup_elem(&connections, &key);
	if (partner) {
		partner->last_seen = now;
		partner->state = connection->state;
		partner->flags = connection->flags ^ HF_CONNECTION_REPLY;
	} else {
		connection_partner(&made, packet, connection);
		bpf_map_update_elem(&connections, &key, &made, BPF_NOEXIST);
		reason_count(HF_REASON_connection_healed);
	}
	/* A packet of the client is a request: its session lives on. */
	if (!reply && connection_query(&query, packet, connection, now))
		session_touch(&query);
	return true;
}

/*
 * Both sides have shown that it is real: record the connection and its session.
 * `connection` comes as the embryo's and becomes what is recorded.
 */
static __noinline int connection_establish(const struct packet *packet, struct hf_connection *connection, __u32 now)
{
	struct hf_connection partner;
	struct session_query query;
	struct hf_flow_key key;

	connection->state = HF_CONNECTION_ESTABLISHED;
	connection->created = connection->last_seen = now;
	connection_partner_key(&key, packet, connection);
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
	if (connection_query(&query, packet, connection, now))
		session_record(&query, connection->virtual_server, connection->member);
	return 0;
}

/* Refused or given up: let the client's next attempt be decided anew. */
static __noinline void connection_forget(const struct packet *packet, const struct hf_connection *embryo, __u32 now)
{
	struct session_query query;
	struct hf_flow_key key;

	if (connection_query(&query, packet, embryo, now))
		bpf_map_delete_elem(&embryonic_sessions, &query.key);
	connection_partner_key(&key, packet, embryo);
	bpf_map_delete_elem(&embryonic_connections, &key);
	bpf_map_delete_elem(&embryonic_connections, &packet->flow);
}

static __always_inline bool embryo_alive(const struct hf_embryonic_connection *embryo, __u32 now)
{
	return (__s32)(now - embryo->connection.last_seen) <= HF_EMBRYONIC_TIMEOUT;
}

/*
 * A packet of an embryonic connection. CONTINUE: translate it with `connection`,
 * which is set to what the embryo holds.
 */
static __noinline int connection_nurse(hook_context *context, const struct packet *packet,
				       struct hf_embryonic_connection *embryo, struct hf_connection *connection,
				       __u32 now)
{
	bool reply = embryo->connection.flags & HF_CONNECTION_REPLY, proved = false;
	struct tcphdr *tcp = packet_data(context) + (packet->transport & TRANSPORT_OFFSET_MASK);
	struct hf_embryonic_connection *partner;
	struct hf_flow_key key;

	*connection = embryo->connection;
	if (packet->tcp_flags & TCP_RST) {
		connection_forget(packet, connection, now);
		return CONTINUE;
	}
	if (embryo->connection.state == HF_CONNECTION_UNCONFIRMED) {
		proved = reply || (packet->flow.protocol == IPPROTO_UDP && now != embryo->connection.created);
	} else if ((void *)(tcp + 1) > packet_end(context)) {
		return HOOK_DROP;
	} else if (reply) {
		connection_partner_key(&key, packet, connection);
		partner = bpf_map_lookup_elem(&embryonic_connections, &key);
		if (partner && (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))
			partner->server_sequence = bpf_ntohl(tcp->seq) + 1;
	} else if (!(packet->tcp_flags & TCP_SYN)) {
		/* More than the SYN-ACK may be acknowledged at once where the SYN carried data (RFC 7413). */
		proved = packet->tcp_flags & TCP_ACK && embryo->server_sequence &&
			 bpf_ntohl(tcp->ack_seq) - embryo->server_sequence <= 0xffff;
		if (!proved) {
			reason_count(HF_REASON_not_yet_open);
			return HOOK_DROP;
		}
	}
	embryo->connection.last_seen = now;
	if (proved && connection_establish(packet, connection, now)) {
		reason_count(HF_REASON_table_full);
		return HOOK_DROP;
	}
	return CONTINUE;
}

/* Is the tuple between member and client free, or only left over? */
static __always_inline bool connection_tuple_free(const struct hf_flow_key *key, __u32 virtual_server, __u32 now)
{
	const struct hf_connection *other = bpf_map_lookup_elem(&connections, key);

	return !other || other->virtual_server == virtual_server || other->state == HF_CONNECTION_CLOSED ||
	       connection_expired(other, now);
}

/*
 * A packet that belongs to no connection: whose is it, and which member is to
 * have it? CONTINUE: `decision` says so, unless `refused` names a reason.
 */
static __noinline int connection_place(const struct packet *packet, struct decision *decision,
				       enum hf_reason *refused, __u32 now)
{
	const struct hf_virtual_server *settings;

	if (!packet->to_virtual)
		return HOOK_PASS;
	decision->virtual_server = service_find(packet);
	settings = service_settings(decision->virtual_server);
	if (!decision->virtual_server || !settings)
		return HOOK_PASS;
	*refused = HF_REASON_rejected_reset;
	if (packet->tcp_flags & TCP_RST)
		return CONTINUE;
	decide(packet, settings, decision, now);
	*refused = HF_REASON_no_usable_member;
	if (!decision->member)
		return CONTINUE;
	if (packet->flow.protocol == IPPROTO_TCP && !packet_opens(packet)) {
		*refused = HF_REASON_no_connection;
		if (!decision->placed)
			return CONTINUE;
		reason_count(HF_REASON_connection_rebuilt);
	}
	*refused = HF_REASON_COUNT;
	return CONTINUE;
}

/* The embryo of a new connection, both directions. CONTINUE: translate the packet with `connection`. */
static __noinline int connection_conceive(const struct packet *packet, const struct decision *decision,
					  struct hf_connection *connection, __u32 now)
{
	const struct hf_member *member = member_get(decision->member);
	struct hf_embryonic_connection embryo = {};
	struct hf_flow_key key;

	if (!member)
		return HOOK_DROP;
	__builtin_memcpy(connection->address, member->address, 16);
	connection->port = member->port ?: packet->flow.destination_port;
	connection->address_checksum = csum_difference_address(packet->flow.destination, member->address);
	connection->member = decision->member;
	connection->created = now;
	connection->last_seen = now;
	connection->virtual_server = decision->virtual_server;
	connection->next_hop = member->next_hop;
	connection->state = packet_opens(packet) ? HF_CONNECTION_SYN : HF_CONNECTION_UNCONFIRMED;
	connection->flags = 0;
	connection->route_generation = routes_generation();
	connection_partner_key(&key, packet, connection);
	if (!connection_tuple_free(&key, decision->virtual_server, now)) {
		reason_count(HF_REASON_tuple_in_use);
		return HOOK_DROP;
	}
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
