// SPDX-License-Identifier: GPL-2.0
#include "netlink/netlink.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <functional>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/socket.h>

namespace holdfast
{

namespace
{

// Marks neighbour entries and addresses as ours (`ip neigh` and `ip addr` show it as "proto 72", or 0x48; "H").
constexpr uint8_t our_protocol = 72;

using Attributes = std::vector<const nlattr *>;

struct Collect {
	Attributes *found;
	size_t most;
};

int collect_attribute(const nlattr *attribute, void *data)
{
	auto *collect = static_cast<Collect *>(data);

	if (mnl_attr_get_type(attribute) <= collect->most)
		(*collect->found)[mnl_attr_get_type(attribute)] = attribute;
	return MNL_CB_OK;
}

Attributes attributes_of(const nlmsghdr *message, unsigned offset, size_t most)
{
	Attributes found(most + 1);
	Collect collect{&found, most};

	mnl_attr_parse(message, offset, collect_attribute, &collect);
	return found;
}

Attributes nested(const nlattr *attribute, size_t most)
{
	Attributes found(most + 1);
	Collect collect{&found, most};

	if (attribute)
		mnl_attr_parse_nested(attribute, collect_attribute, &collect);
	return found;
}

std::optional<Address> address_of(const nlattr *attribute)
{
	std::array<uint8_t, 16> bytes{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

	if (!attribute)
		return std::nullopt;
	const size_t length = mnl_attr_get_payload_len(attribute);
	if (length != 4 && length != 16)
		return std::nullopt;
	std::memcpy(bytes.data() + 16 - length, mnl_attr_get_payload(attribute), length);
	return Address(bytes);
}

void copy_mac(Mac &mac, const nlattr *attribute)
{
	if (attribute && mnl_attr_get_payload_len(attribute) == mac.size())
		std::memcpy(mac.data(), mnl_attr_get_payload(attribute), mac.size());
}

using Visit = std::function<void(const nlmsghdr *)>;

int visit_message(const nlmsghdr *message, void *data)
{
	(*static_cast<const Visit *>(data))(message);
	return MNL_CB_OK;
}

// Sends a request and visits what is answered. 0, or an errno value.
int ask(mnl_socket *socket, nlmsghdr *request, unsigned sequence, const Visit &visit)
{
	std::array<char, 65536> buffer{};
	Visit copy = visit;

	request->nlmsg_seq = sequence;
	if (mnl_socket_sendto(socket, request, request->nlmsg_len) < 0)
		return errno;
	for (;;) {
		const ssize_t length = mnl_socket_recvfrom(socket, buffer.data(), buffer.size());

		if (length < 0)
			return errno;
		const int more = mnl_cb_run(buffer.data(), static_cast<size_t>(length), sequence,
					    mnl_socket_get_portid(socket), visit_message, &copy);
		if (more < 0 && errno == ESRCH)
			continue; // an answer to an earlier request that was given up
		if (more < 0)
			return errno;
		if (more == MNL_CB_STOP || !(request->nlmsg_flags & (NLM_F_DUMP | NLM_F_ACK)))
			return 0;
	}
}

void add_address(nlmsghdr *message, uint16_t type, const Address &address)
{
	const std::string wire = address.wire();

	mnl_attr_put(message, type, wire.size(), wire.data());
}

uint8_t family_of(const Address &address)
{
	return address.is_ipv4() ? AF_INET : AF_INET6;
}

Link read_link(const nlmsghdr *message)
{
	const auto *body = static_cast<const ifinfomsg *>(mnl_nlmsg_get_payload(message));
	const Attributes attributes = attributes_of(message, sizeof(ifinfomsg), IFLA_MAX);
	Link link;

	link.index = body->ifi_index;
	link.ethernet = body->ifi_type == ARPHRD_ETHER;
	link.up = body->ifi_flags & IFF_UP;
	link.carrier = body->ifi_flags & IFF_RUNNING;
	if (attributes[IFLA_IFNAME])
		link.name = mnl_attr_get_str(attributes[IFLA_IFNAME]);
	if (attributes[IFLA_MTU])
		link.mtu = mnl_attr_get_u32(attributes[IFLA_MTU]);
	if (attributes[IFLA_MASTER])
		link.master = static_cast<int>(mnl_attr_get_u32(attributes[IFLA_MASTER]));
	copy_mac(link.mac, attributes[IFLA_ADDRESS]);
	const Attributes info = nested(attributes[IFLA_LINKINFO], IFLA_INFO_MAX);
	if (info[IFLA_INFO_KIND] && std::string(mnl_attr_get_str(info[IFLA_INFO_KIND])) == "vlan" &&
	    attributes[IFLA_LINK]) {
		const Attributes vlan = nested(info[IFLA_INFO_DATA], IFLA_VLAN_MAX);

		link.lower = static_cast<int>(mnl_attr_get_u32(attributes[IFLA_LINK]));
		link.vlan_id = vlan[IFLA_VLAN_ID] ? mnl_attr_get_u16(vlan[IFLA_VLAN_ID]) : 0;
		link.vlan_protocol = vlan[IFLA_VLAN_PROTOCOL]
					     ? __builtin_bswap16(mnl_attr_get_u16(vlan[IFLA_VLAN_PROTOCOL]))
					     : ETH_P_8021Q;
	}
	return link;
}

} // namespace

void Netlink::Close::operator()(mnl_socket *socket) const
{
	mnl_socket_close(socket);
}

Netlink::~Netlink() = default;

Result<std::unique_ptr<Netlink>> Netlink::open()
{
	std::unique_ptr<Netlink> netlink(new Netlink);

	netlink->socket_.reset(mnl_socket_open(NETLINK_ROUTE));
	if (!netlink->socket_ || mnl_socket_bind(netlink->socket_.get(), 0, MNL_SOCKET_AUTOPID) < 0)
		return Error::system("netlink", errno);
	return netlink;
}

Result<std::map<int, Link>> Netlink::links()
{
	std::array<char, 256> buffer{};
	std::map<int, Link> links;
	nlmsghdr *request = mnl_nlmsg_put_header(buffer.data());

	request->nlmsg_type = RTM_GETLINK;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	static_cast<ifinfomsg *>(mnl_nlmsg_put_extra_header(request, sizeof(ifinfomsg)))->ifi_family = AF_UNSPEC;
	const int failed = ask(socket_.get(), request, ++sequence_, [&](const nlmsghdr *message) {
		if (message->nlmsg_type == RTM_NEWLINK) {
			const Link link = read_link(message);

			links[link.index] = link;
		}
	});
	if (failed)
		return Error::system("netlink: links", failed);
	return links;
}

Result<std::vector<Neighbour>> Netlink::neighbours()
{
	constexpr uint16_t usable = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY;
	std::array<char, 256> buffer{};
	std::vector<Neighbour> neighbours;
	nlmsghdr *request = mnl_nlmsg_put_header(buffer.data());

	request->nlmsg_type = RTM_GETNEIGH;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	static_cast<ndmsg *>(mnl_nlmsg_put_extra_header(request, sizeof(ndmsg)))->ndm_family = AF_UNSPEC;
	const int failed = ask(socket_.get(), request, ++sequence_, [&](const nlmsghdr *message) {
		const auto *body = static_cast<const ndmsg *>(mnl_nlmsg_get_payload(message));
		const Attributes attributes = attributes_of(message, sizeof(ndmsg), NDA_MAX);
		const auto address = address_of(attributes[NDA_DST]);
		Neighbour neighbour;

		if (message->nlmsg_type != RTM_NEWNEIGH || !address)
			return;
		neighbour.interface = body->ndm_ifindex;
		neighbour.address = *address;
		neighbour.permanent = body->ndm_state & NUD_PERMANENT;
		neighbour.managed =
			attributes[NDA_FLAGS_EXT] && mnl_attr_get_u32(attributes[NDA_FLAGS_EXT]) & NTF_EXT_MANAGED;
		neighbour.ours = attributes[NDA_PROTOCOL] && mnl_attr_get_u8(attributes[NDA_PROTOCOL]) == our_protocol;
		neighbour.valid = body->ndm_state & usable && attributes[NDA_LLADDR];
		copy_mac(neighbour.mac, attributes[NDA_LLADDR]);
		neighbours.push_back(neighbour);
	});
	if (failed)
		return Error::system("netlink: neighbours", failed);
	return neighbours;
}

std::optional<Route> Netlink::route(const Address &destination)
{
	std::array<char, 256> buffer{};
	std::optional<Route> found;
	nlmsghdr *request = mnl_nlmsg_put_header(buffer.data());

	request->nlmsg_type = RTM_GETROUTE;
	request->nlmsg_flags = NLM_F_REQUEST;
	auto *body = static_cast<rtmsg *>(mnl_nlmsg_put_extra_header(request, sizeof(rtmsg)));
	body->rtm_family = family_of(destination);
	body->rtm_dst_len = destination.is_ipv4() ? 32 : 128;
	add_address(request, RTA_DST, destination);
	const int failed = ask(socket_.get(), request, ++sequence_, [&](const nlmsghdr *message) {
		const auto *answer = static_cast<const rtmsg *>(mnl_nlmsg_get_payload(message));
		const Attributes attributes = attributes_of(message, sizeof(rtmsg), RTA_MAX);

		if (message->nlmsg_type != RTM_NEWROUTE || answer->rtm_type != RTN_UNICAST || !attributes[RTA_OIF])
			return;
		Route route{static_cast<int>(mnl_attr_get_u32(attributes[RTA_OIF])), destination};
		if (auto gateway = address_of(attributes[RTA_GATEWAY])) {
			route.next = *gateway;
		} else if (attributes[RTA_VIA]) {
			// An IPv4 route whose gateway is an IPv6 address (RFC 5549).
			const auto *via = static_cast<const rtvia *>(mnl_attr_get_payload(attributes[RTA_VIA]));

			if (via->rtvia_family == AF_INET6)
				route.next = Address(via->rtvia_addr);
		}
		found = route;
	});
	return failed ? std::nullopt : found;
}

Result<void> Netlink::manage(int interface, const Address &address, bool on)
{
	std::array<char, 256> buffer{};
	nlmsghdr *request = mnl_nlmsg_put_header(buffer.data());

	request->nlmsg_type = RTM_NEWNEIGH;
	request->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | (on ? NLM_F_CREATE : NLM_F_REPLACE));
	auto *body = static_cast<ndmsg *>(mnl_nlmsg_put_extra_header(request, sizeof(ndmsg)));
	body->ndm_family = family_of(address);
	body->ndm_ifindex = interface;
	body->ndm_flags = NTF_USE;
	add_address(request, NDA_DST, address);
	if (on)
		mnl_attr_put_u32(request, NDA_FLAGS_EXT, NTF_EXT_MANAGED);
	mnl_attr_put_u8(request, NDA_PROTOCOL, our_protocol);
	const int failed = ask(socket_.get(), request, ++sequence_, [](const nlmsghdr *) {});
	if (failed)
		return Error::system(fmt::format("netlink: neighbour {}", address.text()), failed);
	return {};
}

// 0, or an errno value.
int Netlink::change_neighbour(uint16_t type, uint16_t flags, int interface, const Address &address)
{
	std::array<char, 256> buffer{};
	nlmsghdr *request = mnl_nlmsg_put_header(buffer.data());

	request->nlmsg_type = type;
	request->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
	auto *body = static_cast<ndmsg *>(mnl_nlmsg_put_extra_header(request, sizeof(ndmsg)));
	body->ndm_family = family_of(address);
	body->ndm_ifindex = interface;
	body->ndm_flags = type == RTM_NEWNEIGH ? NTF_USE : 0;
	add_address(request, NDA_DST, address);
	return ask(socket_.get(), request, ++sequence_, [](const nlmsghdr *) {});
}

Result<void> Netlink::ask_for(int interface, const Address &address)
{
	if (const int failed = change_neighbour(RTM_NEWNEIGH, NLM_F_CREATE, interface, address))
		return Error::system(fmt::format("netlink: neighbour {}", address.text()), failed);
	return {};
}

Result<void> Netlink::forget(int interface, const Address &address)
{
	if (const int failed = change_neighbour(RTM_DELNEIGH, 0, interface, address); failed && failed != ENOENT)
		return Error::system(fmt::format("netlink: neighbour {}", address.text()), failed);
	return {};
}

Result<std::vector<HostAddress>> Netlink::addresses()
{
	std::array<char, 256> buffer{};
	std::vector<HostAddress> found;
	nlmsghdr *request = mnl_nlmsg_put_header(buffer.data());

	request->nlmsg_type = RTM_GETADDR;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	mnl_nlmsg_put_extra_header(request, sizeof(ifaddrmsg));
	const int failed = ask(socket_.get(), request, ++sequence_, [&](const nlmsghdr *message) {
		const auto *answer = static_cast<const ifaddrmsg *>(mnl_nlmsg_get_payload(message));
		const Attributes attributes = attributes_of(message, sizeof(ifaddrmsg), IFA_MAX);
		const auto address =
			address_of(attributes[IFA_LOCAL] ? attributes[IFA_LOCAL] : attributes[IFA_ADDRESS]);

		if (message->nlmsg_type != RTM_NEWADDR || !address)
			return;
		found.push_back({static_cast<int>(answer->ifa_index), *address, answer->ifa_prefixlen,
				 attributes[IFA_PROTO] && mnl_attr_get_u8(attributes[IFA_PROTO]) == our_protocol});
	});
	if (failed)
		return Error::system("netlink: addresses", failed);
	return found;
}

Result<void> Netlink::own(int interface, const Address &address, bool on)
{
	std::array<char, 256> buffer{};
	nlmsghdr *request = mnl_nlmsg_put_header(buffer.data());

	request->nlmsg_type = on ? RTM_NEWADDR : RTM_DELADDR;
	request->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | (on ? NLM_F_CREATE | NLM_F_EXCL : 0));
	auto *body = static_cast<ifaddrmsg *>(mnl_nlmsg_put_extra_header(request, sizeof(ifaddrmsg)));
	body->ifa_family = family_of(address);
	body->ifa_prefixlen = address.is_ipv4() ? 32 : 128;
	body->ifa_index = static_cast<unsigned>(interface);
	add_address(request, IFA_LOCAL, address);
	add_address(request, IFA_ADDRESS, address);
	if (on) {
		mnl_attr_put_u8(request, IFA_PROTO, our_protocol);
		if (!address.is_ipv4()) {
			// Nobody is asked whether it is free, and none of the host's connections begins from it.
			const ifa_cacheinfo times{.ifa_prefered = 0, .ifa_valid = ~0U, .cstamp = 0, .tstamp = 0};

			mnl_attr_put_u32(request, IFA_FLAGS, IFA_F_NODAD);
			mnl_attr_put(request, IFA_CACHEINFO, sizeof(times), &times);
		}
	}
	const int failed = ask(socket_.get(), request, ++sequence_, [](const nlmsghdr *) {});
	if (failed && !(on ? failed == EEXIST : failed == EADDRNOTAVAIL))
		return Error::system(fmt::format("netlink: address {}", address.text()), failed);
	return {};
}

