// SPDX-License-Identifier: GPL-2.0
// What a backend says of persistence and balancing, as a rule and a method: its cookie, its
// stick table, or the key that it hashes, in this order. A virtual server has one rule.
#pragma once

#include "convert/conversion.h"
#include "convert/haproxy_file.h"

namespace holdfast::haproxy
{

struct ChosenRule {
	std::string rule; // its name; empty: there is none
	const char *method = "round-robin";
	bool reads_http = false;
};

// The rule is put into the draft under a name like that.
ChosenRule choose_rule(const Proxy &proxy, const std::string &name, Draft &draft);

// A time in whole seconds, from 1 to `most`; what is lost by that is noted. Nothing: it is no time, which is noted, too.
std::optional<int64_t> whole_seconds(Draft &draft, const Line &line, const std::string &text, int64_t most);
void set_seconds(YAML::Node node, const char *key, Draft &draft, const Line &line, const std::string &text,
		 int64_t most);

} // namespace holdfast::haproxy
