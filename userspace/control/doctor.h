// SPDX-License-Identifier: GPL-2.0
// What keeps the host from serving what is configured, and what to do about it.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "datapath/attach.h"
#include "model/model.h"

namespace holdfast
{

struct Finding {
	bool wrong = false; // clients are not served, or not as configured; otherwise it is good to know
	std::string what;
	std::string remedy; // may be empty
};

// Of the host's settings and addresses.
std::vector<Finding> examine_host(const Config &config);
// Of the interfaces' programs and of the ways to members: `unresolved` are the members whose neighbour nobody knows.
std::vector<Finding> examine_ways(const std::vector<Attachment> &attachments, const std::set<std::string> &unresolved);

} // namespace holdfast
