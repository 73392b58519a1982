// SPDX-License-Identifier: GPL-2.0
// Attaching the programs to interfaces. An XDP interface also gets the TC
// program: XDP leaves to it, untouched, what only TC can send on. XDP links are
// pinned under PIN_DIRECTORY/links, so that they outlive the daemon; TC filters
// do so by themselves.
#pragma once

#include <string>
#include <vector>

#include "datapath/programs.h"

namespace holdfast
{

struct Attachment {
	std::string interface;
	int index = 0;
	InterfaceMode mode = InterfaceMode::tc; // what it really is: never automatic
	std::string note;                       // why `auto` did not take XDP
};

// Replaces, atomically, the programs of an earlier daemon.
Result<Attachment> attach_interface(const Programs &programs, const Interface &interface,
				    const std::string &pin_directory);

// Takes both programs off. An interface that is gone is no error.
void detach_interface(const std::string &interface, const std::string &pin_directory);

// The interfaces of this network namespace that carry a program of ours.
std::vector<std::string> attached_interfaces(const std::string &pin_directory);

// Programs, links, pins. Returns what was removed, a line each.
Result<std::vector<std::string>> detach_all(const std::string &pin_directory);

// 0: there is no such interface.
int interface_index(const std::string &interface);

// The kernel's name of the interface's driver; empty if it has none.
std::string interface_driver(const std::string &interface);

} // namespace holdfast
