/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the data path (C, BPF) and userspace (C++) share: the keys and values of
 * every map. This is the only definition; nothing is kept in sync by hand.
 *
 * Conventions
 *   addresses  16 bytes in network order; IPv4 as ::ffff:a.b.c.d (RFC 4291,
 *              2.5.5.2), so that there is one path for both families
 *   ports      __be16: network order, as they are in the packet
 *   times      seconds of the data path's clock (since boot, see bpf/clock.h)
 *   ids        index into the array map of the same name; 0 is "none"
 *   padding    explicit and zero: keys are compared as bytes
 */
#ifndef HOLDFAST_ABI_H
#define HOLDFAST_ABI_H

#include <linux/types.h>

#include "limits.h"
#include "reasons.h"

/* Changes with every change of a layout or a meaning below. Pinned with the maps. */
#define HF_ABI_VERSION 3

#ifdef __cplusplus
#define HF_SIZE(type, size) static_assert(sizeof(struct type) == (size), #type)
#else
#define HF_SIZE(type, size) _Static_assert(sizeof(struct type) == (size), #type)
#endif

/* ------------------------------------------------------------------ settings */

enum hf_protocol { HF_PROTOCOL_TCP = 6, HF_PROTOCOL_UDP = 17 };

enum hf_method {
	HF_METHOD_ROUND_ROBIN = 1, /* smooth weighted, by the pool's rotation */
	HF_METHOD_SOURCE_HASH = 2, /* Maglev over the source address */
};

enum hf_rule_type {
	HF_RULE_NONE = 0,
	HF_RULE_SOURCE_ADDRESS = 1,           /* table; key: masked source address */
	HF_RULE_SOURCE_ADDRESS_HASH = 2,      /* stateless; source address */
	HF_RULE_SOURCE_ADDRESS_PORT_HASH = 3, /* stateless; source address and port */
	HF_RULE_SIP_CALL_ID = 4,              /* table; per datagram; digest of the Call-ID */
	HF_RULE_RADIUS_ATTRIBUTE = 5,         /* table; per datagram; digest of attributes */
	HF_RULE_HTTP_HEADER_HASH = 6,         /* stateless; digest of a request header's value */
	HF_RULE_HTTP_REQUEST_HASH = 7,        /* stateless; of a URL parameter's value */
	HF_RULE_COOKIE_HASH = 8,              /* stateless; of a cookie's value, or of all cookies */
	HF_RULE_RDP_COOKIE = 9,               /* table; digest of the user; or the member of a token */
	HF_RULE_ISO8583_BITMAP = 10,          /* table; digest of data elements */
	HF_RULE_TYPES,
};

/*
 * Programs that are reached by tail call, in the program array `stages` of each
 * hook. A parser's number is that of the (first) rule type that it serves.
 */
enum hf_stage {
	HF_STAGE_DECIDE = 0,            /* a datagram */
	HF_STAGE_FRONT = HF_RULE_TYPES, /* a SYN, or what has no connection: SYN cookies */
	HF_STAGE_COLLECT,               /* what a client sends before it is bound (TC) */
	HF_STAGE_BIND,                  /* the member of a stream (TC) */
	HF_STAGE_REPLAY,                /* what a member sends before it has all that was collected (TC) */
	HF_STAGES,
};

enum hf_forwarding { HF_FORWARDING_DNAT = 1 };

enum hf_member_state {
	HF_MEMBER_ABSENT = 0,   /* the id is not in use */
	HF_MEMBER_UP = 1,       /* everything */
	HF_MEMBER_DRAINING = 2, /* connections and sessions, no new clients */
	HF_MEMBER_DISABLED = 3, /* bound connections only; sessions move */
};

/*
 * virtual_servers: what a packet is looked up by. Port 0 is the entry of the
 * address's port ranges; port and protocol 0 say that the address is virtual.
 */
