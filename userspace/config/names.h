// SPDX-License-Identifier: GPL-2.0
// The names of the objects of one kind.
#pragma once

#include <map>
#include <string>

#include "config/object_reader.h"

namespace holdfast
{

// Each with the line where it was given.
class Names
{
public:
	Names(std::string kind, ConfigErrors &errors) : kind_(std::move(kind)), errors_(errors) {}

	// An object's name: well-formed, and nobody else's; empty if it is not the former.
	std::string read(ObjectReader &reader);
	// Does what is referred to exist?
	void check(const Place &place, const std::string &name) const;
	// One that is always there.
	void add(const std::string &name) { lines_.emplace(name, 0); }

private:
	std::string kind_;
	ConfigErrors &errors_;
	std::map<std::string, int> lines_;
};

} // namespace holdfast
