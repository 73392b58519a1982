// SPDX-License-Identifier: GPL-2.0
#include "expiry/sweeper.h"

#include <time.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "util/log.h"

namespace holdfast
{
namespace
{

// What this thread has worked, in the kernel's walk too: where others keep the
// processors busy, a walk lasts longer, and is none the dearer.
std::chrono::nanoseconds processor_time()
{
	timespec spent{};

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
	return std::chrono::seconds(spent.tv_sec) + std::chrono::nanoseconds(spent.tv_nsec);
}

} // namespace

void Sweeper::start()
{
	thread_ = std::thread([this] { run(); });
}

Sweeper::~Sweeper()
{
	{
		std::lock_guard lock(mutex_);
		stopping_ = true;
	}
	wake_.notify_all();
	if (thread_.joinable())
		thread_.join();
}

// The members' connections, counted anew: an entry that the kernel's LRU evicts
// takes its member's place with it. What is begun or closed during the walk may or
// may not have been met: only what lies outside of both ends is an error.
Result<hf_sweep> Sweeper::count_places()
{
	const uint32_t size = maps_.member_connections.size();
	std::vector<int32_t> before(size);

	for (uint32_t id = 0; id < size; id++) {
		before[id] = static_cast<int32_t>(maps_.member_connections.get(id));
		maps_.member_connections_found.set(id, {});
	}
	auto swept = maps_.sweep_connections(HF_SWEEP_EXPIRED);
	for (uint32_t id = 0; swept && id < size; id++) {
		const hf_places found = maps_.member_connections_found.get(id);
		const auto sure = static_cast<int32_t>(found.sure), all = sure + static_cast<int32_t>(found.young);
		const auto after = static_cast<int32_t>(maps_.member_connections.get(id));
		const auto [least, most] = std::minmax(before[id], after);
		const int32_t error = all < least ? all - least : sure > most ? sure - most : 0;

		if (error)
			std::atomic_ref<uint32_t>(*maps_.member_connections.live(id))
				.fetch_add(static_cast<uint32_t>(error));
	}
	return swept;
}

void Sweeper::run()
{
	constexpr std::chrono::nanoseconds least = std::chrono::seconds(1);
	constexpr int share = 50;
	std::unique_lock lock(mutex_);

	while (!stopping_) {
		const auto began = processor_time();

		lock.unlock();
		auto sessions = maps_.sweep_sessions(HF_SWEEP_EXPIRED);
		auto connections = count_places();

		if (sessions && connections) {
			sessions_ = sessions->alive;
			sessions_expired_ += sessions->deleted;
			connections_ = connections->alive;
		} else {
			log_at_will(LogLevel::error,
				    sessions ? connections.error().message() : sessions.error().message());
		}
		lock.lock();
		const auto took = processor_time() - began;
		wake_.wait_for(lock, std::max(least, took * share), [this] { return stopping_; });
	}
}

} // namespace holdfast
