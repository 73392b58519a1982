// SPDX-License-Identifier: GPL-2.0
#include "config/object_reader.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <set>

namespace holdfast
{

namespace
{

size_t edit_distance(const std::string &left, const std::string &right)
{
	std::vector<size_t> row(right.size() + 1);

	for (size_t j = 0; j <= right.size(); j++)
		row[j] = j;
	for (size_t i = 1; i <= left.size(); i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= right.size(); j++) {
			const size_t above = row[j];
			const size_t replace = diagonal + (left[i - 1] == right[j - 1] ? 0 : 1);

			row[j] = std::min({above + 1, row[j - 1] + 1, replace});
			diagonal = above;
		}
	}
	return row[right.size()];
}

bool contains(const std::vector<std::string> &list, const std::string &word)
{
	return std::find(list.begin(), list.end(), word) != list.end();
}

std::string kind_of(const YAML::Node &node)
{
	switch (node.Type()) {
	case YAML::NodeType::Scalar:
		return fmt::format("'{}'", node.Scalar());
	case YAML::NodeType::Sequence:
		return "a list";
	case YAML::NodeType::Map:
		return "a mapping";
	default:
		return "nothing";
	}
}

} // namespace

std::string ConfigError::text(const std::string &file) const
{
	std::string place = file;

	if (line)
		place += fmt::format(":{}:{}", line, column);
	return path.empty() ? fmt::format("{}: {}", place, message) : fmt::format("{}: {}: {}", place, path, message);
}

void report(ConfigErrors &errors, const Place &place, const std::string &message)
{
	constexpr size_t most_errors = 10000;

	if (errors.size() >= most_errors)
		throw TooManyErrors();
	errors.push_back({place.mark.line + 1, place.mark.column + 1, place.path, message});
}

std::optional<std::string> closest(const std::string &word, const std::vector<std::string> &candidates)
{
	std::optional<std::string> best;
	size_t least = 3;

	if (word.size() > 64)
		return std::nullopt;
	for (const std::string &candidate : candidates) {
		if (candidate.size() > word.size() + 2 || word.size() > candidate.size() + 2)
			continue;
		const size_t distance = edit_distance(word, candidate);

		if (distance < least && distance < candidate.size()) {
			least = distance;
			best = candidate;
		}
	}
	return best;
}

ObjectReader::ObjectReader(const YAML::Node &node, std::string path, ConfigErrors &errors)
	: node_(node), path_(std::move(path)), errors_(errors)
{
	std::set<std::string> seen;

	if (!node_.IsMap()) {
		if (node_.IsDefined() && !node_.IsNull())
			report(errors_, place(), fmt::format("{} where a mapping is expected", kind_of(node_)));
		return;
	}
	for (const auto &entry : node_) {
		if (!entry.first.IsScalar())
			report(errors_, {entry.first.Mark(), path_}, "a key must be a plain word");
		else if (!seen.insert(entry.first.Scalar()).second)
			report(errors_, {entry.first.Mark(), place(entry.first.Scalar()).path},
			       "the key is given twice");
	}
}

Fields ObjectReader::fields() const
{
	Fields all = base_;

	for (const auto &entry : node_) {
		if (!entry.first.IsScalar())
			continue;
		all.erase(entry.first.Scalar());
		if (!entry.second.IsNull())
			all.emplace(entry.first.Scalar(), entry.second);
	}
	return all;
}

YAML::Node ObjectReader::look_up(const std::string &key) const
{
	const YAML::Node own = node_[key];
	auto inherited = base_.find(key);

	if (inherited == base_.end())
		return own;
	if (own.IsDefined())
		return own.IsNull() ? YAML::Node(YAML::NodeType::Undefined) : own;
	return inherited->second;
}

bool ObjectReader::has(const std::string &key) const
{
	return node_.IsMap() && look_up(key).IsDefined();
}

Place ObjectReader::place(const std::string &key) const
{
	const std::string path = path_.empty() ? key : path_ + "." + key;

	return {has(key) ? look_up(key).Mark() : node_.Mark(), path};
}

std::optional<YAML::Node> ObjectReader::find(const std::string &key, bool required)
{
	known_.push_back(key);
	if (!has(key)) {
		if (required)
			error(key, "is required");
		return std::nullopt;
	}
	return look_up(key);
}

void ObjectReader::error(const std::string &key, const std::string &message)
{
	report(errors_, place(key), message);
}

std::optional<std::string> ObjectReader::text(const std::string &key, bool required)
{
	auto node = find(key, required);

	if (!node)
		return std::nullopt;
	if (!node->IsScalar()) {
		error(key, fmt::format("{} where a single value is expected", kind_of(*node)));
		return std::nullopt;
	}
	return node->Scalar();
}

