// SPDX-License-Identifier: GPL-2.0
#include "rules_txt/exchange.h"

#include <algorithm>
#include <fmt/format.h>

namespace holdfast
{

namespace
{

std::string object_name(const TxtPlace &place)
{
	return fmt::format("{}-{}", word(place.second), place.first);
}

std::string persistence_name(const TxtPlace &place)
{
	return object_name(place) + "-persistence";
}

// A name has no '.' and no ':'.
std::string member_name(const Address &address)
{
	std::string name = address.text();

	std::replace(name.begin(), name.end(), '.', '-');
	std::replace(name.begin(), name.end(), ':', '-');
	return name.starts_with('-') ? "0" + name : name;
}

class Import
{
public:
	Import(const TxtRules &rules, const Address &address, ConfigDocument &document)
		: rules_(rules), address_(address), document_(document)
	{
	}

	std::vector<TxtProblem> run()
	{
		for (const auto &[place, rule] : rules_.forwarding)
			forward(place, rule);
		for (const auto &[place, rule] : rules_.settings)
			set(place, rule);
		return problems_;
	}

private:
	YAML::Node object(const char *section, const std::string &name)
	{
		auto found = document_.find(section, name);

		return found ? *found : document_.add(section, name);
	}

	void forward(const TxtPlace &place, const TxtForwarding &rule);
	void set(const TxtPlace &place, const TxtSettings &rule);
	void put_members(YAML::Node pool, const TxtForwarding &rule);

