// SPDX-License-Identifier: GPL-2.0
#include "expiry/sweeper.h"

#include <algorithm>
#include <chrono>

#include "util/log.h"

namespace holdfast
{

Sweeper::Sweeper(const Maps &maps) : maps_(maps), thread_([this] { run(); }) {}

Sweeper::~Sweeper()
{
	{
		std::lock_guard lock(mutex_);
		stopping_ = true;
	}
	wake_.notify_all();
	thread_.join();
}

void Sweeper::run()
{
	constexpr std::chrono::steady_clock::duration least = std::chrono::seconds(1);
	constexpr int share = 50;
	std::unique_lock lock(mutex_);

	while (!stopping_) {
		const auto began = std::chrono::steady_clock::now();

		lock.unlock();
		auto sessions = maps_.sweep_sessions(HF_SWEEP_EXPIRED);
		auto connections = maps_.sweep_connections(HF_SWEEP_EXPIRED);

		if (sessions && connections) {
			sessions_ = sessions->alive;
			sessions_expired_ += sessions->deleted;
			connections_ = connections->alive;
		} else {
			log_error("{}", sessions ? connections.error().message() : sessions.error().message());
		}
		lock.lock();
		const auto took = std::chrono::steady_clock::now() - began;
		wake_.wait_for(lock, std::max(least, took * share), [this] { return stopping_; });
	}
}

} // namespace holdfast
