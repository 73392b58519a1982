// SPDX-License-Identifier: GPL-2.0
// The status page: a few files that a browser asks for, carried in the program. The page
// asks the API for everything that it shows (status.js).
#pragma once

#include <string_view>

namespace holdfast
{

struct StatusPageFile {
	std::string_view path; // "/status.js"
	const char *type;      // of its content
	std::string_view content;
};

// Nothing: the page has no such file.
const StatusPageFile *find_status_page_file(std::string_view path);

} // namespace holdfast
