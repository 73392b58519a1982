// SPDX-License-Identifier: GPL-2.0
#include "control/event_log.h"

#include <chrono>

namespace holdfast
{

namespace
{

std::string line_of(nlohmann::json event)
{
	const auto now = std::chrono::system_clock::now().time_since_epoch();

	event["at"] = static_cast<double>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count()) / 1000;
	return event.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

} // namespace

std::string EventLog::Follower::take()
{
	std::string text;

	for (const std::string &line : lines_)
		text += line;
	lines_.clear();
	if (missed_)
		text += line_of({{"event", "missed"}, {"count", missed_}});
	missed_ = 0;
	return text;
}

void EventLog::add(nlohmann::json event)
{
	const std::string line = line_of(std::move(event));

	lines_.push_back(line);
	if (lines_.size() > kept)
		lines_.pop_front();
	pass_on(line);
}

void EventLog::tell(nlohmann::json event)
{
	look_after_followers();
	if (any_)
		pass_on(line_of(std::move(event)));
}

void EventLog::pass_on(const std::string &line)
{
	look_after_followers();
	for (const auto &weak : followers_) {
		const auto follower = weak.lock();

		if (!follower)
			continue;
		const bool was_empty = follower->empty();
		if (follower->lines_.size() < most_waiting)
			follower->lines_.push_back(line);
		else
			follower->missed_++;
		if (was_empty && follower->wake)
			follower->wake();
	}
}

// Those that have gone.
void EventLog::look_after_followers()
{
	followers_.remove_if([](const auto &follower) { return follower.expired(); });
	if (any_ == !followers_.empty())
		return;
	any_ = !followers_.empty();
	if (followed_)
		followed_(any_);
}

std::string EventLog::recent() const
{
	std::string text;

	for (const std::string &line : lines_)
		text += line;
	return text;
}

std::shared_ptr<EventLog::Follower> EventLog::follow()
{
	auto follower = std::shared_ptr<Follower>(new Follower, [this](Follower *gone) {
		delete gone;
		look_after_followers();
	});

	followers_.push_back(follower);
	look_after_followers();
	return follower;
}

} // namespace holdfast
