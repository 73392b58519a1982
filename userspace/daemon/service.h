// SPDX-License-Identifier: GPL-2.0
// The daemon's life: start, event loop, signals.
#pragma once

#include <string>

#include "util/result.h"

namespace holdfast
{

inline const std::string default_state_directory = "/var/lib/holdfast";

struct ServiceOptions {
	std::string config = "/etc/holdfast/holdfast.yaml";
	std::string socket = "/run/holdfast/holdfast.sock";
	std::string pin_directory = "/sys/fs/bpf/holdfast";
	std::string state_directory; // empty: as the configuration says, or the default
};

// Runs until SIGTERM or SIGINT. The data path goes on afterwards.
Result<void> run_service(const ServiceOptions &options);

// Removes programs, links and pins. Refused while a daemon is running.
Result<void> detach_service(const ServiceOptions &options);

} // namespace holdfast
