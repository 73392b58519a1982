// SPDX-License-Identifier: GPL-2.0
#include "datapath/trial.h"

#include <algorithm>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cstring>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

namespace holdfast
{

namespace
{

// A per-CPU map's values are 8-byte aligned.
bool counted(int map, uint32_t index, size_t size)
{
	std::vector<uint64_t> values((size + 7) / 8 * static_cast<size_t>(libbpf_num_possible_cpus()));

	return bpf_map_lookup_elem(map, &index, values.data()) == 0 &&
	       std::any_of(values.begin(), values.end(), [](uint64_t word) { return word != 0; });
}

// What the load balancer answers itself is for the client.
bool is_for(const Bytes &frame, const uint8_t (&address)[16])
{
	const bool ipv4 = frame.size() > 13 && frame[12] == 0x08 && frame[13] == 0x00;
	const size_t at = ETH_HLEN + (ipv4 ? 16 : 24), length = ipv4 ? 4 : 16;

	return frame.size() >= at + length && std::memcmp(frame.data() + at, address + 16 - length, length) == 0;
}

template <typename Key, typename Value> void copy_entry(const HashMap<Key, Value> &live, int own, const Key &key)
{
	if (const auto found = live.find(key))
		bpf_map_update_elem(own, &key, &*found, BPF_ANY);
}

} // namespace

Result<std::unique_ptr<Trial>> Trial::load(const Maps &live, const std::set<uint32_t> &stages)
{
	std::unique_ptr<Trial> trial(new Trial(live));
	auto programs = Programs::load(live, {.xdp = false, .stages = stages, .trial = true});

	if (!programs)
		return programs.error();
	trial->programs_ = std::move(*programs);
	// Who there is, whose turn it is, who is full, who has had this second's connections.
	for (const char *name :
	     {"members", "next_hops", "routes", "pool_turns", "member_connections", "member_rates", "session_rates"}) {
		if (auto copied = trial->copy_array(name); !copied)
			return copied.error();
	}
	return trial;
}

Result<void> Trial::copy_array(const char *name) const
{
	const bpf_map *live = bpf_object__find_map_by_name(live_.object(), name);
	const int own = programs_->tc_map(name);

	if (!live || own < 0)
		return {}; // these programs do without
	uint32_t count = bpf_map__max_entries(live), position = 0;
	std::vector<uint32_t> keys(count);
	std::vector<uint8_t> values(size_t{count} * bpf_map__value_size(live));

	if (bpf_map_lookup_batch(bpf_map__fd(live), nullptr, &position, keys.data(), values.data(), &count, nullptr) &&
	    errno != ENOENT)
		return Error::system(std::string("map ") + name + ": read", errno);
	if (bpf_map_update_batch(own, keys.data(), values.data(), &count, nullptr))
		return Error::system(std::string("map ") + name + ": copy", errno);
	return {};
}

void Trial::copy_session(const hf_session_key &key) const
{
	copy_entry(live_.sessions, programs_->tc_map("sessions"), key);
	copy_entry(live_.embryonic_sessions, programs_->tc_map("embryonic_sessions"), key);
}

void Trial::copy_connection(const hf_flow_key &key) const
{
	copy_entry(live_.connections, programs_->tc_map("connections"), key);
	copy_entry(live_.other_ends, programs_->tc_map("other_ends"), key);
	copy_entry(live_.embryonic_connections, programs_->tc_map("embryonic_connections"), key);
}

uint32_t Trial::member_of(const hf_flow_key &flow, const std::vector<uint32_t> &members) const
{
	hf_embryonic_connection embryo{};
	hf_connection connection{};

	for (const uint32_t member : members) {
		if (counted(programs_->tc_map("member_counters"), member, sizeof(hf_traffic)))
			return member;
	}
	if (!bpf_map_lookup_elem(programs_->tc_map("connections"), &flow, &connection))
		return connection.member;
	return bpf_map_lookup_elem(programs_->tc_map("embryonic_connections"), &flow, &embryo)
		       ? 0
		       : embryo.connection.member;
}

Result<TrialOutcome> Trial::run(const hf_flow_key &flow, const Bytes &segment, int interface,
				const std::vector<uint32_t> &members) const
{
	const Bytes frame = make_frame(flow, segment);
	Bytes out(frame.size() + 512);
	__sk_buff context{};
	LIBBPF_OPTS(bpf_test_run_opts, options);
	TrialOutcome outcome;

	context.ifindex = static_cast<uint32_t>(interface);
	options.data_in = frame.data();
	options.data_size_in = static_cast<uint32_t>(frame.size());
	options.data_out = out.data();
	options.data_size_out = static_cast<uint32_t>(out.size());
	options.ctx_in = &context;
	options.ctx_size_in = sizeof(context);
	options.repeat = 1;
	if (const int failed = bpf_prog_test_run_opts(programs_->tc(), &options))
		return Error::system("trying a packet", -failed);
	outcome.dropped = options.retval == TC_ACT_SHOT;
	outcome.member = member_of(flow, members);
	out.resize(options.data_size_out);
	outcome.forwarded = options.retval == TC_ACT_REDIRECT && outcome.member && !is_for(out, flow.source);
	for (uint32_t reason = 0; reason < HF_REASON_COUNT; reason++) {
		if (counted(programs_->tc_map("reasons"), reason, sizeof(uint64_t)))
			outcome.reasons.push_back(reason);
	}
	return outcome;
}

} // namespace holdfast
