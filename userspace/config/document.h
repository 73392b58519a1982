// SPDX-License-Identifier: GPL-2.0
// The text of a configuration, to be changed by programs: objects are put into its
// sections by name, and everything else stays (but comments and line breaks).
#pragma once

#include <map>
#include <optional>
#include <string>

#include <yaml-cpp/yaml.h>

#include "util/result.h"

namespace holdfast
{

class ConfigDocument
{
public:
	static Result<ConfigDocument> parse(const std::string &text);

	// Of a section as "pools"; nothing if there is no such object. What is changed in it is changed in the document.
	std::optional<YAML::Node> find(const std::string &section, const std::string &name);
	// An empty mapping with that name at the section's end.
	YAML::Node add(const std::string &section, const std::string &name);
	void remove(const std::string &section, const std::string &name);

	std::string text() const;

private:
	std::map<std::string, size_t> &places(const std::string &section);

	YAML::Node root_;
	std::map<std::string, std::map<std::string, size_t>> places_; // of names, by section
};

} // namespace holdfast
