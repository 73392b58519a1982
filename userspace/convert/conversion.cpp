// SPDX-License-Identifier: GPL-2.0
#include "convert/conversion.h"

#include <algorithm>
#include <fmt/format.h>

namespace holdfast
{

namespace
{

constexpr size_t longest_name = 63;

ConfigDocument empty_document(const std::vector<std::string> &interfaces)
{
	ConfigDocument document = *ConfigDocument::parse("version: 1\n");

	for (const std::string &name : interfaces)
		document.add("interfaces", name)["mode"] = "auto";
	return document;
}

} // namespace

std::string ConversionNote::text(const std::string &file) const
{
	return line ? fmt::format("{}:{}: {}: {}", file, line, what, why) : fmt::format("{}: {}: {}", file, what, why);
}

Draft::Draft(const ConversionOptions &options) : options_(options), document_(empty_document(options.interfaces)) {}

void Draft::note(int line, const std::string &what, const std::string &why)
{
	const bool known = std::any_of(notes_.begin(), notes_.end(), [&](const ConversionNote &one) {
		return one.line == line && one.what == what && one.why == why;
	});

	if (!known)
		notes_.push_back({line, what, why});
}

std::string Draft::name(const std::string &section, const std::string &wanted)
{
	std::string base = wanted.substr(0, longest_name - 4);

	std::replace_if(
		base.begin(), base.end(), [](unsigned char c) { return !std::isalnum(c) && c != '-' && c != '_'; },
		'-');
	if (base.empty() || base[0] == '-')
		base = "x" + base;
	std::string name = base;
	for (int i = 2; !names_[section].insert(name).second; i++)
		name = fmt::format("{}-{}", base, i);
	return name;
}

void Draft::set_forwarding(YAML::Node server, const std::vector<Address> &own_sources)
{
	const std::vector<Address> &given = own_sources.empty() ? options_.source_addresses : own_sources;
	const auto address = Address::parse(server["address"].as<std::string>(""));

	any_server_ = true;
	server["forwarding"] = "dnat";
	for (const Address &source : given) {
		if (address && source.is_ipv4() == address->is_ipv4()) {
			server["forwarding"] = "fullnat";
			server["source_addresses"].push_back(source.text());
		}
	}
}

Conversion Draft::finish()
{
	Conversion result;

	std::multimap<int, ConversionNote> by_line;
	for (const ConversionNote &note : notes_)
		by_line.emplace(note.line, note);
	for (const auto &[line, note] : by_line)
		result.notes.push_back(note);
	if (!any_server_)
		return result;
	result.yaml = document_.text();
	ConfigResult parsed = parse_config(result.yaml);
	if (const auto *errors = std::get_if<ConfigErrors>(&parsed))
		result.errors = *errors;
	return result;
}

} // namespace holdfast
