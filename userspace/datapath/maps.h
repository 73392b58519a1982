// SPDX-License-Identifier: GPL-2.0
// The maps of the data path: made new, or adopted from a pin directory; and the
// programs that run inside the kernel on behalf of userspace (sweeper, clock).
#pragma once

#include <memory>
#include <string>

#include "datapath/map.h"
#include "holdfast/abi.h"
#include "model/model.h"
#include "util/fd.h"
#include "util/result.h"

struct bpf_object;

namespace holdfast
{

// HZ of the running kernel, as the data path's clock needs it.
struct ClockScale {
	uint64_t initial_jiffies = 0;
	uint64_t multiplier = 0;
	unsigned hz = 0;
};

class Maps
{
public:
	// `pin_directory` empty: private maps that vanish with this process (tests,
	// benchmarks). Otherwise the maps pinned there are adopted, or made and
	// pinned. Pinned maps keep their size: `tables` is only for new ones.
	static Result<std::unique_ptr<Maps>> open(const std::string &pin_directory, const TableSizes &tables);
	~Maps();
	Maps(const Maps &) = delete;
	Maps &operator=(const Maps &) = delete;

	// True if the maps were there before.
	bool adopted() const { return adopted_; }
	// The sizes that the maps really have.
	const TableSizes &tables() const { return tables_; }
	const ClockScale &clock_scale() const { return scale_; }

	// The data path's clock: seconds.
	uint32_t now() const;
	// Walks sessions or connections inside the kernel. Takes CPU time, not much.
	Result<hf_sweep> sweep_sessions(hf_sweep_filter filter, uint32_t id = 0) const;
	Result<hf_sweep> sweep_connections(hf_sweep_filter filter, uint32_t id = 0) const;

	// A new secret for the SYN cookies of the epoch after `epoch` (see bpf/splice/syn_cookie.h).
	void renew_cookie_key(uint32_t epoch);
	// Tells the data path what time it is, which the dates in cookies need.
	void set_wall_clock();
	// The slots of the splices that wait for the daemon; they are forgotten with that.
	std::vector<uint32_t> take_sleeping_splices();
	// A frame comes in by an interface, below XDP: the next to see it is TC.
	Result<void> inject(const std::vector<uint8_t> &frame, int interface) const;

	// A member gets nobody new from now on. (What chooses from tables passes it over.)
	void mark_down(uint32_t member);

	// For objects that share these maps.
	bpf_object *object() const;

	HashMap<hf_service_key, hf_service> virtual_servers;
	MappedArray<hf_port_range> port_ranges;
	MappedArray<hf_virtual_server> virtual_server_settings;
	MappedArray<hf_rule> rules;
	MappedArray<hf_pool> pools;
	MappedArray<hf_member> members;
	MappedArray<uint32_t> selection;
	MappedArray<hf_source_address> source_addresses;
	HashMap<hf_service_key, hf_member_service> member_services;
	HashMap<hf_endpoint_key, uint32_t> pool_endpoints;
	HashMap<hf_cookie_key, uint32_t> cookie_members;
	HashMap<hf_cookie_text_key, hf_cookie_text> cookie_texts;
	uint32_t cookie_texts_limit = 0; // entries
	HashMap<hf_edits_key, hf_edits> edits;
	MappedArray<hf_wall_clock> wall_clock;
	MappedArray<hf_early_limits> early_limits;
	MappedArray<hf_syn_cookie_keys> syn_cookie_keys;
	HashMap<uint32_t, hf_splice> splices; // an array; its slots are written by the data path
	MappedArray<uint32_t> free_splices;
	MappedArray<hf_free_splices> free_splices_ends;
	HashMap<uint32_t, uint8_t> sleeping_splices;
	HashMap<hf_early_key, hf_early_piece> early_data;
	MappedArray<uint32_t> member_connections;
	MappedArray<hf_places> member_connections_found; // by the last sweep
	HashMap<uint32_t, uint64_t> member_rates;        // an array; written by the data path
	int events = -1;                                 // the ring of hf_event: events.h reads it
	MappedArray<uint32_t> events_wanted;
	CounterArray<hf_gaps> gaps; // a hash, by scope
	MappedArray<uint32_t> gaps_wanted;
	MappedArray<hf_address_filter> addresses;
	MappedArray<hf_next_hop> next_hops;
	HashMap<hf_next_hop_key, uint32_t> next_hop_index;
	HashMap<uint32_t, hf_installation> installation;
	MappedArray<hf_routes> routes;
	HashMap<hf_flow_key, hf_connection> connections;
	HashMap<hf_flow_key, hf_other_end> other_ends;
	HashMap<hf_flow_key, hf_embryonic_connection> embryonic_connections;
	HashMap<hf_session_key, hf_session> sessions;
	HashMap<hf_session_key, hf_session> embryonic_sessions;
	HashMap<hf_flow_key, hf_keys> embryonic_keys;
	HashMap<hf_fragment_key, hf_fragment> fragments;
	CounterArray<uint64_t> reasons;
	CounterArray<hf_traffic> virtual_server_counters;
	CounterArray<hf_traffic> member_counters;

private:
	struct Skeleton;

	Maps() = default;
	Result<void> view();
	Result<void> fill();
	Result<hf_sweep> sweep(int program, hf_sweep_filter filter, uint32_t id) const;

	std::unique_ptr<Skeleton> skeleton_;
	TableSizes tables_;
	ClockScale scale_;
	bool adopted_ = false;
};

// What libbpf and the verifier said last, for error messages.
std::string take_libbpf_messages();
void collect_libbpf_messages();

// The kernel's HZ, by looking at its clocks for a tenth of a second.
Result<ClockScale> find_clock_scale();

} // namespace holdfast
