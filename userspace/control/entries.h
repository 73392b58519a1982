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

// What a member that is being drained still has: {"sessions": N, "last_ends_in": seconds, "connections": N}, if none
// of them is used any more.
Result<nlohmann::json> forecast(const Snapshot &snapshot, const std::string &member);

// What a change to this configuration would take away: {"sessions_removed": N, "sessions_moved": N,
// "connections_removed": N}. Those of members that are disabled by it move.
Result<nlohmann::json> count_affected(const Snapshot &snapshot, const Config &after, const Moves &moves);

// What the keys of a virtual server's sessions are unique in: bpf/session.h has the same.
uint32_t session_scope(const VirtualServer &server, const Rule &rule, const Ids &ids);

// An address; of other keys the digest, in hexadecimal.
std::string session_key_text(const hf_session_key &key);

// What the data path told.
nlohmann::json event_json(const Ids &ids, const hf_event &event);

// Returns how many there were.
Result<uint64_t> delete_sessions(const Snapshot &snapshot, const EntryFilter &filter);

} // namespace holdfast
