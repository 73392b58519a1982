// SPDX-License-Identifier: GPL-2.0
// Why a packet goes where it goes: the data path's way of deciding, walked again
// over the same maps. Changes nothing.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "control/controller.h"

namespace holdfast
{

struct Question {
	std::string virtual_server;
	std::string client;                 // ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT
	std::optional<std::string> message; // the payload of a datagram, or its beginning
	size_t length = 0;                  // of the payload
	bool trial = true;                  // where it can be: the data path's own program is asked, too
};

// {"virtual_server", "rule", "client", "member" (or null), "by": "connection",
// "session", "proposal", "hash", "method" or "nothing", "steps": [a sentence each],
// "trial" (see explain_trial.h; null: there was none)}
Result<nlohmann::json> explain(const Snapshot &snapshot, const Question &question);

} // namespace holdfast
