// SPDX-License-Identifier: GPL-2.0
#include "daemon/host_check.h"

#include <cstdio>
#include <filesystem>
#include <fmt/format.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "util/log.h"

namespace holdfast
{

namespace
{

constexpr const char *bpf_mount = "/sys/fs/bpf";

bool has_capability(unsigned capability)
{
	__user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
	__user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3]{};

	if (::syscall(SYS_capget, &header, data))
		return false;
	return data[capability / 32].effective & 1U << capability % 32;
}

bool is_bpf_file_system(const std::string &path)
{
	struct statfs info{};

	return ::statfs(path.c_str(), &info) == 0 && info.f_type == BPF_FS_MAGIC;
}

// The nearest directory above `path` that is there.
std::string existing_parent(std::filesystem::path path)
{
	while (!std::filesystem::exists(path) && path.has_relative_path())
		path = path.parent_path();
	return path;
}

} // namespace

bool release_at_least(const std::string &release, int major, int minor)
{
	int have_major = 0, have_minor = 0;

	if (std::sscanf(release.c_str(), "%d.%d", &have_major, &have_minor) != 2)
		return false;
	return have_major > major || (have_major == major && have_minor >= minor);
}

Result<void> check_host(const std::string &pin_directory)
{
	utsname system{};

	::uname(&system);
	if (!release_at_least(system.release, 6, 1))
		return Error(fmt::format("Linux 6.1 or newer is needed; this is {}", system.release));
	for (const auto &[number, name] :
	     {std::pair(CAP_BPF, "CAP_BPF"), {CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {CAP_PERFMON, "CAP_PERFMON"}}) {
		if (!has_capability(static_cast<unsigned>(number)))
			return Error(
				fmt::format("{} is needed: run it as root, or give the service that capability", name));
	}
	if (is_bpf_file_system(existing_parent(pin_directory)))
		return {};
	if (!pin_directory.starts_with(std::string(bpf_mount) + "/"))
		return Error(
			fmt::format("{}: not on a BPF file system; mount one there, or choose a --pin-dir below {}",
				    pin_directory, bpf_mount));
	if (::mount("bpf", bpf_mount, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
		return Error::system(
			fmt::format("no BPF file system is mounted at {}, and mounting one failed; remedy: "
				    "mount -t bpf bpf {}",
				    bpf_mount, bpf_mount),
			errno);
	log_info("mounted a BPF file system at {}", bpf_mount);
	return {};
}

} // namespace holdfast
