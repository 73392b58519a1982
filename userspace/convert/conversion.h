// SPDX-License-Identifier: GPL-2.0
// Configurations of other balancers as one of Holdfast's: what can be said here is, and
// what cannot is listed by its line, nothing silently.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/document.h"

namespace holdfast
{

struct ConversionNote {
	int line = 0;     // of the file that is converted, from 1; 0: of none
	std::string what; // the directive as it stands there
	std::string why;  // it is not, or not exactly, what the configuration says now

	std::string text(const std::string &file) const;
};

// What those files do not say.
struct ConversionOptions {
	std::vector<std::string> interfaces = {"eth0"};
	std::optional<Address> address;        // of frontends that listen on every address
	std::vector<Address> source_addresses; // members see clients as these: fullnat; none: dnat
};

struct Conversion {
	std::string yaml; // empty: there is no virtual server in it
	std::vector<ConversionNote> notes;
	ConfigErrors errors; // of `yaml`: what a person has to mend
};

// haproxy.cfg, up to HAProxy 2.6's directives; ${VARIABLES} and .if are not expanded.
Conversion convert_haproxy(const std::string &text, const ConversionOptions &options);
// keepalived.conf, up to keepalived 2.2's virtual_server blocks; includes are not followed.
Conversion convert_keepalived(const std::string &text, const ConversionOptions &options);

// The configuration while it is made.
class Draft
{
public:
	explicit Draft(const ConversionOptions &options);

	// Once for a line and a text.
	void note(int line, const std::string &what, const std::string &why);
	// A name as names are allowed here, and nobody else's in that section.
	std::string name(const std::string &section, const std::string &wanted);
	YAML::Node add(const std::string &section, const std::string &name) { return document_.add(section, name); }
	// Which of fullnat and dnat, by what is known of source addresses.
	void set_forwarding(YAML::Node server, const std::vector<Address> &own_sources);
	const ConversionOptions &options() const { return options_; }
	Conversion finish();

private:
	ConversionOptions options_;
	ConfigDocument document_;
	std::map<std::string, std::set<std::string>> names_; // by section
	std::vector<ConversionNote> notes_;
	bool any_server_ = false;
};

} // namespace holdfast
