// SPDX-License-Identifier: GPL-2.0
#include "control/server.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <grp.h>
#include <netinet/in.h>
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

using Protocol = asio::generic::stream_protocol;
using Local = asio::local::stream_protocol;
using Stream = beast::basic_stream<Protocol>;

constexpr int most_clients = 64;
constexpr uint32_t most_header = 131072; // a message to be explained is in the target, twice as long
constexpr uint64_t most_config = 64U << 20U;
constexpr uint64_t most_body = 64U << 10U;
constexpr auto patience = std::chrono::seconds(30);
constexpr auto rest = std::chrono::milliseconds(500);

// Did the connection stay on this host?
bool is_local(const Stream &stream)
{
	boost::system::error_code error;
	const auto end = stream.socket().local_endpoint(error);
	sockaddr_storage address{};

	if (error || end.size() > sizeof(address))
		return false;
	std::memcpy(&address, end.data(), end.size());
	if (address.ss_family == AF_INET)
		return ntohl(reinterpret_cast<const sockaddr_in &>(address).sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return address.ss_family == AF_INET6 &&
	       IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6 &>(address).sin6_addr);
}

ApiRequest to_api(const http::request<http::string_body> &request, bool local)
{
	const std::string target = request.target();
	const size_t question = std::min(target.find('?'), target.size());
	ApiRequest api;

	api.method = std::string(request.method_string());
	api.path = percent_decode(target.substr(0, question));
	if (question < target.size())
		api.query = parse_query(target.substr(question + 1));
	api.body = request.body();
	api.host = request[http::field::host];
	api.local = local;
	// Browsers say where a page that asks is from (W3C, Fetch Metadata). A link that is followed is no page that asks.
	const std::string site = request["Sec-Fetch-Site"];
	api.foreign = (site == "cross-site" || site == "same-site") && request["Sec-Fetch-Mode"] != "navigate";
	return api;
}

// Lines as they come, until the client goes.
asio::awaitable<void> stream_events(Stream &stream, ApiAnswer answer, unsigned version)
{
	using namespace asio::experimental::awaitable_operators;
	http::response<http::empty_body> head(http::status::ok, version);
	http::response_serializer<http::empty_body> serializer(head);
	asio::steady_timer waiting(stream.get_executor());
	std::string lines = std::move(answer.response.body);

	head.set(http::field::content_type, answer.response.type);
	head.keep_alive(false);
	stream.expires_after(patience);
	co_await http::async_write_header(stream, serializer, asio::use_awaitable);
	answer.follower->wake = [&waiting] { waiting.cancel(); };
	for (;;) {
		lines += answer.follower->take();
		if (!lines.empty()) {
			stream.expires_after(patience);
			co_await asio::async_write(stream, asio::buffer(lines), asio::use_awaitable);
			lines.clear();
			continue;
		}
		stream.expires_never();
		waiting.expires_at(asio::steady_timer::time_point::max());
		// Whatever a client sends now, or its end, is the end.
		const auto which = co_await (
			waiting.async_wait(asio::as_tuple(asio::use_awaitable)) ||
			stream.socket().async_wait(Protocol::socket::wait_read, asio::as_tuple(asio::use_awaitable)));
		if (which.index() == 1)
			break;
	}
	answer.follower->wake = {};
}

// One client, request after request. Errors of the stream end it.
asio::awaitable<void> serve(Stream stream, Api &api, asio::io_context &walkers, std::shared_ptr<int> clients,
			    bool read_only)
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

			parser.header_limit(most_header);
			stream.expires_after(patience);
			parser.body_limit(most_config); // is looked at with the header
			co_await http::async_read_header(stream, buffer, parser, asio::use_awaitable);
			// One without a length may become a long one.
			if ((read_only || parser.get().method() != http::verb::put) &&
			    (parser.chunked() || parser.content_length().value_or(0) > most_body))
				throw boost::system::system_error(http::make_error_code(http::error::body_limit));
			co_await http::async_read(stream, buffer, parser, asio::use_awaitable);
			const http::request<http::string_body> request = parser.release();
			ApiAnswer answer = api.handle(to_api(request, is_local(stream)), read_only);

			if (answer.work) {
				// Onto the walker's thread, and back onto the loop's.
				answer.response = co_await asio::co_spawn(
					walkers, [&]() -> asio::awaitable<ApiResponse> { co_return answer.work(); },
					asio::use_awaitable);
			}
			if (answer.follower) {
				co_await stream_events(stream, std::move(answer), request.version());
				break;
			}
			http::response<http::string_body> response(http::int_to_status(answer.response.status),
								   request.version());
			response.set(http::field::content_type, answer.response.type);
			response.set(http::field::cache_control, "no-store");
			// The status page's files, and nobody else's.
			response.set("Content-Security-Policy",
				     "default-src 'self'; base-uri 'none'; form-action 'none'; "
				     "frame-ancestors 'none'");
			response.set("X-Content-Type-Options", "nosniff");
			response.set("Referrer-Policy", "no-referrer");
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
			log_at_will(LogLevel::warning, "control API: " + code.message());
	} catch (const std::exception &error) {
		log_at_will(LogLevel::error, fmt::format("control API: {}", error.what()));
	}
	boost::system::error_code ignored;
	stream.socket().shutdown(Protocol::socket::shutdown_both, ignored);
}

} // namespace

