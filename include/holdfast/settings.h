/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The settings that the daemon writes and the data path reads: virtual servers,
 * rules, pools, members, next hops. Conventions: abi.h.
 */
#ifndef HOLDFAST_SETTINGS_H
#define HOLDFAST_SETTINGS_H

#include "layout.h"

enum hf_protocol { HF_PROTOCOL_TCP = 6, HF_PROTOCOL_UDP = 17 };

enum hf_method {
	HF_METHOD_ROUND_ROBIN = 1,       /* smooth weighted, by the pool's rotation */
	HF_METHOD_SOURCE_HASH = 2,       /* Maglev over the source address */
	HF_METHOD_LEAST_CONNECTIONS = 3, /* fewest connections for its weight */
	HF_METHOD_RANDOM = 4,            /* weighted */
	HF_METHOD_FASTEST_RESPONSE = 5,  /* by turns, of the members that health checks find fastest */
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
	HF_RULE_PERSISTENT_COOKIE = 11,       /* table, learnt from Set-Cookie; of a cookie's value */
	HF_RULE_PASSIVE_COOKIE = 12,          /* likewise; of the session cookies of known frameworks */
	HF_RULE_SSL_SESSION_ID = 13,          /* table, learnt from ServerHello; of the session id */
	HF_RULE_INSERT_COOKIE = 14,           /* in the client's cookie, which is put into responses */
	HF_RULE_REWRITE_COOKIE = 15,          /* likewise; it takes the place of the member's value */
	HF_RULE_EMBEDDED_COOKIE = 16,         /* likewise; in front of the member's value, and taken off again */
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
	HF_STAGE_WATCH,                 /* messages behind the first in that; then the same (TC) */
	HF_STAGE_EMIT,                  /* what leaves in segments of our own: early data, edited streams (TC) */
	HF_STAGE_REQUEST,               /* a bound client's segment in which a message begins, or a chunk */
	HF_STAGE_FOLLOWED,              /* the member of a request, whose head was parsed */
	HF_STAGE_ANSWER,                /* likewise, a member's segment */
	HF_STAGE_FORWARD,               /* a segment that was read, on its way */
	HF_STAGE_REBIND,                /* a request goes to another member (TC) */
	HF_STAGE_ICMP,                  /* a ping, or an error about a connection's packet */
	HF_STAGES,
};

enum hf_forwarding {
	HF_FORWARDING_DNAT = 1,   /* the member's address and port take those of the virtual server */
	HF_FORWARDING_DIRECT = 2, /* only the link header is written; members answer clients themselves */
	/* From here on both ends are translated (other_ends). */
	HF_FORWARDING_FULLNAT = 3, /* likewise, and an address of ours takes the client's */
	/* And from here on the members are of the other family: headers are translated (RFC 7915). */
	HF_FORWARDING_NAT46 = 4, /* IPv4 clients, IPv6 members */
	HF_FORWARDING_NAT64 = 5, /* IPv6 clients, IPv4 members */
};

enum hf_member_state {
	HF_MEMBER_ABSENT = 0,   /* the id is not in use */
	HF_MEMBER_UP = 1,       /* everything */
	HF_MEMBER_DRAINING = 2, /* connections and sessions, no new clients */
	HF_MEMBER_DISABLED = 3, /* bound connections only; sessions move */
	HF_MEMBER_DOWN = 4,     /* likewise, as its health checks say */
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
	__u8 proxy_protocol;     /* its version, of what members get first; 0: nothing */
	__u8 pad;
	/* What members see as clients, where both ends are translated: a run of source_addresses, and ports. */
	__u32 first_source;
	__u16 sources;
	__u16 lowest_port;
	__u16 highest_port;
	__u16 pad2;
	__u32 session_rate; /* sessions that are recorded in a second; 0: any number */
	char name[HF_NAME_LENGTH + 1];
};
HF_SIZE(hf_virtual_server, 100);

