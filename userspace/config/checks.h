// SPDX-License-Identifier: GPL-2.0
// What only all of the file together can tell: references, addresses that two have, modes that do not go together.
#pragma once

#include <vector>

#include "config/names.h"
#include "config/virtual_servers.h"

namespace holdfast
{

// What the file says, beside the configuration: places stand beside its objects.
struct Written {
	std::vector<ServerPlaces> servers;
	std::vector<Place> checks_of_pools;
	Names pool_names, rule_names, check_names;
};

void check_config(const Config &config, const Written &written, ConfigErrors &errors);

} // namespace holdfast
