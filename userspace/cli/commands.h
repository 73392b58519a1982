// SPDX-License-Identifier: GPL-2.0
// The commands of `holdfast`. Exit status: 0 done, 1 refused or failed, 2 wrong
// usage, 3 no daemon.
#pragma once

namespace holdfast
{

int run_command_line(int argc, char **argv);

} // namespace holdfast
