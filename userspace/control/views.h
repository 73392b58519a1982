// SPDX-License-Identifier: GPL-2.0
// What the running installation is, as JSON: the objects and their state, as the API
// answers them.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "control/controller.h"
#include "expiry/sweeper.h"
#include "health/checker.h"

namespace holdfast
{

struct Views {
	Controller &controller;
	const Sweeper &sweeper;
	const HealthChecker &checker;

	nlohmann::json status() const;
	nlohmann::json interfaces() const;
	nlohmann::json virtual_servers() const;
	nlohmann::json pools() const;
	nlohmann::json members() const;
	// As the operator, or the file, has it.
	nlohmann::json member(const std::string &pool, const Member &member, bool whole) const;
	// With each result of its checks that is kept; nothing: there is no such member.
	std::optional<nlohmann::json> member(const std::string &key) const;
	nlohmann::json rules() const;
	nlohmann::json counters() const;
	// What `holdfast doctor` has to say.
	nlohmann::json findings() const;
};

} // namespace holdfast
