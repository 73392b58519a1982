// SPDX-License-Identifier: GPL-2.0
#include "daemon/service.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <systemd/sd-daemon.h>
#include <thread>
#include <unistd.h>

#include "control/advice.h"
#include "control/entries.h"
#include "control/server.h"
#include "control/session_snapshot.h"
#include "daemon/host_check.h"
#include "daemon/privileges.h"
#include "datapath/events.h"
#include "util/file.h"
#include "util/log.h"

namespace holdfast
{

namespace
{

namespace asio = boost::asio;

constexpr auto sample_interval = std::chrono::seconds(1);
// Without an event: what an event that was lost would have said.
constexpr int refresh_every_samples = 5;
// Events come in bursts: one look at the kernel's tables serves all of them.
// Where looking takes long, it is done less often: at most 5 % of one CPU.
constexpr auto settle_time = std::chrono::milliseconds(10);
constexpr int settle_share = 20;

class EventLoop
{
public:
	EventLoop(asio::io_context &loop, Controller &controller)
		: controller_(controller), signals_(loop, SIGTERM, SIGINT, SIGHUP), sampling_(loop), settling_(loop),
		  kernel_(loop, ::dup(controller.mirror().events())), loop_(loop)
	{
		wait_for_signal();
		wait_for_sample();
		wait_for_kernel();
	}

private:
	void wait_for_signal()
	{
		signals_.async_wait([this](boost::system::error_code error, int number) {
			if (error)
				return;
			if (number != SIGHUP) {
				log_info("stopping; the kernel goes on forwarding (`holdfast detach` ends that)");
				::sd_notify(0, "STOPPING=1");
				loop_.stop();
				return;
			}
			ApplyResult result = controller_.reload();
			if (auto *errors = std::get_if<ConfigErrors>(&result)) {
				for (const ConfigError &one : *errors)
					log_error("{}", one.text(controller_.config_path()));
				log_error("nothing was changed");
			}
			wait_for_signal();
		});
	}

	void wait_for_sample()
	{
		sampling_.expires_after(sample_interval);
		sampling_.async_wait([this](boost::system::error_code error) {
			if (error)
				return;
			controller_.sample();
			if (++samples_ % refresh_every_samples == 0)
				controller_.refresh_next_hops();
			wait_for_sample();
		});
	}

	void wait_for_kernel()
	{
		kernel_.async_wait(asio::posix::stream_descriptor::wait_read, [this](boost::system::error_code error) {
			if (error)
				return;
			settling_.expires_after(
				std::max<std::chrono::steady_clock::duration>(settle_time, refreshing_ * settle_share));
			settling_.async_wait([this](boost::system::error_code stopped) {
				const auto began = std::chrono::steady_clock::now();

				if (stopped)
					return;
				controller_.refresh_next_hops();
				refreshing_ = std::chrono::steady_clock::now() - began;
				wait_for_kernel();
			});
		});
	}

	Controller &controller_;
	asio::signal_set signals_;
	asio::steady_timer sampling_;
	asio::steady_timer settling_;
	asio::posix::stream_descriptor kernel_;
	asio::io_context &loop_;
	int samples_ = 0;
	std::chrono::steady_clock::duration refreshing_{};
};

// What the data path tells, for as long as somebody follows the events.
class SessionEvents
{
public:
	SessionEvents(asio::io_context &loop, EventLog &log, Maps &maps, std::unique_ptr<EventRing> ring)
		: log_(log), maps_(maps), ring_(std::move(ring)), readable_(loop, ::dup(ring_->fd()))
	{
		log_.when_followed([this](bool anybody) {
			ring_->want(anybody);
			lost_ = maps_.reasons.sum(HF_REASON_event_lost);
		});
		wait();
	}
	~SessionEvents() { log_.when_followed({}); }
	SessionEvents(const SessionEvents &) = delete;
	SessionEvents &operator=(const SessionEvents &) = delete;

private:
	void wait()
	{
		readable_.async_wait(
			asio::posix::stream_descriptor::wait_read, [this](boost::system::error_code error) {
				if (error)
					return;
				// What is left is seen with the next turn: others have theirs between.
				ring_->drain();
				if (const uint64_t lost = maps_.reasons.sum(HF_REASON_event_lost); lost > lost_)
					log_.tell({{"event", "missed"}, {"count", lost - std::exchange(lost_, lost)}});
				wait();
			});
	}

