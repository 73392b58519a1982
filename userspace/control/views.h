// SPDX-License-Identifier: GPL-2.0
// What the running installation is, as JSON: the objects and their state, as the API
// answers them.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "control/controller.h"
#include "expiry/sweeper.h"
#include "health/checker.h"

namespace holdfast
{

// A part of a list: of what matches, `limit` from the `offset`-th on.
struct Page {
	std::string search; // in names and addresses; empty: everything
	std::string state;  // of members: "up", "down", "draining", "disabled"; empty: any
	std::string pool;   // of members; empty: any
	size_t offset = 0, limit = SIZE_MAX;
};

struct Views {
	Controller &controller;
	const Sweeper &sweeper;
	const HealthChecker &checker;

	nlohmann::json status() const;
	// The status without its lists: how many there are of each, whatever their number.
	nlohmann::json overview() const;
	nlohmann::json interfaces() const;
	// {"virtual_servers": [...], "matched": N}
	nlohmann::json virtual_servers(const Page &page = {}) const;
	nlohmann::json pools() const;
	// {"members": [...], "matched": N, "states": {"up": N, ...}}; the states are those of all that match but for
	// their state.
	nlohmann::json members(const Page &page = {}) const;
	// As the operator, or the file, has it.
	nlohmann::json member(const std::string &pool, const Member &member, bool whole) const;
	// With each result of its checks that is kept; nothing: there is no such member.
	std::optional<nlohmann::json> member(const std::string &key) const;
	nlohmann::json rules() const;
	nlohmann::json counters() const;
	// What `holdfast doctor` has to say.
	// What the doctor says; to be called elsewhere, as it waits for neighbours.
	std::function<Result<nlohmann::json>()> findings() const;
};

} // namespace holdfast
