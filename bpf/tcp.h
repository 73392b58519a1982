/* SPDX-License-Identifier: GPL-2.0 */
/*
 * TCP headers with their options (RFC 9293, 7323, 2018): read from a packet, and
 * whole segments made of nothing. Numbers are in host order.
 */
#pragma once

#include "family.h"

#define TCP_PSH 0x08
#define TCP_HEADER_LONGEST 60
#define TCP_NO_SCALE 15 /* no window scale option was there */
#define TCP_SCALE_HIGHEST 14
#define TCP_MSS_DEFAULT_IPV4 536 /* where no option says more (RFC 9293, 3.7.1) */
#define TCP_MSS_DEFAULT_IPV6 1220

enum {
	TCP_OPTION_END = 0,
	TCP_OPTION_NOP = 1,
	TCP_OPTION_MSS = 2,
	TCP_OPTION_SCALE = 3,
	TCP_OPTION_SACK_PERMITTED = 4,
	TCP_OPTION_SACK = 5,
	TCP_OPTION_TIMESTAMPS = 8,
};

/* A header, and what its options say. */
struct tcp_seen {
	__u8 header[64]; /* behind it: zeros */
	__u32 length;
	__u32 sequence;
	__u32 acknowledgement;
	__u32 timestamp;
	__u32 timestamp_echo;
	__u32 walked; /* of the header, when its options are read */
	__u16 window;
	__u16 mss; /* 0: not given */
	__u8 scale;
	bool sack_permitted;
	__u8 timestamps_at; /* offset of the option's values; 0: there is none */
	__u8 sack_at;       /* of the first block */
	__u8 sack_length;
	__u8 pad[3];
};

/* A segment that is about to be made: addresses and ports as it will have them. */
struct segment {
	struct hf_flow_key flow;
	__be32 ipv6_word; /* version, traffic class, flow label; 0: nothing special */
	__u32 options_length;
	__u32 payload_length; /* room that is left for it */
	__u32 payload_sum;
	union {
		struct iphdr ipv4;
		struct ipv6hdr ipv6;
	};
	struct {
		struct tcphdr tcp;
		__u8 options[TCP_HEADER_LONGEST - sizeof(struct tcphdr)];
	};
	bool partial; /* the checksum is left to hardware (packet_checksum_is_partial) */
};

/* One of each for every CPU, of this hook's programs. */
struct tcp_workplace {
	struct tcp_seen seen;
	struct segment segment;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct tcp_workplace);
	__uint(max_entries, 1);
} tcp_workplaces SEC(".maps");

static __always_inline struct tcp_workplace *tcp_workplace_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&tcp_workplaces, &zero);
}

static __always_inline __u8 tcp_header_byte(const struct tcp_seen *seen, __u32 offset)
{
	return seen->header[offset & 63];
}

static __always_inline __u32 tcp_header_word(const struct tcp_seen *seen, __u32 offset)
{
	return (__u32)tcp_header_byte(seen, offset) << 24 | (__u32)tcp_header_byte(seen, offset + 1) << 16 |
	       (__u32)tcp_header_byte(seen, offset + 2) << 8 | tcp_header_byte(seen, offset + 3);
}

static __always_inline void tcp_option_note(struct tcp_seen *seen, __u8 kind, __u32 at, __u32 length)
{
	if (kind == TCP_OPTION_MSS && length == 4) {
		seen->mss = tcp_header_byte(seen, at + 2) << 8 | tcp_header_byte(seen, at + 3);
	} else if (kind == TCP_OPTION_SCALE && length == 3) {
		__u8 scale = tcp_header_byte(seen, at + 2);

		seen->scale = scale > TCP_SCALE_HIGHEST ? TCP_SCALE_HIGHEST : scale;
	} else if (kind == TCP_OPTION_SACK_PERMITTED && length == 2) {
		seen->sack_permitted = true;
	} else if (kind == TCP_OPTION_TIMESTAMPS && length == 10) {
		seen->timestamps_at = at + 2;
		seen->timestamp = tcp_header_word(seen, at + 2);
		seen->timestamp_echo = tcp_header_word(seen, at + 6);
	} else if (kind == TCP_OPTION_SACK && length >= 10) {
		seen->sack_at = at + 2;
		seen->sack_length = length - 2;
	}
}

static long tcp_option_read(__u32 index, struct tcp_seen **context)
{
	struct tcp_seen *seen = *context;
	__u32 at = seen->walked, length;
	__u8 kind;

	if (at >= seen->length)
		return 1;
	kind = tcp_header_byte(seen, at);
	if (kind == TCP_OPTION_END)
		return 1;
	if (kind == TCP_OPTION_NOP) {
		seen->walked = at + 1;
		return 0;
	}
	length = tcp_header_byte(seen, at + 1);
	if (length < 2 || at + length > seen->length)
		return 1;
	tcp_option_note(seen, kind, at, length);
	seen->walked = at + length;
	return 0;
}

/*
 * Goes from option to option. Global, a loop of the kernel's, and its place in
 * memory, of which the verifier knows nothing: verified once.
 */
