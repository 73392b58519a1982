// SPDX-License-Identifier: GPL-2.0
#include "datapath/programs.h"

#include <algorithm>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cstdlib>
#include <filesystem>
#include <fmt/format.h>

#include "holdfast/stages.h"
#include "holdfast_tc.skel.h"
#include "holdfast_xdp.skel.h"

namespace holdfast
{

namespace
{

// What a trial shares: settings (bpf/maps.h) that programs read and never write. In members and next hops they note what
// the FIB has answered.
const std::set<std::string> settings = {
	"virtual_servers", "port_ranges",  "virtual_server_settings", "rules",          "pools",
	"member_services", "selection",    "source_addresses",        "addresses",      "next_hop_index",
	"installation",    "early_limits", "syn_cookie_keys",         "pool_endpoints", "cookie_members",
	"cookie_texts",    "wall_clock"};
// Of a trial's own maps. An LRU needs some for each CPU.
constexpr uint32_t trial_entries = 4096;

// Arrays by member and virtual server have the live ones' size, as their ids are the live ones'.
void size_for_trial(bpf_map *map, const bpf_map *live)
{
	const std::string name = bpf_map__name(map);
	const bool by_id = name.starts_with("member") || name == "next_hops" || name == "session_rates" ||
			   name == "pool_turns" || name == "reasons";

	bpf_map__set_max_entries(map, by_id ? bpf_map__max_entries(live)
					    : std::min(trial_entries, bpf_map__max_entries(live)));
}

// Every map of `object` is the one of the same name in `maps`; what is not there
// is private to the programs.
Result<void> share_maps(bpf_object *object, const Maps &maps, bool trial)
{
	bpf_map *map = nullptr;

	bpf_object__for_each_map(map, object)
	{
		if (bpf_map__is_internal(map))
			continue;
		const bpf_map *shared = bpf_object__find_map_by_name(maps.object(), bpf_map__name(map));

		if (shared && trial && !settings.contains(bpf_map__name(map)))
			size_for_trial(map, shared);
		else if (shared && bpf_map__reuse_fd(map, bpf_map__fd(shared)))
			return Error::system(bpf_map__name(map), errno);
	}
	return {};
}

template <typename Skeleton> void set_constants(Skeleton *bpf, const Maps &maps, const ProgramOptions &options)
{
	bpf->rodata->clock_initial_jiffies = maps.clock_scale().initial_jiffies;
	bpf->rodata->clock_multiplier = maps.clock_scale().multiplier;
	// Without a use, the compiler leaves the constant out of the object.
	if constexpr (requires { bpf->rodata->hairpin_by_redirect; })
		bpf->rodata->hairpin_by_redirect = options.hairpin_by_redirect;
}

struct Stage {
	const char *name;
	uint32_t slot;
};

#define STAGE_ENTRY(name, slot) {#name, slot},
constexpr Stage all_stages[] = {HF_PARSERS(STAGE_ENTRY) HF_STAGES_ALWAYS(STAGE_ENTRY) HF_STAGES_OF_DATAGRAMS(
	STAGE_ENTRY) HF_STAGES_OF_STREAMS(STAGE_ENTRY) HF_STAGES_OF_TC(STAGE_ENTRY)};
#undef STAGE_ENTRY

// Loads an object with those of its stages that are wanted, and puts them into their slots.
Result<void> load_object(bpf_object *object, const bpf_map *slots, const Maps &maps, const std::string &hook,
			 const ProgramOptions &options)
{
	std::vector<std::pair<uint32_t, bpf_program *>> wanted;

	for (const Stage &stage : all_stages) {
		bpf_program *program = bpf_object__find_program_by_name(
			object, fmt::format("holdfast_{}_{}", hook, stage.name).c_str());

		if (!program)
			continue; // the other hook's
		if (!options.stages || options.stages->contains(stage.slot))
			wanted.emplace_back(stage.slot, program);
		else
			bpf_program__set_autoload(program, false);
	}
	if (auto shared = share_maps(object, maps, options.trial); !shared)
		return shared;
	if (const int failed = bpf_object__load(object))
		return Error::system(fmt::format("loading the programs of {}", hook), -failed)
			.in(take_libbpf_messages());
	for (const auto &[slot, program] : wanted) {
		const int fd = bpf_program__fd(program);

		if (bpf_map_update_elem(bpf_map__fd(slots), &slot, &fd, BPF_ANY))
			return Error::system(bpf_program__name(program), errno);
	}
	return {};
}

} // namespace

struct Programs::Skeletons {
	holdfast_xdp_bpf *xdp = nullptr;
	holdfast_tc_bpf *tc = nullptr;

