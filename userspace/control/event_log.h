// SPDX-License-Identifier: GPL-2.0
// What has happened, as JSON objects with "at" (Unix time) and "event": the last ones,
// and whoever follows. Used from one thread.
#pragma once

#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

namespace holdfast
{

class EventLog
{
public:
	// Of what is not told to followers alone, so many are kept.
	static constexpr size_t kept = 1000;
	// A follower that is this many lines behind misses what comes then, and is told how many.
	static constexpr size_t most_waiting = 10000;

	// One who follows: lines wait in it until they are taken.
	class Follower
	{
	public:
		// All lines that wait, and forgets them.
		std::string take();
		bool empty() const { return lines_.empty() && !missed_; }
		// Called when it is not empty any more.
		std::function<void()> wake;

	private:
		friend EventLog;

		std::deque<std::string> lines_;
		uint64_t missed_ = 0;
	};

	// `change` is called when the first follower comes, and when the last one goes.
	void when_followed(std::function<void(bool)> change) { followed_ = std::move(change); }

	void add(nlohmann::json event);
	// Likewise, but it is not kept: sessions.
	void tell(nlohmann::json event);

	std::string recent() const;
	size_t followers() const { return followers_.size(); }
	// It follows for as long as the pointer is held.
	std::shared_ptr<Follower> follow();

private:
	void pass_on(const std::string &line);
	void look_after_followers();

	std::deque<std::string> lines_;
	std::list<std::weak_ptr<Follower>> followers_;
	std::function<void(bool)> followed_;
	bool any_ = false;
};

} // namespace holdfast
