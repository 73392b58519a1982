/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Translation. dnat: the destination's address and port on the way to the member, the
 * source's on the way back. fullnat: both; nat46 and nat64 (nat46.h): likewise. direct:
 * none. Checksums are updated, never made anew (RFC 1624), so that an error on the wire
 * stays visible to the end hosts.
 */
#pragma once

#include "../fragment.h"
#include "../reject.h"
#include "nat46.h"

/* False: the packet has spent its last hop. */
static __always_inline bool nat_network_ipv4(hook_context *context, const struct packet *packet,
					     const struct hf_connection *connection, bool reply)
{
	struct iphdr *ip = packet_data(context) + (packet->network & NETWORK_OFFSET_MASK);
	__be32 address = *(const __be32 *)(connection->address + 12);

	if ((void *)(ip + 1) > packet_end(context) || ip->ttl <= 1)
		return false;
	if (reply)
		ip->saddr = address;
	else
		ip->daddr = address;
	ip->ttl--;
	ip->check = csum_update(ip->check, connection->address_checksum + (__u16)~bpf_htons(0x0100));
	return true;
}

static __always_inline bool nat_network_ipv6(hook_context *context, const struct packet *packet,
					     const struct hf_connection *connection, bool reply)
{
	struct ipv6hdr *ip = packet_data(context) + (packet->network & NETWORK_OFFSET_MASK);

	if ((void *)(ip + 1) > packet_end(context) || ip->hop_limit <= 1)
		return false;
	if (reply)
		__builtin_memcpy(&ip->saddr, connection->address, 16);
	else
		__builtin_memcpy(&ip->daddr, connection->address, 16);
	ip->hop_limit--;
	/* No header checksum takes the changes up. */
	packet_note_change(context, connection->address_checksum + (__u16)~bpf_htons(1));
	return true;
}

static __always_inline bool nat_has_hops(hook_context *context, const struct packet *packet)
{
	const __u8 *network = packet_data(context) + (packet->network & NETWORK_OFFSET_MASK);

	return (void *)(network + sizeof(struct iphdr)) <= packet_end(context) &&
	       network[packet->ipv4 ? offsetof(struct iphdr, ttl) : offsetof(struct ipv6hdr, hop_limit)] > 1;
}

/* With `direct`, a router's work. Global: verified once. */
__noinline int nat_count_hop(hook_context *context, const struct packet *packet)
{
	struct ipv6hdr *ipv6;
	struct iphdr *ipv4;

	if (!packet)
		return HOOK_DROP;
	ipv6 = packet_data(context) + (packet->network & NETWORK_OFFSET_MASK);
	ipv4 = (void *)ipv6;
	if (packet->ipv4) {
		if ((void *)(ipv4 + 1) > packet_end(context) || ipv4->ttl <= 1)
			return reject_expired(context, packet);
		ipv4->ttl--;
		ipv4->check = csum_update(ipv4->check, (__u16)~bpf_htons(0x0100));
		return CONTINUE;
	}
	if ((void *)(ipv6 + 1) > packet_end(context) || ipv6->hop_limit <= 1)
		return reject_expired(context, packet);
	ipv6->hop_limit--;
	packet_note_change(context, (__u16)~bpf_htons(1));
	return CONTINUE;
}

/* The other end's address: what nat_network_*() leaves. */
static __always_inline bool nat_network_other_end(hook_context *context, const struct packet *packet,
						  const struct hf_other_end *end, bool reply, __u16 difference)
{
	struct ipv6hdr *ipv6 = packet_data(context) + (packet->network & NETWORK_OFFSET_MASK);
	struct iphdr *ipv4 = (void *)ipv6;

	if (packet->ipv4) {
		if ((void *)(ipv4 + 1) > packet_end(context))
			return false;
		if (reply)
			ipv4->daddr = *(const __be32 *)(end->address + 12);
		else
			ipv4->saddr = *(const __be32 *)(end->address + 12);
		ipv4->check = csum_update(ipv4->check, difference);
		return true;
	}
	if ((void *)(ipv6 + 1) > packet_end(context))
		return false;
	if (reply)
		__builtin_memcpy(&ipv6->daddr, end->address, 16);
	else
		__builtin_memcpy(&ipv6->saddr, end->address, 16);
	packet_note_change(context, difference);
	return true;
}

/* Its port, likewise. */
static __always_inline int nat_transport_other_end(hook_context *context, const struct packet *packet,
						   const struct hf_other_end *end, bool reply, __u16 difference)
{
	__be16 old = reply ? packet->flow.destination_port : packet->flow.source_port;
	__u32 offset = packet->transport & TRANSPORT_OFFSET_MASK;
	struct udphdr *udp = packet_data(context) + offset;
	struct tcphdr *tcp = (void *)udp;

	if ((void *)(udp + 1) > packet_end(context))
		return drop(HF_REASON_malformed);
	/* Likewise, both. */
	udp->source = reply ? udp->source : end->port;
	udp->dest = reply ? end->port : udp->dest;
	if (packet->flow.protocol == IPPROTO_UDP) {
		packet_update_l4_checksum(context, offset + offsetof(struct udphdr, check), &udp->check, difference,
					  old, end->port, true);
		return CONTINUE;
	}
	if ((void *)(tcp + 1) > packet_end(context))
		return drop(HF_REASON_malformed);
	packet_update_l4_checksum(context, offset + offsetof(struct tcphdr, check), &tcp->check, difference, old,
				  end->port, false);
	return CONTINUE;
}

