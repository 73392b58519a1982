// SPDX-License-Identifier: GPL-2.0
#include "cli/print.h"

#include <algorithm>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include "cli/tone.h"

namespace holdfast
{

namespace
{

using nlohmann::json;

bool is_number(const std::string &cell)
{
	return !cell.empty() &&
	       std::all_of(cell.begin(), cell.end(), [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
}

std::string number(const json &value)
{
	return std::to_string(value.get<uint64_t>());
}

std::string rate(const json &value)
{
	return fmt::format("{:.0f}", value.get<double>());
}

// A state that is only assumed so far is not shown as one that was found.
std::string member_state(const json &member)
{
	std::string state = member["state"];

	if (!member.contains("health"))
		return state;
	const json &checks = member["health"]["checks"];
	const auto is = [&](const char *what) {
		return std::any_of(checks.begin(), checks.end(),
				   [&](const json &check) { return check[what] == true; });
	};
	if (is("damped"))
		return state + " (damped)";
	return is("known") ? state : state + " (unchecked)";
}

// Of a check that fails, why; of one that is about to change its mind, how far it is.
std::string check_note(const std::string &member, const json &check)
{
	const uint64_t against = check["against"];
	const bool up = check["up"];
	const std::string problem = check["last_problem"];

	if ((up && !against) || problem.empty())
		return {};
	return fmt::format(
		"{}: check {}: {}{}\n", member, check["name"].get<std::string>(), problem,
		against ? fmt::format(" ({} of {} to be {})", against, number(check["needed"]), up ? "down" : "up")
			: "");
}

std::string or_dash(const std::string &text)
{
	return text.empty() ? "-" : text;
}

} // namespace

Table::Table(std::vector<std::string> header)
{
	rows_.push_back(std::move(header));
}

void Table::add(std::vector<std::string> row)
{
	rows_.push_back(std::move(row));
}

std::string Table::text() const
{
	std::vector<size_t> widths(rows_.front().size());
	std::vector<bool> numeric(rows_.front().size(), rows_.size() > 1);
	std::string text;

	for (size_t r = 0; r < rows_.size(); r++) {
		for (size_t c = 0; c < rows_[r].size(); c++) {
			widths[c] = std::max(widths[c], rows_[r][c].size());
			if (r > 0 && !is_number(rows_[r][c]))
				numeric[c] = false;
		}
	}
	for (const auto &row : rows_) {
		const bool header = &row == &rows_.front();
		size_t gap = 0; // spaces that are due before the next cell
		std::string line;

		for (size_t c = 0; c < row.size(); c++) {
			const bool state = rows_.front()[c] == "STATE" || rows_.front()[c] == "KIND";
			const size_t room = widths[c] - row[c].size();

			if (!row[c].empty()) {
				line.append(gap + (numeric[c] ? room : 0), ' ');
				line += paint(row[c], header ? Tone::strong : state ? tone_of(row[c]) : Tone::plain);
				gap = 0;
			}
			gap += (row[c].empty() || !numeric[c] ? room : 0) + 2;
		}
		text += line + "\n";
	}
	return text;
}

std::string print_seconds(uint64_t seconds)
{
	if (seconds < 120)
		return fmt::format("{} s", seconds);
	if (seconds < 7200)
		return fmt::format("{} min", seconds / 60);
	if (seconds < 172800)
		return fmt::format("{} h", seconds / 3600);
	return fmt::format("{} d", seconds / 86400);
}

std::string print_advice(const json &body)
{
	const auto percent = [](const json &share) { return fmt::format("{:.1f} %", 100 * share.get<double>()); };
	std::string text;

	if (body["remember"] == 0)
		text += "time-outs are not looked at: advice.remember says for how long sessions are kept for that\n";
	for (const json &one : body["advice"]) {
		text += fmt::format("{}{}: rule {} ({}), timeout {}: {} sessions", text.empty() ? "" : "\n",
				    one["virtual_server"].get<std::string>(), one["rule"].get<std::string>(),
				    one["type"].get<std::string>(), number(one["timeout"]), number(one["sessions"]));
		if (one.contains("returns"))
			text += fmt::format(", {} returns, {} of them too late", number(one["returns"]),
					    one["broken"].is_null() ? "?" : percent(one["broken"]));
		text += "\n";
		if (one.contains("candidates") && one["returns"] != 0) {
			Table table({"TIMEOUT", "TOO LATE", "SESSIONS", "MEMORY"});

			for (const json &candidate : one["candidates"])
				table.add({number(candidate["timeout"]), percent(candidate["broken"]),
					   number(candidate["sessions"]),
					   fmt::format("{:.1f} MB", candidate["bytes"].get<double>() / 1e6)});
			text += table.text();
		}
		for (const json &note : one["notes"])
			text += fmt::format("-> {}\n", note.get<std::string>());
	}
	return text.empty() ? "no virtual server has a rule that keeps a table\n" : text;
}

std::string print_virtual_servers(const json &list)
{
	Table table({"VIRTUAL SERVER", "ADDRESS", "PORT", "PROTO", "POOL", "PERSISTENCE", "CONN", "CONN/S"});

	for (const json &one : list)
		table.add({one["name"], one["address"], one["port"], one["protocol"], one["pool"],
			   or_dash(one["persistence"]), number(one["connections"]), rate(one["rates"]["connections"])});
	return table.text();
}

std::string print_pools(const json &list)
{
	Table table({"POOL", "MEMBERS"});

	for (const json &one : list)
		table.add({one["name"], number(one["members"])});
	return table.text();
}

std::string print_members(const json &list)
{
	Table table({"MEMBER", "ADDRESS", "PORT", "WEIGHT", "STATUS", "STATE", "CONN", "CONN/S"});
	std::string notes;
	bool overridden = false;

	for (const json &one : list) {
		const std::string name = one["name"];
		const uint64_t port = one["port"];
		const bool said = one["overridden"];

		table.add({name, one["address"], port ? std::to_string(port) : "client's", number(one["weight"]),
			   one["status"].get<std::string>() + (said ? "*" : ""), member_state(one),
			   number(one["places"]), rate(one["rates"]["connections"])});
		overridden |= said;
		if (one["next_hop"] == "unresolved")
			notes += fmt::format("{}: no neighbour answers on the way to it\n", name);
		if (one.contains("health")) {
			for (const json &check : one["health"]["checks"])
				notes += check_note(name, check);
		}
	}
	return table.text() + (overridden ? "* by command, over what the configuration says\n" : "") + notes;
}

std::string print_forecast(const json &left)
{
	const uint64_t sessions = left["sessions"];

	return fmt::format("draining: {} sessions, {}; {} connections\n", sessions,
			   sessions ? fmt::format("last ends in {} s", number(left["last_ends_in"]))
				    : std::string("nothing to wait for"),
			   number(left["connections"]));
}

std::string print_event(const json &event)
{
	std::string text;

	if (!event.is_object())
		return "?";
	const auto at = static_cast<std::time_t>(event.value("at", 0.0));
	text = fmt::format("{:%Y-%m-%d %H:%M:%S} {}", fmt::localtime(at), event.value("event", "?"));
	for (const auto &[key, value] : event.items()) {
		if (key != "at" && key != "event")
			text += fmt::format(" {}={}", key, value.is_string() ? value.get<std::string>() : value.dump());
	}
	return text;
}

std::string print_rules(const json &list)
{
	Table table({"RULE", "TYPE", "TIMEOUT", "MASK4", "MASK6"});

	for (const json &one : list) {
		auto setting = [&](const char *key) { return one.contains(key) ? number(one[key]) : "-"; };

		table.add({one["name"], one["type"], setting("timeout"), setting("ipv4_mask_bits"),
			   setting("ipv6_mask_bits")});
	}
	return table.text();
}

std::string print_interfaces(const json &list)
{
	Table table({"INTERFACE", "MODE", "NOTE"});

	for (const json &one : list)
		table.add({one["name"], one["mode"], one["note"]});
	return table.text();
}

std::string print_counters(const json &list, bool all)
{
	Table table({"REASON", "KIND", "PACKETS", "MEANING"});
	bool any = false;

	for (const json &one : list) {
		if (!all && one["packets"].get<uint64_t>() == 0)
			continue;
		table.add({one["reason"], one["kind"], number(one["packets"]), one["meaning"]});
		any = true;
	}
	return any ? table.text() : "no packet was dropped or took a second-best way (--all lists the reasons)\n";
}

std::string print_findings(const json &list)
{
	std::string text;

	for (const char *kind : {"error", "note"}) {
		for (const json &finding : list) {
			if (finding["kind"] != kind)
				continue;
			const std::string remedy = finding["remedy"];

			text += fmt::format("{}: {}\n", paint(kind, tone_of(kind)), finding["what"].get<std::string>());
			if (!remedy.empty())
				text += fmt::format("       remedy: {}\n", remedy);
		}
	}
	return text;
}

std::string print_sessions(const json &body)
{
	Table table({"KEY", "MEMBER", "AGE", "IDLE", "LEFT", "HITS", "VIRTUAL SERVER", "RULE"});

	for (const json &one : body["sessions"])
		table.add({one["key"], one["member"], print_seconds(one["age"]), print_seconds(one["idle"]),
			   print_seconds(one["left"]), number(one["hits"]), one["virtual_server"], one["rule"]});
	return table.text() + fmt::format("{} of {} sessions\n", number(body["shown"]), number(body["matched"]));
}

std::string print_connections(const json &body)
{
	auto is_spliced = [](const json &one) { return one.contains("held"); };
	const json &list = body["connections"];
	std::vector<std::string> header = {"PROTO", "CLIENT", "ADDRESS", "MEMBER", "STATE", "AGE", "IDLE"};
	const bool any_spliced = std::any_of(list.begin(), list.end(), is_spliced);

	if (any_spliced)
		header.insert(header.end(), {"SHIFT", "HELD", "MOVES"});
	Table table(header);
	for (const json &one : list) {
		const bool spliced = is_spliced(one);
		std::vector<std::string> row = {one["protocol"],
						one["client"],
						one["address"],
						one["member"].is_null() ? "-" : one["member"].get<std::string>(),
						one["state"],
						print_seconds(one["age"]),
						print_seconds(one["idle"])};

		if (any_spliced)
			row.insert(row.end(),
				   {spliced && !one["shift"].is_null() ? number(one["shift"]) : "-",
				    spliced ? number(one["held"]) : "-", spliced ? number(one["rebinds"]) : "-"});
		table.add(row);
	}
	return table.text() + fmt::format("{} of {} connections\n", number(body["shown"]), number(body["matched"]));
}

std::string print_explanation(const json &body)
{
	std::string text;

	for (const json &step : body["steps"])
		text += step.get<std::string>() + "\n";
	const json &trial = body["trial"];
	const bool tried = trial.is_object() && trial["outcome"] != "not tried";
	const json &member = tried ? trial["member"] : body["member"];

	if (member.is_null())
		return text + (!tried && body["by"] == "method" ? "=> the next in turn\n" : "=> no member\n");
	return text + fmt::format("=> {}{}{}\n", member.get<std::string>(),
				  body["by"] == "method" ? " (if it came now)" : "",
				  tried && trial["outcome"] != "forwarded"
					  ? fmt::format(", but {}", trial["outcome"].get<std::string>())
					  : "");
}

std::string print_status(const json &body)
{
	const json &daemon = body["daemon"];
	std::string text =
		fmt::format("holdfastd {}, pid {}, configuration {}{}\n", daemon["version"].get<std::string>(),
			    number(daemon["pid"]), daemon["config"].get<std::string>(),
			    daemon["config_differs"].get<bool>() ? " (differs from what is applied)" : "");

	text += fmt::format("{} sessions of at most {}, {} connections of at most {}\n\n",
			    number(body["sessions"]["live"]), number(body["sessions"]["limit"]),
			    number(body["connections"]["live"]), number(body["connections"]["limit"]));
	text += print_interfaces(body["interfaces"]) + "\n";
	text += print_virtual_servers(body["virtual_servers"]) + "\n";
	text += print_members(body["members"]);
	return text;
}

} // namespace holdfast
