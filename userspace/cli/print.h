// SPDX-License-Identifier: GPL-2.0
// The daemon's answers as tables for people.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace holdfast
{

// Aligned columns, two spaces between them; numbers to the right.
class Table
{
public:
	explicit Table(std::vector<std::string> header);
	void add(std::vector<std::string> row);
	std::string text() const;

private:
	std::vector<std::vector<std::string>> rows_;
};

std::string print_status(const nlohmann::json &body);
std::string print_virtual_servers(const nlohmann::json &list);
std::string print_pools(const nlohmann::json &list);
// Of a member that is being drained.
std::string print_forecast(const nlohmann::json &left);
std::string print_event(const nlohmann::json &event);
std::string print_members(const nlohmann::json &list);
std::string print_rules(const nlohmann::json &list);
std::string print_interfaces(const nlohmann::json &list);
// Only the counters that are not zero, unless `all`.
std::string print_counters(const nlohmann::json &list, bool all);
// Errors first.
std::string print_findings(const nlohmann::json &list);
std::string print_advice(const nlohmann::json &body);
std::string print_sessions(const nlohmann::json &body);
std::string print_connections(const nlohmann::json &body);
std::string print_explanation(const nlohmann::json &body);

// "47 s", "5 min", "3 h": what fits a column.
std::string print_seconds(uint64_t seconds);

} // namespace holdfast
