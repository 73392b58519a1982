// SPDX-License-Identifier: GPL-2.0
#include "datapath/maps.h"

#include <bpf/libbpf.h>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <sys/random.h>
#include <thread>

#include "holdfast_probe.skel.h"
#include "holdfast_sweep.skel.h"

namespace holdfast
{

namespace
{

// libbpf tells on the thread that has called it.
thread_local std::string messages;

int collect_message(libbpf_print_level level, const char *format, va_list arguments)
{
	char line[1024];

	if (level == LIBBPF_DEBUG)
		return 0;
	vsnprintf(line, sizeof(line), format, arguments);
	messages += line;
	// A verifier log can be megabytes long; its end is what matters.
	if (messages.size() > 16384)
		messages.erase(0, messages.size() - 8192);
	return 0;
}

uint32_t pinned_size(const std::string &path)
{
	const Fd fd(bpf_obj_get(path.c_str()));
	bpf_map_info info{};
	uint32_t length = sizeof(info);

	if (!fd || bpf_obj_get_info_by_fd(fd.get(), &info, &length))
		return 0;
	return info.max_entries;
}

// The ABI version of the maps pinned in `directory`: 0 if they were never finished.
uint32_t pinned_abi(const std::string &directory)
{
	const Fd fd(bpf_obj_get((directory + "/installation").c_str()));
	hf_installation installation{};
	const uint32_t zero = 0;

	if (!fd || bpf_map_lookup_elem(fd.get(), &zero, &installation))
		return 0;
	return installation.abi_version;
}

Result<void> prepare_directory(const std::string &directory)
{
	std::error_code error;

	std::filesystem::create_directories(directory, error);
	if (error)
		return Error(fmt::format("{}: {}", directory, error.message()));
	if (!std::filesystem::exists(directory + "/installation"))
		return {};
	const uint32_t abi = pinned_abi(directory);
	if (abi == HF_ABI_VERSION)
		return {};
	if (abi)
		return Error(fmt::format("{}: the maps there have layout {}, this program needs {}; "
					 "`holdfastd --detach` removes them, and with them all sessions",
					 directory, abi, static_cast<uint32_t>(HF_ABI_VERSION)));
	// Left by a start that did not get to its end.
	for (const auto &entry : std::filesystem::directory_iterator(directory, error)) {
		if (!entry.is_directory())
			std::filesystem::remove(entry.path(), error);
	}
	return {};
}

int run_program(int program, void *context, uint32_t size)
{
	// The kernel writes a syscall program's context back to where it came from.
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = context, .ctx_size_in = size);

	return bpf_prog_test_run_opts(program, &options);
}

} // namespace

void collect_libbpf_messages()
{
	libbpf_set_print(collect_message);
}

std::string take_libbpf_messages()
{
	while (!messages.empty() && messages.back() == '\n')
		messages.pop_back();
	return std::exchange(messages, {});
}

Result<ClockScale> find_clock_scale()
{
	struct Clocks {
		uint64_t jiffies, nanoseconds;
	} clocks[2]{};
	holdfast_probe_bpf *probe = holdfast_probe_bpf__open_and_load();
	int failed = 0;

	if (!probe)
		return Error::system("loading a BPF program", errno).in(take_libbpf_messages());
	for (Clocks &one : clocks) {
		if (&one != clocks)
			std::this_thread::sleep_for(std::chrono::milliseconds(120));
		failed = failed ? failed : run_program(bpf_program__fd(probe->progs.probe_clocks), &one, sizeof(one));
	}
	holdfast_probe_bpf__destroy(probe);
	if (failed)
		return Error::system("running a BPF program", -failed);

	// A tick more or less does not lead from one of these to another.
	const double rate = static_cast<double>(clocks[1].jiffies - clocks[0].jiffies) * 1e9 /
			    static_cast<double>(clocks[1].nanoseconds - clocks[0].nanoseconds);
	unsigned best = 0;
	for (const unsigned hz : {100U, 250U, 300U, 1000U}) {
		if (!best || std::fabs(rate - hz) < std::fabs(rate - best))
			best = hz;
	}
	// Jiffies start 300 s before they wrap at 32 bits.
	return ClockScale{(1ULL << 32) - 300ULL * best, ((1ULL << 32) + best / 2) / best, best};
}

struct Maps::Skeleton {
	holdfast_sweep_bpf *bpf = nullptr;

	~Skeleton() { holdfast_sweep_bpf__destroy(bpf); }
};

Maps::~Maps() = default;

bpf_object *Maps::object() const
{
	return skeleton_->bpf->obj;
}

