// SPDX-License-Identifier: GPL-2.0
// The networks that a host's interfaces are in, by their addresses.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "netlink/netlink.h"

namespace holdfast
{

// Where an address has to be: the interface (of `interfaces`, or a VLAN on one) whose
// network it lies in; 0: nowhere, routes lead to it. Addresses of ours make no network.
int interface_of(const Address &address, const std::vector<HostAddress> &addresses, const std::map<int, Link> &links,
		 const std::set<int> &interfaces);

} // namespace holdfast
