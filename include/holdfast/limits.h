/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Numbers that the data path, the daemon and the configuration have to agree
 * on. Ranges that a user can meet are repeated in docs/configuration.md.
 */
#ifndef HOLDFAST_LIMITS_H
#define HOLDFAST_LIMITS_H

enum {
	/* Names of objects: A-Z a-z 0-9 _ -, the NUL not counted. */
	HF_NAME_LENGTH = 63,

	/* VLAN tags that a packet may carry in front of its network header. */
	HF_VLAN_TAGS = 2,
	/* IPv6 extension headers that are walked before giving up. */
	HF_EXTENSION_HEADERS = 6,

	/* next_hops: index 0 says "not known, ask the FIB". */
	HF_NEXT_HOPS = 4096,
	/* Pools, and as many rules; id 0 is "none". */
	HF_POOLS = 16384,
	/* source_addresses: of all virtual servers; a change is written into the half that is not in use. */
	HF_SOURCE_ADDRESSES = 8192,
	HF_SOURCE_PORT_LOWEST = 1024,
	/* Sorted port ranges of one address and protocol: 2^10 at most. */
	HF_PORT_RANGES = 65536,
	HF_PORT_RANGE_STEPS = 10,
	/* Choices of a hash that are tried before any usable member is taken. */
	HF_HASH_ATTEMPTS = 32,
	/* Members that a rotation passes over before it gives up. */
	HF_ROTATION_ATTEMPTS = 256,
	/* Likewise, fast ones before any is taken. */
	HF_FASTEST_ATTEMPTS = 8,

	/* Keys of one message: relation `or`. */
	HF_KEYS = 4,
	/* What a parser sees at most of a message, and of one that is a datagram; powers of two. */
	HF_MESSAGE_BYTES = 32768,
	HF_DATAGRAM_BYTES = 4096,
	/* A keyword of a rule: a name of a header, a cookie or a URL parameter. */
	HF_KEYWORD_LENGTH = 63,
	/* Work of the parsers: words and lines; white space around a value; attributes; parts of one. */
	HF_SIP_STEPS = 768,
	HF_SIP_SPACES = 32,
	HF_RADIUS_ATTRIBUTES = 256,
	HF_RADIUS_VENDOR_PARTS = 16,

	/* embryonic_*: what has not yet proved itself to be a connection. */
	HF_EMBRYONIC_ENTRIES = 65536,

	/* Datagrams in pieces, on their way. */
	HF_FRAGMENT_ENTRIES = 16384,

	/* Early data is kept in pieces: as long as a full segment, at most this; and so many. */
	HF_PIECE_BYTES = 1472,
	HF_PIECE_LONGEST = 1460,
	HF_PIECE_SHORTEST = 524,
	HF_PIECES = 16384,
	/* What a connection that is not yet bound counts for, beside its pieces, in its client's share. */
	HF_OPENING_BYTES = 256,
	/* What is changed in one direction of a connection and not acknowledged yet; so long a text at most. */
	HF_EDITS = 6,
	HF_EDIT_BYTES = 256,
	/* Directions of connections that have such edits. */
	HF_EDITED = 8192,
	/* What each counts for in its client's share. */
	HF_EDITED_BYTES = 1024,
	/* Characters of a date in a cookie; it counts so many seconds. */
	HF_COOKIE_DATE_LENGTH = 5,
	HF_COOKIE_DATE_SECONDS = 4,
	/* Clients whose shares are known. */
	HF_OPENING_CLIENTS = 65536,
	/* The window scale that is announced to clients (RFC 7323). */
	HF_WINDOW_SCALE = 7,
	/* A SYN cookie is good for this one and one more span of so many seconds (a power of two). */
	HF_COOKIE_SPAN_SHIFT = 6,
	/* Its key changes after so many spans (a power of two). */
	HF_COOKIE_KEY_SHIFT = 6,

	/* Bytes of events that wait for the daemon. */
	HF_EVENT_BYTES = 1048576,

	/* Seconds. */
	HF_FRAGMENT_TIMEOUT = 30,
	HF_EMBRYONIC_TIMEOUT = 60,
	HF_HALF_CLOSED_TIMEOUT = 120,
	HF_CLOSED_TIMEOUT = 30,
	/* A source of ours rests for longer than its member may have the old connection in TIME_WAIT. */
	HF_CLOSED_SOURCE_TIMEOUT = 62,
	HF_CONNECTING_TIMEOUT = 60,

	HF_WEIGHT_MIN = 1,
	HF_WEIGHT_MAX = 256,
	HF_CONNECTION_LIMIT_MAX = 1048576,
	HF_CONNECTION_RATE_MAX = 86400,
	HF_RECOVER_MAX = 86400,
	HF_WARM_UP_MAX = 86400,
	HF_WARM_RATE_MIN = 1,
	HF_WARM_RATE_DEFAULT = 100,
	HF_SESSION_TIMEOUT_MIN = 1,
	HF_SESSION_TIMEOUT_MAX = 86400,
	HF_SESSION_TIMEOUT_DEFAULT = 300,
	HF_TCP_IDLE_TIMEOUT_DEFAULT = 3600,
	HF_UDP_IDLE_TIMEOUT_DEFAULT = 60,
	HF_IDLE_TIMEOUT_MAX = 604800,

	/* Health checks: seconds, times, characters, bytes. */
	HF_CHECK_INTERVAL_MAX = 3600,
	HF_CHECK_TIMEOUT_MAX = 60,
	HF_CHECK_THRESHOLD_MAX = 100,
	HF_CHECK_TEXT_MAX = 1024,
	HF_CHECK_NAME_MAX = 255,
	HF_CHECK_BYTES_MAX = 1024,

	HF_SESSION_RATE_MAX = 10000000,
	HF_REMEMBER_MAX = 86400,
	HF_SNAPSHOT_INTERVAL_MIN = 10,
	HF_SNAPSHOT_INTERVAL_DEFAULT = 60,
	HF_SNAPSHOT_INTERVAL_MAX = 86400,

	HF_SERVER_FIRST_WAIT_DEFAULT = 3,
	HF_SERVER_FIRST_WAIT_MAX = 60,
	HF_EARLY_HEAD_MIN = 1024,
	HF_EARLY_HEAD_MAX = HF_MESSAGE_BYTES,
	HF_EARLY_CLIENT_BYTES_MIN = 4096,
	HF_EARLY_CLIENT_BYTES_DEFAULT = 262144,
	HF_EARLY_CLIENT_BYTES_MAX = 16777216,
	HF_EARLY_TIMEOUT_MIN = 1,
	HF_EARLY_TIMEOUT_DEFAULT = 10,
	HF_EARLY_TIMEOUT_MAX = 60,
};

#endif
