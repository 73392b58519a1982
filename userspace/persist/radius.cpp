// SPDX-License-Identifier: GPL-2.0
#include "persist/message.h"

#include <algorithm>
#include <fmt/format.h>
#include <optional>

namespace holdfast
{

namespace
{

constexpr size_t header_size = 20, longest_packet = 4096;

uint32_t big_endian(std::string_view bytes)
{
	uint32_t number = 0;

	for (const char byte : bytes)
		number = number << 8 | static_cast<uint8_t>(byte);
	return number;
}

struct Values {
	hf_parser_outcome outcome = HF_PARSER_KEYS;
	std::vector<std::optional<std::string_view>> values; // of the rule's attributes
};

// A part of a vendor-specific attribute (`whole` begins with type and length).
std::optional<std::string_view> vendor_part(std::string_view whole, uint8_t type, hf_parser_outcome &outcome)
{
	size_t place = 6;

	for (int parts = 0; parts < HF_RADIUS_VENDOR_PARTS; parts++) {
		if (place == whole.size())
			return std::nullopt;
		const size_t size = place + 1 < whole.size() ? static_cast<uint8_t>(whole[place + 1]) : 0;
		if (size < 2 || place + size > whole.size() ||
		    (static_cast<uint8_t>(whole[place]) == type && size == 2)) {
			outcome = HF_PARSER_MALFORMED;
			return std::nullopt;
		}
		if (static_cast<uint8_t>(whole[place]) == type)
			return whole.substr(place + 2, size - 2);
		place += size;
	}
	outcome = HF_PARSER_LIMIT;
	return std::nullopt;
}

// Notes an attribute where the rule looks for it.
void note(Values &found, const Rule &rule, std::string_view whole)
{
	for (size_t i = 0; i < rule.attributes.size(); i++) {
		const RadiusAttribute &wanted = rule.attributes[i];
		const RadiusType type = radius_type(wanted.type);
		std::optional<std::string_view> value = whole.substr(2);
		size_t shortest = type.shortest;

		if (static_cast<uint8_t>(whole[0]) != wanted.type || found.values[i])
			continue;
		if (wanted.vendor_id) {
			shortest = 1;
			if (whole.size() < 6) {
				found.outcome = HF_PARSER_MALFORMED;
				return;
			}
			if (big_endian(whole.substr(2, 4)) != wanted.vendor_id)
				continue;
			value = vendor_part(whole, wanted.vendor_type, found.outcome);
			if (found.outcome != HF_PARSER_KEYS)
				return;
			if (!value)
				continue;
		}
		if (value->size() < shortest || value->size() > type.longest) {
			found.outcome = HF_PARSER_MALFORMED;
			return;
		}
		found.values[i] = value;
	}
}

bool all_there(const Values &found)
{
	return std::all_of(found.values.begin(), found.values.end(),
			   [](const auto &value) { return value.has_value(); });
}

bool any_there(const Values &found)
{
	return std::any_of(found.values.begin(), found.values.end(),
			   [](const auto &value) { return value.has_value(); });
}

Values walk(std::string_view bytes, size_t end, const Rule &rule)
{
	Values found;
	size_t place = header_size;

	found.values.resize(rule.attributes.size());
	for (int count = 0; count < HF_RADIUS_ATTRIBUTES && found.outcome == HF_PARSER_KEYS; count++) {
		if (place == end)
			return found;
		// The header of an attribute may itself be out of reach.
		const bool here = place + 2 <= bytes.size(), within = here || bytes.size() >= end;
		const size_t size = here ? static_cast<uint8_t>(bytes[place + 1]) : 2;

		if (within && (size < 2 || place + size > end)) {
			found.outcome = HF_PARSER_MALFORMED;
		} else if (!here || place + size > bytes.size()) {
			found.outcome = HF_PARSER_MORE;
		} else {
			note(found, rule, bytes.substr(place, size));
			place += size;
		}
	}
	if (found.outcome == HF_PARSER_KEYS && place != end)
		found.outcome = HF_PARSER_LIMIT;
	return found;
}

} // namespace

std::string radius_digest_input(const RadiusAttribute &attribute, std::string_view value)
{
	std::string input = {static_cast<char>(attribute.type), static_cast<char>(attribute.vendor_type),
			     static_cast<char>(value.size()), static_cast<char>(value.size() >> 8)};

	for (int shift = 0; shift < 32; shift += 8)
		input += static_cast<char>(attribute.vendor_id >> shift);
	input += value;
	input.resize((input.size() + 7) / 8 * 8);
	return input;
}

MessageKeys read_radius(std::string_view bytes, size_t length, const Rule &rule, const DigestKey &key)
{
	constexpr uint8_t access_request = 1, accounting_request = 4, status_server = 12;
	MessageKeys result;

	bytes = bytes.substr(0, HF_DATAGRAM_BYTES);
	if (bytes.size() < header_size) {
		result.outcome = length < header_size ? HF_PARSER_MALFORMED : HF_PARSER_MORE;
		return result;
	}
	const auto code = static_cast<uint8_t>(bytes[0]);
	if (code != access_request && code != accounting_request && code != status_server)
		return result;
	const size_t claimed = big_endian(bytes.substr(2, 2));
	if (claimed < header_size || claimed > longest_packet || claimed > length) {
		result.outcome = HF_PARSER_MALFORMED;
		return result;
	}
	const Values found = walk(bytes, claimed, rule);
	const bool enough = rule.relation == HF_RELATION_AND ? all_there(found) : any_there(found);
	if (found.outcome != HF_PARSER_KEYS && !(found.outcome == HF_PARSER_MORE && enough)) {
		result.outcome = found.outcome;
		return result;
	}
	std::string together, readable;
	for (size_t i = 0; i < rule.attributes.size(); i++) {
		if (!found.values[i])
			continue;
		const std::string input = radius_digest_input(rule.attributes[i], *found.values[i]);
		const std::string value = fmt::format("{}={}", text(rule.attributes[i]),
						      radius_readable(rule.attributes[i], *found.values[i]));

		if (rule.relation == HF_RELATION_OR) {
			result.keys.push_back(digest(input, key));
			result.readable.push_back(value);
		}
		together += input;
		readable += (readable.empty() ? "" : ", ") + value;
	}
	if (rule.relation == HF_RELATION_AND && all_there(found)) {
		result.keys.push_back(digest(together, key));
		result.readable.push_back(readable);
	}
	result.outcome = result.keys.empty() ? HF_PARSER_NONE : HF_PARSER_KEYS;
	return result;
}

} // namespace holdfast
