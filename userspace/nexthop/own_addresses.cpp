// SPDX-License-Identifier: GPL-2.0
#include "nexthop/own_addresses.h"

#include <algorithm>

#include "util/log.h"

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

Result<void> own_addresses(Netlink &netlink, const std::set<Address> &wanted, const std::set<int> &interfaces)
{
	auto addresses = netlink.addresses();
	if (!addresses)
		return addresses.error();
	auto links = netlink.links();
	if (!links)
		return links.error();
	std::set<Address> have;
	for (const HostAddress &there : *addresses) {
		const bool keep =
			!there.ours || (wanted.contains(there.address) &&
					interface_of(there.address, *addresses, *links, interfaces) == there.interface);

		if (keep) {
			have.insert(there.address);
			continue;
		}
		if (auto gone = netlink.own(there.interface, there.address, false); !gone)
			log_warning("{}", gone.error().message());
		else
			log_line(LogLevel::info, fmt::format("{}: the host has it no more", there.address.text()),
				 {{"address", there.address.text()}});
	}
	for (const Address &address : wanted) {
		const int where = have.contains(address) ? 0 : interface_of(address, *addresses, *links, interfaces);

		if (!where)
			continue;
		if (auto owned = netlink.own(where, address, true); !owned)
			log_warning("{}", owned.error().message());
		else
			log_line(LogLevel::info, fmt::format("{}: added to {}", address.text(), links->at(where).name),
				 {{"address", address.text()}, {"interface", links->at(where).name}});
	}
	return {};
}

} // namespace holdfast
