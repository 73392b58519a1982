// SPDX-License-Identifier: GPL-2.0
#include "cli/client.h"

#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cctype>
#include <fmt/format.h>
#include <sys/un.h>

namespace holdfast
{

namespace
{

namespace http = boost::beast::http;
using Protocol = boost::asio::local::stream_protocol;

// Connects, and sends the request; otherwise `reply` says why not.
bool ask(Protocol::socket &stream, const std::string &socket, const std::string &method, const std::string &target,
	 const std::string &body, Reply &reply)
{
	boost::system::error_code error;

	if (socket.size() >= sizeof(sockaddr_un::sun_path)) {
		reply.problem = socket + ": too long for a socket's path";
		return false;
	}
	http::request<http::string_body> request(http::string_to_verb(method), target, 11);
	request.set(http::field::host, "holdfast");
	request.keep_alive(false);
	request.body() = body;
	request.prepare_payload();
	stream.connect(Protocol::endpoint(socket), error);
	if (!error)
		http::write(stream, request, error);
	if (error)
		reply.problem = fmt::format("{}: {}", socket, error.message());
	reply.absent = error == boost::asio::error::connection_refused ||
		       error == boost::system::errc::no_such_file_or_directory;
	return !error;
}

} // namespace

Reply call(const std::string &socket, const std::string &method, const std::string &target, const std::string &body)
{
	boost::asio::io_context loop;
	Protocol::socket stream(loop);
	boost::system::error_code error;
	boost::beast::flat_buffer buffer;
	http::response_parser<http::string_body> parser;
	Reply reply;

	if (!ask(stream, socket, method, target, body, reply))
		return reply;
	parser.body_limit(uint64_t{1} << 32U);
	http::read(stream, buffer, parser, error);
	if (error) {
		reply.problem = fmt::format("{}: {}", socket, error.message());
		return reply;
	}
	reply.reached = true;
	reply.status = parser.get().result_int();
	reply.body = nlohmann::json::parse(parser.get().body(), nullptr, false);
	return reply;
}

Reply read_lines(const std::string &socket, const std::string &target,
		 const std::function<void(const std::string &line)> &take)
{
	boost::asio::io_context loop;
	Protocol::socket stream(loop);
	boost::system::error_code error;
	boost::beast::flat_buffer buffer;
	http::response_parser<http::buffer_body> parser;
	std::string waiting;
	char bytes[65536];
	Reply reply;

	if (!ask(stream, socket, "GET", target, {}, reply))
		return reply;
	parser.body_limit(boost::none);
	http::read_header(stream, buffer, parser, error);
	if (error) {
		reply.problem = fmt::format("{}: {}", socket, error.message());
		return reply;
	}
	reply.reached = true;
	reply.status = parser.get().result_int();
	reply.body = nlohmann::json::object();
	while (!parser.is_done() && !error) {
		parser.get().body().data = bytes;
		parser.get().body().size = sizeof(bytes);
		http::read_some(stream, buffer, parser, error);
		if (error == http::error::need_buffer)
			error = {};
		waiting.append(bytes, sizeof(bytes) - parser.get().body().size);
		if (reply.status != 200)
			continue;
		for (size_t end = waiting.find('\n'); end != std::string::npos; end = waiting.find('\n')) {
			take(waiting.substr(0, end));
			waiting.erase(0, end + 1);
		}
	}
	if (reply.status != 200)
		reply.body = nlohmann::json::parse(waiting, nullptr, false);
	if (error) {
		reply.reached = false;
		reply.problem = fmt::format("{}: {}", socket, error.message());
	}
	return reply;
}

std::string percent_encode(const std::string &text)
{
	std::string encoded;

	for (const char character : text) {
		const auto c = static_cast<unsigned char>(character);

		if (std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '/')
			encoded += static_cast<char>(c);
		else
			encoded += fmt::format("%{:02X}", c);
	}
	return encoded;
}

} // namespace holdfast
