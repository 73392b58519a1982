/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The state that the data path keeps: connections, sessions, fragments, keys and
 * counters. Conventions: abi.h.
 */
#ifndef HOLDFAST_STATE_H
#define HOLDFAST_STATE_H

#include "layout.h"

/* connections, embryonic_connections: one direction of a flow, as its packets show it. */
struct hf_flow_key {
	__u8 source[16];
	__u8 destination[16];
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 pad[3];           /* in tables' keys: the member, where a flow has something for each (flow_mark_member) */
} __attribute__((aligned(8))); /* written and compared in 8-byte words */
HF_SIZE(hf_flow_key, 40);

enum hf_connection_state {
	HF_CONNECTION_SYN = 1,         /* embryonic: the client has sent a SYN */
	HF_CONNECTION_UNCONFIRMED = 2, /* embryonic: UDP, or rebuilt, and the member has not answered */
	HF_CONNECTION_ESTABLISHED = 3,
	HF_CONNECTION_HALF_CLOSED = 4, /* one side has sent FIN */
	HF_CONNECTION_CLOSED = 5,      /* both have, or a RST was seen */
	HF_CONNECTION_COLLECTING = 6,  /* spliced: the client's first bytes are being waited for, no member yet */
	HF_CONNECTION_CONNECTING = 7,  /* spliced: the member has been sent a SYN */
};

enum {
	HF_CONNECTION_REPLY = 1, /* this entry is the direction member -> client */
	HF_CONNECTION_CLIENT_FIN = 2,
	HF_CONNECTION_MEMBER_FIN = 4,
	/* A reply: the member had the connection before another one got it. What it still says is reset. */
	HF_CONNECTION_LEFT = 16,
	HF_CONNECTION_SPLICED = 8, /* `splice` is valid, and is what the packets need beside this */
	/*
	 * The client's datagrams are decided one by one: the forward entry names the
	 * member of those without a key, and each member has a reply entry.
	 */
	HF_CONNECTION_PER_DATAGRAM = 32,
	HF_CONNECTION_COUNTED = 64, /* it has one of its member's places (member_connections) */
	/* Per datagram, forward: since last_seen the reply entry of the same member was there. */
	HF_CONNECTION_REPLY_SEEN = 128,
};

/*
 * How to translate a packet of one direction. 40 bytes, so that an LRU element
 * (48 bytes of the kernel's, 40 of key) is two cache lines.
 */
struct hf_connection {
	__u8 address[16]; /* put in: the destination (forward), the source (reply) */
	__be16 port;
	__u16 address_checksum; /* ones' complement sum of new minus old address, as in RFC 1624 */
	__u32 member;
	union {
		__u32 created;
		__u32 splice; /* spliced: HF_SPLICE_*; `created` is there */
	};
	__u32 last_seen; /* refreshed once a second at most, in both directions */
	__u16 virtual_server;
	__u16 next_hop;
	__u8 state : 4;      /* enum hf_connection_state */
	__u8 forwarding : 4; /* enum hf_forwarding: the virtual server's when the connection began */
	__u8 flags;
	__u16 route_generation; /* of `routes` when next_hop was found */
};
HF_SIZE(hf_connection, 40);

/*
 * other_ends: where both ends are translated, what packets get beside the address of
 * their entry: their source (forward), their destination (reply). By the flow; a
 * forward one is marked with the member.
 */
struct hf_other_end {
	__u8 address[16];
	__be16 port;
	__u16 made; /* seconds: the sweeper leaves alone what is just being made */
};
HF_SIZE(hf_other_end, 20);

struct hf_embryonic_connection {
	struct hf_connection connection;
	__u32 server_sequence; /* host order: what the client's ACK must acknowledge */
	__u32 flags;
	struct hf_other_end other_end;
	__u32 pad;
};
HF_SIZE(hf_embryonic_connection, 72);

/* Of hf_embryonic_connection. */
enum {
	HF_EMBRYO_SYN_DATA = 1, /* the SYN carried data (RFC 7413) */
	HF_EMBRYO_SYN_ACK = 2,  /* server_sequence is known */
};

/* fragments: the first fragment of a datagram -> where the later ones go. */
struct hf_fragment_key {
	__u8 source[16];
	__u8 destination[16];
	__be32 id;
	__u8 protocol; /* IPv4; 0 for IPv6, whose identification alone counts (RFC 8200, 4.5) */
	__u8 pad[3];
} __attribute__((aligned(8)));
HF_SIZE(hf_fragment_key, 40);

