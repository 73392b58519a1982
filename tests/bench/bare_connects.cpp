// SPDX-License-Identifier: GPL-2.0
// What no tcp check can do without: a connection opened and closed, so many a second, by one
// thread and nothing around it. Addresses come on stdin, one a line.
//
//   holdfast-bare-connects PORT PER_SECOND SECONDS < ADDRESSES    prints the share of a core
#include <arpa/inet.h>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <netinet/in.h>
#include <string>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace
{

double seconds(const timeval &time)
{
	return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

void open_one(int epoll, const sockaddr_in &member)
{
	const int connection = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	epoll_event event{.events = EPOLLOUT, .data = {.fd = connection}};

	::connect(connection, reinterpret_cast<const sockaddr *>(&member), sizeof(member));
	::epoll_ctl(epoll, EPOLL_CTL_ADD, connection, &event);
}

// Is it open? Closed without a TIME_WAIT, as a check is.
bool close_one(int connection)
{
	const linger at_once{.l_onoff = 1, .l_linger = 0};
	socklen_t size = sizeof(int);
	int error = 0;

	::getsockopt(connection, SOL_SOCKET, SO_ERROR, &error, &size);
	::setsockopt(connection, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	::close(connection);
	return error == 0;
}

} // namespace

int main(int argc, char **argv)
{
	using Clock = std::chrono::steady_clock;
	std::vector<sockaddr_in> members;

	if (argc != 4)
		return 2;
	for (std::string line; std::getline(std::cin, line);) {
		sockaddr_in member{};

		member.sin_family = AF_INET;
		member.sin_port = htons(static_cast<uint16_t>(std::atoi(argv[1])));
		if (::inet_pton(AF_INET, line.c_str(), &member.sin_addr) != 1)
			return 2;
		members.push_back(member);
	}
	const int per_second = std::atoi(argv[2]), total = per_second * std::atoi(argv[3]);
	const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
	const auto began = Clock::now();
	auto passed = [&] { return std::chrono::duration<double>(Clock::now() - began).count(); };
	int opened = 0, closed = 0, failed = 0;

	if (members.empty() || epoll < 0)
		return 2;
	while (closed < total) {
		std::array<epoll_event, 64> events{};

		for (; opened < total && opened < passed() * per_second; opened++)
			open_one(epoll, members[static_cast<size_t>(opened) % members.size()]);
		const int ready = ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), 1);
		for (int i = 0; i < ready; i++, closed++)
			failed += !close_one(events[static_cast<size_t>(i)].data.fd);
	}
	const double took = passed();
	rusage used{};
	::getrusage(RUSAGE_SELF, &used);
	std::printf("%.4f\n", (seconds(used.ru_utime) + seconds(used.ru_stime)) / took);
	return failed ? 1 : 0;
}
