// SPDX-License-Identifier: GPL-2.0
#include "control/server.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <filesystem>
#include <grp.h>
#include <sys/stat.h>

#include "util/file.h"
#include "util/log.h"

namespace holdfast {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

using Protocol = asio::local::stream_protocol;
using Stream = beast::basic_stream<Protocol>;

constexpr int most_clients = 64;
constexpr uint64_t most_body = 64U << 20U;
constexpr auto patience = std::chrono::seconds(30);

ApiRequest to_api(const http::request<http::string_body> &request)
{
	const std::string target = request.target();
	const size_t question = std::min(target.find('?'), target.size());
	ApiRequest api;

	api.method = std::string(request.method_string());
	api.path = percent_decode(target.substr(0, question));
	if (question < target.size())
		api.query = parse_query(target.substr(question + 1));
	api.body = request.body();
	return api;
}

// One client, request after request. Errors of the stream end it.
asio::awaitable<void> serve(Stream stream, Api &api, asio::thread_pool &walkers, std::shared_ptr<int> clients)
{
	struct Leave {
		std::shared_ptr<int> clients;
		~Leave() { --*clients; }
	};
	const Leave leave{clients};
	beast::flat_buffer buffer;

	try {
		for (;;) {
			http::request_parser<http::string_body> parser;

			parser.body_limit(most_body);
			parser.header_limit(16384);
			stream.expires_after(patience);
			co_await http::async_read(stream, buffer, parser, asio::use_awaitable);
			const http::request<http::string_body> request = parser.release();
			ApiAnswer answer = api.handle(to_api(request));

			if (answer.work) {
				// Onto the walker's thread, and back onto the loop's.
				answer.response = co_await asio::co_spawn(
					walkers, [&]() -> asio::awaitable<ApiResponse> { co_return answer.work(); },
					asio::use_awaitable);
			}
			http::response<http::string_body> response(http::int_to_status(answer.response.status),
								   request.version());
			response.set(http::field::content_type, "application/json");
			response.body() = std::move(answer.response.body);
			response.keep_alive(request.keep_alive());
			response.prepare_payload();
			stream.expires_after(patience);
			co_await http::async_write(stream, response, asio::use_awaitable);
			if (!request.keep_alive())
				break;
		}
	} catch (const boost::system::system_error &error) {
		const auto code = error.code();

		// A client that leaves, or is too slow, is not worth a line.
		if (code != http::error::end_of_stream && code != asio::error::eof && code != beast::error::timeout &&
		    code != asio::error::connection_reset && code != asio::error::broken_pipe)
			log_warning("control API: {}", code.message());
	}
	boost::system::error_code ignored;
	stream.socket().shutdown(Protocol::socket::shutdown_both, ignored);
}

} // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::listen(boost::asio::io_context &loop, const std::string &path, Api &api)
{
	std::unique_ptr<ControlServer> server(new ControlServer(loop, path, api));
	boost::system::error_code error;
	std::error_code ignored;

	const std::string directory = std::filesystem::path(path).parent_path();
	if (!directory.empty()) {
		if (auto made = make_directory(directory, 0755); !made)
			return made.error();
	}
	// The state directory and the pins are locked: whoever left this socket is gone.
	std::filesystem::remove(path, ignored);
	Protocol::acceptor &acceptor = server->acceptor_;
	acceptor.open(Protocol(), error);
	const mode_t before = ::umask(0117);
	if (!error)
		acceptor.bind(Protocol::endpoint(path), error);
	::umask(before);
	if (!error)
		acceptor.listen(asio::socket_base::max_listen_connections, error);
	if (error)
		return Error(path + ": " + error.message());
	if (const group *owners = ::getgrnam("holdfast")) {
		if (::chown(path.c_str(), 0, owners->gr_gid))
			log_warning("{}: cannot be given to group holdfast", path);
	}
	server->accept();
	return server;
}

ControlServer::ControlServer(boost::asio::io_context &loop, std::string path, Api &api)
	: acceptor_(loop), path_(std::move(path)), api_(api)
{
}

ControlServer::~ControlServer()
{
	std::error_code ignored;

	walkers_.join();
	if (acceptor_.is_open())
		std::filesystem::remove(path_, ignored);
}

void ControlServer::accept()
{
	acceptor_.async_accept([this](boost::system::error_code error, Protocol::socket socket) {
		if (error == asio::error::operation_aborted)
			return;
		if (!error && *clients_ < most_clients) {
			++*clients_;
			asio::co_spawn(acceptor_.get_executor(),
				       serve(Stream(std::move(socket)), api_, walkers_, clients_), asio::detached);
		}
		accept();
	});
}

} // namespace holdfast