struct hf_fragment {
	struct hf_connection connection;
	__u32 seen;
	struct hf_other_end other_end;
};
HF_SIZE(hf_fragment, 64);

/*
 * Keys other than addresses are digests: SipHash-2-4-128 under the installation's
 * secret, so that the table holds no value in the clear.
 *   sip-call-id       of the value of Call-ID
 *   radius-attribute  of each attribute: type, vendor type, length of the value
 *                     (16 bits), vendor id (32 bits), little-endian, then the
 *                     value, filled up with zeros to a multiple of 8 bytes
 *   rdp-cookie        of the user (mstshash)
 *   persistent-cookie, passive-cookie
 *                     of the cookie's value; of CFID's, filled up to 8 bytes with
 *                     zeros (at least one), and CFTOKEN's behind it
 *   ssl-session-id    of the session id
 *   iso8583-bitmap    of each field: its number and its value's length (16 bits
 *                     each), little-endian, filled up to 8 bytes with zeros, then
 *                     the value, likewise
 */
enum hf_session_kind {
	HF_SESSION_ADDRESS = 1, /* key: the masked address, readable */
	HF_SESSION_SIP_CALL_ID = 2,
	HF_SESSION_RADIUS = 3,
	HF_SESSION_RDP = 4,
	HF_SESSION_ISO8583 = 5,
	HF_SESSION_COOKIE = 6,
	HF_SESSION_SSL = 7,
};

/* A session's scope: a virtual server's id, or a rule's and a pool's (match_across). */
#define HF_SCOPE_ACROSS 0x80000000U
#define HF_SCOPE_RULE_SHIFT 14
#define HF_SCOPE_POOL_MASK 0x3fffU

struct hf_session_key {
	__u32 scope;
	__u8 kind;
	__u8 pad[3];
	__u8 key[16];
};
HF_SIZE(hf_session_key, 24);

/* last_seen of a session that the sweeper has claimed and is about to delete. */
#define HF_SESSION_DEAD 0xffffffffU

struct hf_session {
	__u32 member;
	__u32 created;
	__u32 last_seen; /* refreshed once a second at most */
	__u32 hits;      /* connections that it has placed */
};
HF_SIZE(hf_session, 16);

enum hf_event_kind {
	HF_EVENT_SESSION_MADE = 1,
	HF_EVENT_SESSION_MOVED = 2,
	HF_EVENT_SESSION_EXPIRED = 3,
	HF_EVENT_REFUSED = 4, /* no usable member; the key is the client's address, the scope the virtual server */
};

/* events: a ring, filled while `events_wanted` (one entry) is not 0. */
struct hf_event {
	__u32 at;
	__u8 kind;
	__u8 session_kind; /* enum hf_session_kind */
	__u16 pad;
	__u32 scope;          /* as in hf_session_key */
	__u32 virtual_server; /* 0: not known */
	__u32 member;         /* 0: none */
	__u32 from;           /* moved: the member before */
	__u8 key[16];
};
HF_SIZE(hf_event, 40);

/*
 * embryonic_keys: the keys of the first datagrams of an embryonic connection, by
 * its reply flow. They become sessions when the connection has proved itself.
 */
struct hf_keys {
	__u32 scope;
	__u8 kind;
	__u8 count;
	__u8 replace; /* move sessions that there are */
	__u8 pad;
	__u8 keys[HF_KEYS][16];
};
HF_SIZE(hf_keys, 72);

/* What a parser answers (bpf/persist/parser.h). */
enum hf_parser_outcome {
	HF_PARSER_NONE = 0,      /* the message has no key */
	HF_PARSER_KEYS = 1,      /* there are keys, in the order of the configuration */
	HF_PARSER_MORE = 2,      /* it would take bytes that are not here */
	HF_PARSER_MALFORMED = 3, /* the message breaks its protocol's rules: no key */
	HF_PARSER_LIMIT = 4,     /* the work had no end within its limit: no key */
	HF_PARSER_FOREIGN = 5,   /* it is another protocol: no key */
	HF_PARSER_MEMBER = 6,    /* the message names a member, by address and port */
	HF_PARSER_COOKIE = 7,    /* likewise, by its cookie's name */
};

/* virtual_server_counters, member_counters: per CPU, by id. */
struct hf_traffic {
	__u64 forward_packets;
	__u64 forward_bytes; /* of the network layer */
	__u64 reply_packets;
	__u64 reply_bytes;
	__u64 connections; /* that became established */
	__u64 sessions;    /* recorded or moved */
};
HF_SIZE(hf_traffic, 48);

#endif
