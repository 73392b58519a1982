// SPDX-License-Identifier: GPL-2.0
// Keeps `next_hops` as the kernel's neighbour table is, and each member's next
// hop as the routes lead. Members' neighbours are kept resolved by the kernel,
// whether this process runs or not.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "datapath/maps.h"
#include "netlink/netlink.h"

namespace holdfast
{

class NextHopMirror
{
public:
	static Result<std::unique_ptr<NextHopMirror>> open(Maps &maps);

	// The interfaces that XDP programs are attached to natively: XDP can send on these.
	void set_xdp_interfaces(std::set<int> interfaces) { xdp_interfaces_ = std::move(interfaces); }

	// Readable when something changed; then call changed(), and soon refresh().
	int events() const { return events_->fd(); }
	// True if routes or links did.
	bool changed();

	// Reads the kernel's state and writes what differs. Cheap when nothing does.
	Result<void> refresh();

	Netlink &netlink() { return *netlink_; }

	// Members without a resolved next hop, as "POOL/NAME" ids.
	const std::set<uint32_t> &unresolved() const { return unresolved_; }

private:
	explicit NextHopMirror(Maps &maps) : maps_(maps) {}

	struct KeyLess {
		bool operator()(const hf_next_hop_key &a, const hf_next_hop_key &b) const
		{
			return std::memcmp(&a, &b, sizeof(a)) < 0;
		}
	};
	using Index = std::map<hf_next_hop_key, uint32_t, KeyLess>;

	Result<void> adopt();
	hf_next_hop describe(const Neighbour &neighbour, const std::map<int, Link> &links) const;
	uint32_t take_index();
	void refresh_members(const std::vector<Neighbour> &neighbours);

	Maps &maps_;
	std::unique_ptr<Netlink> netlink_;
	std::unique_ptr<NetlinkEvents> events_;
	std::set<int> xdp_interfaces_;
	Index index_;
	std::deque<uint32_t> free_; // longest unused first: an index rests before it means another neighbour
	std::set<uint32_t> unresolved_;
};

} // namespace holdfast
