// SPDX-License-Identifier: GPL-2.0
#include "datapath/attach.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "datapath/traffic_control.h"

namespace holdfast
{

namespace
{

// Where our TC filter sits: "HF" as priority, so that it can be told from others.
constexpr uint32_t filter_handle = 1;
constexpr uint32_t filter_priority = 0x4846;

// `kind` is "links" (of XDP) or "filters": the program that our TC filter runs,
// by which it can be told from that of another installation.
std::string pin_path(const std::string &pin_directory, const char *kind, const std::string &interface)
{
	std::string name = interface;

	// A dot is not allowed in bpffs; '/' cannot be in an interface's name.
	for (size_t at = name.find('.'); at != std::string::npos; at = name.find('.', at))
		name.replace(at, 1, "%2e");
	return pin_directory + "/" + kind + "/" + name;
}

uint32_t program_id(int program)
{
	bpf_prog_info info{};
	uint32_t length = sizeof(info);

	return program >= 0 && !bpf_obj_get_info_by_fd(program, &info, &length) ? info.id : 0;
}

bpf_tc_hook ingress_hook(int index)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = index, .attach_point = BPF_TC_INGRESS);
	return hook;
}

// Is there a filter of this installation?
bool has_our_filter(int index, const std::string &pin)
{
	bpf_tc_hook hook = ingress_hook(index);
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = filter_handle, .priority = filter_priority);

	const bool found = bpf_tc_query(&hook, &options) == 0;
	take_libbpf_messages(); // "no such filter" is an answer
	if (!found)
		return false;
	const Fd pinned(bpf_obj_get(pin.c_str()));
	return pinned && program_id(pinned.get()) == options.prog_id;
}

Result<void> attach_tc(int program, int index, const std::string &name, const std::string &pin)
{
	bpf_tc_hook hook = ingress_hook(index);
	LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = program, .flags = BPF_TC_F_REPLACE, .handle = filter_handle,
		    .priority = filter_priority);
	LIBBPF_OPTS(bpf_tc_opts, present, .handle = filter_handle, .priority = filter_priority);
	std::error_code error;

	int failed = bpf_tc_hook_create(&hook);
	if (failed && failed != -EEXIST)
		return Error::system(fmt::format("interface {}: clsact qdisc", name), -failed);
	if (bpf_tc_query(&hook, &present) == 0 && !has_our_filter(index, pin))
		return Error(
			fmt::format("interface {}: another installation of Holdfast has its TC filter there", name));
	take_libbpf_messages(); // "Exclusivity flag on" is libbpf's word for EEXIST
	failed = bpf_tc_attach(&hook, &options);
	if (failed)
		return Error::system(fmt::format("interface {}: TC filter", name), -failed);
	std::filesystem::create_directories(std::filesystem::path(pin).parent_path(), error);
	std::filesystem::remove(pin, error);
	if (bpf_obj_pin(program, pin.c_str()))
		return Error::system(pin, errno);
	return {};
}

void detach_tc(int index, const std::string &pin)
{
	bpf_tc_hook hook = ingress_hook(index);
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = filter_handle, .priority = filter_priority);
	std::error_code error;

	if (index && has_our_filter(index, pin)) {
		bpf_tc_detach(&hook, &options);
		if (!traffic_control_in_use(index)) {
			hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
			bpf_tc_hook_destroy(&hook);
		}
		take_libbpf_messages();
	}
	std::filesystem::remove(pin, error);
}

// The link pinned by an earlier daemon now runs `program`. False: there is none that lives.
bool update_link(const std::string &path, int program, int index, uint32_t flags)
{
	const Fd link(bpf_obj_get(path.c_str()));
	bpf_link_info info{};
	uint32_t length = sizeof(info);
	uint32_t attached_flags = 0;
	LIBBPF_OPTS(bpf_xdp_query_opts, query);

	if (!link)
		return false;
	if (bpf_xdp_query(index, 0, &query) == 0)
		attached_flags = query.attach_mode == XDP_ATTACHED_SKB ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
	// An interface that was deleted leaves a link to nothing.
	if (!bpf_obj_get_info_by_fd(link.get(), &info, &length) && info.xdp.ifindex == static_cast<uint32_t>(index) &&
	    attached_flags == flags && !bpf_link_update(link.get(), program, nullptr))
		return true;
	std::error_code error;
	std::filesystem::remove(path, error);
	return false;
}

