// SPDX-License-Identifier: GPL-2.0
#include "daemon/privileges.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace holdfast
{

Result<void> drop_privileges()
{
	__user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
	__user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3]{};

	// The bounding set first: changing it is a power of its own, which goes with the rest.
	for (unsigned capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++) {
		if (capability == CAP_BPF || capability == CAP_NET_ADMIN || capability == CAP_PERFMON)
			continue;
		if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) && errno != EPERM)
			return Error::system("dropping a capability", errno);
	}
	if (::syscall(SYS_capget, &header, data))
		return Error::system("reading the capabilities", errno);
	for (unsigned word = 0; word < _LINUX_CAPABILITY_U32S_3; word++) {
		uint32_t kept = 0;

		for (const unsigned capability : {unsigned{CAP_BPF}, unsigned{CAP_NET_ADMIN}, unsigned{CAP_PERFMON}}) {
			if (capability / 32 == word)
				kept |= 1U << capability % 32;
		}
		data[word].effective &= kept;
		data[word].permitted &= kept;
		data[word].inheritable = 0;
	}
	if (::syscall(SYS_capset, &header, data))
		return Error::system("dropping capabilities", errno);
	if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return Error::system("no_new_privs", errno);
	return {};
}

void raise_file_limit()
{
	rlimit limit{};

	if (::getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	::setrlimit(RLIMIT_NOFILE, &limit);
}

} // namespace holdfast
