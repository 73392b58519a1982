// SPDX-License-Identifier: GPL-2.0
// The parts of the kernel's routing state that the next hops are made of, read
// over rtnetlink.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/address.h"
#include "util/result.h"

struct mnl_socket;

namespace holdfast
{

using Mac = std::array<uint8_t, 6>;

struct Link {
	int index = 0;
	std::string name;
	Mac mac{};
	uint32_t mtu = 0;
	bool ethernet = false;
	bool up = false;
	bool carrier = false;
	// A VLAN device: the tag it adds, and the device that it is on.
	uint16_t vlan_id = 0; // 0: not a VLAN device
	uint16_t vlan_protocol = 0;
	int lower = 0;
	int master = 0; // the bridge, bond or VRF that it belongs to
};

struct Neighbour {
	int interface = 0;
	Address address;
	Mac mac{};
	bool valid = false;     // the MAC can be used
	bool permanent = false; // an administrator's: left alone
	bool managed = false;   // the kernel keeps it resolved
	bool ours = false;      // because manage() asked for it
};

struct Route {
	int interface = 0;
	Address next; // the gateway, or the destination itself
};

// An address that an interface has.
struct HostAddress {
	int interface = 0;
	Address address;
	uint8_t prefix = 0;
	bool ours = false; // because own() asked for it
};

// Ends all that Netlink::own() has asked for, in this network namespace.
Result<void> release_addresses();

// Ends all that Netlink::manage() has asked for, in this network namespace.
Result<void> release_neighbours();

class Netlink
{
public:
	static Result<std::unique_ptr<Netlink>> open();
	~Netlink();
	Netlink(const Netlink &) = delete;
	Netlink &operator=(const Netlink &) = delete;

	Result<std::map<int, Link>> links();
	Result<std::vector<Neighbour>> neighbours();
	// The way to an address; nothing if there is none, or it is one of the host's own.
	std::optional<Route> route(const Address &destination);

	// Asks the kernel to resolve a neighbour and to keep it resolved (NTF_EXT_MANAGED,
	// Linux 5.16), or to stop that. The entry is marked as asked for by this program.
	Result<void> manage(int interface, const Address &address, bool on);

	// Asks the network, once, who has an address; who answers is among neighbours() soon.
	Result<void> ask_for(int interface, const Address &address);
	// Takes a neighbour's entry out; none is no error.
	Result<void> forget(int interface, const Address &address);

	Result<std::vector<HostAddress>> addresses();
	// Gives an interface an address of its own (a whole one: /32, /128), or takes it away again. It is marked
	// as asked for by this program (IFA_PROTO, Linux 5.18), and no IPv6 connection of the host's begins from it.
	Result<void> own(int interface, const Address &address, bool on);

private:
	Netlink() = default;

	int change_neighbour(uint16_t type, uint16_t flags, int interface, const Address &address);

	struct Close {
		void operator()(mnl_socket *socket) const;
	};
	std::unique_ptr<mnl_socket, Close> socket_;
	unsigned sequence_ = 0;
};

// A socket that becomes readable when links, neighbours or routes change.
class NetlinkEvents
{
public:
	static Result<std::unique_ptr<NetlinkEvents>> open();
	~NetlinkEvents();
	NetlinkEvents(const NetlinkEvents &) = delete;
	NetlinkEvents &operator=(const NetlinkEvents &) = delete;

	int fd() const;

	struct Changes {
		bool any = false;
		bool routes = false; // the way to some address may be another one now
	};
	// Reads what has come. A receive buffer that overflowed counts as everything.
	Changes drain();

private:
	NetlinkEvents() = default;

	mnl_socket *socket_ = nullptr;
};

} // namespace holdfast
