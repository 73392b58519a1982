// SPDX-License-Identifier: GPL-2.0
// HTTP/1.1 over a Unix socket, in front of the API. Sizes, times and the number
// of clients are limited, so that no client can hold up the others.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/thread_pool.hpp>
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
	// socket that nobody answers on is replaced. Long walks run on `walkers`, which
	// must outlive `loop`.
	static Result<std::unique_ptr<ControlServer>>
	listen(boost::asio::io_context &loop, boost::asio::thread_pool &walkers, const std::string &path, Api &api);
	~ControlServer();
	ControlServer(const ControlServer &) = delete;
	ControlServer &operator=(const ControlServer &) = delete;

private:
	ControlServer(boost::asio::io_context &loop, boost::asio::thread_pool &walkers, std::string path, Api &api);

	void accept();

	boost::asio::local::stream_protocol::acceptor acceptor_;
	boost::asio::thread_pool &walkers_;
	std::string path_;
	Api &api_;
	std::shared_ptr<int> clients_ = std::make_shared<int>(0);
};

} // namespace holdfast
