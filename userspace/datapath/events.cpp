// SPDX-License-Identifier: GPL-2.0
#include "datapath/events.h"

#include <bpf/libbpf.h>

namespace holdfast
{

Result<std::unique_ptr<EventRing>> EventRing::open(Maps &maps, Take take)
{
	std::unique_ptr<EventRing> events(new EventRing(maps, std::move(take)));
	const auto sample = [](void *context, void *data, size_t size) {
		auto &self = *static_cast<EventRing *>(context);

		if (self.wanted_ && size >= sizeof(hf_event))
			self.take_(*static_cast<const hf_event *>(data));
		return --self.budget_ > 0 ? 0 : -EAGAIN;
	};

	events->ring_ = ring_buffer__new(maps.events, sample, events.get(), nullptr);
	if (!events->ring_)
		return Error::system("the ring of events", errno);
	events->want(false);
	return events;
}

EventRing::~EventRing()
{
	if (ring_)
		want(false);
	ring_buffer__free(ring_);
}

int EventRing::fd() const
{
	return ring_buffer__epoll_fd(ring_);
}

bool EventRing::drain()
{
	budget_ = at_once;
	ring_buffer__consume(ring_);
	return budget_ > 0;
}

void EventRing::want(bool wanted)
{
	maps_.events_wanted.set(0, false);
	wanted_ = false;
	while (!drain())
		;
	wanted_ = wanted;
	maps_.events_wanted.set(0, wanted);
}

} // namespace holdfast
