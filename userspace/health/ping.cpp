// SPDX-License-Identifier: GPL-2.0
#include "health/ping.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <random>

namespace holdfast
{

namespace
{

namespace asio = boost::asio;
using icmp = asio::ip::icmp;
using Clock = std::chrono::steady_clock;

constexpr size_t header_size = 8, payload_size = 24;

// RFC 1071.
uint16_t internet_checksum(const uint8_t *bytes, size_t size)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < size; i++)
		sum += static_cast<uint32_t>(bytes[i]) << (i % 2 ? 0 : 8);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return static_cast<uint16_t>(~sum);
}

// The kernel computes ICMPv6's checksum itself.
std::array<uint8_t, header_size + payload_size> echo_request(bool ipv4, uint32_t token)
{
	std::array<uint8_t, header_size + payload_size> packet{};

	packet[0] = ipv4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
	for (size_t i = 0; i < sizeof(token); i++)
		packet[4 + i] = static_cast<uint8_t>(token >> (24 - 8 * i));
	if (ipv4) {
		const uint16_t sum = internet_checksum(packet.data(), packet.size());

		packet[2] = static_cast<uint8_t>(sum >> 8);
		packet[3] = static_cast<uint8_t>(sum);
	}
	return packet;
}

icmp::endpoint endpoint_of(const Address &address)
{
	return {asio::ip::make_address(address.text()), 0};
}

} // namespace

Pinger::Pinger(asio::io_context &loop)
	: ipv4_{icmp::socket(loop), ""}, ipv6_{icmp::socket(loop), ""}, next_(std::random_device{}())
{
	open(ipv4_, icmp::v4());
	open(ipv6_, icmp::v6());
}

void Pinger::open(Family &family, icmp protocol)
{
	boost::system::error_code error;

	if (family.socket.open(protocol, error)) {
		family.problem = fmt::format("no raw socket: {}", error.message());
		return;
	}
	// Nothing but answers: whatever else this host gets would wake us in vain.
	const int socket = family.socket.native_handle();
	if (protocol == icmp::v4()) {
		const icmp_filter filter{~(1U << ICMP_ECHOREPLY)};

		::setsockopt(socket, SOL_RAW, ICMP_FILTER, &filter, sizeof(filter));
	} else {
		icmp6_filter filter{};

		ICMP6_FILTER_SETBLOCKALL(&filter);
		ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
		::setsockopt(socket, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof(filter));
	}
	receive(family);
}

void Pinger::receive(Family &family)
{
	family.socket.async_receive_from(asio::buffer(family.buffer), family.sender,
					 [this, &family](boost::system::error_code error, size_t size) {
						 if (error == asio::error::operation_aborted)
							 return;
						 if (!error)
							 take(family, size);
						 receive(family);
					 });
}

// IPv4 comes with its header, IPv6 without.
void Pinger::take(Family &family, size_t size)
{
	const bool ipv4 = &family == &ipv4_;
	const size_t start = ipv4 ? size_t{4} * (family.buffer[0] & 0xfU) : 0;
	uint32_t token = 0;

	if (size < start + header_size || family.buffer[start] != (ipv4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY))
		return;
	for (size_t i = 0; i < sizeof(token); i++)
		token = token << 8 | family.buffer[start + 4 + i];
	auto waiting = waiting_.find(token);
	if (waiting == waiting_.end() ||
	    Address::parse(family.sender.address().to_string()) != std::optional(waiting->second.address))
		return;
	waiting->second.answered = true;
	waiting->second.timer->cancel();
}

asio::awaitable<Result<std::chrono::microseconds>> Pinger::ping(Address address, std::chrono::seconds timeout)
{
	Family &family = address.is_ipv4() ? ipv4_ : ipv6_;
	boost::system::error_code error;

	if (!family.problem.empty())
		co_return Error(family.problem);
	const uint32_t token = next_++;
	const auto request = echo_request(address.is_ipv4(), token);
	const auto began = Clock::now();
	asio::steady_timer timer(family.socket.get_executor(), timeout);
	const auto [waiting, fresh] = waiting_.emplace(token, Waiting{&timer, address, false});

	if (!fresh)
		co_return Error("more pings are under way than there are numbers");
	family.socket.send_to(asio::buffer(request), endpoint_of(address), 0, error);
	if (!error)
		co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
	const bool answered = waiting->second.answered;
	waiting_.erase(waiting);
	if (answered)
		co_return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - began);
	if (error)
		co_return Error(fmt::format("sending: {}", error.message()));
	co_return Error(fmt::format("no answer within {} s", timeout.count()));
}

} // namespace holdfast
