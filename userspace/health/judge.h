// SPDX-License-Identifier: GPL-2.0
// What a row of results means: is the member up? Thresholds, and damping of what flaps.
// Knows no clock but the one that it is given.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>

namespace holdfast
{

class Judge
{
public:
	using Time = std::chrono::steady_clock::time_point;

	// A member that fell more often than this within the window needs twice as many good results in a row for each
	// further time, up to 8 times as many.
	static constexpr unsigned falls_for_free = 2;
	static constexpr std::chrono::minutes window{10};
	static constexpr unsigned most_doublings = 3;

	Judge(uint32_t healthy_threshold, uint32_t unhealthy_threshold, bool up)
		: healthy_(healthy_threshold), unhealthy_(unhealthy_threshold), up_(up)
	{
	}

	// Returns whether that changed the verdict.
	bool add(bool passed, Time now);

	bool up() const { return up_; }
	// Results in a row that speak against the verdict.
	uint32_t against() const { return against_; }
	// Good ones that it takes now.
	uint32_t needed(Time now) const;
	bool damped(Time now) const { return needed(now) > healthy_; }

private:
	uint32_t healthy_, unhealthy_;
	bool up_;
	uint32_t against_ = 0;
	std::deque<Time> falls_;
};

} // namespace holdfast
