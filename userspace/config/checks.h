// SPDX-License-Identifier: GPL-2.0
// What only all of the file together can tell: references, addresses that two have, modes that do not go together.
#pragma once

#include <vector>

#include "config/names.h"
#include "config/virtual_servers.h"

namespace holdfast
{

// `places` stands beside the configuration's virtual servers.
void check_config(const Config &config, const std::vector<ServerPlaces> &places, const Names &pools, const Names &rules,
		  ConfigErrors &errors);

} // namespace holdfast
