// SPDX-License-Identifier: GPL-2.0
#include "doctor/doctor.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>
#include <sys/utsname.h>
#include <thread>

#include "netlink/netlink.h"
#include "netlink/networks.h"
#include "util/file.h"

namespace holdfast
{

namespace
{

constexpr auto answer_time = std::chrono::milliseconds(500);
// A table of neighbours has room for 1,024 by default.
constexpr size_t most_asked = 256;
// As many members of one kind are named, the others counted.
constexpr size_t most_named = 10;

// What the kernel knows of this network namespace.
struct Network {
	std::map<int, Link> links;
	std::vector<HostAddress> addresses;
	std::map<std::string, int> index; // of links, by name

	static Result<Network> read(Netlink &netlink)
	{
		auto links = netlink.links();
		auto addresses = netlink.addresses();
		Network network;

		if (!links || !addresses)
			return links ? addresses.error() : links.error();
		network.links = std::move(*links);
		network.addresses = std::move(*addresses);
		for (const auto &[index, link] : network.links)
			network.index[link.name] = index;
		return network;
	}

	std::string name(int interface) const
	{
		auto found = links.find(interface);

		return found == links.end() ? fmt::format("number {}", interface) : found->second.name;
	}
};

// The configured interfaces that are there.
std::set<int> interfaces_of(const Config &config, const Network &network)
{
	std::set<int> interfaces;

	for (const Interface &interface : config.interfaces) {
		auto found = network.index.find(interface.name);

		if (found != network.index.end())
			interfaces.insert(found->second);
	}
	return interfaces;
}

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
					 // A dot in a name (a VLAN device's) is none between names.
					 interface.name.find('.') == std::string::npos
						 ? fmt::format("sysctl -w net.{}.conf.{}.forwarding=1", family,
							       interface.name)
						 : fmt::format("sysctl -w net/{}/conf/{}/forwarding=1", family,
							       interface.name)});
		}
	}
}

void examine_interfaces(const Config &config, const Network &network, std::vector<Finding> &findings)
{
	const Link *largest = nullptr;

	for (const int index : interfaces_of(config, network)) {
		const Link &link = network.links.at(index);

		if (!largest || link.mtu > largest->mtu)
			largest = &link;
	}
	for (const Interface &interface : config.interfaces) {
		auto found = network.index.find(interface.name);

		if (found == network.index.end()) {
			findings.push_back(
				{true, fmt::format("interface {}: there is none", interface.name),
				 "create it, or change its name in `interfaces`: `ip link` lists what there is"});
			continue;
		}
		const Link &link = network.links.at(found->second);
		if (!link.up)
			findings.push_back({true, fmt::format("interface {}: it is down", interface.name),
					    fmt::format("ip link set {} up", interface.name)});
		else if (!link.carrier)
			findings.push_back(
				{true,
				 fmt::format("interface {}: nothing is at its other end (no carrier)", interface.name),
				 "look at the cable, or at the other end of the veth"});
		if (link.mtu < largest->mtu)
			findings.push_back(
				{false,
				 fmt::format(
					 "interface {}: its MTU, {}, is smaller than that of {}, {}: what is longer "
					 "is not forwarded there, and its sender told so (too_big)",
					 interface.name, link.mtu, largest->name, largest->mtu),
				 fmt::format("where the network allows it: ip link set {} mtu {}", interface.name,
					     largest->mtu)});
	}
}

// Does what goes out here come in by an interface of ours? A VLAN device's, a bridge's and a bond's packets do by what
// is below it.
bool is_attached(const Network &network, const std::set<int> &interfaces, int out)
{
	if (interfaces.contains(out))
		return true;
	const auto link = network.links.find(out);
	if (link != network.links.end() && link->second.lower && is_attached(network, interfaces, link->second.lower))
		return true;
	return std::any_of(network.links.begin(), network.links.end(), [&](const auto &one) {
		return one.second.master == out && is_attached(network, interfaces, one.first);
	});
}

// Of many that are alike.
void add_all(std::vector<Finding> &findings, const std::vector<std::string> &members, const std::string &problem,
	     const std::string &remedy)
{
	for (size_t i = 0; i < std::min(members.size(), most_named); i++)
		findings.push_back({true, fmt::format("member {}: {}", members[i], problem), remedy});
	if (members.size() > most_named)
		findings.push_back(
			{true, fmt::format("{} more members: {}", members.size() - most_named, problem), remedy});
}