struct hf_service_key {
	__u8 address[16];
	__be16 port;
	__u8 protocol;
	__u8 pad;
};
HF_SIZE(hf_service_key, 20);

/*
 * virtual_servers: an exact entry has an id. The entry of port 0 names a run of
 * `port_ranges`, sorted and disjoint, that is searched when no exact one exists.
 */
struct hf_service {
	__u32 virtual_server;
	__u32 first_range;
	__u32 ranges;
};
HF_SIZE(hf_service, 12);

struct hf_port_range {
	__u16 first; /* host order, inclusive */
	__u16 last;
	__u32 virtual_server;
};
HF_SIZE(hf_port_range, 8);

/* virtual_server_settings: by id. */
struct hf_virtual_server {
	__u32 pool;
	__u32 rule;
	__u32 idle_timeout;
	__u8 method;
	__u8 forwarding;
	__u8 parser; /* enum hf_stage: reads each datagram, or the first bytes of each stream; 0: none */
	__u8 flags;
	__u16 server_first_wait; /* seconds */
	__u16 pad;
	char name[HF_NAME_LENGTH + 1];
};
HF_SIZE(hf_virtual_server, 84);

/* Of hf_virtual_server. */
enum {
	HF_SERVER_SPLICES = 1,      /* TCP: SYN cookies, and a connection to the member of our own */
	HF_SERVER_BINDS_AT_ONCE = 2 /* with the handshake: nothing of the stream is waited for */
};

/* An attribute that a radius-attribute rule looks for. Lengths are those of its value. */
struct hf_radius_attribute {
	__u32 vendor_id; /* of a Vendor-Specific attribute's part; 0: the whole attribute */
	__u8 type;       /* 0: this place is not used */
	__u8 vendor_type;
	__u8 shortest; /* what RFC 2865 and 2866 allow */
	__u8 longest;
};
HF_SIZE(hf_radius_attribute, 8);

enum hf_relation {
	HF_RELATION_AND = 0, /* all together are one key */
	HF_RELATION_OR = 1,  /* each is a key of its own */
};

enum {
	HF_RULE_MATCH_ACROSS = 1,              /* the scope is rule and pool, not the virtual server */
	HF_RULE_OVERRIDE_CONNECTION_LIMIT = 2, /* a full member's sessions move to another one */
	HF_RULE_STATELESS = 4,                 /* keys are digested under the hash's key: all machines agree */
	HF_RULE_BITMAP_AND = 8,                /* iso8583-bitmap: all fields have to be present */
	HF_RULE_ENCODING_ASCII = 16,           /* iso8583-bitmap: bitmaps and binary fields are hex digits */
	HF_RULE_FRAMING_ASCII = 32,            /* iso8583-bitmap: the length is four digits */
};

/* rules: by id. */
struct hf_rule {
	__u32 timeout;
	__u8 type;
	__u8 ipv4_mask_bits;
	__u8 ipv6_mask_bits;
	__u8 flags;
	__u8 relation; /* enum hf_relation */
	__u8 keyword_length;
	__u8 pad[2];
	/*
	 * The first four bytes, as they are in a packet, of a message that answers.
	 * A member's message that begins with others asks something itself: its keys
	 * are the member's. 0: nothing is learnt from members.
	 */
	__u8 answer_mark[4];
	struct hf_radius_attribute attributes[HF_KEYS];
	/* The keyword, and what to set in a byte before it is compared (0x20: any case). Behind it: zeros. */
	__u8 keyword[HF_KEYWORD_LENGTH + 1];
	__u8 keyword_case[HF_KEYWORD_LENGTH + 1];
	__u64 fields[2]; /* iso8583-bitmap: as in a message, field 1 is the highest bit of the first */
	char name[HF_NAME_LENGTH + 1];
};
HF_SIZE(hf_rule, 256);

/*
 * A pool's table in `selection`. Replaced by one aligned 8-byte store, so that
 * the data path sees the old table or the new one, never a mixture.
 */
