// SPDX-License-Identifier: GPL-2.0
// What keeps the host from serving what is configured, and what to do about it. Needs no
// daemon: of what only that knows, it is told.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "model/model.h"

namespace holdfast
{

struct Finding {
	bool wrong = false; // clients are not served, or not as configured; otherwise it is good to know
	std::string what;
	std::string remedy; // may be empty
};

// {"kind": "error" or "note", "what", "remedy"}, each.
nlohmann::json to_json(const std::vector<Finding> &findings);

// Of the running kernel.
std::vector<Finding> examine_kernel();
// Of this network namespace's settings, interfaces and addresses.
std::vector<Finding> examine_host(const Config &config);
// Of the ways to members: a question to the kernel for each.
std::vector<Finding> examine_routes(const Config &config);
// Whether a neighbour answers for a virtual address (for the first 256; of IPv6, for those that this host has not).
// Asks on the wire, and waits half a second for answers; needs CAP_NET_ADMIN.
std::vector<Finding> examine_neighbours(const Config &config);
// `fallbacks`: interfaces that are not attached as they might be, in words. `unresolved`: members whose neighbour nobody
// knows.
std::vector<Finding> examine_ways(const std::vector<std::string> &fallbacks, const std::set<std::string> &unresolved);

} // namespace holdfast
