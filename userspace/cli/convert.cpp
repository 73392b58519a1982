// SPDX-License-Identifier: GPL-2.0
#include "cli/convert.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/outcome.h"
#include "convert/conversion.h"
#include "util/file.h"

namespace holdfast
{

namespace
{

using nlohmann::json;

void print_json(const Conversion &conversion)
{
	json notes = json::array(), errors = json::array();

	for (const ConversionNote &note : conversion.notes)
		notes.push_back({{"line", note.line}, {"what", note.what}, {"why", note.why}});
	for (const ConfigError &error : conversion.errors)
		errors.push_back({{"path", error.path}, {"message", error.message}});
	fmt::print("{}\n", json{{"config", conversion.yaml}, {"notes", notes}, {"errors", errors}}.dump(
				   1, ' ', false, json::error_handler_t::replace));
}

// Nothing: it has been said that it is no address.
std::optional<Address> read_address(const char *option, const std::string &text)
{
	const auto address = Address::parse(text);

	if (!address || !address->is_unicast()) {
		complain(fmt::format("{}: '{}' is not an address that a host can have", option, text));
		return std::nullopt;
	}
	return address;
}

} // namespace

int convert_file(const std::string &kind, const ConvertOptions &options)
{
	const auto text = read_file(options.file);
	ConversionOptions given;

	if (!text) {
		complain(text.error().message());
		return failed;
	}
	if (!options.interfaces.empty())
		given.interfaces = options.interfaces;
	if (!options.address.empty()) {
		given.address = read_address("--address", options.address);
		if (!given.address)
			return wrong_usage;
	}
	for (const std::string &source : options.sources) {
		const auto address = read_address("--source", source);

		if (!address)
			return wrong_usage;
		given.source_addresses.push_back(*address);
	}
	const Conversion conversion =
		kind == "haproxy" ? convert_haproxy(*text, given) : convert_keepalived(*text, given);
	if (options.as_json) {
		print_json(conversion);
	} else {
		fmt::print("{}", conversion.yaml);
		for (const ConversionNote &note : conversion.notes)
			fmt::print(stderr, "{}\n", note.text(options.file));
		for (const ConfigError &error : conversion.errors)
			fmt::print(stderr, "to be mended in what is printed: {}: {}\n", error.path, error.message);
	}
	if (conversion.yaml.empty()) {
		complain(fmt::format("{}: there is no virtual server in it that can be converted", options.file));
		return failed;
	}
	return conversion.errors.empty() ? done : failed;
}

} // namespace holdfast
