// SPDX-License-Identifier: GPL-2.0
// Any bytes at the control socket of a whole daemon, whose maps are its own and whose
// host is a network namespace: an answer or an end, never a crash, and the daemon goes on.
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/write.hpp>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "control/server.h"
#include "support/testbed.h"
#include "util/file.h"

namespace
{

namespace asio = boost::asio;
using asio::local::stream_protocol;
using namespace holdfast;

const std::string initial = R"(version: 1
metrics: {listen: "off"}
health_checks:
  - {name: port, type: tcp}
pools:
  - {name: web, health_checks: [port], members: [{name: rs1, address: 10.0.2.11, port: 80}, {name: rs2, address: 10.0.2.12, port: 80}]}
persistence:
  - {name: rule, type: source-address}
virtual_servers:
  - {name: shop, address: 192.0.2.10, port: 80, protocol: tcp, forwarding: dnat, pool: web, persistence: rule}
)";

void need(bool condition)
{
	if (!condition)
		std::abort();
}

struct Installation {
	Installation()
	{
		test::enter_private_namespace();
		directory =
			std::filesystem::temp_directory_path() / ("holdfast-api-fuzz-" + std::to_string(::getpid()));
		need(static_cast<bool>(make_directory(directory)));
		need(static_cast<bool>(write_file(directory + "/holdfast.yaml", initial)));
		auto state = StateDirectory::open(directory + "/state");
		auto maps = Maps::open("", {.sessions = 1024,
					    .connections = 1024,
					    .virtual_servers = 64,
					    .members = 64,
					    .selection = 262144,
					    .splices = 1024});
		need(state && maps);
		controller = std::make_unique<Controller>(
			Controller::Options{directory + "/holdfast.yaml", "/sys/fs/bpf/holdfast-api-fuzz"},
			std::move(*state), std::move(*maps));
		need(static_cast<bool>(controller->start()));
		checker = std::make_unique<HealthChecker>([] {});
		sweeper = std::make_unique<Sweeper>(controller->maps());
		api = std::make_unique<Api>(*controller, *sweeper, *checker, log);
		auto listening = ControlServer::listen(loop, loop, directory + "/socket", *api);
		need(static_cast<bool>(listening));
		server = std::move(*listening);
	}
	~Installation()
	{
		std::error_code ignored;

		server.reset();
		std::filesystem::remove_all(directory, ignored);
		std::filesystem::remove_all("/sys/fs/bpf/holdfast-api-fuzz", ignored);
	}

	std::string directory;
	EventLog log;
	asio::io_context loop;
	std::unique_ptr<Controller> controller;
	std::unique_ptr<HealthChecker> checker;
	std::unique_ptr<Sweeper> sweeper;
	std::unique_ptr<Api> api;
	std::unique_ptr<ControlServer> server;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static Installation installation;
	stream_protocol::socket client(installation.loop);
	boost::system::error_code error;
	bool ended = false;
	char answer[65536];

	client.connect(stream_protocol::endpoint(installation.directory + "/socket"), error);
	need(!error);
	asio::write(client, asio::buffer(data, std::min<size_t>(size, 60000)), error);
	client.shutdown(stream_protocol::socket::shutdown_send, error);
	std::function<void()> read = [&] {
		client.async_read_some(asio::buffer(answer), [&](boost::system::error_code failed, size_t) {
			if (failed)
				ended = true;
			else
				read();
		});
	};
	read();
	for (int i = 0; i < 10000 && !ended; i++)
		installation.loop.run_one_for(std::chrono::milliseconds(100));
	need(ended);
	return 0;
}
