// SPDX-License-Identifier: GPL-2.0
// What the data path's own program does with the packet that is to be explained: the
// explanation's witness. Packets of streams that are read are not tried: their decision
// comes after a handshake.
#pragma once

#include "control/explain.h"

namespace holdfast
{

// What the decision looks at, of what the data path has written.
struct TrialSeed {
	hf_flow_key flow{}; // the client's
	bool begins = true; // it has no connection yet
	std::vector<hf_flow_key> connections;
	std::vector<hf_session_key> sessions;
};

bool can_be_tried(const Snapshot &snapshot, const VirtualServer &server);

// {"outcome": "forwarded", "dropped" or "not forwarded", "member" (or null), "reasons": [names of counters]}, or
// {"outcome": "not tried", "problem"}.
nlohmann::json try_packet(const Snapshot &snapshot, const VirtualServer &server, const Question &question,
			  const TrialSeed &seed);

} // namespace holdfast
