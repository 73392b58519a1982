// SPDX-License-Identifier: GPL-2.0
#include "config/rules.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fmt/format.h>
#include <set>

#include "model/iso8583.h"

namespace holdfast
{

namespace
{

// The settings that a type has; `timeout` also those that keep a table.
std::set<std::string> settings_of(hf_rule_type type)
{
	switch (type) {
	case HF_RULE_SOURCE_ADDRESS:
		return {"ipv4_mask_bits", "ipv6_mask_bits", "match_across"};
	case HF_RULE_RADIUS_ATTRIBUTE:
		return {"match_across", "override_connection_limit", "relation", "attributes"};
	case HF_RULE_HTTP_HEADER_HASH:
	case HF_RULE_HTTP_REQUEST_HASH:
	case HF_RULE_COOKIE_HASH:
	case HF_RULE_PERSISTENT_COOKIE:
	case HF_RULE_REWRITE_COOKIE:
	case HF_RULE_EMBEDDED_COOKIE:
		return {"keyword"};
	case HF_RULE_INSERT_COOKIE:
		return {"timeout", "keyword", "domain", "httponly", "secure", "samesite", "custom_attribute"};
	case HF_RULE_PASSIVE_COOKIE:
		return {"match_across", "session_keyword_type", "keyword"};
	case HF_RULE_ISO8583_BITMAP:
		return {"bitmap_relation", "keyvalue_relation", "fields", "framing", "encoding"};
	default:
		return {};
	}
}

void read_attribute(ObjectReader &reader, Rule &rule)
{
	const auto given = reader.text("type", true);
	const std::string text = given.value_or("");
	const char *end = text.data() + text.size();
	RadiusAttribute attribute;
	unsigned number = 0;

	if (auto named = radius_number(text)) {
		number = *named;
	} else if (const auto [stop, status] = std::from_chars(text.data(), end, number);
		   given && (status != std::errc() || stop != end || number < 1 || number > 255)) {
		reader.error("type", fmt::format("'{}' is not a RADIUS attribute; allowed: 1-255, or a name as in "
						 "User-Name",
						 text));
		number = 0;
	}
	// They are other ones in every packet.
	for (const auto &[secret, name] :
	     {std::pair(2U, "User-Password"), {3U, "CHAP-Password"}, {80U, "Message-Authenticator"}}) {
		if (number == secret)
			reader.error("type", fmt::format("{} ({}) differs from packet to packet and cannot be a key",
							 secret, name));
	}
	attribute.type = static_cast<uint8_t>(number);
	const bool vendor = number == radius_vendor_specific;
	for (const char *key : {"vendor_id", "vendor_type"}) {
		if (!vendor && reader.has(key)) {
			reader.text(key);
			reader.error(key, "belongs to type 26 (Vendor-Specific) only");
		}
	}
	if (vendor) {
		const bool has_id = reader.has("vendor_id"), has_type = reader.has("vendor_type");
		const auto id = reader.integer("vendor_id", 0, 16777215), type = reader.integer("vendor_type", 0, 255);

		attribute.vendor_id = static_cast<uint32_t>(id.value_or(0));
		attribute.vendor_type = static_cast<uint8_t>(type.value_or(0));
		// A value that was refused has had its error.
		if (has_id == id.has_value() && has_type == type.has_value() &&
		    !attribute.vendor_id != !attribute.vendor_type)
			reader.error("vendor_type",
				     "vendor_id and vendor_type go together; both 0: the whole attribute");
	}
	for (const RadiusAttribute &other : rule.attributes) {
		if (number && other == attribute)
			reader.error("type", fmt::format("{} is given twice", holdfast::text(attribute)));
	}
	rule.attributes.push_back(attribute);
}

void read_radius(ObjectReader &reader, Rule &rule)
{
	rule.override_connection_limit = reader.boolean("override_connection_limit").value_or(false);
	if (auto relation = reader.word<hf_relation>("relation", {{"and", HF_RELATION_AND}, {"or", HF_RELATION_OR}}))
		rule.relation = *relation;
	reader.each("attributes", [&](ObjectReader &attribute) { read_attribute(attribute, rule); });
	if (rule.attributes.empty() || rule.attributes.size() > HF_KEYS)
		reader.error("attributes", fmt::format("{} of them; allowed: 1-{}", rule.attributes.size(),
						       static_cast<int>(HF_KEYS)));
}

// RFC 9110, 5.6.2; the names of cookies are tokens, too (RFC 6265, 4.1.1).
bool is_token(const std::string &text)
{
	return std::all_of(text.begin(), text.end(), [](unsigned char c) {
		return c > 0x20 && c < 0x7f && !std::strchr("()<>@,;:\\\"/[]?={}", c);
	});
}

// What can stand in a URL's query, but for what separates one parameter from another.
bool is_parameter(const std::string &text)
{
	return std::all_of(text.begin(), text.end(),
			   [](unsigned char c) { return c > 0x20 && c < 0x7f && !std::strchr("&=#\"<>", c); });
}

void read_keyword(ObjectReader &reader, Rule &rule)
{
	const bool parameter = rule.type == HF_RULE_HTTP_REQUEST_HASH, header = rule.type == HF_RULE_HTTP_HEADER_HASH;
	const bool custom = rule.session_keyword == SessionKeyword::custom;
	const bool optional = rule.type == HF_RULE_COOKIE_HASH || (rule.type == HF_RULE_PASSIVE_COOKIE && !custom);
	auto keyword = reader.text("keyword", !optional);

	if (!keyword)
		return;
	if (rule.type == HF_RULE_PASSIVE_COOKIE && !custom) {
		reader.error("keyword", "belongs to session_keyword_type custom only");
		return;
	}
	if (keyword->empty() || keyword->size() > HF_KEYWORD_LENGTH ||
	    !(parameter ? is_parameter(*keyword) : is_token(*keyword))) {
		reader.error("keyword", fmt::format("'{}' is not the name of a {}; allowed: 1-{} {}", *keyword,
						    parameter ? "URL parameter"
						    : header  ? "header"
							      : "cookie",
						    static_cast<int>(HF_KEYWORD_LENGTH),
						    parameter ? "visible characters other than & = # \" < >"
							      : "letters, digits and !#$%&'*+-.^_`|~"));
		return;
	}
	rule.keyword = *keyword;
}

void read_iso8583(ObjectReader &reader, Rule &rule)
{
	const std::vector<std::pair<std::string, hf_relation>> relations = {{"and", HF_RELATION_AND},
									    {"or", HF_RELATION_OR}};

	if (auto relation = reader.word<hf_relation>("bitmap_relation", relations))
		rule.bitmap_relation = *relation;
	if (auto relation = reader.word<hf_relation>("keyvalue_relation", relations))
		rule.relation = *relation;
	// With all of the fields, the key is always made of all of them.
	if (rule.bitmap_relation == HF_RELATION_AND)
		rule.relation = HF_RELATION_AND;
	if (auto framing = reader.word<Iso8583Framing>(
		    "framing", with_words<Iso8583Framing>({Iso8583Framing::length16, Iso8583Framing::ascii4})))
		rule.framing = *framing;
	if (auto encoding = reader.word<Iso8583Encoding>(
		    "encoding", with_words<Iso8583Encoding>({Iso8583Encoding::binary, Iso8583Encoding::ascii})))
		rule.encoding = *encoding;
	for (const int64_t field : reader.integers("fields", 1, 128)) {
		const auto number = static_cast<uint8_t>(field);

		if (!iso8583_key_fields().contains(number))
			reader.error("fields",
				     fmt::format("{} cannot be a key; allowed: {}", number, iso8583_key_fields_text()));
		else if (std::find(rule.fields.begin(), rule.fields.end(), number) != rule.fields.end())
			reader.error("fields", fmt::format("{} is given twice", number));
		rule.fields.push_back(number);
	}
	if (rule.fields.empty())
		reader.error("fields", "a rule of this type needs at least one");
	if (rule.relation == HF_RELATION_OR && rule.fields.size() > HF_KEYS)
		reader.error("fields", fmt::format("{} of them; with keyvalue_relation: or at most {}",
						   rule.fields.size(), static_cast<int>(HF_KEYS)));
	std::sort(rule.fields.begin(), rule.fields.end());
}

bool is_domain(const std::string &text)
{
	return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
		return (std::isalnum(c) && c < 128) || c == '.' || c == '-';
	});
}

