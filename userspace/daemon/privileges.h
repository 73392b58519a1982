// SPDX-License-Identifier: GPL-2.0
// What the daemon keeps of root's powers once it is running.
#pragma once

#include "util/result.h"

namespace holdfast
{

// CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON stay; everything else goes, for good, also for programs that it might start.
// Every thread that is there has to be one that was started afterwards, or has nothing that it could do with more.
Result<void> drop_privileges();

// As many file handles as this host allows: each health check under way takes one.
void raise_file_limit();

} // namespace holdfast
