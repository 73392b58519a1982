// SPDX-License-Identifier: GPL-2.0
// `holdfast convert`: another balancer's configuration as one of Holdfast's. Needs no daemon.
#pragma once

#include <string>
#include <vector>

namespace holdfast
{

struct ConvertOptions {
	bool as_json = false;
	std::string file;
	std::vector<std::string> interfaces, sources;
	std::string address; // empty: none
};

// `kind`: "haproxy" or "keepalived". The configuration goes to standard output, what could not be converted to
// standard error.
int convert_file(const std::string &kind, const ConvertOptions &options);

} // namespace holdfast
