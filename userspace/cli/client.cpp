// SPDX-License-Identifier: GPL-2.0
#include "cli/client.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cctype>
#include <fmt/format.h>
#include <sys/un.h>

namespace holdfast
{

Reply call(const std::string &socket, const std::string &method, const std::string &target, const std::string &body)
{
	namespace http = boost::beast::http;
	using Protocol = boost::asio::local::stream_protocol;
	boost::asio::io_context loop;
	Protocol::socket stream(loop);
	boost::system::error_code error;
	Reply reply;

	if (socket.size() >= sizeof(sockaddr_un::sun_path)) {
		reply.problem = socket + ": too long for a socket's path";
		return reply;
	}
	stream.connect(Protocol::endpoint(socket), error);
	if (error) {
		reply.problem = fmt::format("{}: {}", socket, error.message());
		return reply;
	}
	http::request<http::string_body> request(http::string_to_verb(method), target, 11);
	request.set(http::field::host, "holdfast");
	request.keep_alive(false);
	request.body() = body;
	request.prepare_payload();
	boost::beast::flat_buffer buffer;
	http::response_parser<http::string_body> parser;
	parser.body_limit(uint64_t{1} << 32U);
	http::write(stream, request, error);
	if (!error)
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
