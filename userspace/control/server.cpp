// SPDX-License-Identifier: GPL-2.0
#include "control/server.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <filesystem>
#include <fmt/format.h>
#include <grp.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "util/file.h"
#include "util/log.h"

namespace holdfast
{

namespace
{

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

using Protocol = asio::local::stream_protocol;
using Stream = beast::basic_stream<Protocol>;

constexpr int most_clients = 64;
constexpr uint64_t most_config = 64U << 20U;
constexpr uint64_t most_body = 64U << 10U;
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

			parser.header_limit(131072); // a message to be explained is in the target, twice as long
			stream.expires_after(patience);
			parser.body_limit(most_config); // is looked at with the header
			co_await http::async_read_header(stream, buffer, parser, asio::use_awaitable);
			// One without a length may become a long one.
			if (parser.get().method() != http::verb::put &&
			    (parser.chunked() || parser.content_length().value_or(0) > most_body))
				throw boost::system::system_error(http::make_error_code(http::error::body_limit));
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
	} catch (const std::exception &error) {
		log_error("control API: {}", error.what());
	}
	boost::system::error_code ignored;
	stream.socket().shutdown(Protocol::socket::shutdown_both, ignored);
}

} // namespace

Result<void> check_socket(const std::string &path)
{
	boost::system::error_code error;
	asio::io_context loop;
	Protocol::socket probe(loop);
	struct stat info{};

	if (path.size() >= sizeof(sockaddr_un::sun_path))
		return Error(fmt::format("{}: a socket's path has at most {} characters", path,
					 sizeof(sockaddr_un::sun_path) - 1));
	if (::lstat(path.c_str(), &info))
		return {};
	if (!S_ISSOCK(info.st_mode))
		return Error(path + ": is there, and is not a socket");
	probe.connect(Protocol::endpoint(path), error);
	if (!error)
		return Error(path + ": another daemon answers there");
	return {};
}

Result<std::unique_ptr<ControlServer>> ControlServer::listen(asio::io_context &loop, asio::thread_pool &walkers,
							     const std::string &path, Api &api)
{
	if (auto checked = check_socket(path); !checked)
		return checked.error();
	std::unique_ptr<ControlServer> server(new ControlServer(loop, walkers, path, api));
	boost::system::error_code error;
	std::error_code ignored;

	const std::string directory = std::filesystem::path(path).parent_path();
	if (!directory.empty()) {
		if (auto made = make_directory(directory, 0755); !made)
			return made.error();
	}
	// Nobody answers there: whoever left this socket is gone.
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

ControlServer::ControlServer(asio::io_context &loop, asio::thread_pool &walkers, std::string path, Api &api)
	: acceptor_(loop), walkers_(walkers), path_(std::move(path)), api_(api)
{
}

ControlServer::~ControlServer()
{
	std::error_code ignored;

	walkers_.stop();
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
