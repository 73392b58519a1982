// SPDX-License-Identifier: GPL-2.0
#include "status_page/status_page.h"

#include <algorithm>
#include <iterator>

#include "status_page_files.h"

namespace holdfast
{

const StatusPageFile *find_status_page_file(std::string_view path)
{
	static const StatusPageFile files[] = {
		{"/", "text/html; charset=utf-8", {page_index_html, sizeof(page_index_html) - 1}},
		{"/status.css", "text/css; charset=utf-8", {page_status_css, sizeof(page_status_css) - 1}},
		{"/status.js", "text/javascript; charset=utf-8", {page_status_js, sizeof(page_status_js) - 1}},
		{"/icon.svg", "image/svg+xml", {page_icon_svg, sizeof(page_icon_svg) - 1}},
	};
	const auto *found =
		std::find_if(std::begin(files), std::end(files), [&](const auto &file) { return file.path == path; });

	return found == std::end(files) ? nullptr : found;
}

} // namespace holdfast
