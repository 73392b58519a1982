// SPDX-License-Identifier: GPL-2.0
#include "cli/commands.h"

int main(int argc, char **argv)
{
	return holdfast::run_command_line(argc, argv);
}