Result<std::unique_ptr<Maps>> Maps::open(const std::string &pin_directory, const TableSizes &tables)
{
	std::unique_ptr<Maps> maps(new Maps);
	bpf_map *map = nullptr;

	collect_libbpf_messages();
	auto scale = find_clock_scale();
	if (!scale)
		return scale.error();
	maps->scale_ = *scale;
	maps->skeleton_ = std::make_unique<Skeleton>();
	holdfast_sweep_bpf *bpf = maps->skeleton_->bpf = holdfast_sweep_bpf__open();
	if (!bpf)
		return Error::system("opening the BPF object", errno).in(take_libbpf_messages());
	bpf->rodata->clock_initial_jiffies = scale->initial_jiffies;
	bpf->rodata->clock_multiplier = scale->multiplier;

	bpf_map__set_max_entries(bpf->maps.sessions, tables.sessions);
	bpf_map__set_max_entries(bpf->maps.connections, tables.connections);
	bpf_map__set_max_entries(bpf->maps.other_ends, tables.connections);
	bpf_map__set_max_entries(bpf->maps.members, tables.members);
	bpf_map__set_max_entries(bpf->maps.member_counters, tables.members);
	bpf_map__set_max_entries(bpf->maps.member_connections, tables.members);
	bpf_map__set_max_entries(bpf->maps.member_connections_found, tables.members);
	bpf_map__set_max_entries(bpf->maps.member_rates, tables.members);
	bpf_map__set_max_entries(bpf->maps.member_services, tables.members);
	bpf_map__set_max_entries(bpf->maps.selection, tables.selection);
	bpf_map__set_max_entries(bpf->maps.splices, tables.splices);
	bpf_map__set_max_entries(bpf->maps.free_splices, tables.splices);
	bpf_map__set_max_entries(bpf->maps.pool_endpoints, tables.members);
	bpf_map__set_max_entries(bpf->maps.cookie_members, 2 * tables.members);
	// An address has an entry of its own, and one more for its port ranges.
	bpf_map__set_max_entries(bpf->maps.virtual_servers, 3 * tables.virtual_servers);
	bpf_map__set_max_entries(bpf->maps.virtual_server_settings, tables.virtual_servers);
	bpf_map__set_max_entries(bpf->maps.virtual_server_counters, tables.virtual_servers);
	bpf_map__set_max_entries(bpf->maps.session_rates, tables.virtual_servers);
	if (!pin_directory.empty()) {
		if (auto prepared = prepare_directory(pin_directory); !prepared)
			return prepared.error();
		maps->adopted_ = pinned_abi(pin_directory) == HF_ABI_VERSION;
		bpf_object__for_each_map(map, bpf->obj)
		{
			if (bpf_map__is_internal(map))
				continue;
			const std::string path = pin_directory + "/" + bpf_map__name(map);

			bpf_map__set_pin_path(map, path.c_str());
			if (const uint32_t size = pinned_size(path))
				bpf_map__set_max_entries(map, size);
		}
	}
	if (const int failed = holdfast_sweep_bpf__load(bpf))
		return Error::system("loading the BPF maps", -failed).in(take_libbpf_messages());
	maps->tables_ = {.sessions = bpf_map__max_entries(bpf->maps.sessions),
			 .connections = bpf_map__max_entries(bpf->maps.connections),
			 .virtual_servers = bpf_map__max_entries(bpf->maps.virtual_server_settings),
			 .members = bpf_map__max_entries(bpf->maps.members),
			 .selection = bpf_map__max_entries(bpf->maps.selection),
			 .splices = bpf_map__max_entries(bpf->maps.splices)};
	if (auto viewed = maps->view(); !viewed)
		return viewed.error();
	maps->set_wall_clock();
	if (!maps->adopted_) {
		if (auto filled = maps->fill(); !filled)
			return filled.error();
	}
	return maps;
}

// What new maps hold before anything else: secrets, and every slot of a splice is free.
Result<void> Maps::fill()
{
	hf_syn_cookie_keys keys{};

	if (::getrandom(&keys, sizeof(keys), 0) != sizeof(keys))
		return Error::system("random numbers", errno);
	syn_cookie_keys.set(0, keys);
	for (uint32_t slot = 1; slot < tables_.splices; slot++)
		free_splices.set(slot - 1, slot);
	free_splices_ends.set(0, {0, tables_.splices - 1, tables_.splices, 0});
	return {};
}

void Maps::set_wall_clock()
{
	wall_clock.set(0, {static_cast<uint32_t>(::time(nullptr)) - now()});
}

void Maps::renew_cookie_key(uint32_t epoch)
{
	hf_syn_cookie_keys keys = syn_cookie_keys.get(0);
	auto &next = keys.keys[(epoch + 1) & 1];

	if (::getrandom(next, sizeof(next), 0) == sizeof(next))
		syn_cookie_keys.set(0, keys);
}

std::vector<uint32_t> Maps::take_sleeping_splices()
{
	std::vector<uint32_t> ids;

	const auto read = sleeping_splices.each([&](const uint32_t &id, const uint8_t &) {
		ids.push_back(id);
		return true;
	});
	for (uint32_t &id : ids) {
		sleeping_splices.erase(id);
		id &= HF_SPLICE_SLOT;
	}
	return read ? ids : std::vector<uint32_t>();
}

