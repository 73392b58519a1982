// SPDX-License-Identifier: GPL-2.0
#include "health/judge.h"

#include <algorithm>

namespace holdfast
{

uint32_t Judge::needed(Time now) const
{
	const auto recent = static_cast<unsigned>(
		std::count_if(falls_.begin(), falls_.end(), [&](Time fall) { return now - fall < window; }));
	const unsigned doublings = std::min(recent > falls_for_free ? recent - falls_for_free : 0, most_doublings);

	return healthy_ << doublings;
}

bool Judge::add(bool passed, Time now)
{
	if (passed == up_) {
		against_ = 0;
		return false;
	}
	against_++;
	if (against_ < (up_ ? unhealthy_ : needed(now)))
		return false;
	up_ = passed;
	against_ = 0;
	if (!up_) {
		falls_.push_back(now);
		while (falls_.size() > falls_for_free + most_doublings)
			falls_.pop_front();
	}
	return true;
}

} // namespace holdfast
