// SPDX-License-Identifier: GPL-2.0
#include "datapath/programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cstdlib>
#include <filesystem>
#include <fmt/format.h>
#include <set>

#include "holdfast_tc.skel.h"
#include "holdfast_xdp.skel.h"

namespace holdfast
{

namespace
{

// Every map of `object` is the one of the same name in `maps`; what is not there
// is private to the programs.
Result<void> share_maps(bpf_object *object, const Maps &maps)
{
	bpf_map *map = nullptr;

	bpf_object__for_each_map(map, object)
	{
		if (bpf_map__is_internal(map))
			continue;
		const bpf_map *shared = bpf_object__find_map_by_name(maps.object(), bpf_map__name(map));

		if (shared && bpf_map__reuse_fd(map, bpf_map__fd(shared)))
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

} // namespace

struct Programs::Skeletons {
	holdfast_xdp_bpf *xdp = nullptr;
	holdfast_tc_bpf *tc = nullptr;

	~Skeletons()
	{
		holdfast_xdp_bpf__destroy(xdp);
		holdfast_tc_bpf__destroy(tc);
	}
};

Programs::~Programs() = default;

int Programs::xdp() const
{
	return bpf_program__fd(skeletons_->xdp->progs.holdfast_xdp);
}

int Programs::tc() const
{
	return bpf_program__fd(skeletons_->tc->progs.holdfast_tc);
}

// A program array is emptied when the last descriptor or pin of it is gone, also
// while programs use it: each load pins its own, under a name of its own.
Result<void> Programs::pin_stages(const std::string &directory) const
{
	std::error_code error;

	std::filesystem::create_directories(directory, error);
	for (const auto &[hook, map] :
	     {std::pair("xdp", skeletons_->xdp->maps.stages), {"tc", skeletons_->tc->maps.stages}}) {
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

	for (const bpf_map *map : {skeletons_->xdp->maps.stages, skeletons_->tc->maps.stages}) {
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

	programs->skeletons_ = std::make_unique<Skeletons>();
	holdfast_xdp_bpf *xdp = programs->skeletons_->xdp = holdfast_xdp_bpf__open();
	holdfast_tc_bpf *tc = programs->skeletons_->tc = holdfast_tc_bpf__open();
	if (!xdp || !tc)
		return Error::system("opening the BPF objects", errno).in(take_libbpf_messages());
	set_constants(xdp, maps, options);
	set_constants(tc, maps, options);
	bpf_map__set_max_entries(xdp->maps.messages, static_cast<uint32_t>(libbpf_num_possible_cpus()));
	bpf_map__set_max_entries(tc->maps.messages, static_cast<uint32_t>(libbpf_num_possible_cpus()));
	for (bpf_object *object : {xdp->obj, tc->obj}) {
		if (auto shared = share_maps(object, maps); !shared)
			return shared.error();
	}
	if (const int failed = holdfast_xdp_bpf__load(xdp))
		return Error::system("loading the XDP program", -failed).in(take_libbpf_messages());
	if (const int failed = holdfast_tc_bpf__load(tc))
		return Error::system("loading the TC program", -failed).in(take_libbpf_messages());
	return programs;
}

} // namespace holdfast
