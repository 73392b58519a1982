// SPDX-License-Identifier: GPL-2.0
// Virtual addresses that lie in a network which one of the interfaces is in: somebody
// there has to answer ARP and neighbour solicitations for them. The host does, when it
// has them. They stay when the daemon stops, as forwarding does.
#pragma once

#include <set>

#include "netlink/netlink.h"

namespace holdfast
{

// The host has the addresses of `wanted`, as far as they have to be anywhere, and none
// of ours that is not wanted. What it has without us is left alone.
Result<void> own_addresses(Netlink &netlink, const std::set<Address> &wanted, const std::set<int> &interfaces);

} // namespace holdfast