/* The address of the connection's entry, and a hop. */
static __always_inline int nat_network(hook_context *context, const struct packet *packet,
				       const struct hf_connection *connection, bool reply)
{
	if (packet->ipv4 ? nat_network_ipv4(context, packet, connection, reply)
			 : nat_network_ipv6(context, packet, connection, reply))
		return CONTINUE;
	return reject_expired(context, packet);
}

/* The port of the connection's entry, and the checksum. */
static __always_inline int nat_transport(hook_context *context, const struct packet *packet,
					 const struct hf_connection *connection, bool reply)
{
	__be16 old_port = reply ? packet->flow.source_port : packet->flow.destination_port;
	__u32 offset = packet->transport & TRANSPORT_OFFSET_MASK;
	struct udphdr *udp;
	struct tcphdr *tcp;

	udp = packet_data(context) + offset;
	if ((void *)(udp + 1) > packet_end(context))
		return drop(HF_REASON_malformed);
	/* The ports are in the same place in both protocols. Both are written: the value is computed, not the place. */
	udp->source = reply ? connection->port : packet->flow.source_port;
	udp->dest = reply ? packet->flow.destination_port : connection->port;
	if (packet->flow.protocol == IPPROTO_UDP) {
		packet_update_l4_checksum(context, offset + offsetof(struct udphdr, check), &udp->check,
					  connection->address_checksum, old_port, connection->port, true);
		return CONTINUE;
	}
	tcp = (void *)udp;
	if ((void *)(tcp + 1) > packet_end(context))
		return drop(HF_REASON_malformed);
	packet_update_l4_checksum(context, offset + offsetof(struct tcphdr, check), &tcp->check,
				  connection->address_checksum, old_port, connection->port, false);
	return CONTINUE;
}

/* Both ports. `difference`: that of the other end's address. */
static __always_inline int nat_transport_both_ends(hook_context *context, const struct packet *packet,
						   const struct hf_connection *connection,
						   const struct hf_other_end *end, bool reply, __u16 difference)
{
	int verdict = nat_transport(context, packet, connection, reply);

	return verdict == CONTINUE ? nat_transport_other_end(context, packet, end, reply, difference) : verdict;
}

/* What the packet gets at the end that its connection's entry does not name. NULL: there is none. */
static __always_inline const struct hf_other_end *nat_other_end(struct hf_flow_key *key, const struct packet *packet,
								const struct hf_connection *connection)
{
	if (connection->flags & HF_CONNECTION_REPLY || packet_is_later_fragment(packet))
		return fragment_other_end(packet);
	return other_end_find(key, &packet->flow, connection);
}

/* Global: verified once. */
__noinline int nat_translate_both_ends(hook_context *context, const struct packet *packet,
				       const struct hf_connection *connection)
{
	const struct hf_other_end *end;
	struct hf_flow_key key;
	__u16 difference;
	int verdict;
	bool reply;

	if (!packet || !connection)
		return HOOK_DROP;
	reply = connection->flags & HF_CONNECTION_REPLY;
	end = nat_other_end(&key, packet, connection);
	if (!end)
		return drop(HF_REASON_state_missing);
	difference = csum_difference_address(reply ? packet->flow.destination : packet->flow.source, end->address);
	verdict = nat_network(context, packet, connection, reply);
	if (verdict != CONTINUE)
		return verdict;
	if (!nat_network_other_end(context, packet, end, reply, difference))
		return drop(HF_REASON_malformed);
	if (packet_is_later_fragment(packet))
		return CONTINUE;
	return nat_transport_both_ends(context, packet, connection, end, reply, difference);
}

/* nat46, nat64. Global: verified once. */
__noinline int nat_translate_family(hook_context *context, struct packet *packet,
				    const struct hf_connection *connection)
{
	const struct hf_other_end *end;
	struct hf_flow_key key;
	__u16 difference;
	int verdict;
	bool reply;

	if (!packet || !connection)
		return HOOK_DROP;
	reply = connection->flags & HF_CONNECTION_REPLY;
	end = nat_other_end(&key, packet, connection);
	if (!end)
		return drop(HF_REASON_state_missing);
	if (!nat_has_hops(context, packet))
		return reject_expired(context, packet);
	if (!packet_is_later_fragment(packet)) {
		if (packet->ipv4 && packet->flow.protocol == IPPROTO_UDP) {
			verdict = family_sum_datagram(context, packet);
			if (verdict != CONTINUE)
				return verdict;
		}
		difference =
			csum_difference_address(reply ? packet->flow.destination : packet->flow.source, end->address);
		verdict = nat_transport_both_ends(context, packet, connection, end, reply, difference);
		if (verdict != CONTINUE)
			return verdict;
	}
	return reply ? family_write_network(context, packet, connection->address, end->address)
		     : family_write_network(context, packet, end->address, connection->address);
}

/* The modes that are not the usual one. */
static __always_inline int nat_translate_specially(hook_context *context, struct packet *packet,
						   const struct hf_connection *connection)
{
	if (connection->forwarding == HF_FORWARDING_DIRECT)
		return nat_count_hop(context, packet);
	return family_changes(connection) ? nat_translate_family(context, packet, connection)
					  : nat_translate_both_ends(context, packet, connection);
}

static __always_inline int nat_translate(hook_context *context, struct packet *packet,
					 const struct hf_connection *connection)
{
	bool reply = connection->flags & HF_CONNECTION_REPLY;
	int verdict;

	if (unlikely(connection->forwarding > HF_FORWARDING_DNAT))
		return nat_translate_specially(context, packet, connection);
	verdict = nat_network(context, packet, connection, reply);
	/* Of a later fragment, ports and checksum were in the first one. */
	if (verdict != CONTINUE || unlikely(packet_is_later_fragment(packet)))
		return verdict;
	return nat_transport(context, packet, connection, reply);
}
