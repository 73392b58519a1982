// SPDX-License-Identifier: GPL-2.0
#include "health/probe.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <fmt/format.h>
#include <openssl/err.h>

namespace holdfast
{

namespace
{

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Clock = std::chrono::steady_clock;

// Of a datagram; the rest is not looked at.
constexpr size_t answer_size = 4096;

struct Unexpected {
	std::string problem;
};

asio::ip::tcp::endpoint stream_endpoint(const Endpoint &member)
{
	return {asio::ip::make_address(member.address.text()), member.port};
}

// Of a Host header: "shop.example:8443", "[2001:db8::1]:8443".
std::string without_port(const std::string &host)
{
	if (host.starts_with('['))
		return host.substr(1, std::min(host.find(']'), host.size()) - 1);
	return host.substr(0, host.find(':'));
}

std::chrono::microseconds since(Clock::time_point began)
{
	return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - began);
}

// What is closed is forgotten at once: no socket in TIME_WAIT for each probe.
void close_hard(beast::tcp_stream &stream)
{
	boost::system::error_code ignored;

	stream.socket().set_option(asio::socket_base::linger(true, 0), ignored);
	stream.socket().close(ignored);
}

// What this host has run out of says nothing about the member.
bool is_local(const boost::system::error_code &error)
{
	using boost::system::errc::errc_t;
	const auto condition = error.default_error_condition();

	return condition == errc_t::too_many_files_open || condition == errc_t::too_many_files_open_in_system ||
	       condition == errc_t::no_buffer_space || condition == errc_t::not_enough_memory ||
	       condition == errc_t::address_not_available || condition == errc_t::operation_not_permitted ||
	       condition == errc_t::resource_unavailable_try_again || condition == errc_t::address_family_not_supported;
}

ProbeResult failed(const boost::system::system_error &error, const char *doing, uint32_t timeout)
{
	if (error.code() == beast::error::timeout)
		return {false, fmt::format("{}: no answer within {} s", doing, timeout), {}};
	return {false, fmt::format("{}: {}", doing, error.code().message()), {}, is_local(error.code())};
}

} // namespace

Prober::Prober(const HealthCheck &check, Pinger &pinger) : check_(check), pinger_(pinger) {}

Result<Prober::Tls> Prober::make_tls(const HealthCheck &check)
{
	boost::system::error_code error;

	if (check.type != CheckType::https)
		return Tls();
	auto tls = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_client);
	tls->set_verify_mode(check.verify ? asio::ssl::verify_peer : asio::ssl::verify_none);
	if (check.verify && check.ca_file.empty())
		tls->set_default_verify_paths(error);
	else if (check.verify)
		tls->load_verify_file(check.ca_file, error);
	if (error)
		return Error(
			fmt::format("health check {}: ca_file: '{}': {}", check.name, check.ca_file, error.message()));
	return tls;
}

Result<std::shared_ptr<Prober>> Prober::make(const HealthCheck &check, Pinger &pinger)
{
	std::shared_ptr<Prober> prober(new Prober(check, pinger));
	auto tls = make_tls(check);

	if (!tls)
		return tls.error();
	prober->tls_ = std::move(*tls);
	return prober;
}

asio::awaitable<ProbeResult> Prober::probe(Endpoint member) const
{
	if (check_.port)
		member.port = check_.port;
	switch (check_.type) {
	case CheckType::tcp:
	case CheckType::http:
		co_return co_await probe_stream(member);
	case CheckType::https:
		co_return co_await probe_tls(member);
	case CheckType::udp:
		co_return co_await probe_datagram(member);
	case CheckType::icmp:
		break;
	}
	const auto answer = co_await pinger_.ping(member.address, std::chrono::seconds(check_.timeout));
	if (answer.latency)
		co_return ProbeResult{true, "", answer.latency};
	if (answer.error)
		co_return ProbeResult{
			false, fmt::format("pinging: {}", answer.error.message()), {}, is_local(answer.error)};
	co_return ProbeResult{false, fmt::format("no answer within {} s", check_.timeout), {}};
}

// One request; what its answer's status says.
template <typename Stream>
asio::awaitable<void> Prober::exchange(Stream &stream, const Endpoint &member, const char *&doing) const
{
	http::request<http::empty_body> request(http::string_to_verb(check_.method), check_.path, 11);
	std::optional<http::response_parser<http::empty_body>> answer;
	const std::string literal = member.address.text();
	beast::flat_buffer buffer;

	request.set(http::field::host, !check_.host.empty()       ? check_.host
				       : member.address.is_ipv4() ? literal
								  : "[" + literal + "]");
	request.set(http::field::user_agent, "holdfast/" HOLDFAST_VERSION);
	request.set(http::field::accept, "*/*");
	request.set(http::field::connection, "close");
	doing = "sending the request";
	co_await http::async_write(stream, request, asio::use_awaitable);
	doing = "reading the answer";
	do {
		answer.emplace();
		answer->skip(true);
		co_await http::async_read_header(stream, buffer, *answer, asio::use_awaitable);
	} while (answer->get().result_int() / 100 == 1);
	if (!expects(check_.expect_status, answer->get().result_int()))
		throw Unexpected{fmt::format("status {}; {} is expected", answer->get().result_int(),
					     text(check_.expect_status))};
}

