// SPDX-License-Identifier: GPL-2.0
// How a backend's servers are checked, as one health check of their pool: that of the first
// server that is checked at all.
#pragma once

#include "convert/conversion.h"
#include "convert/haproxy_file.h"

namespace holdfast::haproxy
{

// `servers`: their lines, and their parameters, those of default-server in front.
void add_health_check(const Proxy &proxy, YAML::Node pool, const std::vector<std::pair<Line, Words>> &servers,
		      Draft &draft);

} // namespace holdfast::haproxy
