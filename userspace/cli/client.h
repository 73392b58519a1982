// SPDX-License-Identifier: GPL-2.0
// One request to the daemon's control socket.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "util/result.h"

namespace holdfast
{

struct Reply {
	bool reached = false; // false: no daemon answered
	bool absent = false;  // there is none
	unsigned status = 0;
	nlohmann::json body;
	std::string problem; // why it was not reached
};

Reply call(const std::string &socket, const std::string &method, const std::string &target,
	   const std::string &body = {});

// Likewise, of an answer that is lines, each as it comes, until the daemon ends them.
Reply read_lines(const std::string &socket, const std::string &target,
		 const std::function<void(const std::string &line)> &take);

// For query strings and path segments.
std::string percent_encode(const std::string &text);

} // namespace holdfast
