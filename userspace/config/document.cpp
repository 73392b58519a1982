// SPDX-License-Identifier: GPL-2.0
#include "config/document.h"

namespace holdfast
{

namespace
{

// What stands in several places by an alias becomes as many things: a change of one is none of the others.
YAML::Node expanded(const YAML::Node &node)
{
	YAML::Node copy(node.Type());

	if (node.IsScalar())
		copy = node.Scalar();
	for (const auto &element : node) {
		if (node.IsMap())
			copy[element.first.Scalar()] = expanded(element.second);
		else
			copy.push_back(expanded(element));
	}
	copy.SetStyle(node.Style());
	return copy;
}

} // namespace

Result<ConfigDocument> ConfigDocument::parse(const std::string &text)
{
	ConfigDocument document;

	try {
		document.root_ = YAML::Load(text);
		if (text.find('*') != std::string::npos)
			document.root_ = expanded(document.root_);
	} catch (const YAML::Exception &exception) {
		return Error(exception.what());
	}
	if (!document.root_.IsMap())
		return Error("the configuration is no mapping");
	return document;
}

std::map<std::string, size_t> &ConfigDocument::places(const std::string &section)
{
	const auto [known, fresh] = places_.try_emplace(section);

	if (fresh) {
		YAML::Node list = root_[section];
		size_t place = 0;

		for (const auto &object : list)
			known->second[object["name"].as<std::string>("")] = place++;
	}
	return known->second;
}

std::optional<YAML::Node> ConfigDocument::find(const std::string &section, const std::string &name)
{
	const auto &known = places(section);
	const auto found = known.find(name);

	if (found == known.end())
		return std::nullopt;
	return root_[section][found->second];
}

YAML::Node ConfigDocument::add(const std::string &section, const std::string &name)
{
	auto &known = places(section);
	YAML::Node list = root_[section];
	YAML::Node object(YAML::NodeType::Map);

	object["name"] = name;
	object.SetStyle(YAML::EmitterStyle::Flow);
	known[name] = list.IsSequence() ? list.size() : 0;
	list.push_back(object);
	return object;
}

void ConfigDocument::remove(const std::string &section, const std::string &name)
{
	YAML::Node kept(YAML::NodeType::Sequence);

	for (const auto &object : root_[section]) {
		if (object["name"].as<std::string>("") != name)
			kept.push_back(object);
	}
	root_[section] = kept;
	places_.erase(section);
}

std::string ConfigDocument::text() const
{
	return YAML::Dump(root_) + "\n";
}

} // namespace holdfast
