/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a connection begins: whose packet it is, which member is to have it, and
 * what has to be free for that.
 */
#pragma once

#include "embryo.h"
#include "forward/source.h"

/* Is the entry of replies one of this packet's flow, of which one end is translated? */
static __always_inline bool connection_is_from(const struct hf_connection *reply, const struct packet *packet)
{
	return !connection_has_other_end(reply) && connection_restores(reply, &packet->flow, false);
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
	    !connection_is_from(&embryo->connection, packet))
		return false;
	if (!other)
		return true;
	if (!connection_is_from(other, packet) && other->state != HF_CONNECTION_CLOSED &&
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
	connection->forwarding = HF_FORWARDING_DNAT;
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
 * HAND_OVER: the virtual server's parser, or its front, has to look at it first.
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
	if (settings->parser || settings->flags & HF_SERVER_SPLICES)
		return HAND_OVER;
	*refused = HF_REASON_rejected_reset;
	if (packet->tcp_flags & TCP_RST)
		return CONTINUE;
	/* Every segment in mid-stream has an ACK (RFC 9293, 3.10.7.4). */
	*refused = HF_REASON_no_connection;
	if (midstream && !(packet->tcp_flags & TCP_ACK))
		return CONTINUE;
	decision->fresh = !midstream;
	decide(packet, settings, decision, now);
	if (midstream && !decision->placed)
		return CONTINUE;
	/* It was there before: no limit of new ones is its. */
	decision->beyond |= midstream;
	*refused = HF_REASON_no_usable_member;
	if (!decision->member) {
		event_of_refusal(&packet->flow, decision->virtual_server);
		return CONTINUE;
	}
	if (midstream)
		reason_count(HF_REASON_connection_rebuilt);
	*refused = HF_REASON_COUNT;
	return CONTINUE;
}

/* The forward direction of a new connection. */
static __always_inline void connection_make(struct hf_connection *connection, const struct packet *packet,
					    const struct decision *decision, const struct hf_member *member, __u32 now)
{
	const struct hf_virtual_server *settings = service_settings(decision->virtual_server);

	__builtin_memcpy(connection->address, member->address, 16);
	connection->port = member->port ?: packet->flow.destination_port;
	connection->forwarding = settings ? settings->forwarding : HF_FORWARDING_DNAT;
	connection->address_checksum = csum_difference_address(packet->flow.destination, member->address);
	connection->member = decision->member;
	connection->created = now;
	connection->last_seen = now;
	connection->virtual_server = decision->virtual_server;
	connection->next_hop = member->next_hop;
	connection->state = packet_opens(packet) ? HF_CONNECTION_SYN : HF_CONNECTION_UNCONFIRMED;
	connection->flags = 0;
	connection->route_generation = member->route_generation;
}

/* Takes what a new connection needs: the tuple of its replies, and a place with its member. */
static __noinline int connection_claim(const struct packet *packet, struct hf_connection *connection, bool beyond)
{
	const struct hf_member *member = member_get(connection->member);
	struct hf_flow_key key;

	/* Of sources of ours, one is taken that is free. */
	if (!connection_has_other_end(connection)) {
		connection_partner_key(&key, &packet->flow, connection);
		if (!connection_claim_tuple(&key, packet, connection->created))
			return drop(HF_REASON_tuple_in_use);
	}
	if (member && connection->forwarding == HF_FORWARDING_DIRECT && member->flags & HF_MEMBER_ROUTED)
		return drop(HF_REASON_not_on_link);
	if (!member || !member_take_place(member, connection->member, beyond))
		return drop(HF_REASON_member_full);
	if (unlikely(member->rate_limit | member->warm) && !member_take_turn(connection->member, beyond)) {
		member_give_place_back(connection->member);
		return drop(HF_REASON_member_full);
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
	struct hf_embryonic_connection *embryo;
	struct task *task = task_get();
	struct hf_flow_key key;
	int verdict;

	if (!task)
		return drop(HF_REASON_state_missing);
	if (!member)
		return drop(HF_REASON_no_usable_member);
	if (old)
		embryo_remove(&packet->flow, old);
	connection_make(connection, packet, decision, member, now);
	verdict = connection_claim(packet, connection, decision->beyond);
	if (verdict != CONTINUE)
		return verdict;
	embryo = &task->embryo;
	__builtin_memset(embryo, 0, sizeof(*embryo));
	if (connection_has_other_end(connection)) {
		verdict = source_take_for(&packet->flow, connection, false);
		if (verdict != CONTINUE)
			return verdict;
		embryo->other_end = task->own_end;
	} else {
		connection_partner_key(&key, &packet->flow, connection);
		connection_partner(&embryo->connection, &packet->flow, connection);
		if (bpf_map_update_elem(&embryonic_connections, &key, embryo, BPF_ANY))
			return drop(HF_REASON_table_full);
	}
	embryo->connection = *connection;
	embryo->flags = packet_opens(packet) && packet->payload_length ? HF_EMBRYO_SYN_DATA : 0;
	if (bpf_map_update_elem(&embryonic_connections, &packet->flow, embryo, BPF_ANY))
		return drop(HF_REASON_table_full);
	return CONTINUE;
}
