/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the data path (C, BPF) and userspace (C++) share: the keys and values of
 * every map. This is the only definition; nothing is kept in sync by hand. What
 * is the daemon's own with the maps is here; the rest in the headers below.
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

#include "gaps.h"
#include "reasons.h"
#include "settings.h"
#include "splice.h"
#include "state.h"

/* Changes with every change of a layout or a meaning below. Pinned with the maps. */
#define HF_ABI_VERSION 13

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
