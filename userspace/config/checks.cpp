// SPDX-License-Identifier: GPL-2.0
#include "config/checks.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <set>
#include <tuple>

namespace holdfast
{

namespace
{

class Checks
{
public:
	Checks(const Config &config, const Written &written, ConfigErrors &errors)
		: config_(config), written_(written), places_(written.servers), errors_(errors)
	{
	}

	void waits();
	void references();
	void addresses();
	void overlaps();
	void across();
	void health();

private:
	void direct(const VirtualServer &server, const ServerPlaces &places, hf_rule_type rule, const Pool *pool);

	const Config &config_;
	const Written &written_;
	const std::vector<ServerPlaces> &places_;
	ConfigErrors &errors_;
};

void Checks::waits()
{
	for (size_t i = 0; i < config_.virtual_servers.size(); i++) {
		const VirtualServer &server = config_.virtual_servers[i];

		if (server.server_first_wait >= config_.early_data.timeout)
			report(errors_, places_[i].server_first_wait,
			       fmt::format("{} s; allowed: less than early_data.timeout, {} s",
					   server.server_first_wait, config_.early_data.timeout));
	}
}

void Checks::references()
{
	std::map<std::string, const Pool *> pools;
	std::map<std::string, const Rule *> rules;

	for (const Pool &pool : config_.pools)
		pools.emplace(pool.name, &pool);
	for (const Rule &rule : config_.rules)
		rules.emplace(rule.name, &rule);
	for (size_t i = 0; i < config_.virtual_servers.size(); i++) {
		const VirtualServer &server = config_.virtual_servers[i];

		if (places_[i].has_pool)
			written_.pool_names.check(places_[i].pool, server.pool);
		if (places_[i].has_persistence)
			written_.rule_names.check(places_[i].persistence, server.persistence);
		auto rule = rules.find(server.persistence);
		if (rule != rules.end() && places_[i].has_protocol && !serves(rule->second->type, server.protocol))
			report(errors_, places_[i].persistence,
			       fmt::format("a rule of type {} needs protocol {}", word(rule->second->type),
					   reads_streams(rule->second->type) ? "tcp" : "udp"));
		if (rule != rules.end() && server.x_forwarded_for && reads_streams(rule->second->type) &&
		    !reads_http(rule->second->type))
			report(errors_, places_[i].x_forwarded_for,
			       fmt::format("a rule of type {} does not read HTTP, to whose requests a header could be "
					   "added",
					   word(rule->second->type)));
		auto pool = pools.find(server.pool);
		if (server.forwarding == HF_FORWARDING_DIRECT && places_[i].has_forwarding && places_[i].has_protocol)
			direct(server, places_[i], rule == rules.end() ? HF_RULE_NONE : rule->second->type,
			       pool == pools.end() ? nullptr : pool->second);
		if (pool == pools.end() || server.address == Address() || !places_[i].has_forwarding)
			continue;
		for (const Member &member : pool->second->members) {
			if (member.address != Address() && member.address.is_ipv4() != has_ipv4_members(server)) {
				report(errors_, places_[i].pool,
				       fmt::format("{} needs {} members: {} is an {} address, member {}/{} is {}",
						   word(server.forwarding), family(has_ipv4_members(server)),
						   server.address.text(), family(server.address.is_ipv4()), server.pool,
						   member.name, member.address.text()));
				break;
			}
			if (member.address == server.address && server.address != Address()) {
				report(errors_, places_[i].pool,
				       fmt::format("member {}/{} has the virtual server's own address {}", server.pool,
						   member.name, server.address.text()));
				break;
			}
		}
	}
}

// Of one address there is one host: this one, or a member.
void Checks::addresses()
{
	std::map<Address, std::string> members;
	std::map<Address, std::string> servers;

	for (const Pool &pool : config_.pools) {
		for (const Member &member : pool.members)
			members.emplace(member.address, member_key(pool.name, member.name));
	}
	for (const VirtualServer &server : config_.virtual_servers)
		servers.emplace(server.address, server.name);
	members.erase(Address());
	servers.erase(Address());
	for (size_t i = 0; i < config_.virtual_servers.size(); i++) {
		const VirtualServer &server = config_.virtual_servers[i];
		auto member = members.find(server.address);

		// That of its own pool has been reported.
		if (member != members.end() && !member->second.starts_with(server.pool + "/"))
			report(errors_, places_[i].address, fmt::format("member {} has this address", member->second));
		for (const Address &address : server.source_addresses) {
			auto other = servers.find(address);

			member = members.find(address);
			if (member != members.end())
				report(errors_, places_[i].source_addresses,
				       fmt::format("member {} has the address {}", member->second, address.text()));
			else if (other != servers.end())
				report(errors_, places_[i].source_addresses,
				       fmt::format("{} is the address of virtual server '{}'", address.text(),
						   other->second));
		}
	}
}

// What a rule with match_across remembers is shared by all its virtual servers of one pool: where one of these changes
// the family, all have to.
void Checks::across()
{
	std::map<std::pair<std::string, std::string>, const VirtualServer *> first;
	std::set<std::string> across;

	for (const Rule &rule : config_.rules) {
		if (rule.match_across)
			across.insert(rule.name);
	}
	for (size_t i = 0; i < config_.virtual_servers.size(); i++) {
		const VirtualServer &server = config_.virtual_servers[i];

		if (!across.contains(server.persistence) || !places_[i].has_forwarding)
			continue;
		const VirtualServer &other =
			*first.try_emplace({server.persistence, server.pool}, &server).first->second;
		if (server.forwarding != other.forwarding &&
		    (changes_family(server.forwarding) || changes_family(other.forwarding)))
			report(errors_, places_[i].forwarding,
			       fmt::format(
				       "virtual server '{}' has the same pool and the rule '{}', which matches across "
				       "virtual servers, and forwarding {}: with nat46 or nat64 all of them need the "
				       "same one",
				       other.name, server.persistence, word(other.forwarding)));
	}
}

void Checks::overlaps()
{
	std::vector<size_t> order;

	for (size_t i = 0; i < config_.virtual_servers.size(); i++) {
		if (config_.virtual_servers[i].first_port && config_.virtual_servers[i].address != Address())
			order.push_back(i);
	}
	auto key = [&](size_t i) {
		const VirtualServer &server = config_.virtual_servers[i];

		return std::tuple(server.address, server.protocol, server.first_port, i);
	};
	std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return key(a) < key(b); });
	// In this order, only what reaches furthest so far can overlap the next one.
	size_t furthest = 0;
	for (size_t n = 1; n < order.size(); n++) {
		const VirtualServer &first = config_.virtual_servers[order[furthest]];
		const VirtualServer &second = config_.virtual_servers[order[n]];
		const bool together = first.address == second.address && first.protocol == second.protocol;

		if (together && second.first_port <= first.last_port) {
			const size_t later = std::max(order[furthest], order[n]);
			const size_t earlier = std::min(order[furthest], order[n]);

			report(errors_, places_[later].port,
			       fmt::format("virtual server '{}' already has {} {} port {}",
					   config_.virtual_servers[earlier].name, second.address.text(),
					   word(second.protocol), second.first_port));
		}
		if (!together || second.last_port > first.last_port)
			furthest = n;
	}
}

