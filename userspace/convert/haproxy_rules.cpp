// SPDX-License-Identifier: GPL-2.0
#include "convert/haproxy_rules.h"

#include <algorithm>
#include <map>

namespace holdfast::haproxy
{

namespace
{

class Rules
{
public:
	Rules(const Proxy &proxy, const std::string &name, Draft &draft) : proxy_(proxy), name_(name), draft_(draft) {}

	ChosenRule choose()
	{
		set_rule();
		return made_;
	}

private:
	void set_rule();
	bool rule_of_cookie();
	bool rule_of_table();
	bool rule_of_key(const Line &line, const std::string &expression, const Line *table);
	void rule_of_balance(bool has_rule);
	YAML::Node add_rule(const char *type, bool reads_http);

	const Proxy &proxy_;
	const std::string &name_;
	Draft &draft_;
	ChosenRule made_;
};

YAML::Node Rules::add_rule(const char *type, bool reads_http)
{
	made_.rule = draft_.name("persistence", name_);
	made_.reads_http = reads_http;
	YAML::Node rule = draft_.add("persistence", made_.rule);
	rule["type"] = type;
	return rule;
}

bool Rules::rule_of_cookie()
{
	const Line *line = proxy_.find({"cookie"});

	if (!line)
		return false;
	if (!proxy_.http()) {
		draft_.note(line->number, line->text(), "cookies need mode http");
		return false;
	}
	const bool insert = line->has("insert");
	if (!insert && !line->has("prefix") && !line->has("rewrite")) {
		add_rule("persistent-cookie", true)["keyword"] = line->word(1);
		draft_.note(line->number, line->text(), "the servers' own cookie is learnt from their answers");
		return true;
	}
	const char *type = insert ? "insert-cookie" : line->has("prefix") ? "embedded-cookie" : "rewrite-cookie";
	YAML::Node rule = add_rule(type, true);
	rule["keyword"] = line->word(1);
	for (const char *word : {"preserve", "postonly", "dynamic", "maxlife"}) {
		if (line->has(word))
			draft_.note(line->number, line->text(), fmt::format("'{}' has no counterpart", word));
	}
	if (!insert)
		return true;
	const std::string idle = line->after("maxidle");
	if (idle.empty()) {
		rule["timeout"] = 86400;
		draft_.note(line->number, line->text(),
			    "cookies carry when they expire: a day after their last use, which is the most (timeout)");
	} else {
		// Without a unit these are seconds.
		if (const auto seconds = number_of(idle))
			rule["timeout"] = std::clamp<int64_t>(*seconds, 1, 86400);
		else
			set_seconds(rule, "timeout", draft_, *line, idle, 86400);
	}
	draft_.note(line->number, line->text(),
		    "cookies that HAProxy has given carry no date: their clients are balanced once more");
	if (line->has("httponly"))
		rule["httponly"] = true;
	if (line->has("secure"))
		rule["secure"] = true;
	if (const std::string domain = line->after("domain"); !domain.empty())
		rule["domain"] = domain;
	std::string attribute = line->after("attr");
	std::transform(attribute.begin(), attribute.end(), attribute.begin(),
		       [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
	if (attribute.starts_with("samesite="))
		rule["samesite"] = attribute.substr(9);
	else if (!attribute.empty())
		draft_.note(line->number, line->text(), "give the attribute as custom_attribute");
	return true;
}

// By an expression, as `stick on` and `balance hash` have it.
bool Rules::rule_of_key(const Line &line, const std::string &expression, const Line *table)
{
	const auto [sample, converter] = split_converter(expression);
	const auto [fetch, argument] = call_of(sample);
	const std::string timeout = table ? table->after("expire") : "";
	const auto set_timeout = [&](const YAML::Node &rule) {
		if (!timeout.empty())
			set_seconds(rule, "timeout", draft_, *table, timeout, 86400);
	};
	const auto hash = [&](const char *type) {
		add_rule(type, true)["keyword"] = argument;
		if (!timeout.empty())
			draft_.note(line.number, line.text(), "this is a hash: no table is kept, and nothing expires");
	};

	if (fetch == "src") {
		YAML::Node rule = add_rule("source-address", false);
		const auto [name, bits] = call_of(converter);

		set_timeout(rule);
		if (name == "ipmask") {
			const size_t both = bits.find(',');

			rule["ipv4_mask_bits"] = bits.substr(0, both);
			if (both != std::string::npos)
				rule["ipv6_mask_bits"] = bits.substr(both + 1);
		} else if (!converter.empty()) {
			draft_.note(line.number, line.text(), fmt::format("'{}' has no counterpart", converter));
		}
		return true;
	}
	if (!converter.empty())
		draft_.note(line.number, line.text(), fmt::format("'{}' has no counterpart", converter));
	if (fetch == "req.cook" || fetch == "cook" || fetch == "cookie")
		hash("cookie-hash");
	else if (fetch == "req.hdr" || fetch == "hdr" || fetch == "req.fhdr")
		hash("http-header-hash");
	else if (fetch == "url_param" || fetch == "urlp")
		hash("http-request-hash");
	else if (fetch == "rdp_cookie" || fetch == "req.rdp_cookie")
		set_timeout(add_rule("rdp-cookie", false));
	else if (fetch == "ssl_fc_session_id" || (fetch == "payload_lv" && argument.starts_with("43,1")) ||
		 (fetch == "req.payload_lv" && argument.starts_with("43,1")))
		set_timeout(add_rule("ssl-session-id", false));
	else
		return false;
	return true;
}

bool Rules::rule_of_table()
{
	const Line *table = proxy_.find({"stick-table"});
	const std::string timeout = table ? table->after("expire") : "";
	std::string learnt; // the cookie of which that is said
	bool any = false;

	if (const Line *session = proxy_.find({"appsession"})) {
		YAML::Node rule = add_rule("persistent-cookie", true);

		rule["keyword"] = session->word(1);
		if (const std::string idle = session->after("timeout"); !idle.empty())
			set_seconds(rule, "timeout", draft_, *session, idle, 86400);
		return true;
	}
	// A cookie that servers set is stored by one line, and looked up by another.
	for (const Line &line : proxy_.lines) {
		const auto [fetch, argument] = call_of(line.word(2));

		if (line.words[0] != "stick" || line.word(1) != "store-response")
			continue;
		if (fetch == "res.cook" || fetch == "scook" || fetch == "set-cookie") {
			YAML::Node rule = add_rule("persistent-cookie", true);

			rule["keyword"] = learnt = argument;
			if (!timeout.empty())
				set_seconds(rule, "timeout", draft_, *table, timeout, 86400);
			any = true;
		}
	}
	for (const Line &line : proxy_.lines) {
		if (line.words[0] != "stick")
			continue;
		if (line.has("if") || line.has("unless"))
			draft_.note(line.number, line.text(), "conditions have no counterpart: it holds always");
		if (line.has("table"))
			draft_.note(line.number, line.text(),
				    "tables are a rule's: match_across has virtual servers of one pool share them");
		if (line.word(1) != "on" && line.word(1) != "match") {
			// The other half of a line that looks the key up.
			const bool looked_up =
				std::any_of(proxy_.lines.begin(), proxy_.lines.end(), [&](const Line &other) {
					return other.words[0] == "stick" &&
					       (other.word(1) == "on" || other.word(1) == "match") &&
					       call_of(other.word(2)).second == call_of(line.word(2)).second;
				});

			if (!looked_up)
				draft_.note(line.number, line.text(),
					    "what is only stored, and not looked up, does nothing");
		} else if (!any) {
			any = rule_of_key(line, line.word(2), table);
			if (!any)
				draft_.note(line.number, line.text(), "no rule has this as its key");
		} else if (learnt.empty() || call_of(line.word(2)).second != learnt) {
			draft_.note(line.number, line.text(), "a virtual server has one key: the one before");
		}
	}
	if (table && !any)
		draft_.note(table->number, table->text(),
			    "without a `stick` line that can be converted it keeps nothing");
	return any;
}

void Rules::rule_of_balance(bool has_rule)
{
	static const std::map<std::string, const char *> methods = {{"roundrobin", "round-robin"},
								    {"static-rr", "round-robin"},
								    {"leastconn", "least-connections"},
								    {"random", "random"},
								    {"source", "source-hash"}};
	const Line *line = proxy_.find({"balance"});

	if (!line)
		return;
	const std::string name = call_of(line->word(1)).first;
	if (const auto found = methods.find(name); found != methods.end()) {
		made_.method = found->second;
		return;
	}
	if (has_rule) {
		draft_.note(line->number, line->text(),
			    "there is a rule already, and it has one key: who has none gets the next member in turn");
		return;
	}
	const std::string expression = name == "hash"         ? line->word(2)
				       : name == "url_param"  ? "url_param(" + line->word(2) + ")"
				       : name == "rdp-cookie" ? "rdp_cookie"
							      : line->word(1);
	if (expression == "src")
		made_.method = "source-hash";
	else if (!rule_of_key(*line, expression, nullptr))
		draft_.note(line->number, line->text(), "has no counterpart: round-robin");
}

void Rules::set_rule()
{
	bool has_rule = rule_of_cookie();
	const bool sticks = proxy_.find({"stick"}) || proxy_.find({"appsession"}) || proxy_.find({"stick-table"});

	if (has_rule && sticks) {
		for (const Line &line : proxy_.lines) {
			if (line.words[0] == "stick" || line.words[0] == "stick-table")
				draft_.note(line.number, line.text(), "a virtual server has one rule: the cookie's");
		}
	} else if (sticks) {
		has_rule = rule_of_table();
	}
	rule_of_balance(has_rule);
}

} // namespace

std::optional<int64_t> whole_seconds(Draft &draft, const Line &line, const std::string &text, int64_t most)
{
	const auto seconds = seconds_of(text);

	if (!seconds) {
		draft.note(line.number, line.text(), fmt::format("'{}' is not a time", text));
		return std::nullopt;
	}
	if (*seconds == 0) {
		draft.note(line.number, line.text(), fmt::format("no limit: the longest there is, {} s", most));
		return most;
	}
	const auto whole =
		std::max<int64_t>(1, static_cast<int64_t>(std::min(*seconds + 0.999, static_cast<double>(most))));
	if (static_cast<double>(whole) != *seconds)
		draft.note(line.number, line.text(),
			   fmt::format("times are whole seconds from 1 to {}: {}", most, whole));
	return whole;
}

void set_seconds(YAML::Node node, const char *key, Draft &draft, const Line &line, const std::string &text,
		 int64_t most)
{
	if (const auto seconds = whole_seconds(draft, line, text, most))
		node[key] = *seconds;
}

ChosenRule choose_rule(const Proxy &proxy, const std::string &name, Draft &draft)
{
	return Rules(proxy, name, draft).choose();
}

} // namespace holdfast::haproxy
