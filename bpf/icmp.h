/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ICMP: pings to virtual addresses are answered. An error goes to whom it concerns: it
 * quotes a packet that left here, so it takes the way of that packet's connection in
 * the other direction, and the quote becomes what its receiver had sent (RFC 5508, 4).
 */
#pragma once

#include "embryo.h"
#include "forward/nat.h"
#include "icmp_family.h"
#include "splice/translate.h"
#include "way.h"

/* Of an error, what is looked at: its header, a network header, and as much of what is behind. */
#define ICMP_SEEN 128

enum {
	ICMP_ECHO_REPLY = 0x0000,
	ICMP_ECHO_REQUEST = 0x0800,
	ICMPV6_ECHO_REQUEST = 0x8000,
	ICMPV6_ECHO_REPLY = 0x8100,
};

static __always_inline bool icmp_is_virtual(const struct packet *packet)
{
	struct hf_service_key key = {};

	if (!packet->to_virtual)
		return false;
	__builtin_memcpy(key.address, packet->flow.destination, sizeof(key.address));
	return bpf_map_lookup_elem(&virtual_servers, &key);
}

static __always_inline __be16 *icmp_word(struct message *message, __u32 at)
{
	return (__be16 *)(message->bytes + below(at, 2 * ICMP_SEEN));
}

/* A ping becomes its answer. */
static __noinline int icmp_answer_echo(hook_context *context, const struct packet *packet, struct message *message)
{
	struct ipv6hdr *ipv6;
	struct iphdr *ipv4;
	__be32 address;
	__be16 *word = (__be16 *)message->bytes, type;

	type = packet->ipv4 ? bpf_htons(ICMP_ECHO_REPLY) : bpf_htons(ICMPV6_ECHO_REPLY);
	word[1] = csum_update(word[1], csum_difference16(word[0], type));
	word[0] = type;
	reason_count(HF_REASON_echo_answered);
	if (packet_store(context, packet->transport, message->bytes, 4))
		return drop(HF_REASON_malformed);
	packet_linearize(context);
	ipv4 = packet_data(context) + (packet->network & NETWORK_OFFSET_MASK);
	ipv6 = (void *)ipv4;
	if (packet->ipv4) {
		if ((void *)(ipv4 + 1) > packet_end(context))
			return drop(HF_REASON_malformed);
		address = ipv4->saddr;
		ipv4->saddr = ipv4->daddr;
		ipv4->daddr = address;
		ipv4->check =
			csum_update(ipv4->check, csum_difference16(bpf_htons(ipv4->ttl << 8), bpf_htons(64 << 8)));
		ipv4->ttl = 64;
		return segment_return(context);
	}
	if ((void *)(ipv6 + 1) > packet_end(context))
		return drop(HF_REASON_malformed);
	__builtin_memcpy(&ipv6->saddr, packet->flow.destination, 16);
	__builtin_memcpy(&ipv6->daddr, packet->flow.source, 16);
	ipv6->hop_limit = 64;
	return segment_return(context);
}

/*
 * Reads what an error quotes. `flow`: that of the other direction. False: it can belong
 * to no connection.
 */
static __noinline bool icmp_read(const struct packet *packet, struct message *message, struct icmp_quote *quote,
				 struct hf_flow_key *flow)
{
	const __u8 *network = message->bytes + ICMP_HEADER;
	const struct iphdr *ipv4 = (const void *)network;
	const struct ipv6hdr *ipv6 = (const void *)network;

	quote->ipv4 = packet->ipv4;
	if (packet->ipv4) {
		/* Of a later fragment, nobody knows the ports. */
		if (ipv4->version != 4 || ipv4->ihl < 5 || ipv4->frag_off & bpf_htons(FRAGMENT_OFFSET))
			return false;
		address_from_ipv4(flow->source, ipv4->daddr);
		address_from_ipv4(flow->destination, ipv4->saddr);
		quote->protocol = ipv4->protocol;
		quote->at = ICMP_HEADER + ipv4->ihl * 4;
	} else {
		if (ipv6->version != 6)
			return false;
		address_from_ipv6(flow->source, &ipv6->daddr);
		address_from_ipv6(flow->destination, &ipv6->saddr);
		/* On a wire these are nobody's, as in parse_ipv6(). */
		if (address_is_mapped(flow->source) || address_is_mapped(flow->destination))
			return false;
		quote->protocol = ipv6->nexthdr;
		quote->at = ICMP_HEADER + sizeof(*ipv6);
		if (quote->protocol == IPPROTO_FRAGMENT) {
			/* As with IPv4. */
			if (*icmp_word(message, quote->at + 2) & bpf_htons(0xfff8))
				return false;
			quote->fragment = true;
			quote->protocol = network[sizeof(*ipv6)];
			quote->at += FAMILY_FRAGMENT_HEADER;
		}
	}
	if ((quote->protocol != IPPROTO_TCP && quote->protocol != IPPROTO_UDP) || quote->at + 8 > quote->length)
		return false;
	*(__u64 *)&flow->source_port = (__u64)quote->protocol << 32;
	flow->source_port = *icmp_word(message, quote->at + 2);
	flow->destination_port = *icmp_word(message, quote->at);
	return true;
}

