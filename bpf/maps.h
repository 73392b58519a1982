/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Every map of the data path. The loader pins each under its name, and sets the
 * size of those whose size is configured (`tables`): the sizes here are defaults.
 */
#pragma once

#include "common.h"

/* Settings: written by the daemon, read by the data path. */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct hf_service_key);
	__type(value, struct hf_service);
	__uint(max_entries, 32768);
} virtual_servers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct hf_port_range);
	__uint(max_entries, HF_PORT_RANGES);
} port_ranges SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct hf_virtual_server);
	__uint(max_entries, 16384);
} virtual_server_settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct hf_rule);
	__uint(max_entries, HF_POOLS);
} rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct hf_pool);
	__uint(max_entries, HF_POOLS);
} pools SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct hf_member);
	__uint(max_entries, 16384);
} members SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct hf_service_key);
	__type(value, struct hf_member_service);
	__uint(max_entries, 16384);
} member_services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u32); /* member */
	__uint(max_entries, 8388608);
} selection SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct hf_source_address);
	__uint(max_entries, HF_SOURCE_ADDRESSES);
} source_addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct hf_address_filter);
	__uint(max_entries, 1);
} addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct hf_next_hop);
	__uint(max_entries, HF_NEXT_HOPS);
} next_hops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct hf_next_hop_key);
	__type(value, __u32);
	__uint(max_entries, HF_NEXT_HOPS);
} next_hop_index SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct hf_installation);
	__uint(max_entries, 1);
} installation SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct hf_early_limits);
	__uint(max_entries, 1);
} early_limits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct hf_syn_cookie_keys);
	__uint(max_entries, 1);
} syn_cookie_keys SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct hf_endpoint_key);
	__type(value, __u32); /* member */
	__uint(max_entries, 16384);
} pool_endpoints SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct hf_cookie_key);
	__type(value, __u32); /* member */
	__uint(max_entries, 16384);
} cookie_members SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct hf_cookie_text_key);
	__type(value, struct hf_cookie_text);
	__uint(max_entries, 262144);
} cookie_texts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct hf_wall_clock);
	__uint(max_entries, 1);
} wall_clock SEC(".maps");

/* State: written by the data path. */

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct hf_flow_key);
	__type(value, struct hf_connection);
	__uint(max_entries, 2000000);
} connections SEC(".maps");

/* Not preallocated: most installations need few. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct hf_flow_key);
	__type(value, struct hf_other_end);
	__uint(max_entries, 2000000);
} other_ends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct hf_session_key);
	__type(value, struct hf_session);
	__uint(max_entries, 1000000);
} sessions SEC(".maps");

/*
 * What a client has only asked for. A flood of SYNs fills these two, and pushes
 * out nothing but its own kind.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct hf_flow_key);
	__type(value, struct hf_embryonic_connection);
	__uint(max_entries, 2 * HF_EMBRYONIC_ENTRIES);
} embryonic_connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct hf_session_key);
	__type(value, struct hf_session);
	__uint(max_entries, HF_EMBRYONIC_ENTRIES);
} embryonic_sessions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct hf_flow_key); /* of the reply */
	__type(value, struct hf_keys);
	__uint(max_entries, HF_EMBRYONIC_ENTRIES);
} embryonic_keys SEC(".maps");

/*
 * What the two directions of a spliced connection share; slot 0 is not used. The
 * free slots wait in a ring, which the daemon fills once: a slot is used again as
 * late as possible.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct hf_splice);
	__uint(max_entries, 524288);
} splices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 524288);
} free_splices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct hf_free_splices);
	__uint(max_entries, 1);
} free_splices_ends SEC(".maps");

/* Never an LRU: what was acknowledged cannot be had again. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct hf_early_key);
	__type(value, struct hf_early_piece);
	__uint(max_entries, HF_PIECES);
} early_data SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u32); /* entries of early_data */
	__uint(max_entries, 1);
} early_pieces SEC(".maps");

/* Never an LRU, either: without it a stream cannot go on. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct hf_edits_key);
	__type(value, struct hf_edits);
	__uint(max_entries, HF_EDITED);
} edits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct hf_share_key);
	__type(value, __u32); /* bytes that it holds */
	__uint(max_entries, HF_OPENING_CLIENTS);
} early_shares SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct hf_fragment_key);
	__type(value, struct hf_fragment);
	__uint(max_entries, HF_FRAGMENT_ENTRIES);
} fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u32); /* places taken; may be below zero for a moment */
	__uint(max_entries, 16384);
} member_connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64); /* the second, and in the low half the connections that were begun in it */
	__uint(max_entries, 16384);
} member_rates SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64); /* by virtual server: likewise, the sessions that were recorded */
	__uint(max_entries, 16384);
} session_rates SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32); /* next turn of the pool's rotation */
	__uint(max_entries, HF_POOLS);
} pool_turns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct hf_routes);
	__uint(max_entries, 1);
} routes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF); /* of struct hf_event */
	__uint(max_entries, HF_EVENT_BYTES);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u32); /* not 0: somebody listens */
	__uint(max_entries, 1);
} events_wanted SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32); /* scope of sessions */
	__type(value, struct hf_gaps);
	__uint(max_entries, HF_GAP_SCOPES);
} gaps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u32); /* see hf_gaps */
	__uint(max_entries, 1);
} gaps_wanted SEC(".maps");

/* Counters: per CPU. */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32); /* enum hf_reason */
	__type(value, __u64);
	__uint(max_entries, HF_REASON_COUNT);
} reasons SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct hf_traffic);
	__uint(max_entries, 16384);
} virtual_server_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct hf_traffic);
	__uint(max_entries, 16384);
} member_counters SEC(".maps");
