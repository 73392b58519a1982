// SPDX-License-Identifier: GPL-2.0
// How a command ends: its exit status, and what it says of a failure.
#pragma once

#include <string>

#include "cli/client.h"

namespace holdfast
{

constexpr int done = 0, failed = 1, wrong_usage = 2, no_daemon = 3;

// On stderr.
void complain(const std::string &text);

// Says what the daemon refused; `done` if it did not. `file`: of whose text errors tell lines.
int check_reply(const Reply &reply, const std::string &file = {});

} // namespace holdfast
