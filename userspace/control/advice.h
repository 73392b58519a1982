// SPDX-License-Identifier: GPL-2.0
// What the sessions' own data says of the configuration: how many clients come back later
// than their rule's time-out, what another one would cost, and which keys carry more
// than one client's load.
#pragma once

#include <nlohmann/json.hpp>

#include "control/controller.h"

namespace holdfast
{

// Has the data path count the gaps of the rules that keep a table, where advice.remember says so; what was counted of
// others is forgotten.
void watch_gaps(const Config &config, const Ids &ids, Maps &maps);

// {"remember": seconds, "advice": [{"virtual_server", "rule", "timeout", "returns", "broken", "candidates": [{"timeout",
// "broken", "sessions", "bytes"}], "suggested", "keys": [{"key", "member", "hits", "share"}], "notes": [...]}]}. Walks
// the sessions: run it on a thread that nobody waits for.
Result<nlohmann::json> advise(const Snapshot &snapshot);

} // namespace holdfast