// The attributes of a cookie that is inserted, in this order (RFC 6265, 4.1.2).
void read_cookie_attributes(ObjectReader &reader, Rule &rule)
{
	const std::string custom = reader.text("custom_attribute").value_or("");
	std::string attributes = "; path=/";

	for (const char *key : {"domain", "httponly", "secure", "samesite"}) {
		if (reader.has("custom_attribute") && reader.has(key))
			reader.error(key, "custom_attribute takes the place of domain, httponly, secure and samesite: "
					  "set one or the others");
	}
	if (std::any_of(custom.begin(), custom.end(), [](unsigned char c) { return c < 0x20 || c >= 0x7f; }))
		reader.error("custom_attribute", "allowed: visible ASCII characters and spaces");
	if (auto domain = reader.text("domain")) {
		if (!is_domain(*domain))
			reader.error("domain",
				     fmt::format("'{}' is not a domain; allowed: letters, digits, \".\" and \"-\"",
						 *domain));
		attributes += "; domain=" + *domain;
	}
	if (reader.boolean("httponly").value_or(false))
		attributes += "; HttpOnly";
	const bool secure = reader.boolean("secure").value_or(false);
	if (secure)
		attributes += "; Secure";
	const std::string samesite =
		reader.word<std::string>("samesite",
					 {{"nothing", ""}, {"none", "None"}, {"lax", "Lax"}, {"strict", "Strict"}})
			.value_or("");
	if (samesite == "None" && !secure)
		reader.error("samesite", "none needs secure: true; browsers refuse such a cookie otherwise");
	if (!samesite.empty())
		attributes += "; SameSite=" + samesite;
	if (!custom.empty())
		attributes += "; " + custom;
	rule.cookie_attributes = attributes;
	const size_t longest = std::string("Set-Cookie: =|").size() + rule.keyword.size() + HF_NAME_LENGTH +
			       HF_COOKIE_DATE_LENGTH + attributes.size() + 2;
	if (longest > HF_EDIT_BYTES)
		reader.error(reader.has("custom_attribute") ? "custom_attribute"
			     : reader.has("domain")         ? "domain"
							    : "keyword",
			     fmt::format("keyword and attributes have {} bytes together; allowed: at most {}",
					 rule.keyword.size() + attributes.size(),
					 rule.keyword.size() + attributes.size() - (longest - HF_EDIT_BYTES)));
}

