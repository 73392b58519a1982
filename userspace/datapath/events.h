// SPDX-License-Identifier: GPL-2.0
// What the data path tells of sessions, while somebody wants to hear it.
#pragma once

#include <functional>
#include <memory>

#include "datapath/maps.h"

struct ring_buffer;

namespace holdfast
{

class EventRing
{
public:
	using Take = std::function<void(const hf_event &)>;

	static Result<std::unique_ptr<EventRing>> open(Maps &maps, Take take);
	~EventRing();
	EventRing(const EventRing &) = delete;
	EventRing &operator=(const EventRing &) = delete;

	// Readable when there are some.
	int fd() const;
	// Takes those that are there, so many at most: false, if there may be more.
	static constexpr int at_once = 1000;
	bool drain();
	// The data path tells nothing before. What was left from an earlier time is forgotten.
	void want(bool wanted);

private:
	EventRing(Maps &maps, Take take) : maps_(maps), take_(std::move(take)) {}

	Maps &maps_;
	Take take_;
	ring_buffer *ring_ = nullptr;
	bool wanted_ = false;
	int budget_ = 0;
};

} // namespace holdfast
