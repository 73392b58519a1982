// SPDX-License-Identifier: GPL-2.0
// Reads one YAML mapping: each field is asked for by name, with its range; what
// was not asked for is an error ("did you mean"). Errors are collected, and
// reading goes on, so that a user sees all of them at once.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <yaml-cpp/yaml.h>

#include "config/errors.h"
#include "model/address.h"

namespace holdfast
{

// A place in the file, kept for errors that show only later.
struct Place {
	YAML::Mark mark;
	std::string path;
};

// The values of a mapping, each where it is in the document. (A node of yaml-cpp's is a reference: put into another
// mapping, it would join all of the document with that.)
using Fields = std::map<std::string, YAML::Node>;

class ObjectReader
{
public:
	ObjectReader(const YAML::Node &node, std::string path, ConfigErrors &errors);

	// What the mapping does not say itself, these say: a null hides that, too.
	void inherit(const Fields &base) { base_ = base; }
	// All that it says, inherited or not.
	Fields fields() const;

	bool has(const std::string &key) const;
	Place place(const std::string &key) const;
	Place place() const { return {node_.Mark(), path_}; }

	std::optional<std::string> text(const std::string &key, bool required = false);
	std::optional<int64_t> integer(const std::string &key, int64_t least, int64_t most, bool required = false);
	std::optional<bool> boolean(const std::string &key);
	// One that a host on a network can have; required.
	std::optional<Address> address(const std::string &key);

	// A list of numbers; those that are none, or out of range, have had their error.
	std::vector<int64_t> integers(const std::string &key, int64_t least, int64_t most);
	std::vector<std::string> texts(const std::string &key);
	bool is_mapping(const std::string &key);
	bool is_empty_list(const std::string &key);

	// A word out of a list; the value that stands beside it.
	template <typename Value> std::optional<Value>
	word(const std::string &key, const std::vector<std::pair<std::string, Value>> &words, bool required = false)
	{
		auto found = text(key, required);
		std::string allowed;

		if (!found)
			return std::nullopt;
		for (const auto &[name, value] : words) {
			if (name == *found)
				return value;
			allowed += (allowed.empty() ? "" : ", ") + name;
		}
		report_word(key, *found, allowed);
		return std::nullopt;
	}

	// Words and keys that other versions know: named as such when they are met.
	void unavailable_word(const std::string &key, const std::vector<std::string> &words);
	void unavailable(const std::vector<std::string> &keys);
	// A key about which all has been said.
	void forget(const std::string &key) { known_.push_back(key); }

	// Calls `read` for each element of a sequence of mappings.
	void each(const std::string &key, const std::function<void(ObjectReader &)> &read);
	// Calls `read` for a mapping.
	void object(const std::string &key, const std::function<void(ObjectReader &)> &read);

	void error(const std::string &key, const std::string &message);

	// Reports the keys that nobody asked for. Call it last.
	void finish();
	// Nothing can be said about the keys that nobody asked for.
	void ignore_the_rest() { ignore_ = true; }

private:
	std::vector<std::string> scalars(const std::string &key, const char *what);
	std::optional<int64_t> number(const std::string &key, const std::string &text, int64_t least, int64_t most);
	YAML::Node look_up(const std::string &key) const;
	std::optional<YAML::Node> find(const std::string &key, bool required);
	void report_word(const std::string &key, const std::string &value, const std::string &allowed);

	YAML::Node node_;
	Fields base_;
	std::string path_;
	ConfigErrors &errors_;
	bool ignore_ = false;
	std::vector<std::string> known_;
	std::vector<std::string> unavailable_;
	std::vector<std::pair<std::string, std::string>> unavailable_words_;
};

// Throws TooManyErrors at some number: aliases can make a small file say the same
// thing a million times, and no two objects have the same name without an error.
void report(ConfigErrors &errors, const Place &place, const std::string &message);
struct TooManyErrors {
};

// The candidate that a mistyped `word` probably meant.
std::optional<std::string> closest(const std::string &word, const std::vector<std::string> &candidates);

} // namespace holdfast