std::set<Address> own_addresses_of(const Network &network)
{
	std::set<Address> own;

	for (const HostAddress &there : network.addresses)
		own.insert(there.address);
	return own;
}

std::string name_of(const Pool &pool, const Member &member)
{
	return fmt::format("{}/{} ({})", pool.name, member.name, member.address.text());
}

// What is for this host does not leave by an interface.
void examine_members(const Config &config, const Network &network, std::vector<Finding> &findings)
{
	const std::set<Address> own = own_addresses_of(network);

	for (const Pool &pool : config.pools) {
		for (const Member &member : pool.members) {
			if (own.contains(member.address))
				findings.push_back(
					{true,
					 fmt::format("member {} is on this host: its packets are not sent to it",
						     name_of(pool, member)),
					 "run it in a network namespace with an interface and an address of its own"});
		}
	}
}

void examine_ways_out(const Config &config, const Network &network, Netlink &netlink, std::vector<Finding> &findings)
{
	const std::set<int> interfaces = interfaces_of(config, network);
	const std::set<Address> own = own_addresses_of(network);
	std::vector<std::string> without_route;
	std::map<int, std::vector<std::string>> elsewhere;

	// What answers past us has a way of its own.
	std::map<std::string, bool> answers_here;
	for (const VirtualServer &server : config.virtual_servers)
		answers_here[server.pool] |= server.forwarding != HF_FORWARDING_DIRECT;
	for (const Pool &pool : config.pools) {
		const auto used = answers_here.find(pool.name);

		for (const Member &member : pool.members) {
			if (used == answers_here.end() || own.contains(member.address) ||
			    member.status == MemberStatus::disabled)
				continue;
			const auto route = netlink.route(member.address);
			if (!route)
				without_route.push_back(name_of(pool, member));
			else if (used->second && !is_attached(network, interfaces, route->interface))
				elsewhere[route->interface].push_back(name_of(pool, member));
		}
	}
	add_all(findings, without_route, "there is no route to it", "`ip route get` and `ip route` tell; add one");
	for (const auto &[interface, members] : elsewhere)
		add_all(findings, members,
			fmt::format("its way leads over {}, where no program of ours would see its answers",
				    network.name(interface)),
			fmt::format("name {} in `interfaces`, or change the route", network.name(interface)));
}

Finding not_examined(const Error &error)
{
	return {true, fmt::format("the network could not be examined: {}", error.message()),
		"run it as root, in the daemon's network namespace"};
}

template <typename Look> void with_network(std::vector<Finding> &findings, Look look)
{
	auto netlink = Netlink::open();
	auto network = netlink ? Network::read(**netlink) : netlink.error();

	if (network)
		look(*network, **netlink);
	else
		findings.push_back(not_examined(network.error()));
}

using Places = std::set<std::pair<int, Address>>; // interface, virtual address

// The kernel does not listen to who else has an IPv6 address of its own.
Places places_to_ask(const Config &config, const Network &network, const std::set<Address> &own)
{
	const std::set<int> interfaces = interfaces_of(config, network);
	Places places;

	for (const VirtualServer &server : config.virtual_servers) {
		const int where = interface_of(server.address, network.addresses, network.links, interfaces);

		if (where && places.size() < most_asked && (server.address.is_ipv4() || !own.contains(server.address)))
			places.emplace(where, server.address);
	}
	return places;
}

// Those neighbours that answer now. What was known of them before is forgotten, but for what somebody has entered.
Result<std::vector<Neighbour>> ask_all(Netlink &netlink, Places places)
{
	std::vector<Neighbour> answers;

	if (places.empty())
		return answers;
	auto before = netlink.neighbours();
	if (!before)
		return before.error();
	for (const Neighbour &neighbour : *before) {
		const std::pair place(neighbour.interface, neighbour.address);

		if (neighbour.permanent || neighbour.managed)
			places.erase(place);
		else if (places.contains(place))
			(void)netlink.forget(place.first, place.second);
	}
	for (const auto &[interface, address] : places) {
		if (auto asked = netlink.ask_for(interface, address); !asked)
			return asked.error();
	}
	std::this_thread::sleep_for(answer_time);
	auto after = netlink.neighbours();
	for (const auto &[interface, address] : places)
		(void)netlink.forget(interface, address);
	if (!after)
		return after.error();
	for (const Neighbour &neighbour : *after) {
		if (neighbour.valid && places.contains({neighbour.interface, neighbour.address}))
			answers.push_back(neighbour);
	}
	return answers;
}

} // namespace