__noinline int tcp_options_read(struct tcp_seen *seen)
{
	if (!seen)
		return 0;
	seen->walked = sizeof(struct tcphdr);
	seen->mss = 0;
	seen->scale = TCP_NO_SCALE;
	seen->sack_permitted = false;
	seen->timestamps_at = seen->sack_at = seen->sack_length = 0;
	seen->timestamp = seen->timestamp_echo = 0;
	bpf_loop(TCP_HEADER_LONGEST - sizeof(struct tcphdr), tcp_option_read, &seen, 0);
	return 0;
}

/* Loads a packet's header: its options are not looked at. 0 if it is there. */
static __always_inline int tcp_load_header(hook_context *context, const struct packet *packet, struct tcp_seen *seen)
{
	const struct tcphdr *tcp = packet_data(context) + (packet->transport & TRANSPORT_OFFSET_MASK);
	__u32 length;

	if ((void *)(tcp + 1) > packet_end(context))
		return -1;
	length = tcp->doff * 4;
	seen->length = length;
	seen->sequence = bpf_ntohl(tcp->seq);
	seen->acknowledgement = bpf_ntohl(tcp->ack_seq);
	seen->window = bpf_ntohs(tcp->window);
	__builtin_memset(seen->header, 0, sizeof(seen->header));
	if (length < sizeof(*tcp))
		return -1;
	return packet_load(context, packet->transport, seen->header, below(length - 1, 64) + 1) ? -1 : 0;
}

/* Reads it. Likewise. */
static __noinline int tcp_load(hook_context *context, const struct packet *packet, struct tcp_seen *seen)
{
	return tcp_load_header(context, packet, seen) ? -1 : tcp_options_read(seen);
}

static __always_inline __u32 csum_words(__u32 sum, const void *bytes, int count)
{
	const __u32 *word = bytes;
	__u64 wide = sum;

	for (int i = 0; i < count / 4; i++)
		wide += word[i];
	wide = (wide & 0xffffffff) + (wide >> 32);
	return csum_add32(csum_add32(0, wide), wide >> 32);
}

/* What the checksum covers, but for the payload. An IPv4 address' prefix is 0xffff, which is nothing to this sum. */
static __always_inline __u16 tcp_sum(const struct packet *packet, const struct tcp_seen *seen)
{
	__u32 sum = csum_words(0, packet->flow.source, 16);

	sum = csum_words(sum, packet->flow.destination, 16);
	sum += bpf_htons(IPPROTO_TCP) + bpf_htons(seen->length + packet->payload_length);
	return csum_fold(csum_words(sum, seen->header, TCP_HEADER_LONGEST));
}

static __always_inline void segment_begin(struct segment *segment, __u8 flags, __u32 sequence, __u32 acknowledgement,
					  __u16 window)
{
	__builtin_memset(&segment->tcp, 0, TCP_HEADER_LONGEST);
	segment->tcp.seq = bpf_htonl(sequence);
	segment->tcp.ack_seq = bpf_htonl(acknowledgement);
	segment->tcp.window = bpf_htons(window);
	((__u8 *)&segment->tcp)[13] = flags;
	segment->options_length = 0;
	segment->payload_length = 0;
	segment->payload_sum = 0;
}

static __always_inline void segment_add_word(struct segment *segment, __u32 word)
{
	__u32 at = segment->options_length;

	if (at > sizeof(segment->options) - sizeof(word))
		return;
	*(__be32 *)(segment->options + (at & 0x3c)) = bpf_htonl(word);
	segment->options_length = at + sizeof(word);
}

#define TCP_WORD(a, b, c, d) ((__u32)(a) << 24 | (__u32)(b) << 16 | (__u32)(c) << 8 | (__u32)(d))

/* As every segment of a connection with timestamps has them (RFC 7323, appendix A). */
static __always_inline void segment_add_timestamps(struct segment *segment, __u32 timestamp, __u32 echo)
{
	segment_add_word(segment, TCP_WORD(TCP_OPTION_NOP, TCP_OPTION_NOP, TCP_OPTION_TIMESTAMPS, 10));
	segment_add_word(segment, timestamp);
	segment_add_word(segment, echo);
}

/* What a segment with SYN offers. */
struct tcp_offer {
	__u32 timestamp;
	__u32 timestamp_echo;
	__u16 mss; /* 0: none */
	__u8 scale;
	bool sack;
	bool timestamps;
};

static __always_inline void segment_add_offer(struct segment *segment, const struct tcp_offer *offer)
{
	if (offer->mss)
		segment_add_word(segment, TCP_WORD(TCP_OPTION_MSS, 4, offer->mss >> 8, offer->mss & 0xff));
	if (offer->timestamps) {
		segment_add_timestamps(segment, offer->timestamp, offer->timestamp_echo);
		/* SACK takes the place of what fills the words up. */
		if (offer->sack) {
			segment->options[(segment->options_length - 12) & 0x3c] = TCP_OPTION_SACK_PERMITTED;
			segment->options[(segment->options_length - 11) & 0x3d] = 2;
		}
	} else if (offer->sack) {
		segment_add_word(segment, TCP_WORD(TCP_OPTION_NOP, TCP_OPTION_NOP, TCP_OPTION_SACK_PERMITTED, 2));
	}
	if (offer->scale != TCP_NO_SCALE)
		segment_add_word(segment, TCP_WORD(TCP_OPTION_NOP, TCP_OPTION_SCALE, 3, offer->scale));
}