/* The quoted packet's checksum, where it is quoted, follows what changes in it. */
static __always_inline void icmp_adjust_quote(struct message *message, const struct icmp_quote *quote, __u32 difference)
{
	__u32 at = quote->at +
		   (quote->protocol == IPPROTO_TCP ? offsetof(struct tcphdr, check) : offsetof(struct udphdr, check));
	__be16 *check = icmp_word(message, at);

	if (at + 2 > quote->length || (quote->protocol == IPPROTO_UDP && !*check))
		return;
	*check = csum_update(*check, difference);
}

/* One end of the quoted packet is put back. */
static __always_inline void icmp_put_back(struct message *message, const struct icmp_quote *quote, bool source,
					  const __u8 *address, __be16 port)
{
	__be16 *old_port = icmp_word(message, quote->at + (source ? 0 : 2));
	__u32 difference = csum_difference16(*old_port, port), of_address = 0;
	struct iphdr *ip = (void *)(message->bytes + ICMP_HEADER);
	__be32 *old = (void *)(message->bytes + ICMP_HEADER);

	*old_port = port;
	if (quote->ipv4) {
		old += source ? 3 : 4;
		of_address = csum_add32(csum_add32(0, ~*old), *(const __be32 *)(address + 12));
		*old = *(const __be32 *)(address + 12);
		ip->check = csum_update(ip->check, csum_fold(of_address));
	} else {
		old += source ? 2 : 6;
		of_address = csum_difference_address((const __u8 *)old, address);
		__builtin_memcpy(old, address, 16);
	}
	icmp_adjust_quote(message, quote, difference + csum_fold(of_address));
}

/* What is put into a stream makes segments longer than their sender knows: they have to be short enough here, too. */
static __always_inline void icmp_note_mtu(const struct message *message, bool ipv4, __u16 *mss)
{
	const __u8 *head = message->bytes;
	__u32 mtu, least = ipv4 ? 552 : 1280, headers = family_header_length(ipv4) + sizeof(struct tcphdr);

	if (ipv4 ? head[0] != 3 || head[1] != 4 : head[0] != 2)
		return;
	mtu = ipv4 ? bpf_ntohs(((const __be16 *)head)[3]) : bpf_ntohl(((const __be32 *)head)[1]);
	if (!mtu)
		return;
	mtu = mtu < least ? least : mtu;
	if (!*mss || mtu - headers < *mss)
		*mss = mtu - headers;
}

/* The quoted segment's number, as its sender knows it; and what its way takes is known to the splice, too. */
static __always_inline void icmp_put_sequence_back(struct message *message, const struct icmp_quote *quote,
						   const struct hf_connection *connection, bool ipv4)
{
	struct hf_splice *splice = splice_get(connection->splice);
	__be32 *sequence = (__be32 *)icmp_word(message, quote->at + 4);
	__be32 old = *sequence;
	__u32 number;

	if (!splice || quote->protocol != IPPROTO_TCP || splice->state != HF_SPLICE_BOUND)
		return;
	icmp_note_mtu(message, ipv4,
		      connection->flags & HF_CONNECTION_REPLY ? &splice->member_mss : &splice->client_mss);
	/* It acknowledges nothing: as the edge of a block, that changes nothing of the splice. */
	if (connection->flags & HF_CONNECTION_REPLY)
		number = translate_edge(splice, HF_REQUESTS, bpf_ntohl(old), false);
	else
		number = translate_edge(splice, HF_ANSWERS, bpf_ntohl(old), false);
	*sequence = bpf_htonl(number);
	icmp_adjust_quote(message, quote, csum_fold(csum_add32(csum_add32(0, ~old), *sequence)));
}

/* The quote becomes what the error's receiver had sent. Returns by how much the sum of it differs. */
static __noinline __u16 icmp_translate_quote(struct task *task, struct message *message, const struct icmp_quote *quote)
{
	const struct hf_connection *connection = &task->connection;
	bool reply = connection->flags & HF_CONNECTION_REPLY;
	__u32 before = bpf_csum_diff(NULL, 0, (__be32 *)message->bytes, ICMP_SEEN, 0), after;

	icmp_put_back(message, quote, !reply, connection->address, connection->port);
	if (connection_has_other_end(connection))
		icmp_put_back(message, quote, reply, task->own_end.address, task->own_end.port);
	if (connection->flags & HF_CONNECTION_SPLICED)
		icmp_put_sequence_back(message, quote, connection, task->packet.ipv4);
	after = bpf_csum_diff(NULL, 0, (__be32 *)message->bytes, ICMP_SEEN, 0);
	return csum_fold((__u16)~csum_fold(before) + csum_fold(after));
}

