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
	/* Sorted port ranges of one address and protocol: 2^10 at most. */
	HF_PORT_RANGES = 65536,
	HF_PORT_RANGE_STEPS = 10,
	/* Choices of a hash that are tried before any usable member is taken. */
	HF_HASH_ATTEMPTS = 32,
	/* Members that a rotation passes over before it gives up. */
	HF_ROTATION_ATTEMPTS = 256,

	/* Keys of one message: relation `or`. */
	HF_KEYS = 4,
	/* What a parser sees of a message; a power of two. */
	HF_MESSAGE_BYTES = 4096,
	/* Work of the parsers: words and lines; white space around a value; attributes; parts of one. */
	HF_SIP_STEPS = 768,
	HF_SIP_SPACES = 32,
	HF_RADIUS_ATTRIBUTES = 256,
	HF_RADIUS_VENDOR_PARTS = 16,

	/* embryonic_*: what has not yet proved itself to be a connection. */
	HF_EMBRYONIC_ENTRIES = 65536,

	/* Datagrams in pieces, on their way. */
	HF_FRAGMENT_ENTRIES = 16384,

	/* Seconds. */
	HF_FRAGMENT_TIMEOUT = 30,
	HF_EMBRYONIC_TIMEOUT = 60,
	HF_HALF_CLOSED_TIMEOUT = 120,
	HF_CLOSED_TIMEOUT = 30,

	HF_WEIGHT_MIN = 1,
	HF_WEIGHT_MAX = 256,
	HF_CONNECTION_LIMIT_MAX = 1048576,
	HF_SESSION_TIMEOUT_MIN = 1,
	HF_SESSION_TIMEOUT_MAX = 86400,
	HF_SESSION_TIMEOUT_DEFAULT = 300,
	HF_TCP_IDLE_TIMEOUT_DEFAULT = 3600,
	HF_UDP_IDLE_TIMEOUT_DEFAULT = 60,
	HF_IDLE_TIMEOUT_MAX = 604800,
};

#endif
