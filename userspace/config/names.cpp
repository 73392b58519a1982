// SPDX-License-Identifier: GPL-2.0
#include "config/names.h"

#include <algorithm>
#include <fmt/format.h>
#include <vector>

#include "holdfast/limits.h"

namespace holdfast
{

namespace
{

bool is_name(const std::string &name)
{
	return !name.empty() && name.size() <= HF_NAME_LENGTH && std::all_of(name.begin(), name.end(), [](char c) {
		return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
		       c == '-';
	});
}

} // namespace

std::string Names::read(ObjectReader &reader)
{
	auto name = reader.text("name", true);

	if (!name)
		return {};
	if (!is_name(*name)) {
		reader.error("name", fmt::format("'{}' is not a name; allowed: 1-{} characters of A-Z a-z 0-9 _ -",
						 *name, static_cast<int>(HF_NAME_LENGTH)));
		return {};
	}
	auto [where, fresh] = lines_.emplace(*name, reader.place("name").mark.line + 1);
	if (!fresh && where->second)
		reader.error("name",
			     fmt::format("another {} in line {} has the name '{}'", kind_, where->second, *name));
	return *name;
}

void Names::check(const Place &place, const std::string &name) const
{
	std::vector<std::string> candidates;

	if (lines_.contains(name))
		return;
	if (name.empty()) {
		report(errors_, place, fmt::format("is empty; a {} is expected", kind_));
		return;
	}
	for (const auto &entry : lines_)
		candidates.push_back(entry.first);
	std::string message = fmt::format("there is no {} '{}'", kind_, name);
	if (auto meant = closest(name, candidates))
		message += fmt::format("; did you mean '{}'?", *meant);
	report(errors_, place, message);
}

} // namespace holdfast
