// SPDX-License-Identifier: GPL-2.0
// One question to one member, and what came of it.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "health/ping.h"
#include "model/address.h"
#include "model/health_check.h"
#include "util/result.h"

namespace holdfast
{

struct ProbeResult {
	bool passed = false;
	std::string problem;                              // empty if it passed
	std::optional<std::chrono::microseconds> latency; // of what was answered
	bool local = false; // this host could not ask: it has no file handles, ports or memory
};

// A check, made ready: what all of its probes share.
class Prober
{
public:
	using Tls = std::unique_ptr<boost::asio::ssl::context>;

	// Fails where the authorities of an https check cannot be read.
	static Result<std::shared_ptr<Prober>> make(const HealthCheck &check, Pinger &pinger);
	// Of a check that is none: empty.
	static Result<Tls> make_tls(const HealthCheck &check);

	// Ends within the check's timeout.
	boost::asio::awaitable<ProbeResult> probe(Endpoint member) const;

private:
	Prober(const HealthCheck &check, Pinger &pinger);

	boost::asio::awaitable<ProbeResult> probe_stream(Endpoint member) const;
	boost::asio::awaitable<ProbeResult> probe_tls(Endpoint member) const;
	boost::asio::awaitable<ProbeResult> probe_datagram(Endpoint member) const;
	template <typename Stream>
	boost::asio::awaitable<void> exchange(Stream &stream, const Endpoint &member, const char *&doing) const;

	HealthCheck check_;
	Pinger &pinger_;
	Tls tls_;
};

} // namespace holdfast
