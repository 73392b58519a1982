// SPDX-License-Identifier: GPL-2.0
#include "control/metrics.h"

#include <fmt/format.h>
#include <vector>

namespace holdfast
{

namespace
{

using Labels = std::vector<std::pair<const char *, std::string>>;

// Values of one metric stand together, below their help.
class Metric
{
public:
	Metric(std::string &text, std::string name, const char *type, const char *help)
		: text_(text), name_(std::move(name))
	{
		text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name_, help, name_, type);
	}

	void add(const Labels &labels, double value)
	{
		std::string all;

		for (const auto &[label, text] : labels)
			all += fmt::format("{}{}=\"{}\"", all.empty() ? "" : ",", label, escape(text));
		text_ += all.empty() ? fmt::format("{} {}\n", name_, value)
				     : fmt::format("{}{{{}}} {}\n", name_, all, value);
	}

private:
	static std::string escape(const std::string &text)
	{
		std::string escaped;

		for (const char c : text) {
			if (c == '\\' || c == '"')
				escaped += '\\';
			if (c == '\n')
				escaped += "\\n";
			else
				escaped += c;
		}
		return escaped;
	}

	std::string &text_;
	std::string name_;
};

// One whose values have no labels.
void add_single(std::string &text, const char *name, const char *type, const char *help, double value)
{
	Metric(text, name, type, help).add({}, value);
}

struct Counted {
	Labels labels;
	hf_traffic traffic;
};

void add_traffic(std::string &text, const std::string &prefix, const std::vector<Counted> &objects)
{
	const auto number = [](uint64_t value) { return static_cast<double>(value); };
	Metric connections(text, prefix + "_connections_total", "counter", "Connections that became established.");
	for (const Counted &one : objects)
		connections.add(one.labels, number(one.traffic.connections));
	Metric sessions(text, prefix + "_sessions_total", "counter", "Sessions that were recorded or moved.");
	for (const Counted &one : objects)
		sessions.add(one.labels, number(one.traffic.sessions));
	for (const bool bytes : {false, true}) {
		Metric metric(text, prefix + (bytes ? "_bytes_total" : "_packets_total"), "counter",
			      bytes ? "Bytes of the network layer." : "Packets.");

		for (const Counted &one : objects) {
			for (const bool reply : {false, true}) {
				Labels labels = one.labels;

				labels.emplace_back("direction", reply ? "reply" : "forward");
				metric.add(labels,
					   number(reply   ? bytes ? one.traffic.reply_bytes : one.traffic.reply_packets
						  : bytes ? one.traffic.forward_bytes
							  : one.traffic.forward_packets));
			}
		}
	}
}

void add_virtual_servers(std::string &text, const Views &views)
{
	std::vector<Counted> objects;

	for (const VirtualServer &server : views.controller.configured().virtual_servers) {
		const uint32_t id = views.controller.ids().virtual_servers.find(server.name);

		objects.push_back(
			{{{"virtual_server", server.name}}, views.controller.maps().virtual_server_counters.sum(id)});
	}
	add_traffic(text, "holdfast_virtual_server", objects);
}

void add_checks(std::string &text, const std::vector<std::pair<Labels, MemberState>> &checked)
{
	Metric up(text, "holdfast_check_up", "gauge", "What a health check says of a member: 1 up, 0 down.");
	for (const auto &[labels, state] : checked) {
		for (const CheckState &check : state.checks) {
			Labels all = labels;

			all.emplace_back("check", check.name);
			up.add(all, check.up);
		}
	}
	Metric results(text, "holdfast_check_results_total", "counter", "Results of health checks.");
	for (const auto &[labels, state] : checked) {
		for (const CheckState &check : state.checks) {
			for (const bool passed : {true, false}) {
				Labels all = labels;

				all.emplace_back("check", check.name);
				all.emplace_back("result", passed ? "passed" : "failed");
				results.add(all, static_cast<double>(passed ? check.passed : check.failed));
			}
		}
	}
	Metric latency(text, "holdfast_check_latency_seconds", "gauge",
		       "How long a member takes to answer a health check, smoothed.");
	for (const auto &[labels, state] : checked) {
		for (const CheckState &check : state.checks) {
			Labels all = labels;

			all.emplace_back("check", check.name);
			if (check.latency)
				latency.add(all, static_cast<double>(check.latency->count()) / 1e6);
		}
	}
}

void add_members(std::string &text, const Views &views)
{
	Controller &controller = views.controller;
	std::vector<Counted> objects;
	std::vector<std::pair<Labels, MemberState>> checked;
	std::vector<std::pair<Labels, Member>> members;

	for (const Pool &pool : controller.configured().pools) {
		for (const Member &member : controller.effective(pool).members) {
			const std::string key = member_key(pool.name, member.name);
			const Labels labels = {{"pool", pool.name}, {"member", member.name}};

			members.emplace_back(labels, member);
			objects.push_back(
				{labels, controller.maps().member_counters.sum(controller.ids().members.find(key))});
			if (auto state = views.checker.member(key))
				checked.emplace_back(labels, *state);
		}
	}
	Metric up(text, "holdfast_member_up", "gauge", "1: it takes new clients; 0: it is down, disabled or drained.");
	for (const auto &[labels, member] : members)
		up.add(labels, member.status == MemberStatus::enabled);
	Metric down(text, "holdfast_member_down", "gauge", "1: its health checks say that it is down.");
	for (const auto &[labels, member] : members)
		down.add(labels, controller.is_down(labels[0].second, labels[1].second));
	Metric weight(text, "holdfast_member_weight", "gauge", "Its share of new clients.");
	for (const auto &[labels, member] : members)
		weight.add(labels, member.weight);
	Metric places(text, "holdfast_member_connections", "gauge", "Connections that it has now.");
	for (const auto &[labels, member] : members) {
		const uint32_t id = controller.ids().members.find(member_key(labels[0].second, labels[1].second));

		places.add(labels, std::max(0, static_cast<int32_t>(controller.maps().member_connections.get(id))));
	}
	add_traffic(text, "holdfast_member", objects);
	add_checks(text, checked);
}

void add_reasons(std::string &text, const Maps &maps)
{
	Metric reasons(text, "holdfast_packets_total", "counter",
		       "Packets that were dropped, rejected, or took a second-best way, by reason.");

#define HF_REASON_METRIC(reason, reason_kind, documentation)                                                           \
	reasons.add({{"reason", #reason}, {"kind", #reason_kind}},                                                     \
		    static_cast<double>(maps.reasons.sum(HF_REASON_##reason)));
	HF_REASONS(HF_REASON_METRIC)
#undef HF_REASON_METRIC
}

} // namespace

std::string metrics_text(const Views &views)
{
	const TableSizes &tables = views.controller.maps().tables();
	std::string text;

	Metric(text, "holdfast_build_info", "gauge", "Always 1; the version is a label.")
		.add({{"version", HOLDFAST_VERSION}}, 1);
	Metric interfaces(text, "holdfast_interface_info", "gauge", "Always 1; how an interface is attached to.");
	for (const Attachment &attachment : views.controller.attachments())
		interfaces.add({{"interface", attachment.interface}, {"mode", word(attachment.mode)}}, 1);
	add_single(text, "holdfast_config_differs", "gauge", "1: the file says something else than what is applied.",
		   views.controller.file_differs());
	add_single(text, "holdfast_sessions", "gauge", "Sessions that are alive.",
		   static_cast<double>(views.sweeper.sessions()));
	add_single(text, "holdfast_sessions_limit", "gauge", "Sessions that there is room for.", tables.sessions);
	add_single(text, "holdfast_sessions_expired_total", "counter", "Sessions that were idle for too long.",
		   static_cast<double>(views.sweeper.sessions_expired()));
	add_single(text, "holdfast_connections", "gauge", "Connections that are alive.",
		   static_cast<double>(views.sweeper.connections()));
	add_single(text, "holdfast_connections_limit", "gauge", "Connections that there is room for.",
		   tables.connections / 2.0);
	add_virtual_servers(text, views);
	add_members(text, views);
	add_reasons(text, views.controller.maps());
	return text;
}

} // namespace holdfast