/* Of hf_virtual_server. */
enum {
	HF_SERVER_SPLICES = 1,       /* TCP: SYN cookies, and a connection to the member of our own */
	HF_SERVER_BINDS_AT_ONCE = 2, /* with the handshake: nothing of the stream is waited for */
	HF_SERVER_FOLLOWS = 4,       /* HTTP: every request of a connection is looked at */
	HF_SERVER_LEARNS = 8,        /* what members send is looked at for keys */
	HF_SERVER_WATCHES = 16,      /* messages of other keys than the connection's first are counted */
	HF_SERVER_WRITES = 32,       /* HTTP: cookies that name members are written into responses */
	HF_SERVER_FORWARDED_FOR = 64 /* HTTP: requests get a header that names their client */
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

/* The session cookies of frameworks: of these, one that is there is a key (CFID and CFTOKEN: both together are one). */
enum {
	HF_COOKIE_PHPSESSID = 1,
	HF_COOKIE_JSESSIONID = 2, /* also as ";jsessionid=" in the path */
	HF_COOKIE_CFID = 4,
	HF_COOKIE_CFTOKEN = 8,
	HF_COOKIE_ASP_NET = 16, /* ASP.NET_SessionId */
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
	__u8 cookies; /* passive-cookie: HF_COOKIE_*; 0: that of the keyword */
	__u8 pad;
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
	struct hf_selection_table maglev;   /* all members of the configuration but backups, by weight */
	struct hf_selection_table once;     /* members that take new clients, each once */
	struct hf_selection_table backups;  /* likewise, of those that are only for when nobody else is usable */
	struct hf_selection_table fastest;  /* of `rotation`, those that answer health checks fastest, each once */
	/* What clients are offered in the members' name. */
	__u16 mss;        /* learnt from the members' SYN-ACKs, the least; 0: nothing yet */
	__u8 tcp_lacking; /* enum hf_tcp_option: at least one member lacks them, learnt or configured */
	__u8 tcp_fixed;   /* configured: nothing is learnt */
	__u32 pad;
	char name[HF_NAME_LENGTH + 1];
};
HF_SIZE(hf_pool, 112);

enum hf_tcp_option { HF_TCP_SACK = 1, HF_TCP_TIMESTAMPS = 2, HF_TCP_WINDOW_SCALE = 4 };

enum {
	HF_MEMBER_RESETS = 1, /* when it is down, its connections are reset (on_down) */
	HF_MEMBER_ROUTED = 2, /* a router leads to it: set by the neighbour mirror */
};

/* members: by id. A member is its pool and its name; the id stays while they do. */
struct hf_member {
	__u8 address[16];
	__be16 port; /* 0: the port that the client used */
	__u8 state;  /* enum hf_member_state */
	__u8 flags;
	__u32 pool;
	__u32 next_hop;         /* these two belong to the neighbour mirror and the data path */
	__u16 route_generation; /* of `routes` when next_hop was found */
	__u16 weight;
	__u32 connection_limit; /* of `member_connections`; 0: none */
	__u32 rate_limit;       /* new connections in a second; 0: none */
	/* Of one that has come back: nobody new before `recovered`, and before `warm` at most so many in a second. */
	__u32 recovered;
	__u32 warm;
	__u32 warm_rate;
	char name[HF_NAME_LENGTH + 1];
};
HF_SIZE(hf_member, 116);

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

/* source_addresses. */
struct hf_source_address {
	__u8 address[16];
};
HF_SIZE(hf_source_address, 16);

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

/* pool_endpoints: a member by its address; port 0: one that has no port of its own. */
struct hf_endpoint_key {
	__u32 pool;
	__u8 address[16];
	__be16 port;
	__u16 pad;
};
HF_SIZE(hf_endpoint_key, 24);

/* cookie_members: a member by what cookies call it; behind the name: zeros. */
struct hf_cookie_key {
	__u32 pool;
	__u8 name[HF_NAME_LENGTH + 1];
};
HF_SIZE(hf_cookie_key, 68);

/* cookie_texts: what a rule writes for a member. */
struct hf_cookie_text_key {
	__u32 rule;
	__u32 member;
};
HF_SIZE(hf_cookie_text_key, 8);

struct hf_cookie_text {
	__u16 length;
	__u16 date; /* where the expiry's characters go; 0: there are none */
	__u8 bytes[HF_EDIT_BYTES];
};
HF_SIZE(hf_cookie_text, 4 + HF_EDIT_BYTES);

/* wall_clock: one entry, kept by the daemon: what makes seconds since boot those of Unix. */
struct hf_wall_clock {
	__u32 offset;
};
HF_SIZE(hf_wall_clock, 4);

#endif
