// SPDX-License-Identifier: GPL-2.0
#include "netlink/own_addresses.h"

#include "netlink/networks.h"
#include "util/log.h"

namespace holdfast
{

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
