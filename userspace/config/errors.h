// SPDX-License-Identifier: GPL-2.0
// What is wrong with a configuration: all of it, each with its place.
#pragma once

#include <string>
#include <vector>

namespace holdfast
{

struct ConfigError {
	int line = 0; // from 1; 0: the file as a whole
	int column = 0;
	std::string path; // "pools[0].members[2].port"; may be empty
	std::string message;

	// "FILE:LINE:COLUMN: path: message"
	std::string text(const std::string &file) const;
};

using ConfigErrors = std::vector<ConfigError>;

} // namespace holdfast
