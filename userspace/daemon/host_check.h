// SPDX-License-Identifier: GPL-2.0
// What the daemon needs of the host, looked at before anything is touched, so
// that what is missing is said in words.
#pragma once

#include <string>

#include "util/result.h"

namespace holdfast
{

// Privileges, kernel version, a BPF file system under the pin directory (mounted
// at /sys/fs/bpf if nothing is).
Result<void> check_host(const std::string &pin_directory);

// Is this release ("6.1.0-56-amd64") at least major.minor?
bool release_at_least(const std::string &release, int major, int minor);

} // namespace holdfast