	EventLog &log_;
	Maps &maps_;
	uint64_t lost_ = 0;
	std::unique_ptr<EventRing> ring_;
	asio::posix::stream_descriptor readable_;
};

// The sessions, in a file: now and then, and at the end.
class SnapshotKeeper
{
public:
	SnapshotKeeper(asio::io_context &loop, asio::io_context &walkers, Controller &controller)
		: controller_(controller), walkers_(walkers), timer_(loop)
	{
		wait();
	}

	void write_last() const
	{
		if (const std::string path = controller_.snapshot_path(); !path.empty())
			write(path, controller_.snapshot());
	}

private:
	// On whatever thread; takes a while.
	static void write(const std::string &path, const Snapshot &snapshot)
	{
		auto bytes = pack_sessions(snapshot);
		auto written = bytes ? write_file(path, *bytes) : bytes.error();

		if (!written)
			log_error("the snapshot of the sessions could not be written: {}", written.error().message());
	}

	void wait()
	{
		timer_.expires_after(std::chrono::seconds(controller_.configured().state.snapshot_interval));
		timer_.async_wait([this](boost::system::error_code error) {
			if (error)
				return;
			if (const std::string path = controller_.snapshot_path(); !path.empty())
				asio::post(walkers_,
					   [path, snapshot = controller_.snapshot()] { write(path, snapshot); });
			wait();
		});
	}

	Controller &controller_;
	asio::io_context &walkers_;
	asio::steady_timer timer_;
};

// The read-only listener, where the configuration has it.
class Listener
{
public:
	Listener(asio::io_context &loop, asio::io_context &walkers, Api &api)
		: loop_(loop), walkers_(walkers), api_(api), waiting_(loop)
	{
	}

