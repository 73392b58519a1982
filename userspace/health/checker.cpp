// SPDX-License-Identifier: GPL-2.0
#include "health/checker.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <random>

#include "health/judge.h"
#include "health/probe.h"
#include "util/log.h"

namespace holdfast
{

namespace
{

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

// Latencies are smoothed by this share of the new one. Who is within `near` of the fastest is as fast; who was stays
// so until it is `far` away.
constexpr double smoothing = 0.25, near = 1.25, far = 1.5;
// Microseconds by which nobody is slower: what a scheduler does.
constexpr double as_fast = 1000;
// What ended so much later than its timeout was held up by this host.
constexpr auto held_up = std::chrono::milliseconds(500);
constexpr auto compare_interval = std::chrono::seconds(1);

} // namespace

class HealthChecker::Loop
{
public:
	explicit Loop(std::function<void()> changed)
		: changed_(std::move(changed)), pinger_(loop_), comparing_(loop_), random_(std::random_device{}())
	{
		compare_later();
	}

	void run() { loop_.run(); }
	void stop() { loop_.stop(); }
	void configure(const Config &config, const Health &health);
	Health verdicts() const;
	std::optional<MemberState> member(const std::string &key) const;

private:
	struct Checked;
	// One member under one check.
	struct Target {
		Target(asio::io_context &loop, const HealthCheck &by, Endpoint at, bool up)
			: check(by), endpoint(at), judge(by.healthy_threshold, by.unhealthy_threshold, up), timer(loop)
		{
			state.name = by.name;
			state.up = up;
		}

		HealthCheck check;
		Endpoint endpoint;
		Checked *member = nullptr;      // none: nobody asks any more
		std::shared_ptr<Prober> prober; // none: it cannot be carried out now
		Judge judge;
		asio::steady_timer timer;
		Clock::time_point next{};
		uint64_t begun = 0, counted = 0; // probes, by number
		CheckState state;
	};
	struct Checked {
		std::string key; // POOL/NAME
		bool any = false;
		bool up = true, fast = false;
		bool competes = true; // for being the fastest
		std::chrono::system_clock::time_point since{};
		std::vector<std::shared_ptr<Target>> targets;
	};
	using Members = std::map<std::string, Checked>; // by name

	void follow(const Config &config, const Health &health);
	void begin(const std::shared_ptr<Target> &target);
	void wait(const std::shared_ptr<Target> &target);
	void ask(const std::shared_ptr<Target> &target);
	void take(Target &target, uint64_t number, const ProbeResult &result);
	void compare_later();
	bool compare(Members &members) const;
	void make_prober(const std::shared_ptr<Target> &target);
	static bool is_up(const Checked &member);

