// SPDX-License-Identifier: GPL-2.0
// Free space in `selection`: which runs of slots no pool's table occupies.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

namespace holdfast
{

class Slots
{
public:
	explicit Slots(uint32_t count) { free_[0] = count; }

	void occupy(uint32_t offset, uint32_t size);
	// The smallest free run that fits; nothing if none does.
	std::optional<uint32_t> take(uint32_t size);

private:
	std::map<uint32_t, uint32_t> free_; // offset -> size
};

} // namespace holdfast