struct hf_selection_table {
	__u32 offset;
	__u32 size; /* 0: empty */
} __attribute__((aligned(8)));
HF_SIZE(hf_selection_table, 8);

/* pools: by id. */
struct hf_pool {
	struct hf_selection_table rotation; /* members that take new clients, smooth by weight */
	struct hf_selection_table maglev;   /* all members of the configuration, by weight */
	/* What clients are offered in the members' name. */
	__u16 mss;        /* learnt from the members' SYN-ACKs, the least; 0: nothing yet */
	__u8 tcp_lacking; /* enum hf_tcp_option: at least one member lacks them, learnt or configured */
	__u8 tcp_fixed;   /* configured: nothing is learnt */
	__u32 pad;
	char name[HF_NAME_LENGTH + 1];
};
HF_SIZE(hf_pool, 88);

enum hf_tcp_option { HF_TCP_SACK = 1, HF_TCP_TIMESTAMPS = 2, HF_TCP_WINDOW_SCALE = 4 };

/* members: by id. A member is its pool and its name; the id stays while they do. */
struct hf_member {
	__u8 address[16];
	__be16 port; /* 0: the port that the client used */
	__u8 state;  /* enum hf_member_state */
	__u8 pad;
	__u32 pool;
	__u32 next_hop;         /* these two belong to the neighbour mirror and the data path */
	__u16 route_generation; /* of `routes` when next_hop was found */
	__u16 pad2;
	__u32 connection_limit; /* of `member_connections`; 0: none */
	char name[HF_NAME_LENGTH + 1];
};
HF_SIZE(hf_member, 100);

/*
 * member_services: hf_service_key of a member's own address and port -> the
 * virtual server as which it speaks where it begins (SIP). Port 0: any port.
 */
struct hf_member_service {
	__u8 address[16]; /* of the virtual server */
	__be16 port;      /* 0: the member's */
	__u16 virtual_server;
	__u32 member;
};
HF_SIZE(hf_member_service, 24);

enum {
	HF_ADDRESS_VIRTUAL = 1, /* some virtual server has this address */
	HF_ADDRESS_MEMBER = 2,  /* some member has this address */
};

/*
 * addresses: a filter by a 16-bit hash of the address. No bit: certainly not
 * ours, and the packet leaves without a hash look-up.
 */
struct hf_address_filter {
	__u8 bits[65536];
};

/* ---------------------------------------------------------------- next hops */

enum { HF_NEXT_HOP_XDP = 1 /* XDP may redirect to its interface */ };

/* next_hops: by index. Kept by the daemon from the kernel's neighbour table. */
struct hf_next_hop {
	__u8 destination_mac[6];
	__u8 source_mac[6];
	__u32 interface; /* the one that carries frames: never a VLAN device; 0: gone */
	__u32 mtu;
	__u32 checked_at; /* written by the data path: last comparison with the FIB */
	__be16 vlan_protocol;
	__be16 vlan_tci; /* 0: untagged */
	__u32 flags;
};
HF_SIZE(hf_next_hop, 32);

/* next_hop_index: what a FIB look-up answers -> index of next_hops. */
struct hf_next_hop_key {
	__u32 interface; /* as the FIB names it: may be a VLAN device */
	__u8 mac[6];
	__u8 pad[2];
};
HF_SIZE(hf_next_hop_key, 12);

/* -------------------------------------------------------------------- state */

/* connections, embryonic_connections: one direction of a flow, as its packets show it. */
struct hf_flow_key {
	__u8 source[16];
	__u8 destination[16];
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 pad[3];
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
	__u8 state;
	__u8 flags;
	__u16 route_generation; /* of `routes` when next_hop was found */
};
HF_SIZE(hf_connection, 40);

struct hf_embryonic_connection {
	struct hf_connection connection;
	__u32 server_sequence; /* host order: what the client's ACK must acknowledge */
	__u32 flags;
};
HF_SIZE(hf_embryonic_connection, 48);