	const TxtRules &rules_;
	Address address_;
	ConfigDocument &document_;
	std::vector<TxtProblem> problems_;
};

// Members that are there stay what they are.
void Import::put_members(YAML::Node pool, const TxtForwarding &rule)
{
	const YAML::Node there = pool["members"];
	const auto is = [&](const YAML::Node &member, const Address &address) {
		return Address::parse(member["address"].as<std::string>("")) == std::optional(address) &&
		       member["port"].as<std::string>("") == std::to_string(rule.origin_port);
	};
	bool same = there && there.size() == rule.members.size();
	YAML::Node members(YAML::NodeType::Sequence);

	for (size_t i = 0; same && i < rule.members.size(); i++)
		same = is(there[i], rule.members[i]);
	if (same)
		return;
	for (const Address &address : rule.members) {
		YAML::Node member(YAML::NodeType::Map);

		for (const auto &one : there) {
			if (is(one, address))
				member = YAML::Clone(one);
		}
		member.SetStyle(YAML::EmitterStyle::Flow);
		if (!member["name"]) {
			member["name"] = member_name(address);
			member["address"] = address.text();
			member["port"] = rule.origin_port;
		}
		members.push_back(member);
	}
	pool["members"] = members;
}

void Import::forward(const TxtPlace &place, const TxtForwarding &rule)
{
	const std::string name = object_name(place);

	for (const Address &member : rule.members) {
		if (member.is_ipv4() != address_.is_ipv4())
			problems_.push_back({rule.line, "address",
					     fmt::format("{} is not of the family of the virtual address {}",
							 member.text(), address_.text())});
	}
	if (auto there = document_.find("virtual_servers", name)) {
		const std::string at = (*there)["address"].as<std::string>("");

		if (Address::parse(at) != std::optional(address_))
			problems_.push_back({rule.line, "forwarding-port",
					     fmt::format("there is a virtual server {} at {}", name, at)});
	}
	YAML::Node pool = object("pools", name);
	put_members(pool, rule);
	YAML::Node server = object("virtual_servers", name);
	server["address"] = address_.text();
	server["port"] = place.first;
	server["protocol"] = word(place.second);
	if (!server["forwarding"])
		server["forwarding"] = word(HF_FORWARDING_DNAT);
	server["pool"] = name;
}

void Import::set(const TxtPlace &place, const TxtSettings &rule)
{
	const std::string name = object_name(place);
	auto server = document_.find("virtual_servers", name);
	auto pool = document_.find("pools", name);

	if (!server || !pool) {
		problems_.push_back(
			{rule.line, "port", fmt::format("there is no rule {} {}", word(place.second), place.first)});
		return;
	}
	if (rule.persistence) {
		YAML::Node persistence = object("persistence", persistence_name(place));

		persistence["type"] = word(HF_RULE_SOURCE_ADDRESS);
		persistence["timeout"] = rule.persistence;
		(*server)["persistence"] = persistence_name(place);
	} else {
		server->remove("persistence");
		if (document_.find("persistence", persistence_name(place)))
			document_.remove("persistence", persistence_name(place));
	}
	YAML::Node check = object("health_checks", name);
	for (const char *key :
	     {"path", "host", "method", "expect_status", "verify", "ca_file", "sni", "send_hex", "expect_hex"})
		check.remove(key);
	check["type"] = word(rule.check.type);
	check["port"] = rule.check.port;
	if (rule.check.type == CheckType::http) {
		check["path"] = rule.check.path;
		if (!rule.check.host.empty())
			check["host"] = rule.check.host;
	}
	check["interval"] = rule.check.interval;
	check["timeout"] = rule.check.timeout;
	check["healthy_threshold"] = rule.check.healthy_threshold;
	check["unhealthy_threshold"] = rule.check.unhealthy_threshold;
	YAML::Node checks(YAML::NodeType::Sequence);
	checks.SetStyle(YAML::EmitterStyle::Flow);
	checks.push_back(name);
	(*pool)["health_checks"] = checks;
	pool->remove("health_relation");
}

template <typename Objects> auto find_named(const Objects &objects, const std::string &name)
{
	auto found = std::find_if(objects.begin(), objects.end(), [&](const auto &one) { return one.name == name; });

	return found == objects.end() ? nullptr : &*found;
}

// Of a virtual server that has the name that an import gives; "" if the format can say it.
std::string forwarding_objection(const VirtualServer &server, const Pool &pool)
{
	if (server.name != object_name({server.first_port, server.protocol}) || server.first_port != server.last_port)
		return fmt::format("its name is not {}", object_name({server.first_port, server.protocol}));
	if (pool.name != server.name)
		return fmt::format("its pool is not {}", server.name);
	if (server.forwarding != HF_FORWARDING_DNAT)
		return fmt::format("its forwarding is {}", word(server.forwarding));
	// Beside what the format says, everything is at its default.
	VirtualServer usual;
	usual.name = server.name;
	usual.address = server.address;
	usual.first_port = server.first_port;
	usual.last_port = server.last_port;
	usual.protocol = server.protocol;
	usual.pool = server.pool;
	usual.persistence = server.persistence;
	usual.idle_timeout =
		server.protocol == HF_PROTOCOL_UDP ? HF_UDP_IDLE_TIMEOUT_DEFAULT : HF_TCP_IDLE_TIMEOUT_DEFAULT;
	if (!(server == usual))
		return "it has settings that the format has not (method, time-outs, and the like)";
	if (pool.reset_on_down || pool.member_tcp_options)
		return "its pool has settings that the format has not (on_down, member_tcp_options)";
	for (const Member &member : pool.members) {
		if (member.port != pool.members.front().port || !member.port)
			return "its members have different ports, or none";
	}
	return {};
}

void export_settings(const Config &config, const VirtualServer &server, const Pool &pool, TxtRules &rules,
		     std::vector<std::string> &left_out)
{
	const Rule *rule = find_named(config.rules, server.persistence);
	const HealthCheck *check =
		pool.health_checks.size() == 1 ? find_named(config.health_checks, pool.health_checks[0]) : nullptr;
	TxtSettings settings;
	std::string why;

	if (!check && pool.health_checks.empty() && !rule)
		return;
	if (!check)
		why = "the format needs exactly one health check";
	else if (why = txt_objection(*check, server.protocol); !why.empty())
		why = fmt::format("health check {}: {}", check->name, why);
	if (rule && (rule->type != HF_RULE_SOURCE_ADDRESS || !txt_has_persistence(rule->timeout) ||
		     rule->ipv4_mask_bits != 32 || rule->ipv6_mask_bits != 128 || rule->match_across))
		why = fmt::format("persistence rule {} is more than a time-out of 30-3600 s for source addresses",
				  rule->name);
	if (!why.empty()) {
		left_out.push_back(fmt::format("the settings of virtual server {}: {}", server.name, why));
		return;
	}
	settings.persistence = rule ? rule->timeout : 0;
	settings.check = *check;
	if (!settings.check.port)
		settings.check.port = pool.members.front().port;
	rules.settings.emplace(TxtPlace{server.first_port, server.protocol}, settings);
}

} // namespace

std::vector<TxtProblem> import_txt(const TxtRules &rules, const Address &address, ConfigDocument &document)
{
	return Import(rules, address, document).run();
}

TxtRules export_txt(const Config &config, std::vector<std::string> &left_out)
{
	TxtRules rules;

	for (const VirtualServer &server : config.virtual_servers) {
		const Pool *pool = find_named(config.pools, server.pool);
		const std::string why = pool ? forwarding_objection(server, *pool) : "it has no pool";

		if (!why.empty()) {
			left_out.push_back(fmt::format("virtual server {}: {}", server.name, why));
			continue;
		}
		TxtForwarding rule{pool->members.front().port, {}, 0};
		for (const Member &member : pool->members) {
			Member usual;

			rule.members.push_back(member.address);
			usual.name = member.name;
			usual.address = member.address;
			usual.port = member.port;
			usual.cookie = member_name(member.address);
			if (!(member == usual) || member.name != member_name(member.address))
				left_out.push_back(fmt::format("settings of member {}/{}, beside its address and port",
							       pool->name, member.name));
		}
		rules.forwarding.emplace(TxtPlace{server.first_port, server.protocol}, rule);
		export_settings(config, server, *pool, rules, left_out);
	}
	return rules;
}

} // namespace holdfast
