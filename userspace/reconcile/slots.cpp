// SPDX-License-Identifier: GPL-2.0
#include "reconcile/slots.h"

#include <algorithm>

namespace holdfast
{

void Slots::occupy(uint32_t offset, uint32_t size)
{
	auto run = free_.upper_bound(offset);

	if (!size || run == free_.begin())
		return;
	--run;
	const auto [start, length] = *run;
	if (offset >= start + length)
		return;
	free_.erase(run);
	if (offset > start)
		free_[start] = offset - start;
	if (offset + size < start + length)
		free_[offset + size] = start + length - offset - size;
}

std::optional<uint32_t> Slots::take(uint32_t size)
{
	auto best = free_.end();

	for (auto run = free_.begin(); run != free_.end(); ++run) {
		if (run->second >= size && (best == free_.end() || run->second < best->second))
			best = run;
	}
	if (best == free_.end())
		return std::nullopt;
	const uint32_t offset = best->first;
	occupy(offset, size);
	return offset;
}

} // namespace holdfast
