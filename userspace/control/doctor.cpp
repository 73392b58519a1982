// SPDX-License-Identifier: GPL-2.0
#include "control/doctor.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <memory>
#include <netinet/in.h>

#include "util/file.h"

namespace holdfast
{

namespace
{

// A packet for a member is forwarded: the kernel's FIB gives no answer where that is off.
void examine_forwarding(const Config &config, std::vector<Finding> &findings)
{
	bool ipv4 = false, ipv6 = false;

	for (const VirtualServer &server : config.virtual_servers) {
		(server.address.is_ipv4() ? ipv4 : ipv6) = true;
		(has_ipv4_members(server) ? ipv4 : ipv6) = true;
	}
	for (const Interface &interface : config.interfaces) {
		for (const auto &[family, used] : {std::pair("ipv4", ipv4), {"ipv6", ipv6}}) {
			auto value =
				read_file(fmt::format("/proc/sys/net/{}/conf/{}/forwarding", family, interface.name));

			if (used && value && value->starts_with('0'))
				findings.push_back(
					{true,
					 fmt::format("interface {}: {} forwarding is off, so the kernel does not say "
						     "where packets go",
						     interface.name, family),
					 fmt::format("sysctl -w net.{}.conf.{}.forwarding=1", family, interface.name)});
		}
	}
}

std::set<Address> addresses_of_host()
{
	std::set<Address> addresses;
	ifaddrs *list = nullptr;

	if (::getifaddrs(&list))
		return addresses;
	const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, ::freeifaddrs);
	for (const ifaddrs *one = list; one; one = one->ifa_next) {
		char text[INET6_ADDRSTRLEN] = "";

		if (one->ifa_addr && one->ifa_addr->sa_family == AF_INET)
			::inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in *>(one->ifa_addr)->sin_addr, text,
				    sizeof(text));
		if (one->ifa_addr && one->ifa_addr->sa_family == AF_INET6)
			::inet_ntop(AF_INET6, &reinterpret_cast<sockaddr_in6 *>(one->ifa_addr)->sin6_addr, text,
				    sizeof(text));
		if (const auto address = Address::parse(text))
			addresses.insert(*address);
	}
	return addresses;
}

// What is for this host does not leave by an interface.
void examine_members(const Config &config, std::vector<Finding> &findings)
{
	const std::set<Address> own = addresses_of_host();

	for (const Pool &pool : config.pools) {
		for (const Member &member : pool.members) {
			if (own.contains(member.address))
				findings.push_back(
					{true,
					 fmt::format(
						 "member {}/{} ({}) is on this host: its packets are not sent to it",
						 pool.name, member.name, member.address.text()),
					 "run it in a network namespace with an interface and an address of its own"});
		}
	}
}

} // namespace

std::vector<Finding> examine_host(const Config &config)
{
	std::vector<Finding> findings;

	examine_forwarding(config, findings);
	examine_members(config, findings);
	if (!config.virtual_servers.empty())
		findings.push_back(
			{false,
			 "what this host itself sends to a virtual address is not balanced: only what comes "
			 "in by an interface is",
			 "let its programs use the members' own addresses, or run them in a network namespace"});
	return findings;
}

std::vector<Finding> examine_ways(const std::vector<Attachment> &attachments, const std::set<std::string> &unresolved)
{
	std::vector<Finding> findings;

	for (const Attachment &attachment : attachments) {
		if (!attachment.note.empty())
			findings.push_back({false,
					    fmt::format("interface {}: {}, because {}", attachment.interface,
							word(attachment.mode), attachment.note),
					    ""});
	}
	for (const std::string &member : unresolved)
		findings.push_back({true, fmt::format("member {}: no neighbour answers on the way to it", member),
				    "is it up, and is there a route? `ip route get` and `ip neigh` tell"});
	return findings;
}

} // namespace holdfast
