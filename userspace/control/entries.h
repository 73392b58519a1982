// SPDX-License-Identifier: GPL-2.0
// Sessions and connections as JSON, out of the live tables. These walk whole
// tables: run them on a thread that nobody waits for.
#pragma once

#include <nlohmann/json.hpp>

#include "control/controller.h"

namespace holdfast
{

// {"sessions": [...], "matched": N, "shown": N}
Result<nlohmann::json> list_sessions(const Snapshot &snapshot, const EntryFilter &filter);
Result<nlohmann::json> list_connections(const Snapshot &snapshot, const EntryFilter &filter);

// Returns how many there were.
Result<uint64_t> delete_sessions(const Snapshot &snapshot, const EntryFilter &filter);

} // namespace holdfast