	// Of each hook that is loaded, the program array.
	std::vector<std::pair<const char *, const bpf_map *>> stages() const
	{
		std::vector<std::pair<const char *, const bpf_map *>> all;

		if (xdp)
			all.emplace_back("xdp", xdp->maps.stages);
		all.emplace_back("tc", tc->maps.stages);
		return all;
	}

	~Skeletons()
	{
		holdfast_xdp_bpf__destroy(xdp);
		holdfast_tc_bpf__destroy(tc);
	}
};

Programs::~Programs() = default;

int Programs::xdp() const
{
	return skeletons_->xdp ? bpf_program__fd(skeletons_->xdp->progs.holdfast_xdp) : -1;
}

bool Programs::serve(const ProgramOptions &wanted) const
{
	if (wanted.hairpin_by_redirect != options_.hairpin_by_redirect || (wanted.xdp && !options_.xdp))
		return false;
	return !options_.stages || (wanted.stages && std::includes(options_.stages->begin(), options_.stages->end(),
								   wanted.stages->begin(), wanted.stages->end()));
}

int Programs::tc() const
{
	return bpf_program__fd(skeletons_->tc->progs.holdfast_tc);
}

int Programs::tc_map(const char *name) const
{
	return bpf_object__find_map_fd_by_name(skeletons_->tc->obj, name);
}

// A program array is emptied when the last descriptor or pin of it is gone, also
// while programs use it: each load pins its own, under a name of its own.
Result<void> Programs::pin_stages(const std::string &directory) const
{
	std::error_code error;

	std::filesystem::create_directories(directory, error);
	for (const auto &[hook, map] : skeletons_->stages()) {
		bpf_map_info info{};
		uint32_t length = sizeof(info);

		if (bpf_obj_get_info_by_fd(bpf_map__fd(map), &info, &length))
			return Error::system("stages", errno);
		const std::string path = fmt::format("{}/{}-{}", directory, hook, info.id);
		if (!std::filesystem::exists(path, error) && bpf_obj_pin(bpf_map__fd(map), path.c_str()))
			return Error::system(path, errno);
	}
	return {};
}

void Programs::unpin_other_stages(const std::string &directory) const
{
	std::set<uint32_t> ours;
	std::error_code error;

	for (const auto &[hook, map] : skeletons_->stages()) {
		bpf_map_info info{};
		uint32_t length = sizeof(info);

		if (!bpf_obj_get_info_by_fd(bpf_map__fd(map), &info, &length))
			ours.insert(info.id);
	}
	for (const auto &entry : std::filesystem::directory_iterator(directory, error)) {
		const std::string name = entry.path().filename();
		const auto id = static_cast<uint32_t>(std::strtoul(name.c_str() + name.find('-') + 1, nullptr, 10));

		if (!ours.contains(id))
			std::filesystem::remove(entry.path(), error);
	}
}

Result<std::unique_ptr<Programs>> Programs::load(const Maps &maps, const ProgramOptions &options)
{
	std::unique_ptr<Programs> programs(new Programs);

	programs->options_ = options;
	programs->skeletons_ = std::make_unique<Skeletons>();
	holdfast_xdp_bpf *xdp = programs->skeletons_->xdp = options.xdp ? holdfast_xdp_bpf__open() : nullptr;
	holdfast_tc_bpf *tc = programs->skeletons_->tc = holdfast_tc_bpf__open();
	if ((options.xdp && !xdp) || !tc)
		return Error::system("opening the BPF objects", errno).in(take_libbpf_messages());
	const auto cpus = static_cast<uint32_t>(libbpf_num_possible_cpus());
	if (xdp) {
		set_constants(xdp, maps, options);
		bpf_map__set_max_entries(xdp->maps.messages, cpus);
		if (auto loaded = load_object(xdp->obj, xdp->maps.stages, maps, "xdp", options); !loaded)
			return loaded.error();
	}
	set_constants(tc, maps, options);
	bpf_map__set_max_entries(tc->maps.messages, cpus);
	if (auto loaded = load_object(tc->obj, tc->maps.stages, maps, "tc", options); !loaded)
		return loaded.error();
	return programs;
}

} // namespace holdfast
