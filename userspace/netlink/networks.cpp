// SPDX-License-Identifier: GPL-2.0
#include "netlink/networks.h"

namespace holdfast
{

namespace
{

bool same_network(const Address &a, const Address &b, unsigned prefix)
{
	const unsigned bits = prefix + (a.is_ipv4() ? 96 : 0);

	for (unsigned bit = 0; bit < bits; bit++) {
		const auto mask = static_cast<uint8_t>(0x80 >> bit % 8);

		if ((a.bytes()[bit / 8] ^ b.bytes()[bit / 8]) & mask)
			return false;
	}
	return a.is_ipv4() == b.is_ipv4();
}

} // namespace

int interface_of(const Address &address, const std::vector<HostAddress> &addresses, const std::map<int, Link> &links,
		 const std::set<int> &interfaces)
{
	int longest = 0, found = 0;

	for (const HostAddress &there : addresses) {
		auto link = links.find(there.interface);
		const bool attached =
			interfaces.contains(there.interface) ||
			(link != links.end() && link->second.vlan_id && interfaces.contains(link->second.lower));
		const int whole = address.is_ipv4() ? 32 : 128;

		if (!attached || there.ours || there.prefix >= whole || there.prefix <= longest ||
		    !same_network(there.address, address, there.prefix))
			continue;
		longest = there.prefix;
		found = there.interface;
	}
	return found;
}

} // namespace holdfast
