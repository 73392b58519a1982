// SPDX-License-Identifier: GPL-2.0
#include "control/views.h"

#include <fmt/format.h>
#include <set>
#include <unistd.h>

#include "doctor/doctor.h"

namespace holdfast
{

namespace
{

using nlohmann::json;

json traffic_json(const hf_traffic &traffic, const Rates &rates)
{
	return {{"connections", traffic.connections},
		{"sessions_recorded", traffic.sessions},
		{"forward_packets", traffic.forward_packets},
		{"forward_bytes", traffic.forward_bytes},
		{"reply_packets", traffic.reply_packets},
		{"reply_bytes", traffic.reply_bytes},
		{"rates",
		 {{"connections", rates.connections},
		  {"forward_packets", rates.forward_packets},
		  {"reply_packets", rates.reply_packets},
		  {"forward_bytes", rates.forward_bytes},
		  {"reply_bytes", rates.reply_bytes}}}};
}

const char *member_state(MemberStatus status, bool up)
{
	if (status == MemberStatus::disabled)
		return "disabled";
	if (!up)
		return "down";
	return status == MemberStatus::draining ? "draining" : "up";
}

bool found(const Page &page, const std::string &name, const Address &address)
{
	return page.search.empty() || name.find(page.search) != std::string::npos ||
	       address.text().find(page.search) != std::string::npos;
}

// Is what matches as the `number`-th to be shown?
bool on_page(const Page &page, size_t number)
{
	return number >= page.offset && number - page.offset < page.limit;
}

json latency_json(const std::optional<std::chrono::microseconds> &latency)
{
	return latency ? json(static_cast<double>(latency->count()) / 1000) : json();
}

int64_t unix_seconds(std::chrono::system_clock::time_point time)
{
	return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

// `whole`: each result, not only whether it was a good one.
json health_json(const MemberState &member, bool whole)
{
	json checks = json::array();

	for (const CheckState &check : member.checks) {
		json results = json::array();
		std::string history;

		for (const CheckState::Result &result : check.history) {
			history += result.passed ? '+' : '-';
			if (whole)
				results.push_back({{"at", unix_seconds(result.at)},
						   {"passed", result.passed},
						   {"latency_ms", latency_json(result.latency)}});
		}
		checks.push_back({{"name", check.name},
				  {"up", check.up},
				  {"known", check.known},
				  {"damped", check.damped},
				  {"against", check.against},
				  {"needed", check.needed},
				  {"passed", check.passed},
				  {"failed", check.failed},
				  {"last_problem", check.last_problem},
				  {"latency_ms", latency_json(check.latency)},
				  {"history", history}});
		if (whole)
			checks.back()["results"] = results;
	}
	return {{"up", member.up},
		{"since", member.since.time_since_epoch().count() ? json(unix_seconds(member.since)) : json()},
		{"checks", checks}};
}

} // namespace

json Views::interfaces() const
{
	json list = json::array();

	for (const Attachment &attachment : controller.attachments())
		list.push_back(
			{{"name", attachment.interface}, {"mode", word(attachment.mode)}, {"note", attachment.note}});
	return list;
}

json Views::virtual_servers(const Page &page) const
{
	json list = json::array();
	size_t matched = 0;

	for (const VirtualServer &server : controller.configured().virtual_servers) {
		if (!found(page, server.name, server.address) || !on_page(page, matched++))
			continue;
		const uint32_t id = controller.ids().virtual_servers.find(server.name);
		json one = traffic_json(controller.maps().virtual_server_counters.sum(id),
					controller.virtual_server_rates(id));

		one["name"] = server.name;
		one["id"] = id;
		one["address"] = server.address.text();
		one["port"] = server.first_port == server.last_port
				      ? std::to_string(server.first_port)
				      : fmt::format("{}-{}", server.first_port, server.last_port);
		one["protocol"] = word(server.protocol);
		one["forwarding"] = word(server.forwarding);
		one["method"] = word(server.method);
		one["pool"] = server.pool;
		one["persistence"] = server.persistence;
		one["idle_timeout"] = server.idle_timeout;
		for (const Address &address : server.source_addresses)
			one["source_addresses"].push_back(address.text());
		one["x_forwarded_for"] = server.x_forwarded_for;
		list.push_back(std::move(one));
	}
	return {{"virtual_servers", std::move(list)}, {"matched", matched}};
}

json Views::member(const std::string &pool, const Member &member, bool whole) const
{
	const std::string key = member_key(pool, member.name);
	const uint32_t id = controller.ids().members.find(key);
	json one = traffic_json(controller.maps().member_counters.sum(id), controller.member_rates(id));

	one["name"] = key;
	one["id"] = id;
	one["address"] = member.address.text();
	one["port"] = member.port;
	one["weight"] = member.weight;
	one["places"] = std::max(0, static_cast<int32_t>(controller.maps().member_connections.get(id)));
	one["connection_limit"] = member.connection_limit;
	one["cookie"] = member.cookie;
	one["status"] = word(member.status);
	one["state"] = member_state(member.status, !controller.is_down(pool, member.name));
	if (const auto checked = checker.member(key))
		one["health"] = health_json(*checked, whole);
	one["overridden"] = controller.overrides().contains(key);
	one["next_hop"] = controller.mirror().unresolved().contains(id) ? "unresolved" : "resolved";
	return one;
}

json Views::members(const Page &page) const
{
	json list = json::array(), states = {{"up", 0}, {"down", 0}, {"draining", 0}, {"disabled", 0}};
	size_t matched = 0;

	for (const Pool &pool : controller.configured().pools) {
		if (!page.pool.empty() && page.pool != pool.name)
			continue;
		for (const Member &member : with_overrides(pool, controller.overrides()).members) {
			if (!found(page, member_key(pool.name, member.name), member.address))
				continue;
			const char *state = member_state(member.status, !controller.is_down(pool.name, member.name));

			states[state] = states[state].get<size_t>() + 1;
			if ((page.state.empty() || page.state == state) && on_page(page, matched++))
				list.push_back(this->member(pool.name, member, false));
		}
	}
	return {{"members", std::move(list)}, {"matched", matched}, {"states", std::move(states)}};
}

std::optional<json> Views::member(const std::string &key) const
{
	for (const Pool &pool : controller.configured().pools) {
		if (!key.starts_with(pool.name + "/"))
			continue;
		for (const Member &one : with_overrides(pool, controller.overrides()).members) {
			if (key == member_key(pool.name, one.name))
				return member(pool.name, one, true);
		}
	}
	return std::nullopt;
}

json Views::pools() const
{
	json list = json::array();

	for (const Pool &pool : controller.configured().pools)
		list.push_back({{"name", pool.name},
				{"id", controller.ids().pools.find(pool.name)},
				{"members", pool.members.size()}});
	return list;
}

json Views::rules() const
{
	json list = json::array();

	for (const Rule &rule : controller.configured().rules) {
		json one = {{"name", rule.name},
			    {"id", controller.ids().rules.find(rule.name)},
			    {"type", word(rule.type)},
			    {"predefined", rule.name.starts_with("LB_PERSIS_")}};

		if (keeps_table(rule.type)) {
			one["timeout"] = rule.timeout;
			one["match_across"] = rule.match_across;
		}
		if (rule.type == HF_RULE_INSERT_COOKIE) {
			one["timeout"] = rule.timeout;
			one["cookie_attributes"] = rule.cookie_attributes.substr(2);
		}
		if (rule.type == HF_RULE_SOURCE_ADDRESS) {
			one["ipv4_mask_bits"] = rule.ipv4_mask_bits;
			one["ipv6_mask_bits"] = rule.ipv6_mask_bits;
		}
		if (rule.type == HF_RULE_RADIUS_ATTRIBUTE) {
			one["override_connection_limit"] = rule.override_connection_limit;
			one["relation"] = rule.relation == HF_RELATION_OR ? "or" : "and";
			one["attributes"] = json::array();
			for (const RadiusAttribute &attribute : rule.attributes)
				one["attributes"].push_back(text(attribute));
		}
		if (!rule.keyword.empty())
			one["keyword"] = rule.keyword;
		if (rule.type == HF_RULE_PASSIVE_COOKIE)
			one["session_keyword_type"] = word(rule.session_keyword);
		one["decides"] = reads_datagrams(rule.type) ? "datagram"
				 : reads_http(rule.type)    ? "request"
							    : "connection";
		list.push_back(one);
	}
	return list;
}

json Views::counters() const
{
	const Maps &maps = controller.maps();
	json list = json::array();

#define HF_REASON_JSON(reason, reason_kind, text)                                                                      \
	list.push_back({{"reason", #reason},                                                                           \
			{"kind", #reason_kind},                                                                        \
			{"packets", maps.reasons.sum(HF_REASON_##reason)},                                             \
			{"meaning", text}});
	HF_REASONS(HF_REASON_JSON)
#undef HF_REASON_JSON
	return list;
}

json Views::overview() const
{
	const TableSizes &tables = controller.maps().tables();

	return {{"daemon",
		 {{"version", HOLDFAST_VERSION},
		  {"pid", ::getpid()},
		  {"config", controller.config_path()},
		  {"config_differs", controller.file_differs()}}},
		{"interfaces", interfaces()},
		{"virtual_servers", controller.configured().virtual_servers.size()},
		{"members", members({.limit = 0})["states"]},
		{"sessions",
		 {{"live", sweeper.sessions()}, {"expired", sweeper.sessions_expired()}, {"limit", tables.sessions}}},
		{"connections", {{"live", sweeper.connections()}, {"limit", tables.connections / 2}}}};
}

json Views::status() const
{
	json all = overview();

	all["virtual_servers"] = virtual_servers()["virtual_servers"];
	all["members"] = members()["members"];
	return all;
}

std::function<Result<json>()> Views::findings() const
{
	std::set<std::string> unresolved;
	std::vector<std::string> fallbacks;

	for (const uint32_t id : controller.mirror().unresolved())
		unresolved.insert(controller.ids().members.name(id));
	for (const Attachment &attachment : controller.attachments()) {
		if (!attachment.note.empty())
			fallbacks.push_back(fmt::format("interface {}: {}, because {}", attachment.interface,
							word(attachment.mode), attachment.note));
	}
	return [config = controller.configured(), ways = examine_ways(fallbacks, unresolved)]() -> Result<json> {
		std::vector<Finding> findings = examine_kernel();

		for (const auto &more :
		     {examine_host(config), examine_routes(config), examine_neighbours(config), ways})
			findings.insert(findings.end(), more.begin(), more.end());
		return json{{"findings", to_json(findings)}};
	};
}

} // namespace holdfast