nlohmann::json to_json(const std::vector<Finding> &findings)
{
	nlohmann::json list = nlohmann::json::array();

	for (const Finding &finding : findings)
		list.push_back({{"kind", finding.wrong ? "error" : "note"},
				{"what", finding.what},
				{"remedy", finding.remedy}});
	return list;
}

std::vector<Finding> examine_kernel()
{
	std::vector<Finding> findings;
	utsname system{};
	int major = 0, minor = 0;

	::uname(&system);
	if (std::sscanf(system.release, "%d.%d", &major, &minor) != 2 || major < 6 || (major == 6 && minor < 1))
		findings.push_back({true, fmt::format("the kernel is Linux {}; 6.1 or newer is needed", system.release),
				    "Debian 12 has one"});
	if (!std::filesystem::exists("/sys/kernel/btf/vmlinux"))
		findings.push_back({true, "the kernel describes its types nowhere (no /sys/kernel/btf/vmlinux)",
				    "use one that is built with CONFIG_DEBUG_INFO_BTF, as distributions' are"});
	// Only there in the host's own network namespace.
	if (auto jit = read_file("/proc/sys/net/core/bpf_jit_enable"); jit && jit->starts_with('0'))
		findings.push_back({false, "the kernel interprets BPF programs: every packet takes many times as long",
				    "sysctl -w net.core.bpf_jit_enable=1"});
	return findings;
}

std::vector<Finding> examine_host(const Config &config)
{
	std::vector<Finding> findings;

	examine_forwarding(config, findings);
	with_network(findings, [&](const Network &network, Netlink &) {
		examine_interfaces(config, network, findings);
		examine_members(config, network, findings);
	});
	if (!config.virtual_servers.empty())
		findings.push_back(
			{false,
			 "what this host itself sends to a virtual address is not balanced: only what comes "
			 "in by an interface is",
			 "let its programs use the members' own addresses, or run them in a network namespace"});
	return findings;
}

std::vector<Finding> examine_routes(const Config &config)
{
	std::vector<Finding> findings;

	with_network(findings, [&](const Network &network, Netlink &netlink) {
		examine_ways_out(config, network, netlink, findings);
	});
	return findings;
}

std::vector<Finding> examine_neighbours(const Config &config)
{
	std::vector<Finding> findings;

	with_network(findings, [&](const Network &network, Netlink &netlink) {
		const std::set<Address> own = own_addresses_of(network);
		const Places places = places_to_ask(config, network, own);
		auto answers = ask_all(netlink, places);

		if (!answers) {
			findings.push_back(not_examined(answers.error()));
			return;
		}
		for (const Neighbour &neighbour : *answers) {
			const bool ours =
				std::any_of(network.links.begin(), network.links.end(),
					    [&](const auto &link) { return link.second.mac == neighbour.mac; });
			const std::string who =
				fmt::format("virtual address {}: {:02x} on {} answers for it", neighbour.address.text(),
					    fmt::join(neighbour.mac, ":"), network.name(neighbour.interface));

			if (!ours && own.contains(neighbour.address))
				findings.push_back({true, who + ", too: clients reach one or the other",
						    "take it off that host, or give it no neighbour's answer there "
						    "(arp_ignore=1 for members of `direct`)"});
			else if (!ours)
				findings.push_back({false, who + ", and not this host", ""});
		}
	});
	return findings;
}

std::vector<Finding> examine_ways(const std::vector<std::string> &fallbacks, const std::set<std::string> &unresolved)
{
	std::vector<Finding> findings;

	for (const std::string &fallback : fallbacks)
		findings.push_back({false, fallback, ""});
	add_all(findings, {unresolved.begin(), unresolved.end()}, "no neighbour answers on the way to it",
		"is it up, and is there a route? `ip route get` and `ip neigh` tell");
	return findings;
}

} // namespace holdfast
