// SPDX-License-Identifier: GPL-2.0
// The settings of a persistence rule: which type has which, and their ranges.
#pragma once

#include <optional>

#include "config/object_reader.h"
#include "model/model.h"

namespace holdfast
{

// All but the name. Nothing, if the type is not known: then nothing can be said
// about the other settings, either.
std::optional<Rule> read_rule_settings(ObjectReader &reader);

// Values beside the words that the configuration has for them.
template <typename Value> std::vector<std::pair<std::string, Value>> with_words(const std::vector<Value> &values)
{
	std::vector<std::pair<std::string, Value>> words;

	for (const Value value : values)
		words.emplace_back(word(value), value);
	return words;
}

} // namespace holdfast