Result<void> Maps::inject(const std::vector<uint8_t> &frame, int interface) const
{
	xdp_md context{};
	LIBBPF_OPTS(bpf_test_run_opts, options);

	options.data_in = frame.data();
	options.data_size_in = static_cast<uint32_t>(frame.size());
	options.ctx_in = &context;
	options.ctx_size_in = sizeof(context);
	options.repeat = 1;
	options.flags = BPF_F_TEST_XDP_LIVE_FRAMES;

	context.data_end = options.data_size_in;
	context.ingress_ifindex = static_cast<uint32_t>(interface);
	if (const int failed = bpf_prog_test_run_opts(bpf_program__fd(skeleton_->bpf->progs.inject), &options))
		return Error::system("putting a frame in", -failed);
	return {};
}

void Maps::mark_down(uint32_t member)
{
	if (!member || member >= members.size())
		return;
	uint8_t *state = &members.live(member)->state;
	if (*state == HF_MEMBER_UP || *state == HF_MEMBER_DRAINING)
		__atomic_store_n(state, static_cast<uint8_t>(HF_MEMBER_DOWN), __ATOMIC_RELEASE);
}

Result<void> Maps::view()
{
	const auto &all = skeleton_->bpf->maps;
	const int cpus = libbpf_num_possible_cpus();
	std::optional<Error> error;

	auto array = [&](auto &view, const bpf_map *map) {
		auto mapped = std::remove_reference_t<decltype(view)>::map(bpf_map__fd(map), bpf_map__max_entries(map),
									   bpf_map__name(map));
		if (mapped)
			view = std::move(*mapped);
		else if (!error)
			error = mapped.error();
	};
	auto hash = [&](auto &view, const bpf_map *map) { view = {bpf_map__fd(map), bpf_map__name(map)}; };

	array(port_ranges, all.port_ranges);
	array(virtual_server_settings, all.virtual_server_settings);
	array(rules, all.rules);
	array(pools, all.pools);
	array(members, all.members);
	array(selection, all.selection);
	array(source_addresses, all.source_addresses);
	hash(other_ends, all.other_ends);
	hash(member_services, all.member_services);
	hash(pool_endpoints, all.pool_endpoints);
	hash(cookie_members, all.cookie_members);
	hash(cookie_texts, all.cookie_texts);
	cookie_texts_limit = bpf_map__max_entries(all.cookie_texts);
	hash(edits, all.edits);
	array(wall_clock, all.wall_clock);
	array(early_limits, all.early_limits);
	array(syn_cookie_keys, all.syn_cookie_keys);
	hash(splices, all.splices);
	array(free_splices, all.free_splices);
	array(free_splices_ends, all.free_splices_ends);
	hash(sleeping_splices, all.sleeping_splices);
	hash(early_data, all.early_data);
	array(member_connections, all.member_connections);
	array(member_connections_found, all.member_connections_found);
	hash(member_rates, all.member_rates);
	array(events_wanted, all.events_wanted);
	gaps = {bpf_map__fd(all.gaps), cpus};
	array(gaps_wanted, all.gaps_wanted);
	events = bpf_map__fd(all.events);
	array(addresses, all.addresses);
	array(next_hops, all.next_hops);
	hash(virtual_servers, all.virtual_servers);
	hash(next_hop_index, all.next_hop_index);
	hash(installation, all.installation);
	array(routes, all.routes);
	hash(connections, all.connections);
	hash(embryonic_connections, all.embryonic_connections);
	hash(sessions, all.sessions);
	hash(embryonic_sessions, all.embryonic_sessions);
	hash(embryonic_keys, all.embryonic_keys);
	hash(fragments, all.fragments);
	reasons = {bpf_map__fd(all.reasons), cpus};
	virtual_server_counters = {bpf_map__fd(all.virtual_server_counters), cpus};
	member_counters = {bpf_map__fd(all.member_counters), cpus};
	if (error)
		return *error;
	return {};
}

uint32_t Maps::now() const
{
	uint32_t now = 0;

	run_program(bpf_program__fd(skeleton_->bpf->progs.read_clock), &now, sizeof(now));
	return now;
}

Result<hf_sweep> Maps::sweep(int program, hf_sweep_filter filter, uint32_t id) const
{
	hf_sweep order{};

	order.filter = filter;
	order.id = id;
	if (const int failed = run_program(program, &order, sizeof(order)))
		return Error::system("running the sweeper", -failed);
	return order;
}

Result<hf_sweep> Maps::sweep_sessions(hf_sweep_filter filter, uint32_t id) const
{
	return sweep(bpf_program__fd(skeleton_->bpf->progs.sweep_sessions), filter, id);
}

Result<hf_sweep> Maps::sweep_connections(hf_sweep_filter filter, uint32_t id) const
{
	return sweep(bpf_program__fd(skeleton_->bpf->progs.sweep_connections), filter, id);
}

} // namespace holdfast