/* nat46, nat64: whoever says it, in the other family it is the virtual address, or the source that is ours. */
static __noinline int icmp_translate_family(hook_context *context, struct task *task, struct message *message,
					    const struct icmp_quote *quote)
{
	const struct hf_connection *connection = &task->connection;
	const struct hf_flow_key *flow = &task->packet.flow;
	const struct hf_other_end *end = &task->own_end;
	bool reply = connection->flags & HF_CONNECTION_REPLY;
	__be16 *port = icmp_word(message, quote->at);
	struct hf_flow_key *ends = &task->reply;
	__u32 difference;

	/* The error's ends. The quoted packet goes the other way, as does the flow. */
	__builtin_memcpy(ends->source, reply ? connection->address : end->address, 16);
	__builtin_memcpy(ends->destination, reply ? end->address : connection->address, 16);
	ends->source_port = reply ? connection->port : end->port;
	ends->destination_port = reply ? end->port : connection->port;
	difference = csum_difference16(port[0], ends->destination_port) + csum_difference16(port[1], ends->source_port);
	port[0] = ends->destination_port;
	port[1] = ends->source_port;
	difference += csum_difference_address(flow->destination, ends->destination) +
		      csum_difference_address(flow->source, ends->source);
	icmp_adjust_quote(message, quote, csum_fold(difference));
	if (connection->flags & HF_CONNECTION_SPLICED)
		icmp_put_sequence_back(message, quote, connection, task->packet.ipv4);
	return icmp_change_family(context, task, message, quote);
}

/* The addresses that the error has in front of its quote, and one hop less. */
static __noinline int icmp_write_addresses(hook_context *context, const struct packet *packet, const __u8 *source,
					   const __u8 *destination)
{
	struct ipv6hdr *ipv6;
	struct iphdr *ipv4;
	__u32 difference;

	packet_linearize(context);
	ipv4 = packet_data(context) + (packet->network & NETWORK_OFFSET_MASK);
	ipv6 = (void *)ipv4;
	if (packet->ipv4) {
		if ((void *)(ipv4 + 1) > packet_end(context))
			return drop(HF_REASON_malformed);
		difference = csum_add32(csum_add32(0, ~ipv4->saddr), ~ipv4->daddr) + (__u16)~bpf_htons(0x0100);
		ipv4->saddr = *(const __be32 *)(source + 12);
		ipv4->daddr = *(const __be32 *)(destination + 12);
		ipv4->ttl--;
		difference = csum_add32(csum_add32(difference, ipv4->saddr), ipv4->daddr);
		ipv4->check = csum_update(ipv4->check, csum_fold(difference));
		return CONTINUE;
	}
	if ((void *)(ipv6 + 1) > packet_end(context))
		return drop(HF_REASON_malformed);
	__builtin_memcpy(&ipv6->saddr, source, 16);
	__builtin_memcpy(&ipv6->daddr, destination, 16);
	ipv6->hop_limit--;
	return CONTINUE;
}

/* An error about a packet of task->connection, whose flow is task->packet.flow by now. */
static __noinline int icmp_translate(hook_context *context, struct task *task, struct message *message,
				     const struct icmp_quote *quote, const __u8 *from)
{
	const struct hf_connection *connection = &task->connection;
	bool reply = connection->flags & HF_CONNECTION_REPLY;
	struct packet *packet = &task->packet;
	const __u8 *source = from, *destination = reply ? packet->flow.destination : connection->address;
	__be16 *check = (__be16 *)message->bytes + 1;
	__u32 difference;

	/* Nobody is to see a member's own address. */
	if (reply && address_equal(from, packet->flow.source))
		source = connection->address;
	if (reply && connection_has_other_end(connection))
		destination = task->own_end.address;
	difference = icmp_translate_quote(task, message, quote);
	if (!packet->ipv4)
		difference += csum_difference_address(from, source) +
			      csum_difference_address(task->reply.destination, destination);
	*check = csum_update(*check, csum_fold(difference));
	if (packet_store(context, packet->transport, message->bytes, below(quote->length - 1, ICMP_SEEN) + 1))
		return drop(HF_REASON_malformed);
	return icmp_write_addresses(context, packet, source, destination);
}

/* The connection of a flow, settled or not. False: there is none. */
static __always_inline bool icmp_find(const struct hf_flow_key *flow, struct hf_connection *connection, __u32 now)
{
	const struct hf_embryonic_connection *embryo;
	const struct hf_connection *found = bpf_map_lookup_elem(&connections, flow);

	if (found) {
		*connection = *found;
		return !connection_expired(found, now) && connection->member &&
		       !(connection->flags & HF_CONNECTION_LEFT);
	}
	embryo = bpf_map_lookup_elem(&embryonic_connections, flow);
	if (!embryo || !embryo_alive(embryo, now))
		return false;
	*connection = embryo->connection;
	return true;
}

