// SPDX-License-Identifier: GPL-2.0
#include "health/ping.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <linux/filter.h>
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

// Bytes of sent pings that may wait, for neighbours that do not answer: those are charged to the socket.
constexpr int send_buffer = 4 << 20;

// The kernel computes ICMPv6's checksum itself.
std::array<uint8_t, header_size + payload_size> echo_request(bool ipv4, uint16_t identifier, uint16_t sequence)
{
	std::array<uint8_t, header_size + payload_size> packet{};

	packet[0] = ipv4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
	for (const auto &[place, number] : {std::pair(4, identifier), {6, sequence}}) {
		packet[static_cast<size_t>(place)] = static_cast<uint8_t>(number >> 8);
		packet[static_cast<size_t>(place) + 1] = static_cast<uint8_t>(number);
	}
	if (ipv4) {
		const uint16_t sum = internet_checksum(packet.data(), packet.size());

		packet[2] = static_cast<uint8_t>(sum >> 8);
		packet[3] = static_cast<uint8_t>(sum);
	}
	return packet;
}

// Nothing but answers to this process wakes it: others, forged ones too, end in the kernel. IPv4 comes with its header,
// ICMPv6 without.
void filter_answers(int socket, bool ipv4, uint16_t identifier)
{
	sock_filter program[] = {
		ipv4 ? sock_filter BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0) : sock_filter BPF_STMT(BPF_LDX | BPF_IMM, 0),
		BPF_STMT(BPF_LD | BPF_B | BPF_IND, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ipv4 ? uint32_t{ICMP_ECHOREPLY} : uint32_t{ICMP6_ECHO_REPLY}, 0, 3),
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, identifier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const sock_fprog filter{std::size(program), program};

	::setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter));
}

icmp::endpoint endpoint_of(const Address &address)
{
	return {asio::ip::make_address(address.text()), 0};
}

} // namespace

Pinger::Pinger(asio::io_context &loop)
	: ipv4_{icmp::socket(loop), {}}, ipv6_{icmp::socket(loop), {}},
	  identifier_(static_cast<uint16_t>(std::random_device{}()))
{
	open(ipv4_, icmp::v4());
	open(ipv6_, icmp::v6());
}

void Pinger::open(Family &family, icmp protocol)
{
	boost::system::error_code ignored;

	if (family.socket.open(protocol, family.problem))
		return;
	filter_answers(family.socket.native_handle(), protocol == icmp::v4(), identifier_);
	family.socket.set_option(asio::socket_base::send_buffer_size(send_buffer), ignored);
	family.socket.non_blocking(true, ignored);
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

	if (size < start + header_size)
		return;
	auto waiting = waiting_.find(static_cast<uint16_t>(family.buffer[start + 6] << 8 | family.buffer[start + 7]));
	if (waiting == waiting_.end() ||
	    Address::parse(family.sender.address().to_string()) != std::optional(waiting->second.address))
		return;
	waiting->second.answered = true;
	waiting->second.timer->cancel();
}

asio::awaitable<Pinger::Answer> Pinger::ping(Address address, std::chrono::seconds timeout)
{
	Family &family = address.is_ipv4() ? ipv4_ : ipv6_;
	boost::system::error_code error, ignored;

	if (family.problem)
		co_return Answer{{}, family.problem};
	const uint16_t sequence = next_++;
	const auto request = echo_request(address.is_ipv4(), identifier_, sequence);
	const auto began = Clock::now();
	asio::steady_timer timer(family.socket.get_executor(), timeout);
	const auto [waiting, fresh] = waiting_.emplace(sequence, Waiting{&timer, address, false});

	if (!fresh) // more are under way than there are numbers
		co_return Answer{{}, asio::error::no_buffer_space};
	family.socket.send_to(asio::buffer(request), endpoint_of(address), 0, error);
	if (!error)
		co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
	const bool answered = waiting->second.answered;
	waiting_.erase(waiting);
	if (answered)
		co_return Answer{std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - began), {}};
	co_return Answer{{}, error};
}

} // namespace holdfast
