// SPDX-License-Identifier: GPL-2.0
#include <fmt/format.h>
#include <map>

#include "control/controller.h"

namespace holdfast
{

namespace
{

template <typename Object> void compare(const char *kind, const std::vector<Object> &from,
					const std::vector<Object> &to, std::vector<std::string> &lines)
{
	std::map<std::string, const Object *> old;

	for (const Object &object : from)
		old[object.name] = &object;
	for (const Object &object : to) {
		auto found = old.find(object.name);

		if (found == old.end()) {
			lines.push_back(fmt::format("add {} {}", kind, object.name));
			continue;
		}
		if (!(*found->second == object))
			lines.push_back(fmt::format("change {} {}", kind, object.name));
		old.erase(found);
	}
	for (const auto &entry : old)
		lines.push_back(fmt::format("remove {} {}", kind, entry.first));
}

// Members with their pool's name in front.
std::vector<Member> all_members(const Config &config)
{
	std::vector<Member> members;

	for (const Pool &pool : config.pools) {
		for (Member member : pool.members) {
			member.name = member_key(pool.name, member.name);
			members.push_back(member);
		}
	}
	return members;
}

// Pools without members: those are compared by themselves.
std::vector<Pool> bare_pools(const Config &config)
{
	std::vector<Pool> pools = config.pools;

	for (Pool &pool : pools)
		pool.members.clear();
	return pools;
}

} // namespace

std::vector<std::string> describe_changes(const Config &from, const Config &to)
{
	std::vector<std::string> lines;

	compare("interface", from.interfaces, to.interfaces, lines);
	compare("health check", from.health_checks, to.health_checks, lines);
	compare("pool", bare_pools(from), bare_pools(to), lines);
	compare("member", all_members(from), all_members(to), lines);
	compare("persistence rule", from.rules, to.rules, lines);
	compare("virtual server", from.virtual_servers, to.virtual_servers, lines);
	if (from.hash_seed != to.hash_seed)
		lines.emplace_back("change hash_seed: clients of hash rules move");
	if (!(from.tables == to.tables))
		lines.emplace_back("change tables: takes effect after `holdfast detach` and a start");
	for (const auto &[section, same] : {std::pair("early_data", from.early_data == to.early_data),
					    {"state", from.state == to.state},
					    {"metrics", from.metrics == to.metrics},
					    {"advice", from.advice == to.advice}}) {
		if (!same)
			lines.push_back(fmt::format("change {}", section));
	}
	return lines;
}

} // namespace holdfast