/* An error leaves the way of its connection's packets. */
static __noinline int icmp_pass_on(hook_context *context, struct task *task, struct message *message,
				   const struct icmp_quote *quote)
{
	struct hf_connection *connection = &task->connection;
	struct packet *packet = &task->packet;
	__u32 index = connection->next_hop;
	const struct hf_next_hop *hop = bpf_map_lookup_elem(&next_hops, &index);
	struct next_hop_answer answer = {};
	bool neighbour = false;
	__u8 from[16];
	int verdict;

	if (!hop || !hop->interface) {
		/* No error is made of an error. */
		verdict = next_hop_ask(context, packet, connection, &answer);
		if (verdict)
			return drop(verdict);
		hop = answer.index ? bpf_map_lookup_elem(&next_hops, &answer.index) : NULL;
	}
	if (HOOK_HAS_LOWER_HOOK && (!hop || !(hop->flags & HF_NEXT_HOP_XDP)))
		return HOOK_PASS;
	if (!hop) {
		neighbour = !answer.resolved;
		hop = &answer.hop;
		if (neighbour && connection->forwarding == HF_FORWARDING_DIRECT)
			return drop(HF_REASON_neighbour_unknown);
	}
	if (!nat_has_hops(context, packet))
		return drop(HF_REASON_hop_limit);
	__builtin_memcpy(from, task->reply.source, 16);
	if (connection->forwarding == HF_FORWARDING_DIRECT)
		verdict = icmp_write_addresses(context, packet, from, task->reply.destination);
	else if (family_changes(connection))
		verdict = icmp_translate_family(context, task, message, quote);
	else
		verdict = icmp_translate(context, task, message, quote, from);
	if (verdict != CONTINUE)
		return verdict;
	reason_count(HF_REASON_icmp_translated);
	verdict = way_write_link(context, packet, hop);
	if (verdict != CONTINUE)
		return verdict;
	return neighbour ? packet_out_neighbour(context, hop->interface) : packet_out(context, hop->interface);
}

static __always_inline bool icmp_is_error(bool ipv4, __u8 type)
{
	/* Unreachable, time exceeded, parameter problem; of IPv6, packet too big, too. */
	return ipv4 ? type == 3 || type == 11 || type == 12 : type >= 1 && type <= 4;
}

/* nat46, nat64: an error's checksum is made anew, so what arrives has to be right. */
static __always_inline bool icmp_is_corrupt(hook_context *context, const struct task *task)
{
	const struct packet *packet = &task->packet;
	__u32 length = packet->network_length - (packet->transport - packet->network);

	return family_changes(&task->connection) &&
	       family_sum(context, packet, &task->reply, length, packet->ipv4 ? 0 : IPPROTO_ICMPV6) != 0xffff;
}

/* The program's beginning. */
static __always_inline int icmp(hook_context *context, struct task *task)
{
	struct packet *packet = &task->packet;
	struct message *message = message_get();
	__u32 end = packet->network + packet->network_length, length;
	struct icmp_quote quote = {};
	__be16 type;

	if (!message)
		return drop(HF_REASON_state_missing);
	length = end - packet->transport;
	if (packet->transport + ICMP_HEADER > end || end > packet_length(context))
		return HOOK_PASS;
	quote.length = length < ICMP_SEEN ? length : ICMP_SEEN;
	__builtin_memset(message->bytes, 0, 2 * ICMP_SEEN);
	if (packet_load(context, packet->transport, message->bytes, below(quote.length - 1, ICMP_SEEN) + 1))
		return HOOK_PASS;
	type = *(__be16 *)message->bytes;
	if (type == (packet->ipv4 ? bpf_htons(ICMP_ECHO_REQUEST) : bpf_htons(ICMPV6_ECHO_REQUEST)))
		return icmp_is_virtual(packet) ? icmp_answer_echo(context, packet, message) : HOOK_PASS;
	if (!icmp_is_error(packet->ipv4, message->bytes[0]))
		return HOOK_PASS;
	/* Who says it, and to whom, is kept: the packet's flow becomes the connection's. */
	task->reply = packet->flow;
	if (!icmp_read(packet, message, &quote, &packet->flow) ||
	    !icmp_find(&packet->flow, &task->connection, clock_now()))
		return HOOK_PASS;
	if (connection_has_other_end(&task->connection) &&
	    !other_end_get(&packet->flow, &task->connection, &task->own_end))
		return HOOK_PASS;
	if (icmp_is_corrupt(context, task))
		return drop(HF_REASON_malformed);
	return icmp_pass_on(context, task, message, &quote);
}