/* Of hf_embryonic_connection. */
enum {
	HF_EMBRYO_SYN_DATA = 1, /* the SYN carried data (RFC 7413) */
	HF_EMBRYO_SYN_ACK = 2,  /* server_sequence is known */
};

/* A splice's name: its slot in `splices`, and how often that has been used, in the bits above. */
#define HF_SPLICE_SLOT 0x000fffffU
#define HF_SPLICE_GENERATION 0xfff00000U
#define HF_SPLICE_GENERATION_STEP 0x00100000U

enum hf_splice_state {
	HF_SPLICE_FREE = 0,
	HF_SPLICE_COLLECTING = 1,
	HF_SPLICE_CONNECTING = 2,
	HF_SPLICE_BOUND = 3,
};

enum {
	HF_SPLICE_TIMESTAMPS = 1, /* the client sends them */
	HF_SPLICE_SACK = 2,
	HF_SPLICE_SCALE = 4,        /* both sides of the client's half scale their windows */
	HF_SPLICE_UNSCALE = 8,      /* the member does not scale: the client's windows are made plain */
	HF_SPLICE_CLIENT_FIN = 16,  /* behind the early data */
	HF_SPLICE_ACKNOWLEDGED = 32 /* the client was told that early data has arrived: it is ours to deliver */
};

/*
 * splices: by slot, what both directions of a spliced connection share. Sequence
 * numbers are in host order. The client's numbers go to the member as they are;
 * the member's are shifted by a constant, because the client was given ours in
 * the SYN cookie, before there was a member (RFC 9293 with a hole in the middle).
 */
struct hf_splice {
	struct hf_flow_key client; /* the forward flow */
	__u32 id;                  /* its present name */
	__u32 state;               /* enum hf_splice_state */
	__u32 busy;                /* somebody is working on what is not bound */
	__u32 begun;               /* when the client had proved its address; seconds */
	__u32 wake;                /* nothing came for too long: the next packet, which the daemon makes, goes on */
	__u32 connecting_since;
	__u32 member;
	__u16 virtual_server;
	__u16 flags;
	/* towards the client */
	__u32 client_first;     /* sequence number of the first byte that the member is to get */
	__u32 client_next;      /* behind the last byte that is stored */
	__u32 server_first;     /* what the client acknowledges before it got anything from the member */
	__u32 client_timestamp; /* its latest */
	__u32 timestamp_sent;   /* the highest that it got */
	__u32 flow_label;       /* first word of its IPv6 header, in network order */
	__u16 client_window;    /* as in its last packet */
	__u16 client_mss;
	__u8 client_scale;
	__u8 member_scale;
	__u16 member_mss;
	/* towards the member */
	__u32 member_first;        /* sequence number of its first byte */
	__u32 shift;               /* what is added to its numbers for the client */
	__u32 member_acknowledged; /* its latest acknowledgement, while there is early data */
	__u32 member_timestamp;    /* of its SYN-ACK */
	__u32 timestamp_shift;
	/* early data */
	__u32 acknowledged; /* with HF_SPLICE_ACKNOWLEDGED: what the client was told */
	__u32 parsed;       /* bytes that the parser needs no more */
	__u16 piece;        /* bytes of a full piece */
	__u16 pieces;       /* that are stored */
	__u32 charged;      /* to the client's share; bytes */
	__u32 replayed_at;  /* milliseconds, nearly */
	__u16 segments;     /* that brought early data */
	__u16 strays;       /* segments of a member that talks about something else */
	__u16 rebinds;      /* after the first binding */
	__u16 pad;
};
HF_SIZE(hf_splice, 152);

/*
 * free_splices_ends: one entry. The free slots are a ring, the array free_splices:
 * taken at `head`, given back at `tail`; both only grow, and are places modulo `size`.
 * A slot of 0 is not written yet. (A queue map would do, but for Linux 6.1, whose
 * syscall programs, the sweeper, may not use one.)
 */