asio::awaitable<ProbeResult> Prober::probe_stream(Endpoint member) const
{
	beast::tcp_stream stream(co_await asio::this_coro::executor);
	const char *doing = "connecting";
	const auto began = Clock::now();
	ProbeResult result;

	try {
		stream.expires_after(std::chrono::seconds(check_.timeout));
		co_await stream.async_connect(stream_endpoint(member), asio::use_awaitable);
		if (check_.type == CheckType::http)
			co_await exchange(stream, member, doing);
		result = {true, "", since(began)};
	} catch (const boost::system::system_error &error) {
		result = failed(error, doing, check_.timeout);
	} catch (const Unexpected &answer) {
		result = {false, answer.problem, since(began)};
	}
	close_hard(stream);
	co_return result;
}

asio::awaitable<ProbeResult> Prober::probe_tls(Endpoint member) const
{
	beast::ssl_stream<beast::tcp_stream> stream(co_await asio::this_coro::executor, *tls_);
	beast::tcp_stream &transport = beast::get_lowest_layer(stream);
	const std::string name = !check_.sni.empty() ? check_.sni : without_port(check_.host);
	const char *doing = "connecting";
	const auto began = Clock::now();
	ProbeResult result;

	// RFC 6066, 3: a name, never an address.
	if (!name.empty() && !Address::parse(name))
		SSL_set_tlsext_host_name(stream.native_handle(), name.c_str());
	if (check_.verify)
		stream.set_verify_callback(
			asio::ssl::host_name_verification(name.empty() ? member.address.text() : name));
	try {
		transport.expires_after(std::chrono::seconds(check_.timeout));
		co_await transport.async_connect(stream_endpoint(member), asio::use_awaitable);
		doing = "TLS handshake";
		co_await stream.async_handshake(asio::ssl::stream_base::client, asio::use_awaitable);
		co_await exchange(stream, member, doing);
		result = {true, "", since(began)};
	} catch (const boost::system::system_error &error) {
		const long verified = SSL_get_verify_result(stream.native_handle());

		result = failed(error, doing, check_.timeout);
		if (check_.verify && verified != X509_V_OK)
			result.problem = fmt::format("certificate: {}", X509_verify_cert_error_string(verified));
	} catch (const Unexpected &answer) {
		result = {false, answer.problem, since(began)};
	}
	close_hard(transport);
	co_return result;
}

// A port that nobody has is told by ICMP, which a connected socket hears of.
asio::awaitable<ProbeResult> Prober::probe_datagram(Endpoint member) const
{
	using namespace asio::experimental::awaitable_operators;
	const auto executor = co_await asio::this_coro::executor;
	const asio::ip::udp::endpoint endpoint(asio::ip::make_address(member.address.text()), member.port);
	asio::ip::udp::socket socket(executor);
	asio::steady_timer timer(executor, std::chrono::seconds(check_.timeout));
	const auto began = Clock::now();
	std::string answer(answer_size, '\0');

	try {
		socket.open(endpoint.protocol());
		socket.connect(endpoint);
		socket.send(asio::buffer(check_.send));
		// An error ends it, too: the first that ends well is what is waited for.
		const auto done =
			co_await (socket.async_receive(asio::buffer(answer), asio::as_tuple(asio::use_awaitable)) ||
				  timer.async_wait(asio::use_awaitable));

		if (done.index() == 0) {
			const auto &[error, size] = std::get<0>(done);

			if (error)
				throw boost::system::system_error(error);
			answer.resize(size);
			if (answer.find(check_.expect) != std::string::npos)
				co_return ProbeResult{true, "", since(began)};
			co_return ProbeResult{false, "the answer has not the expected bytes", since(began)};
		}
	} catch (const boost::system::system_error &error) {
		if (error.code() == asio::error::connection_refused)
			co_return ProbeResult{false, "nobody has this port (ICMP)", {}};
		co_return failed(error, "sending", check_.timeout);
	}
	if (check_.expect.empty())
		co_return ProbeResult{true, "", {}};
	co_return ProbeResult{false, fmt::format("no answer within {} s", check_.timeout), {}};
}

} // namespace holdfast
