/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Embryos: connections that have only been asked for. They live in a table of
 * their own until both sides have shown that they are real:
 *   TCP  the client acknowledges the member's SYN-ACK, with its sequence number
 *   UDP  the member answers, or the client is still there in a later second
 */
#pragma once

#include "connection.h"

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
	partner->flags |= HF_EMBRYO_SYN_ACK;
}

/* Does the client's segment show that it has seen the SYN-ACK? */
static __always_inline bool embryo_acknowledged(const struct hf_embryonic_connection *embryo,
						const struct packet *packet, __u32 acknowledgement)
{
	/* More than the SYN-ACK may be acknowledged at once where the SYN carried data. */
	__u32 window = embryo->flags & HF_EMBRYO_SYN_DATA ? 0xffff : 0;

	return packet->tcp_flags & TCP_ACK && embryo->flags & HF_EMBRYO_SYN_ACK &&
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
	bool direct = embryo->connection.forwarding == HF_FORWARDING_DIRECT;
	struct tcphdr *tcp = packet_data(context) + (packet->transport & TRANSPORT_OFFSET_MASK);
	__u8 flags = packet->tcp_flags;

	connection_note_fin(&embryo->connection, flags);
	*connection = embryo->connection;
	if (flags & TCP_RST) {
		embryo_reset(packet, embryo, now);
	} else if (packet->flow.protocol == IPPROTO_UDP) {
		proved = reply || now != embryo->connection.created;
	} else if (embryo->connection.state == HF_CONNECTION_UNCONFIRMED) {
		proved = (reply || (direct && now != embryo->connection.created)) && !(flags & TCP_SYN);
	} else if (direct) {
		/* What the member says is not seen: who goes on has heard it. */
		proved = embryo->connection.state == HF_CONNECTION_SYN && !(flags & TCP_SYN) && flags & TCP_ACK;
	} else if (embryo->connection.state == HF_CONNECTION_SYN) {
		if ((void *)(tcp + 1) > packet_end(context))
			return drop(HF_REASON_malformed);
		if (reply && (flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK)) {
			embryo_note_syn_ack(packet, connection, bpf_ntohl(tcp->seq));
		} else if (!reply && !(flags & TCP_SYN)) {
			proved = embryo_acknowledged(embryo, packet, bpf_ntohl(tcp->ack_seq));
			if (!proved)
				return drop(HF_REASON_not_yet_open);
		}
	}
	embryo->connection.last_seen = now;
	if (!proved)
		return CONTINUE;
	if (connection_establish(packet, connection, now))
		return drop(HF_REASON_table_full);
	return CONTINUE;
}
