// SPDX-License-Identifier: GPL-2.0
// The two line formats of port-forwarding rules and their settings: fields separated by
// single spaces, one rule a line.
//
//   PROTOCOL FORWARDING-PORT ORIGIN-PORT ADDRESS[,ADDRESS...]
//   PORT PROTOCOL PERSISTENCE CHECK-TYPE CHECK-PORT TIMEOUT INTERVAL UNHEALTHY HEALTHY [PATH [HOST]]
//
// The ranges are those of the format, not those of the configuration, which are wider.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "model/model.h"

namespace holdfast
{

// Of a line: from 1; 0: of none.
struct TxtProblem {
	int line = 0;
	std::string field, reason;

	std::string text(const std::string &file) const;
};

// A rule's place: its port, and its protocol.
using TxtPlace = std::pair<uint16_t, hf_protocol>;

struct TxtForwarding {
	uint16_t origin_port = 0;
	std::vector<Address> members;
	int line = 0;
};

struct TxtSettings {
	uint32_t persistence = 0; // seconds; 0: off
	HealthCheck check;        // its port is given
	int line = 0;
};

struct TxtRules {
	std::map<TxtPlace, TxtForwarding> forwarding;
	std::map<TxtPlace, TxtSettings> settings;
	std::vector<TxtProblem> problems, warnings;
};

// What is wrong is in `problems`, all of it; then nothing else is to be used.
TxtRules parse_txt(const std::string &text);

// By port, then protocol; forwarding first. Reading it again gives the same.
std::string render_txt(const TxtRules &rules);

// What the format has for a configuration's values; empty where it can say them.
std::string txt_objection(const HealthCheck &check, hf_protocol protocol);
bool txt_has_persistence(uint32_t seconds);

} // namespace holdfast