static __always_inline __u32 segment_network_length(const struct packet *packet)
{
	return family_header_length(packet->ipv4);
}

/* How long a frame with this segment is: plain headers behind the link header and tags of `packet`. */
static __always_inline __u32 segment_frame_length(const struct segment *segment, const struct packet *packet)
{
	return (packet->network & NETWORK_OFFSET_MASK) + segment_network_length(packet) + sizeof(struct tcphdr) +
	       segment->options_length + segment->payload_length;
}

static __always_inline void segment_make_ipv4(struct segment *segment, __u32 length)
{
	struct iphdr *ip = &segment->ipv4;

	*(__u16 *)ip = bpf_htons(0x4500);
	ip->tot_len = bpf_htons(sizeof(*ip) + length);
	ip->id = 0;
	ip->frag_off = bpf_htons(0x4000);
	ip->ttl = 64;
	ip->protocol = IPPROTO_TCP;
	ip->check = 0;
	__builtin_memcpy(&ip->saddr, segment->flow.source + 12, 4);
	__builtin_memcpy(&ip->daddr, segment->flow.destination + 12, 4);
	ip->check = ~csum_fold(csum_words(0, ip, sizeof(*ip)));
}

static __always_inline void segment_make_ipv6(struct segment *segment, __u32 length)
{
	struct ipv6hdr *ip = &segment->ipv6;

	*(__be32 *)ip = segment->ipv6_word ?: bpf_htonl(0x60000000);
	ip->payload_len = bpf_htons(length);
	ip->nexthdr = IPPROTO_TCP;
	ip->hop_limit = 64;
	__builtin_memcpy(&ip->saddr, segment->flow.source, 16);
	__builtin_memcpy(&ip->daddr, segment->flow.destination, 16);
}

/*
 * The packet becomes this segment, but for its link header and its payload, which
 * the caller writes: room is made behind the header, and the checksum covers it.
 * 0 if it is done; otherwise the packet may be spoilt.
 */
static __noinline int segment_write(hook_context *context, const struct packet *packet, struct segment *segment)
{
	__u32 network = packet->network & NETWORK_OFFSET_MASK, network_length = segment_network_length(packet);
	__u32 header = sizeof(struct tcphdr) + segment->options_length;
	__u32 length = header + segment->payload_length, sum;

	if (header > TCP_HEADER_LONGEST)
		return -1;
	/* The place where hardware begins to sum is that of the packet as it came. */
	if (segment->partial && packet->transport != network + network_length)
		return -1;
	segment->tcp.source = segment->flow.source_port;
	segment->tcp.dest = segment->flow.destination_port;
	segment->tcp.doff = header / 4;
	segment->tcp.check = 0;
	if (packet->ipv4)
		segment_make_ipv4(segment, length);
	else
		segment_make_ipv6(segment, length);
	/* An IPv4 address' prefix is 0xffff, which is nothing to this sum. */
	sum = csum_words(0, segment->flow.source, 16);
	sum = csum_words(sum, segment->flow.destination, 16);
	sum += bpf_htons(IPPROTO_TCP) + bpf_htons(length);
	if (segment->partial)
		segment->tcp.check = csum_fold(sum);
	else
		segment->tcp.check = ~csum_fold(csum_words(sum, &segment->tcp, TCP_HEADER_LONGEST) +
						csum_fold(segment->payload_sum));
	if (packet_resize(context, network + network_length + length))
		return -1;
	if (packet->ipv4 ? packet_store(context, network, &segment->ipv4, sizeof(struct iphdr))
			 : packet_store(context, network, &segment->ipv6, sizeof(struct ipv6hdr)))
		return -1;
	return packet_store(context, network + network_length, &segment->tcp, below(header - 1, 64) + 1);
}

/* Back to where the packet came from. */
static __always_inline int segment_return(hook_context *context)
{
	struct ethhdr *ethernet;
	__u8 mac[ETH_ALEN];

	packet_linearize(context);
	ethernet = packet_data(context);
	if ((void *)(ethernet + 1) > packet_end(context))
		return drop(HF_REASON_malformed);
	__builtin_memcpy(mac, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, ethernet->h_source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, mac, ETH_ALEN);
	return packet_out(context, packet_interface(context));
}

/* The segment goes the opposite way. */
static __always_inline void segment_turn(struct segment *segment, const struct hf_flow_key *flow)
{
	__builtin_memcpy(segment->flow.source, flow->destination, 16);
	__builtin_memcpy(segment->flow.destination, flow->source, 16);
	segment->flow.source_port = flow->destination_port;
	segment->flow.destination_port = flow->source_port;
	segment->ipv6_word = 0;
}
