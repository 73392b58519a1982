// SPDX-License-Identifier: GPL-2.0
// Removes what has expired, now and then, on a thread of its own: the walk is
// done inside the kernel and must not keep the control API waiting.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#include "datapath/maps.h"

namespace holdfast
{

class Sweeper
{
public:
	explicit Sweeper(Maps &maps) : maps_(maps) {}
	~Sweeper();
	Sweeper(const Sweeper &) = delete;
	Sweeper &operator=(const Sweeper &) = delete;

	// Stops with the object. Walks once a second, and less often where the tables are
	// large: at most 2 % of one CPU.
	void start();

	// As of the last walk.
	uint64_t sessions() const { return sessions_; }
	uint64_t connections() const { return connections_; }
	// Since the start.
	uint64_t sessions_expired() const { return sessions_expired_; }

private:
	void run();
	Result<hf_sweep> count_places();

	Maps &maps_;
	std::atomic<uint64_t> sessions_ = 0, connections_ = 0, sessions_expired_ = 0;
	std::mutex mutex_;
	std::condition_variable wake_;
	bool stopping_ = false;
	std::thread thread_;
};

} // namespace holdfast