struct hf_free_splices {
	__u64 head;
	__u64 tail;
	__u32 size;
	__u32 pad;
};
HF_SIZE(hf_free_splices, 24);

/* early_data: what a client has sent before there was a member: pieces of the stream, from its first byte. */
struct hf_early_key {
	__u32 splice;
	__u32 number;
};
HF_SIZE(hf_early_key, 8);

struct hf_early_piece {
	__u8 bytes[HF_PIECE_BYTES];
};
HF_SIZE(hf_early_piece, HF_PIECE_BYTES);

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
};
HF_SIZE(hf_fragment, 44);

/*
 * Keys other than addresses are digests: SipHash-2-4-128 under the installation's
 * secret, so that the table holds no value in the clear.
 *   sip-call-id       of the value of Call-ID
 *   radius-attribute  of each attribute: type, vendor type, length of the value
 *                     (16 bits), vendor id (32 bits), little-endian, then the
 *                     value, filled up with zeros to a multiple of 8 bytes
 *   rdp-cookie        of the user (mstshash)
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
};

/* ----------------------------------------------------------------- counters */

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

/* ------------------------------------------------------------------- control */

/* installation: one entry, pinned: what a later daemon must know before it adopts the maps. */
struct hf_installation {
	__u32 abi_version;
	__u32 pad;
	__u64 hash_key[2];   /* of the stateless hashes, from `hash_seed` */
	__u64 digest_key[2]; /* of sessions' keys: random, made once, secret */
};
HF_SIZE(hf_installation, 40);

/*
 * routes: one entry. The generation moves when a route or neighbour did;
 * connections with another one ask the FIB again at their next refresh.
 */
struct hf_routes {
	__u32 generation;
};
HF_SIZE(hf_routes, 4);

/*
 * member_connections_found: by id, the places that a walk has met. An entry that is
 * younger than the walk may have been met before, while it was embryonic.
 */
struct hf_places {
	__u32 sure;
	__u32 young;
};
HF_SIZE(hf_places, 8);

/* early_shares: the address of a client; IPv6: the first 64 bits of it. */
struct hf_share_key {
	__u64 address[2];
};
HF_SIZE(hf_share_key, 16);

/* syn_cookie_keys: one entry. The key of a span is chosen by a bit of its number (bpf/splice/syn_cookie.h). */
struct hf_syn_cookie_keys {
	__u64 keys[2][2];
};
HF_SIZE(hf_syn_cookie_keys, 32);

/* early_limits: one entry. */
struct hf_early_limits {
	__u32 max_head;             /* bytes of a stream that are looked at */
	__u32 max_bytes_per_client; /* early data of one address (IPv6: of its first 64 bits) */
	__u32 timeout;              /* seconds until the member has to be known */
};
HF_SIZE(hf_early_limits, 12);

/* pool_endpoints: a member by its address; port 0: one that has no port of its own. */
struct hf_endpoint_key {
	__u32 pool;
	__u8 address[16];
	__be16 port;
	__u16 pad;
};
HF_SIZE(hf_endpoint_key, 24);

/* What the in-kernel sweeper is told, and what it found: the context of its programs. */
enum hf_sweep_filter {
	HF_SWEEP_EXPIRED = 0,        /* and count the members' connections anew */
	HF_SWEEP_ORPHANS = 1,        /* and what belongs to objects that are gone */
	HF_SWEEP_VIRTUAL_SERVER = 2, /* and everything of one virtual server */
	HF_SWEEP_MEMBER = 3,         /* and everything of one member */
	HF_SWEEP_ALL = 4,
};

struct hf_sweep {
	__u32 filter;  /* in */
	__u32 id;      /* in: of the virtual server or member */
	__u64 alive;   /* out */
	__u64 deleted; /* out */
};
HF_SIZE(hf_sweep, 24);

#endif
