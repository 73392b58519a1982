// SPDX-License-Identifier: GPL-2.0
// HTTP/1.1 in front of the API: over a Unix socket, and, read-only, over TCP. Sizes,
// times and the number of clients are limited, so that no client can hold up the others.
#pragma once

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <string>

#include "control/api.h"

namespace holdfast
{

// May a daemon listen there? Not where another one answers.
Result<void> check_socket(const std::string &path);

class ControlServer
{
public:
	// The socket is made with mode 0660, and group `holdfast` where there is one. A
	// socket that nobody answers on is replaced. Long walks run on `walkers`,
	// which stop before either loop goes.
	static Result<std::unique_ptr<ControlServer>>
	listen(boost::asio::io_context &loop, boost::asio::io_context &walkers, const std::string &path, Api &api);
	// Nothing that changes anything is answered there.
	static Result<std::unique_ptr<ControlServer>>
	listen(boost::asio::io_context &loop, boost::asio::io_context &walkers, const Endpoint &endpoint, Api &api);
	~ControlServer();
	ControlServer(const ControlServer &) = delete;
	ControlServer &operator=(const ControlServer &) = delete;

private:
	using Acceptor = boost::asio::basic_socket_acceptor<boost::asio::generic::stream_protocol>;

	ControlServer(boost::asio::io_context &loop, boost::asio::io_context &walkers, std::string path, Api &api,
		      bool read_only);

	void accept();

	Acceptor acceptor_;
	boost::asio::steady_timer resting_;
	boost::asio::io_context &walkers_;
	std::string path_;
	Api &api_;
	bool read_only_;
	std::shared_ptr<int> clients_ = std::make_shared<int>(0);
	std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

} // namespace holdfast