	// What cannot be had is tried again.
	void follow(const MetricsSettings &settings)
	{
		waiting_.cancel();
		if (settings.listen == where_)
			return;
		// Nobody is to be answered where nobody is to be any more; and one address is in the way of another.
		server_.reset();
		where_.clear();
		if (settings.listen.empty())
			return;
		auto server = ControlServer::listen(loop_, walkers_,
						    parse_endpoint(settings.listen).value_or(Endpoint()), api_);
		if (server) {
			server_ = std::move(*server);
			where_ = settings.listen;
			return;
		}
		if (settings.given)
			log_line(LogLevel::error,
				 fmt::format("metrics.listen: {}: {}; it is tried again", settings.listen,
					     server.error().message()),
				 {{"address", settings.listen}});
		else
			log_warning("{}: {}; metrics are not served (metrics.listen says where else)", settings.listen,
				    server.error().message());
		if (!settings.given)
			return;
		waiting_.expires_after(std::chrono::seconds(10));
		waiting_.async_wait([this, settings](boost::system::error_code stopped) {
			if (!stopped)
				follow(settings);
		});
	}

private:
	asio::io_context &loop_, &walkers_;
	Api &api_;
	asio::steady_timer waiting_;
	std::string where_;
	std::unique_ptr<ControlServer> server_;
};

// What was said on the command line; else what the file says.
std::string state_directory(const ServiceOptions &options)
{
	auto text = read_file(options.config);

	if (!options.state_directory.empty())
		return options.state_directory;
	if (text) {
		const ConfigResult parsed = parse_config(*text);
		if (const auto *config = std::get_if<Config>(&parsed); config && !config->state.directory.empty())
			return config->state.directory;
	}
	return default_state_directory;
}

} // namespace

Result<void> run_service(const ServiceOptions &options)
{
	EventLog log; // whoever follows it on the loop goes before it
	asio::io_context loop, walkers;

	raise_file_limit();
	if (auto checked = check_socket(options.socket); !checked)
		return checked;
	if (auto checked = check_host(options.pin_directory); !checked)
		return checked;
	const std::string directory = state_directory(options);
	auto state = StateDirectory::open(directory);
	if (!state)
		return state.error();
	std::error_code failed;
	std::filesystem::create_directories(options.pin_directory, failed);
	if (failed)
		return Error(options.pin_directory + ": " + failed.message());
	auto pins = lock_path(options.pin_directory, true);
	if (!pins)
		return pins.error();

	// The sizes of new tables are the configuration's, so it is read first.
	std::string text, source = options.config;
	if (auto applied = state->applied()) {
		text = *applied;
		source = directory + "/applied.yaml";
	} else {
		auto file = read_file(options.config);
		if (!file)
			return file.error();
		text = *file;
	}
	ConfigResult parsed = parse_config(text);
	if (auto *errors = std::get_if<ConfigErrors>(&parsed)) {
		std::string message;

		for (const ConfigError &error : *errors)
			message += "\n" + error.text(source);
		return Error("the configuration is refused:" + message);
	}
	auto maps = Maps::open(options.pin_directory, std::get<Config>(parsed).tables);
	if (!maps)
		return maps.error();
	log_info("{} the maps in {}", (*maps)->adopted() ? "adopted" : "made", options.pin_directory);
	Controller controller({options.config, options.pin_directory}, std::move(*state), std::move(*maps));
	HealthChecker checker([&] { asio::post(loop, [&] { controller.set_health(checker.verdicts()); }); });
	controller.when_applied([&] { checker.configure(controller.overridden(), controller.health()); });
	controller.when_member_turns([&](const std::string &member, bool up) {
		log.add({{"event", up ? "member-up" : "member-down"}, {"member", member}});
	});
	controller.when_changed([&](const ApplyReport &report) {
		log.add({{"event", "applied"}, {"changes", report.changes.size()}});
	});
	if (auto started = controller.start(); !started)
		return started;
	auto ring = EventRing::open(controller.maps(),
				    [&](const hf_event &event) { log.tell(event_json(controller.ids(), event)); });
	if (!ring)
		return ring.error();
	Sweeper sweeper(controller.maps());
	Api api(controller, sweeper, checker, log);
	auto server = ControlServer::listen(loop, walkers, options.socket, api);
	if (!server)
		return server.error();
	Listener listener(loop, walkers, api);
	listener.follow(controller.configured().metrics);
	GapWatch gaps(controller.maps());
	gaps.follow(controller.configured(), controller.ids());
	controller.when_applied([&] {
		checker.configure(controller.overridden(), controller.health());
		listener.follow(controller.configured().metrics);
		gaps.follow(controller.configured(), controller.ids());
	});
	// What comes now needs less, and every thread begins behind it.
	if (auto dropped = drop_privileges(); !dropped)
		return dropped;
	if (::access(directory.c_str(), W_OK))
		return Error::system(directory + ": cannot be written without CAP_DAC_OVERRIDE", errno);
	if (::access(options.config.c_str(), R_OK))
		log_warning("{}: {}: it cannot be read again (SIGHUP)", options.config, std::strerror(errno));
	const auto work = asio::make_work_guard(walkers);
	std::jthread walker([&] { walkers.run(); });
	// Also where something is thrown: nobody waits for a thread that goes on.
	const std::unique_ptr<asio::io_context, void (*)(asio::io_context *)> stop(
		&walkers, [](asio::io_context *context) { context->stop(); });
	sweeper.start();
	checker.start();
	const EventLoop events(loop, controller);
	const SessionEvents session_events(loop, log, controller.maps(), std::move(*ring));
	const SnapshotKeeper snapshots(loop, walkers, controller);
	log.add({{"event", "started"}, {"version", HOLDFAST_VERSION}, {"adopted", controller.maps().adopted()}});
	log_info("ready; control socket {}", options.socket);
	::sd_notify(0, "READY=1");
	loop.run();
	walkers.stop();
	walker.join();
	snapshots.write_last();
	return {};
}

Result<void> detach_service(const ServiceOptions &options)
{
	std::error_code failed;
	Fd lock;

	collect_libbpf_messages(); // "no such filter" is what one hopes to hear

	if (std::filesystem::exists(options.pin_directory, failed)) {
		auto pins = lock_path(options.pin_directory, true);
		if (!pins)
			return pins.error().in("stop the daemon first");
		lock = std::move(*pins);
	}
	auto removed = detach_all(options.pin_directory);
	if (!removed)
		return removed.error();
	if (!removed->empty()) {
		for (auto *release : {release_neighbours, release_addresses}) {
			if (auto released = release(); !released)
				log_warning("{}", released.error().message());
		}
	}
	for (const std::string &line : *removed)
		log_info("removed: {}", line);
	if (removed->empty())
		log_info("{}: nothing is pinned there; nothing was removed", options.pin_directory);
	return {};
}

} // namespace holdfast
