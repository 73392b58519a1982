// SPDX-License-Identifier: GPL-2.0
// What the sessions' own data says of the configuration: how many clients come back later
// than their rule's time-out, what another one would cost, and which keys carry more
// than one client's load.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "control/controller.h"

namespace holdfast
{

// Has the data path count the gaps of the rules that keep a table, where advice.remember says so; what was counted of
// others, or under another rule, is forgotten. (Of what is there when the daemon starts, that is not known.)
class GapWatch
{
public:
	explicit GapWatch(Maps &maps) : maps_(maps) {}

	void follow(const Config &config, const Ids &ids);

private:
	Maps &maps_;
	std::map<uint32_t, std::string> watched_; // scope -> what its gaps depend on
};

// {"remember": seconds, "advice": [{"virtual_server", "rule", "timeout", "returns", "broken", "candidates": [{"timeout",
// "broken", "sessions", "bytes"}], "suggested", "keys": [{"key", "member", "hits", "share"}], "notes": [...]}]}. A share
// that cannot be known, as nothing is remembered for long enough, is null. Walks the sessions: run it on a thread that nobody waits for.
Result<nlohmann::json> advise(const Snapshot &snapshot);

} // namespace holdfast