// 0, or the errno value with which the driver (or the kernel) refused.
int attach_xdp(int program, int index, const std::string &path, uint32_t flags)
{
	std::error_code error;

	if (update_link(path, program, index, flags))
		return 0;
	LIBBPF_OPTS(bpf_link_create_opts, options, .flags = flags);
	const Fd link(bpf_link_create(program, index, BPF_XDP, &options));
	if (!link)
		return errno;
	std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
	if (bpf_obj_pin(link.get(), path.c_str()))
		return errno;
	return 0;
}

std::string explain_refusal(int number)
{
	switch (number) {
	case EOPNOTSUPP:
		return "its driver has no native XDP";
	case EBUSY:
	case EEXIST:
		return "another XDP program is attached to it";
	case ERANGE:
		return "its driver refuses XDP at this MTU";
	default:
		return fmt::format("the driver refused native XDP ({})", std::strerror(number));
	}
}

} // namespace

std::string interface_driver(const std::string &interface)
{
	const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	ethtool_drvinfo driver{};
	ifreq request{};

	driver.cmd = ETHTOOL_GDRVINFO;
	std::strncpy(request.ifr_name, interface.c_str(), IFNAMSIZ - 1);
	request.ifr_data = reinterpret_cast<char *>(&driver);
	if (!socket || ::ioctl(socket.get(), SIOCETHTOOL, &request))
		return {};
	return driver.driver;
}

int interface_index(const std::string &interface)
{
	return static_cast<int>(::if_nametoindex(interface.c_str()));
}

Result<Attachment> attach_interface(const Programs &programs, const Interface &interface,
				    const std::string &pin_directory)
{
	const int index = interface_index(interface.name);
	const std::string link = pin_path(pin_directory, "links", interface.name);
	const std::string filter = pin_path(pin_directory, "filters", interface.name);
	Attachment attachment{interface.name, index, interface.mode, {}};
	std::error_code error;

	if (!index)
		return Error(fmt::format("interface {}: there is no such interface in this network namespace",
					 interface.name));
	// TC first: from the first packet on, XDP may leave packets to it.
	const bool had_filter = has_our_filter(index, filter);
	if (auto attached = attach_tc(programs.tc(), index, interface.name, filter); !attached)
		return attached.error();
	if (interface.mode == InterfaceMode::tc) {
		std::filesystem::remove(link, error);
		return attachment;
	}
	const uint32_t flags = interface.mode == InterfaceMode::xdp_generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
	const int refused = attach_xdp(programs.xdp(), index, link, flags);
	if (!refused) {
		if (interface.mode == InterfaceMode::automatic)
			attachment.mode = InterfaceMode::xdp;
		return attachment;
	}
	if (interface.mode == InterfaceMode::automatic) {
		attachment.mode = InterfaceMode::tc;
		attachment.note = explain_refusal(refused);
		return attachment;
	}
	if (!had_filter)
		detach_tc(index, filter);
	return Error(fmt::format("interface {}: mode {}: {}; mode auto takes TC in such a case", interface.name,
				 word(interface.mode), explain_refusal(refused)));
}

void detach_interface(const std::string &interface, const std::string &pin_directory)
{
	std::error_code error;

	std::filesystem::remove(pin_path(pin_directory, "links", interface), error);
	detach_tc(interface_index(interface), pin_path(pin_directory, "filters", interface));
}

std::vector<std::string> attached_interfaces(const std::string &pin_directory)
{
	std::vector<std::string> names;
	struct if_nameindex *all = ::if_nameindex();
	std::error_code error;

	for (struct if_nameindex *one = all; one && one->if_index; one++) {
		const std::string filter = pin_path(pin_directory, "filters", one->if_name);

		if (std::filesystem::exists(pin_path(pin_directory, "links", one->if_name), error) ||
		    std::filesystem::exists(filter, error))
			names.emplace_back(one->if_name);
	}
	::if_freenameindex(all);
	return names;
}

Result<std::vector<std::string>> detach_all(const std::string &pin_directory)
{
	std::vector<std::string> removed;
	std::error_code error;

	if (!std::filesystem::exists(pin_directory, error))
		return removed;
	for (const std::string &interface : attached_interfaces(pin_directory)) {
		detach_interface(interface, pin_directory);
		removed.push_back("interface " + interface);
	}
	std::filesystem::remove_all(pin_directory, error);
	if (error)
		return Error(fmt::format("{}: {}", pin_directory, error.message()));
	removed.push_back("pins in " + pin_directory);
	return removed;
}

} // namespace holdfast
