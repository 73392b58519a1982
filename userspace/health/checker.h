// SPDX-License-Identifier: GPL-2.0
// The health checks of all members, on an event loop and a thread of their own: what
// holds up the daemon for a while makes no member look dead.
//
// A probe begins every `interval`, whether or not the one before has ended, so that a
// member that is dead is known to be so within interval x unhealthy_threshold + timeout.
// What is not known yet counts as up, or as what it was when the daemon stopped.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "model/model.h"
#include "util/result.h"

namespace holdfast
{

struct CheckState {
	struct Result {
		std::chrono::system_clock::time_point at;
		bool passed;
		std::optional<std::chrono::microseconds> latency;
	};

	std::string name;
	bool up = true;
	bool known = false;               // it has had a result since the daemon started
	bool damped = false;              // it has flapped, and needs more good results than configured
	uint32_t against = 0, needed = 0; // results in a row that speak against `up`, and how many it takes
	uint64_t passed = 0, failed = 0;
	std::string last_problem;                         // of the last result that failed
	std::optional<std::chrono::microseconds> latency; // smoothed
	std::deque<Result> history;                       // the last ones, oldest first
};

struct MemberState {
	bool up = true;
	std::chrono::system_clock::time_point since{}; // the last change of `up` that was seen
	std::vector<CheckState> checks;
};

class HealthChecker
{
public:
	static constexpr size_t history_length = 20;

	// `changed` is called on the checker's thread when verdicts() are others than before. (Opens raw sockets, for
	// which start() needs no privilege any more.)
	explicit HealthChecker(std::function<void()> changed);
	~HealthChecker();
	HealthChecker(const HealthChecker &) = delete;
	HealthChecker &operator=(const HealthChecker &) = delete;

	// Checks, on a thread of its own, until the object's end.
	void start();

	// Can these be carried out on this host? (Files that are named are read.)
	static Result<void> test(const Config &config);
	// Checks these members from now on. What is checked as before keeps its state; the others begin as `health`
	// has them.
	void configure(const Config &config, const Health &health);

	Health verdicts() const;
	// Nothing: the member is not checked.
	std::optional<MemberState> member(const std::string &key) const;

private:
	class Loop;

	std::unique_ptr<Loop> loop_;
	std::thread thread_;
};

} // namespace holdfast