// Settings of other types: named as such.
void refuse_settings(ObjectReader &reader, const Rule &rule)
{
	const std::set<std::string> known = settings_of(rule.type);

	for (const char *key :
	     {"timeout", "ipv4_mask_bits", "ipv6_mask_bits", "match_across", "override_connection_limit", "relation",
	      "attributes", "session_keyword_type", "keyword", "bitmap_relation", "keyvalue_relation", "fields",
	      "framing", "encoding", "domain", "httponly", "secure", "samesite", "custom_attribute"}) {
		const bool has = known.contains(key) || (std::string(key) == "timeout" && keeps_table(rule.type));

		if (has || !reader.has(key))
			continue;
		reader.forget(key);
		reader.error(key, std::string(key) != "timeout" || keeps_table(rule.type)
					  ? fmt::format("a rule of type {} has no such setting", word(rule.type))
					  : fmt::format("a rule of type {} keeps no sessions and has no such setting",
							word(rule.type)));
	}
}

} // namespace

std::optional<Rule> read_rule_settings(ObjectReader &reader)
{
	Rule rule;

	auto type = reader.word<hf_rule_type>("type", with_words(rule_types()), true);
	if (!type) {
		reader.ignore_the_rest();
		return std::nullopt;
	}
	rule.type = *type;
	if (keeps_table(rule.type) || rule.type == HF_RULE_INSERT_COOKIE) {
		if (auto timeout = reader.integer("timeout", HF_SESSION_TIMEOUT_MIN, HF_SESSION_TIMEOUT_MAX))
			rule.timeout = static_cast<uint32_t>(*timeout);
	}
	if (rule.type == HF_RULE_SOURCE_ADDRESS) {
		if (auto bits = reader.integer("ipv4_mask_bits", 1, 32))
			rule.ipv4_mask_bits = static_cast<uint8_t>(*bits);
		if (auto bits = reader.integer("ipv6_mask_bits", 1, 128))
			rule.ipv6_mask_bits = static_cast<uint8_t>(*bits);
	}
	if (settings_of(rule.type).contains("match_across"))
		rule.match_across = reader.boolean("match_across").value_or(false);
	if (rule.type == HF_RULE_RADIUS_ATTRIBUTE)
		read_radius(reader, rule);
	if (rule.type == HF_RULE_PASSIVE_COOKIE) {
		if (auto keyword = reader.word<SessionKeyword>(
			    "session_keyword_type",
			    with_words<SessionKeyword>({SessionKeyword::automatic, SessionKeyword::phpsessid,
							SessionKeyword::jsessionid, SessionKeyword::cfid_cftoken,
							SessionKeyword::asp_net, SessionKeyword::custom})))
			rule.session_keyword = *keyword;
	}
	if (settings_of(rule.type).contains("keyword"))
		read_keyword(reader, rule);
	if (rule.type == HF_RULE_INSERT_COOKIE)
		read_cookie_attributes(reader, rule);
	if (rule.type == HF_RULE_ISO8583_BITMAP)
		read_iso8583(reader, rule);
	refuse_settings(reader, rule);
	return rule;
}

} // namespace holdfast
