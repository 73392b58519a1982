// SPDX-License-Identifier: GPL-2.0
#include "nexthop/mirror.h"

#include <algorithm>
#include <cstring>

#include "datapath/encode.h"
#include "util/log.h"

namespace holdfast
{

namespace
{

hf_next_hop_key key_of(int interface, const Mac &mac)
{
	hf_next_hop_key key{};

	key.interface = static_cast<uint32_t>(interface);
	std::memcpy(key.mac, mac.data(), sizeof(key.mac));
	return key;
}

} // namespace

Result<std::unique_ptr<NextHopMirror>> NextHopMirror::open(Maps &maps)
{
	std::unique_ptr<NextHopMirror> mirror(new NextHopMirror(maps));

	auto netlink = Netlink::open();
	if (!netlink)
		return netlink.error();
	mirror->netlink_ = std::move(*netlink);
	auto events = NetlinkEvents::open();
	if (!events)
		return events.error();
	mirror->events_ = std::move(*events);
	if (auto adopted = mirror->adopt(); !adopted)
		return adopted.error();
	return mirror;
}

// What an earlier process left: connections refer to its indices.
Result<void> NextHopMirror::adopt()
{
	std::set<uint32_t> used;

	auto read = maps_.next_hop_index.each([&](const hf_next_hop_key &key, const uint32_t &index) {
		index_[key] = index;
		used.insert(index);
		return true;
	});
	if (!read)
		return read;
	for (uint32_t index = 1; index < HF_NEXT_HOPS; index++) {
		if (!used.contains(index))
			free_.push_back(index);
	}
	return {};
}

hf_next_hop NextHopMirror::describe(const Neighbour &neighbour, const std::map<int, Link> &links) const
{
	hf_next_hop hop{};
	auto device = links.find(neighbour.interface);

	if (device == links.end() || !device->second.ethernet || !device->second.up)
		return hop;
	const Link &link = device->second;
	const int carrier = link.vlan_id ? link.lower : link.index;
	// A VLAN on a VLAN, or on a device that is out of sight: the kernel knows how.
	auto below = links.find(carrier);
	if (below == links.end() || below->second.vlan_id)
		return hop;
	std::memcpy(hop.destination_mac, neighbour.mac.data(), sizeof(hop.destination_mac));
	std::memcpy(hop.source_mac, link.mac.data(), sizeof(hop.source_mac));
	hop.interface = static_cast<uint32_t>(carrier);
	hop.mtu = link.mtu;
	hop.vlan_protocol = link.vlan_id ? to_network(link.vlan_protocol) : uint16_t{0};
	hop.vlan_tci = to_network(link.vlan_id);
	hop.flags = xdp_interfaces_.contains(carrier) ? uint32_t{HF_NEXT_HOP_XDP} : 0;
	return hop;
}

uint32_t NextHopMirror::take_index()
{
	if (free_.empty())
		return 0;
	const uint32_t index = free_.front();
	free_.pop_front();
	return index;
}

bool NextHopMirror::changed()
{
	if (!events_->drain().routes)
		return false;
	// Connections ask the FIB again at their next refresh.
	__atomic_fetch_add(&maps_.routes.live(0)->generation, 1, __ATOMIC_RELEASE);
	return true;
}

Result<void> NextHopMirror::refresh()
{
	auto links = netlink_->links();
	if (!links)
		return links.error();
	auto neighbours = netlink_->neighbours();
	if (!neighbours)
		return neighbours.error();
	Index wanted;

	for (const Neighbour &neighbour : *neighbours) {
		if (!neighbour.valid || neighbour.mac[0] & 1)
			continue;
		hf_next_hop hop = describe(neighbour, *links);
		const hf_next_hop_key key = key_of(neighbour.interface, neighbour.mac);
		if (!hop.interface || wanted.contains(key))
			continue;
		auto known = index_.find(key);
		const uint32_t index = known != index_.end() ? known->second : take_index();
		if (!index) {
			log_warning("more than {} neighbours: the rest is looked up for every packet",
				    HF_NEXT_HOPS - 1);
			break;
		}
		hop.checked_at = maps_.next_hops.get(index).checked_at;
		maps_.next_hops.set(index, hop);
		if (known == index_.end()) {
			if (auto set = maps_.next_hop_index.set(key, index); !set)
				return set;
		}
		wanted[key] = index;
	}
	bool lost = false;
	for (const auto &[key, index] : index_) {
		if (wanted.contains(key))
			continue;
		maps_.next_hop_index.erase(key);
		maps_.next_hops.set(index, {});
		free_.push_back(index);
		lost = true;
	}
	index_ = std::move(wanted);
	if (lost)
		__atomic_fetch_add(&maps_.routes.live(0)->generation, 1, __ATOMIC_RELEASE);
	refresh_members(*neighbours);
	return {};
}

static void set_routed(hf_member &member, bool routed)
{
	const auto flags = static_cast<uint8_t>((member.flags & ~HF_MEMBER_ROUTED) | (routed ? HF_MEMBER_ROUTED : 0));

	if (member.flags != flags)
		__atomic_store_n(&member.flags, flags, __ATOMIC_RELEASE);
}

void NextHopMirror::refresh_members(const std::vector<Neighbour> &neighbours)
{
	std::map<std::pair<int, Address>, const Neighbour *> known;
	std::set<std::pair<int, Address>> needed;

	for (const Neighbour &neighbour : neighbours)
		known[{neighbour.interface, neighbour.address}] = &neighbour;
	unresolved_.clear();
	const auto generation =
		static_cast<uint16_t>(__atomic_load_n(&maps_.routes.live(0)->generation, __ATOMIC_ACQUIRE));
	for (uint32_t id = 1; id < maps_.members.size(); id++) {
		hf_member *member = maps_.members.live(id);
		uint32_t index = 0;

		if (member->state == HF_MEMBER_ABSENT)
			continue;
		if (auto route = netlink_->route(Address(member->address))) {
			const std::pair<int, Address> hop(route->interface, route->next);
			auto neighbour = known.find(hop);

			set_routed(*member, route->next != Address(member->address));

			if (neighbour == known.end() || !neighbour->second->permanent)
				needed.insert(hop);
			if (neighbour != known.end() && neighbour->second->valid) {
				auto found = index_.find(key_of(hop.first, neighbour->second->mac));

				index = found == index_.end() ? 0 : found->second;
			}
		}
		if (!index)
			unresolved_.insert(id);
		if (member->next_hop != index)
			__atomic_store_n(&member->next_hop, index, __ATOMIC_RELEASE);
		if (member->route_generation != generation)
			__atomic_store_n(&member->route_generation, generation, __ATOMIC_RELEASE);
	}
	for (const auto &hop : needed) {
		auto neighbour = known.find(hop);

		if (neighbour != known.end() && neighbour->second->managed)
			continue;
		if (auto asked = netlink_->manage(hop.first, hop.second, true); !asked)
			log_warning("{}", asked.error().message());
	}
	for (const Neighbour &neighbour : neighbours) {
		if (neighbour.ours && neighbour.managed && !neighbour.permanent &&
		    !needed.contains({neighbour.interface, neighbour.address}))
			(void)netlink_->manage(neighbour.interface, neighbour.address, false);
	}
}

} // namespace holdfast