std::optional<int64_t> ObjectReader::number(const std::string &key, const std::string &text, int64_t least,
					    int64_t most)
{
	int64_t value = 0;
	const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);

	if (status != std::errc() || end != text.data() + text.size()) {
		error(key, fmt::format("'{}' is not a whole number; allowed: {}-{}", text, least, most));
		return std::nullopt;
	}
	if (value < least || value > most) {
		error(key, fmt::format("{} is out of range; allowed: {}-{}", value, least, most));
		return std::nullopt;
	}
	return value;
}

std::optional<int64_t> ObjectReader::integer(const std::string &key, int64_t least, int64_t most, bool required)
{
	auto found = text(key, required);

	return found ? number(key, *found, least, most) : std::nullopt;
}

// The scalars of a list; `what` is expected.
std::vector<std::string> ObjectReader::scalars(const std::string &key, const char *what)
{
	auto node = find(key, false);
	std::vector<std::string> values;

	if (!node || node->IsNull())
		return values;
	if (!node->IsSequence()) {
		error(key, fmt::format("{} where a list is expected", kind_of(*node)));
		return values;
	}
	for (const auto &element : *node) {
		if (element.IsScalar())
			values.push_back(element.Scalar());
		else
			error(key, fmt::format("{} where {} is expected", kind_of(element), what));
	}
	return values;
}

std::vector<int64_t> ObjectReader::integers(const std::string &key, int64_t least, int64_t most)
{
	std::vector<int64_t> values;

	for (const std::string &text : scalars(key, "a number")) {
		if (auto value = number(key, text, least, most))
			values.push_back(*value);
	}
	return values;
}

std::vector<std::string> ObjectReader::texts(const std::string &key)
{
	return scalars(key, "a text");
}

bool ObjectReader::is_empty_list(const std::string &key)
{
	auto node = find(key, false);

	return node && (node->IsNull() || (node->IsSequence() && !node->size()));
}

bool ObjectReader::is_mapping(const std::string &key)
{
	auto node = find(key, false);

	return node && node->IsMap();
}

std::optional<Address> ObjectReader::address(const std::string &key)
{
	const auto given = text(key, true);

	if (!given)
		return std::nullopt;
	auto found = Address::parse(*given);
	if (!found) {
		error(key, fmt::format("'{}' is not an IPv4 or IPv6 address", *given));
		return std::nullopt;
	}
	if (!found->is_unicast() || found->is_loopback()) {
		error(key, fmt::format("{} is not an address that a host on a network can have", *given));
		return std::nullopt;
	}
	return found;
}

std::optional<bool> ObjectReader::boolean(const std::string &key)
{
	return word<bool>(key, {{"true", true}, {"false", false}});
}

void ObjectReader::report_word(const std::string &key, const std::string &value, const std::string &allowed)
{
	for (const auto &[of, name] : unavailable_words_) {
		if (of == key && name == value) {
			error(key, fmt::format("'{}' is not available in this version; allowed: {}", value, allowed));
			return;
		}
	}
	error(key, fmt::format("'{}' is not known; allowed: {}", value, allowed));
}

void ObjectReader::unavailable_word(const std::string &key, const std::vector<std::string> &words)
{
	for (const std::string &name : words)
		unavailable_words_.emplace_back(key, name);
}

void ObjectReader::unavailable(const std::vector<std::string> &keys)
{
	unavailable_.insert(unavailable_.end(), keys.begin(), keys.end());
}

void ObjectReader::each(const std::string &key, const std::function<void(ObjectReader &)> &read)
{
	auto node = find(key, false);
	size_t index = 0;

	if (!node || node->IsNull())
		return;
	if (!node->IsSequence()) {
		error(key, fmt::format("{} where a list is expected", kind_of(*node)));
		return;
	}
	for (const auto &element : *node) {
		const std::string path = fmt::format("{}[{}]", place(key).path, index++);

		if (!element.IsMap()) {
			report(errors_, {element.Mark(), path},
			       fmt::format("{} where a mapping is expected", kind_of(element)));
			continue;
		}
		ObjectReader reader(element, path, errors_);
		read(reader);
		reader.finish();
	}
}

void ObjectReader::object(const std::string &key, const std::function<void(ObjectReader &)> &read)
{
	auto node = find(key, false);

	if (!node || node->IsNull())
		return;
	ObjectReader reader(*node, place(key).path, errors_);
	if (!node->IsMap())
		return;
	read(reader);
	reader.finish();
}

void ObjectReader::finish()
{
	if (!node_.IsMap() || ignore_)
		return;
	for (const auto &entry : node_) {
		if (!entry.first.IsScalar() || contains(known_, entry.first.Scalar()))
			continue;
		const std::string &key = entry.first.Scalar();
		const Place where = {entry.first.Mark(), place(key).path};

		if (contains(unavailable_, key)) {
			report(errors_, where, "is not available in this version");
			continue;
		}
		if (auto meant = closest(key, known_))
			report(errors_, where, fmt::format("is not known; did you mean '{}'?", *meant));
		else
			report(errors_, where, fmt::format("is not known; allowed: {}", fmt::join(known_, ", ")));
	}
}

} // namespace holdfast