// `direct`: what members answer does not pass here, and nothing but the link header is written.
void Checks::direct(const VirtualServer &server, const ServerPlaces &places, hf_rule_type rule, const Pool *pool)
{
	if (splices(server, rule) && server.protocol == HF_PROTOCOL_TCP)
		report(errors_, places.forwarding,
		       fmt::format("'direct' cannot serve {}: the members' answers would not pass here, and their "
				   "sequence numbers have to be translated",
				   reads_streams(rule)
					   ? fmt::format("a rule of type {}", word(rule))
					   : "syn_protection, server_first, proxy_protocol or x_forwarded_for"));
	if (!pool || !server.first_port)
		return;
	for (const Member &member : pool->members) {
		if (!member.port || (member.port == server.first_port && member.port == server.last_port))
			continue;
		report(errors_, places.forwarding,
		       fmt::format("'direct' does not translate ports: member {}/{} has port {}, the virtual server "
				   "another one; leave the member's out",
				   pool->name, member.name, member.port));
		return;
	}
}

// Each pool's checks: they exist, and know a port; the method that needs them has some.
void Checks::health()
{
	std::map<std::string, const HealthCheck *> checks;
	std::set<std::string> measured;

	for (const HealthCheck &check : config_.health_checks)
		checks.emplace(check.name, &check);
	for (size_t i = 0; i < config_.pools.size(); i++) {
		const Pool &pool = config_.pools[i];
		const Place &place = written_.checks_of_pools[i];

		for (const std::string &name : pool.health_checks) {
			auto check = checks.find(name);

			written_.check_names.check(place, name);
			if (check == checks.end())
				continue;
			if (measures_latency(*check->second))
				measured.insert(pool.name);
			const auto portless = std::find_if(pool.members.begin(), pool.members.end(),
							   [](const Member &member) { return !member.port; });
			if (!check->second->port && check->second->type != CheckType::icmp &&
			    portless != pool.members.end())
				report(errors_, place,
				       fmt::format("check '{}' has no port, nor has member {}/{}", name, pool.name,
						   portless->name));
		}
	}
	for (size_t i = 0; i < config_.virtual_servers.size(); i++) {
		const VirtualServer &server = config_.virtual_servers[i];

		if (server.method == HF_METHOD_FASTEST_RESPONSE && !measured.contains(server.pool))
			report(errors_, places_[i].method,
			       fmt::format(
				       "'fastest-response' goes by the latency of health checks: pool '{}' has none "
				       "that measures one",
				       server.pool));
	}
}

} // namespace

void check_config(const Config &config, const Written &written, ConfigErrors &errors)
{
	Checks checks(config, written, errors);

	checks.waits();
	checks.references();
	checks.addresses();
	checks.overlaps();
	checks.across();
	checks.health();
}

} // namespace holdfast