Result<void> check_socket(const std::string &path)
{
	boost::system::error_code error;
	asio::io_context loop;
	Local::socket probe(loop);
	struct stat info{};

	if (path.size() >= sizeof(sockaddr_un::sun_path))
		return Error(fmt::format("{}: a socket's path has at most {} characters", path,
					 sizeof(sockaddr_un::sun_path) - 1));
	if (::lstat(path.c_str(), &info))
		return {};
	if (!S_ISSOCK(info.st_mode))
		return Error(path + ": is there, and is not a socket");
	probe.connect(Local::endpoint(path), error);
	if (!error)
		return Error(path + ": another daemon answers there");
	return {};
}

Result<std::unique_ptr<ControlServer>> ControlServer::listen(asio::io_context &loop, asio::io_context &walkers,
							     const std::string &path, Api &api)
{
	if (auto checked = check_socket(path); !checked)
		return checked.error();
	std::unique_ptr<ControlServer> server(new ControlServer(loop, walkers, path, api, false));
	boost::system::error_code error;
	std::error_code ignored;

	const std::string directory = std::filesystem::path(path).parent_path();
	if (!directory.empty()) {
		if (auto made = make_directory(directory, 0755); !made)
			return made.error();
	}
	// Nobody answers there: whoever left this socket is gone.
	std::filesystem::remove(path, ignored);
	Acceptor &acceptor = server->acceptor_;
	acceptor.open(Protocol(Local()), error);
	const mode_t before = ::umask(0117);
	if (!error)
		acceptor.bind(Local::endpoint(path), error);
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

Result<std::unique_ptr<ControlServer>> ControlServer::listen(asio::io_context &loop, asio::io_context &walkers,
							     const Endpoint &endpoint, Api &api)
{
	std::unique_ptr<ControlServer> server(new ControlServer(loop, walkers, "", api, true));
	const asio::ip::tcp::endpoint address(asio::ip::make_address(endpoint.address.text()), endpoint.port);
	boost::system::error_code error;

	server->acceptor_.open(Protocol(address.protocol()), error);
	if (!error)
		server->acceptor_.set_option(asio::socket_base::reuse_address(true), error);
	if (!error)
		server->acceptor_.bind(address, error);
	if (!error)
		server->acceptor_.listen(asio::socket_base::max_listen_connections, error);
	if (error)
		return Error(error.message());
	server->accept();
	return server;
}

ControlServer::ControlServer(asio::io_context &loop, asio::io_context &walkers, std::string path, Api &api,
			     bool read_only)
	: acceptor_(loop), resting_(loop), walkers_(walkers), path_(std::move(path)), api_(api), read_only_(read_only)
{
}

ControlServer::~ControlServer()
{
	std::error_code ignored;

	if (acceptor_.is_open() && !path_.empty())
		std::filesystem::remove(path_, ignored);
}

// What completes when the server has gone finds that it has.
void ControlServer::accept()
{
	acceptor_.async_accept(
		[this, alive = std::weak_ptr(alive_)](boost::system::error_code error, Protocol::socket socket) {
			if (alive.expired() || error == asio::error::operation_aborted)
				return;
			if (error) {
				// No file handles, most likely: what there are too many of has to go first.
				log_at_will(LogLevel::warning, "control API: " + error.message());
				resting_.expires_after(rest);
				resting_.async_wait([this, alive](boost::system::error_code) {
					if (!alive.expired())
						accept();
				});
				return;
			}
			if (*clients_ < most_clients) {
				++*clients_;
				asio::co_spawn(acceptor_.get_executor(),
					       serve(Stream(std::move(socket)), api_, walkers_, clients_, read_only_),
					       asio::detached);
			}
			accept();
		});
}

} // namespace holdfast
