// SPDX-License-Identifier: GPL-2.0
// ICMP and ICMPv6 echo requests, through one raw socket for each family, however many
// are under way.
#pragma once

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/icmp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>

#include "model/address.h"

namespace holdfast
{

class Pinger
{
public:
	// Needs CAP_NET_RAW, now and not later. Without it, every ping fails, and says so.
	explicit Pinger(boost::asio::io_context &loop);
	Pinger(const Pinger &) = delete;
	Pinger &operator=(const Pinger &) = delete;

	struct Answer {
		std::optional<std::chrono::microseconds> latency; // none: there was no answer
		boost::system::error_code error;                  // why it could not be asked for
	};

	boost::asio::awaitable<Answer> ping(Address address, std::chrono::seconds timeout);

private:
	struct Family {
		boost::asio::ip::icmp::socket socket;
		boost::system::error_code problem; // why there is no socket
		std::array<uint8_t, 256> buffer{};
		boost::asio::ip::icmp::endpoint sender{};
	};
	struct Waiting {
		boost::asio::steady_timer *timer;
		Address address;
		bool answered;
	};

	void open(Family &family, boost::asio::ip::icmp protocol);
	void receive(Family &family);
	void take(Family &family, size_t size);

	Family ipv4_, ipv6_;
	uint16_t identifier_, next_ = 0;
	std::map<uint16_t, Waiting> waiting_; // by sequence number
};

} // namespace holdfast