Result<void> release_addresses()
{
	auto netlink = Netlink::open();
	if (!netlink)
		return netlink.error();
	auto addresses = (*netlink)->addresses();
	if (!addresses)
		return addresses.error();
	for (const HostAddress &address : *addresses) {
		if (address.ours)
			(void)(*netlink)->own(address.interface, address.address, false);
	}
	return {};
}

Result<void> release_neighbours()
{
	auto netlink = Netlink::open();
	if (!netlink)
		return netlink.error();
	auto neighbours = (*netlink)->neighbours();
	if (!neighbours)
		return neighbours.error();
	for (const Neighbour &neighbour : *neighbours) {
		if (neighbour.ours && neighbour.managed && !neighbour.permanent)
			(void)(*netlink)->manage(neighbour.interface, neighbour.address, false);
	}
	return {};
}

NetlinkEvents::~NetlinkEvents()
{
	if (socket_)
		mnl_socket_close(socket_);
}

Result<std::unique_ptr<NetlinkEvents>> NetlinkEvents::open()
{
	std::unique_ptr<NetlinkEvents> events(new NetlinkEvents);
	constexpr unsigned groups = RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;

	events->socket_ = mnl_socket_open2(NETLINK_ROUTE, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (!events->socket_ || mnl_socket_bind(events->socket_, groups, MNL_SOCKET_AUTOPID) < 0)
		return Error::system("netlink events", errno);
	return events;
}

int NetlinkEvents::fd() const
{
	return mnl_socket_get_fd(socket_);
}

NetlinkEvents::Changes NetlinkEvents::drain()
{
	std::array<char, 65536> buffer{};
	Changes changes;

	for (;;) {
		ssize_t length = mnl_socket_recvfrom(socket_, buffer.data(), buffer.size());

		if (length < 0 && errno == ENOBUFS) {
			changes = {true, true};
			continue;
		}
		if (length <= 0)
			return changes;
		changes.any = true;
		auto rest = static_cast<int>(length);
		for (const auto *message = reinterpret_cast<const nlmsghdr *>(buffer.data());
		     mnl_nlmsg_ok(message, rest); message = mnl_nlmsg_next(message, &rest)) {
			if (message->nlmsg_type == RTM_NEWROUTE || message->nlmsg_type == RTM_DELROUTE ||
			    message->nlmsg_type == RTM_NEWLINK || message->nlmsg_type == RTM_DELLINK)
				changes.routes = true;
		}
	}
}

} // namespace holdfast