	asio::io_context loop_;
	std::function<void()> changed_;
	Pinger pinger_;
	asio::steady_timer comparing_;
	std::minstd_rand random_;
	mutable std::mutex mutex_; // over what follows, which the loop alone changes
	std::map<std::string, Members> pools_;
	std::set<std::string> compared_; // pools whose fastest members are asked for
};

bool HealthChecker::Loop::is_up(const Checked &member)
{
	const auto up = [](const auto &target) { return target->judge.up(); };

	return member.targets.empty() || (member.any ? std::any_of(member.targets.begin(), member.targets.end(), up)
						     : std::all_of(member.targets.begin(), member.targets.end(), up));
}

// One that cannot be made yet is tried again with each turn.
void HealthChecker::Loop::make_prober(const std::shared_ptr<Target> &target)
{
	auto made = Prober::make(target->check, pinger_);
	const std::string problem = made ? "" : made.error().message();

	if (made)
		target->prober = *made;
	else if (target->state.last_problem != problem)
		log_error("{}; its members stay as they are", problem);
	const std::lock_guard lock(mutex_);
	target->state.last_problem = problem;
}

void HealthChecker::Loop::configure(const Config &config, const Health &health)
{
	asio::post(loop_, [this, config, health] { follow(config, health); });
}

void HealthChecker::Loop::follow(const Config &config, const Health &health)
{
	std::map<std::string, const HealthCheck *> checks;
	std::map<std::string, std::shared_ptr<Prober>> probers;
	std::map<std::string, Members> pools;
	std::vector<std::shared_ptr<Target>> fresh;

	// The files that they name may have changed: all are made anew. That takes a while.
	for (const HealthCheck &check : config.health_checks) {
		auto made = Prober::make(check, pinger_);

		checks.emplace(check.name, &check);
		if (made)
			probers.emplace(check.name, *made);
		else
			log_error("{}; its members stay as they are", made.error().message());
	}
	const std::lock_guard lock(mutex_);
	for (const auto &[name, members] : pools_) {
		for (const auto &[key, member] : members) {
			for (const auto &target : member.targets)
				target->member = nullptr;
		}
	}
	compared_.clear();
	for (const VirtualServer &server : config.virtual_servers) {
		if (server.method == HF_METHOD_FASTEST_RESPONSE)
			compared_.insert(server.pool);
	}
	for (const Pool &pool : config.pools) {
		auto of_pool = health.find(pool.name);

		if (pool.health_checks.empty())
			continue;
		for (const Member &member : pool.members) {
			const Endpoint endpoint{member.address, member.port};
			Checked &before = pools_[pool.name][member.name], &now = pools[pool.name][member.name];
			// Another server is not known to be down.
			const bool moved = !before.targets.empty() && before.targets.front()->endpoint != endpoint;
			const bool up = moved || of_pool == health.end() || !of_pool->second.down.contains(member.name);

			now.key = member_key(pool.name, member.name);
			now.any = pool.any_check;
			now.since = before.since;
			now.fast = before.fast;
			now.competes = member.status == MemberStatus::enabled && !member.backup;
			for (const std::string &name : pool.health_checks) {
				const auto same = std::find_if(before.targets.begin(), before.targets.end(),
							       [&](const auto &target) {
								       return target->check == *checks.at(name) &&
									      target->endpoint == endpoint;
							       });
				std::shared_ptr<Target> target;

				if (same != before.targets.end()) {
					target = *same;
				} else {
					target = std::make_shared<Target>(loop_, *checks.at(name), endpoint, up);
					fresh.push_back(target);
				}
				if (auto prober = probers.find(name); prober != probers.end())
					target->prober = prober->second;
				target->member = &now;
				now.targets.push_back(std::move(target));
			}
			now.up = is_up(now);
		}
	}
	// Whoever is not in it any more: its timer is the end of it.
	for (const auto &[name, members] : pools_) {
		for (const auto &[key, member] : members) {
			for (const auto &target : member.targets) {
				if (!target->member)
					target->timer.cancel();
			}
		}
	}
	pools_ = std::move(pools);
	for (const auto &target : fresh)
		begin(target);
	asio::post(loop_, changed_);
}

// Not all at once.
void HealthChecker::Loop::begin(const std::shared_ptr<Target> &target)
{
	const auto spread = std::chrono::milliseconds(target->check.interval * 1000);

	target->next = Clock::now() + std::chrono::milliseconds(random_() % static_cast<uint32_t>(spread.count()));
	wait(target);
}

void HealthChecker::Loop::wait(const std::shared_ptr<Target> &target)
{
	target->timer.expires_at(target->next);
	target->timer.async_wait([this, target](boost::system::error_code stopped) {
		if (stopped || !target->member)
			return;
		if (!target->prober)
			make_prober(target);
		if (target->prober)
			ask(target);
		// A loop that was held up does not catch up on what it has missed; all keep their distances.
		const auto interval = std::chrono::seconds(target->check.interval);
		do {
			target->next += interval;
		} while (target->next <= Clock::now());
		wait(target);
	});
}

void HealthChecker::Loop::ask(const std::shared_ptr<Target> &target)
{
	const uint64_t number = ++target->begun;
	const auto began = Clock::now();

	asio::co_spawn(
		loop_,
		[](std::shared_ptr<Prober> prober, Endpoint endpoint) -> asio::awaitable<ProbeResult> {
			co_return co_await prober->probe(endpoint);
		}(target->prober, target->endpoint),
		[this, target, number, began](const std::exception_ptr &failed, const ProbeResult &result) {
			ProbeResult taken = result;

			if (failed) {
				try {
					std::rethrow_exception(failed);
				} catch (const std::exception &exception) {
					taken = {false, exception.what(), {}, true};
				}
			}
			taken.local |= Clock::now() - began > std::chrono::seconds(target->check.timeout) + held_up;
			take(*target, number, taken);
		});
}

void HealthChecker::Loop::take(Target &target, uint64_t number, const ProbeResult &result)
{
	CheckState &state = target.state;
	bool changed = false;

	{
		const std::lock_guard lock(mutex_);
		const auto now = Clock::now();

		// A later probe has said more by now; or nobody asks any more.
		if (number <= target.counted || !target.member)
			return;
		target.counted = number;
		if (result.local) {
			// It says nothing about the member.
			if (state.last_problem != result.problem)
				log_line(LogLevel::error,
					 fmt::format("health check {} of {} could not be made: {}", state.name,
						     target.member->key, result.problem),
					 {{"member", target.member->key},
					  {"check", state.name},
					  {"problem", result.problem}});
			state.last_problem = result.problem;
			return;
		}
		target.judge.add(result.passed, now);
		state.known = true;
		state.up = target.judge.up();
		state.damped = !state.up && target.judge.damped(now);
		state.against = target.judge.against();
		state.needed = state.up ? target.check.unhealthy_threshold : target.judge.needed(now);
		(result.passed ? state.passed : state.failed)++;
		if (!result.passed)
			state.last_problem = result.problem;
		if (result.passed && result.latency) {
			const auto before = state.latency.value_or(*result.latency);
			state.latency =
				before + std::chrono::microseconds(static_cast<int64_t>(
						 smoothing * static_cast<double>((*result.latency - before).count())));
		}
		state.history.push_back({std::chrono::system_clock::now(), result.passed, result.latency});
		if (state.history.size() > history_length)
			state.history.pop_front();
		Checked &checked = *target.member;
		if (checked.up != is_up(checked)) {
			checked.up = !checked.up;
			checked.since = state.history.back().at;
			changed = true;
			if (checked.up)
				log_line(LogLevel::info,
					 fmt::format("member {} is up (check {})", target.member->key, state.name),
					 {{"member", target.member->key}, {"check", state.name}});
			else
				log_line(LogLevel::warning,
					 fmt::format("member {} is down: check {}: {}", target.member->key, state.name,
						     state.last_problem),
					 {{"member", target.member->key},
					  {"check", state.name},
					  {"problem", state.last_problem}});
		}
	}
	if (changed)
		changed_();
}

void HealthChecker::Loop::compare_later()
{
	comparing_.expires_after(compare_interval);
	comparing_.async_wait([this](boost::system::error_code stopped) {
		bool changed = false;

		if (stopped)
			return;
		{
			const std::lock_guard lock(mutex_);

			for (const std::string &name : compared_) {
				auto pool = pools_.find(name);
				changed |= pool != pools_.end() && compare(pool->second);
			}
		}
		if (changed)
			changed_();
		compare_later();
	});
}

// Who of the pool is fast? Of several checks the slowest counts.
bool HealthChecker::Loop::compare(Members &members) const
{
	std::map<std::string, double> latencies;
	bool changed = false;

	for (const auto &[name, member] : members) {
		for (const auto &target : member.targets) {
			if (member.up && member.competes && target->state.latency)
				latencies[name] =
					std::max(latencies[name], static_cast<double>(target->state.latency->count()));
		}
	}
	const auto fastest = std::min_element(latencies.begin(), latencies.end(),
					      [](const auto &a, const auto &b) { return a.second < b.second; });
	for (auto &[name, member] : members) {
		auto latency = latencies.find(name);
		const bool fast = latency != latencies.end() &&
				  latency->second <= std::max(fastest->second * (member.fast ? far : near),
							      fastest->second + as_fast);

		changed |= fast != member.fast;
		member.fast = fast;
	}
	return changed;
}

Health HealthChecker::Loop::verdicts() const
{
	const std::lock_guard lock(mutex_);
	Health health;

	for (const auto &[pool, members] : pools_) {
		for (const auto &[name, member] : members) {
			if (!member.up)
				health[pool].down.insert(name);
			if (member.fast)
				health[pool].fast.insert(name);
		}
	}
	return health;
}

std::optional<MemberState> HealthChecker::Loop::member(const std::string &key) const
{
	const size_t slash = key.find('/');
	const std::lock_guard lock(mutex_);
	auto pool = pools_.find(key.substr(0, slash));

	if (pool == pools_.end())
		return std::nullopt;
	auto member = pool->second.find(key.substr(slash + 1));
	if (member == pool->second.end())
		return std::nullopt;
	MemberState state{member->second.up, member->second.since, {}};
	for (const auto &target : member->second.targets)
		state.checks.push_back(target->state);
	return state;
}

HealthChecker::HealthChecker(std::function<void()> changed) : loop_(std::make_unique<Loop>(std::move(changed))) {}

void HealthChecker::start()
{
	thread_ = std::thread([this] { loop_->run(); });
}

HealthChecker::~HealthChecker()
{
	loop_->stop();
	if (thread_.joinable())
		thread_.join();
}

Result<void> HealthChecker::test(const Config &config)
{
	for (const HealthCheck &check : config.health_checks) {
		if (auto made = Prober::make_tls(check); !made)
			return made.error();
	}
	return {};
}

void HealthChecker::configure(const Config &config, const Health &health)
{
	loop_->configure(config, health);
}

Health HealthChecker::verdicts() const
{
	return loop_->verdicts();
}

std::optional<MemberState> HealthChecker::member(const std::string &key) const
{
	return loop_->member(key);
}

} // namespace holdfast
