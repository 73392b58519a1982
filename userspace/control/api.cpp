// SPDX-License-Identifier: GPL-2.0
#include "control/api.h"

#include <charconv>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <set>

#include "control/advice.h"
#include "control/entries.h"
#include "control/explain.h"
#include "control/metrics.h"
#include "control/views.h"
#include "status_page/status_page.h"

namespace holdfast
{

namespace
{

using nlohmann::json;

constexpr size_t most_followers = 16;
// Of the read-only listener.
constexpr int most_open_walks = 2;
constexpr size_t most_open_entries = 1000;

ApiResponse answer(const json &body, unsigned status = 200)
{
	return {status, body.dump(-1, ' ', false, json::error_handler_t::replace) + "\n"};
}

ApiResponse refuse(unsigned status, const std::string &message)
{
	return answer({{"errors", {{{"path", ""}, {"line", 0}, {"message", message}}}}}, status);
}

// `file`: what they are errors of, where the one who asked cannot know.
ApiResponse refuse(const ConfigErrors &errors, const std::string &file = {})
{
	json list = json::array();

	for (const ConfigError &error : errors)
		list.push_back({{"path", error.path},
				{"line", error.line},
				{"column", error.column},
				{"message", error.message}});
	json body = {{"errors", list}};
	if (!file.empty())
		body["file"] = file;
	return answer(body, 422);
}

// Several values of one key stand in lines of their own.
std::vector<std::string> split_values(const std::string &text)
{
	std::vector<std::string> values;
	size_t start = 0;

	for (size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', start)) {
		values.push_back(text.substr(start, end - start));
		start = end + 1;
	}
	values.push_back(text.substr(start));
	return values;
}

bool names_clients(const std::string &path)
{
	return path == "/v1/sessions" || path == "/v1/connections";
}

// "192.0.2.1:80", "[::1]:80", "localhost".
bool names_address(const std::string &host)
{
	const std::string name = host.ends_with(']') ? host : host.substr(0, host.rfind(':'));
	const bool ipv6 = name.starts_with('[') && name.ends_with(']');

	return name == "localhost" || Address::parse(ipv6 ? name.substr(1, name.size() - 2) : name);
}

bool read_number(const std::string &text, size_t &number)
{
	const char *end = text.data() + text.size();
	const auto [stop, status] = std::from_chars(text.data(), end, number);

	return status == std::errc() && stop == end;
}

// What is answered by the page.
bool is_list(const std::string &path)
{
	return path == "/v1/virtual-servers" || path == "/v1/members";
}

Result<Page> read_page(const ApiRequest &request)
{
	const bool members = request.path == "/v1/members";
	Page page;

	for (const auto &[name, value] : request.query) {
		size_t number = 0;

		if (name == "search") {
			page.search = value;
		} else if (name == "offset" || name == "limit") {
			if (!read_number(value, number))
				return Error(fmt::format("{}: '{}'; allowed: a number", name, value));
			(name == "limit" ? page.limit : page.offset) = number;
		} else if (members && name == "pool") {
			page.pool = value;
		} else if (members && name == "state") {
			if (value != "up" && value != "down" && value != "draining" && value != "disabled")
				return Error(fmt::format("state: '{}'; allowed: up, down, draining, disabled", value));
			page.state = value;
		} else {
			return Error(fmt::format("'{}': allowed are search, offset, limit{}", name,
						 members ? ", pool, state" : ""));
		}
	}
	return page;
}

Result<EntryFilter> read_filter(const ApiRequest &request)
{
	EntryFilter filter;

	for (const auto &[name, value] : request.query) {
		if (value.empty())
			return Error(fmt::format("{}: is empty", name));
		if (name == "virtual_server") {
			filter.virtual_server = value;
		} else if (name == "rule") {
			filter.rule = value;
		} else if (name == "member") {
			filter.member = value;
		} else if (name == "key") {
			filter.key = split_values(value);
		} else if (name == "limit") {
			if (!read_number(value, filter.limit) || filter.limit < 1 || filter.limit > 10000000)
				return Error(fmt::format("limit: '{}'; allowed: 1-10000000", value));
		} else {
			return Error(fmt::format(
				"'{}' is not a filter; allowed: virtual_server, rule, member, key, limit", name));
		}
	}
	return filter;
}

ApiAnswer later(std::function<Result<json>()> walk)
{
	ApiAnswer unfinished;

	unfinished.work = [walk = std::move(walk)] {
		auto body = walk();
		return body ? answer(*body) : refuse(404, body.error().message());
	};
	return unfinished;
}

json to_json(const ApplyReport &report, bool dry_run)
{
	return {{"dry_run", dry_run},
		{"changes", report.changes},
		{"writes", report.writes},
		{"sessions_removed", report.sessions_dropped},
		{"connections_removed", report.connections_dropped}};
}

ApiAnswer explain_decision(const Controller &controller, const ApiRequest &request)
{
	Question question;
	std::string length;

	for (const auto &[name, value] : request.query) {
		if (name == "virtual_server")
			question.virtual_server = value;
		else if (name == "client")
			question.client = value;
		else if (name == "message")
			question.message = bytes_of_hex(value);
		else if (name == "length")
			length = value;
		else if (name == "trial" && (value == "0" || value == "1"))
			question.trial = value == "1";
		else
			return refuse(400, fmt::format("'{}': allowed are virtual_server, client, message, length, "
						       "trial (0 or 1)",
						       name));
	}
	if (question.virtual_server.empty() || question.client.empty())
		return refuse(400, "virtual_server and client are needed");
	if (request.query.contains("message") && !question.message)
		return refuse(400, "message: hexadecimal digits, two for each byte, are expected");
	question.length = question.message ? question.message->size() : 0;
	if (!length.empty()) {
		if (!question.message || !read_number(length, question.length) ||
		    question.length < question.message->size())
			return refuse(400, fmt::format("length: '{}'; allowed: the message's bytes, or more", length));
	}
	return later([snapshot = controller.snapshot(), question] { return explain(snapshot, question); });
}

} // namespace

std::string percent_decode(const std::string &text)
{
	std::string decoded;

	for (size_t i = 0; i < text.size(); i++) {
		unsigned value = 0;

		if (text[i] == '%' && i + 2 < text.size() &&
		    std::from_chars(&text[i + 1], &text[i + 3], value, 16).ptr == &text[i + 3]) {
			decoded += static_cast<char>(value);
			i += 2;
		} else {
			decoded += text[i] == '+' ? ' ' : text[i];
		}
	}
	return decoded;
}

std::map<std::string, std::string> parse_query(const std::string &query)
{
	std::map<std::string, std::string> values;
	size_t start = 0;

	while (start < query.size()) {
		const size_t end = std::min(query.find('&', start), query.size());
		const std::string pair = query.substr(start, end - start);
		const size_t equals = std::min(pair.find('='), pair.size());

		if (!pair.empty())
			values[percent_decode(pair.substr(0, equals))] =
				equals < pair.size() ? percent_decode(pair.substr(equals + 1)) : "";
		start = end + 1;
	}
	return values;
}

ApiAnswer Api::get(const ApiRequest &request)
{
	const Views views{controller_, sweeper_, checker_};
	const std::map<std::string, std::function<json()>> simple = {
		{"/v1/status", [&] { return views.status(); }},
		{"/v1/overview", [&] { return views.overview(); }},
		{"/v1/pools", [&] { return json{{"pools", views.pools()}}; }},
		{"/v1/rules", [&] { return json{{"rules", views.rules()}}; }},
		{"/v1/interfaces", [&] { return json{{"interfaces", views.interfaces()}}; }},
		{"/v1/counters", [&] { return json{{"counters", views.counters()}}; }},
		{"/v1/config",
		 [&] { return json{{"config", controller_.applied_text()}, {"revision", controller_.revision()}}; }},
	};

	if (auto found = simple.find(request.path); found != simple.end())
		return answer(found->second());
	if (request.path == "/v1/doctor")
		return later(views.findings());
	if (is_list(request.path)) {
		auto page = read_page(request);

		if (!page)
			return refuse(400, page.error().message());
		return answer(request.path == "/v1/members" ? views.members(*page) : views.virtual_servers(*page));
	}
	if (const StatusPageFile *file = find_status_page_file(request.path))
		return ApiResponse{200, std::string(file->content), file->type};
	if (request.path == "/metrics")
		return ApiResponse{200, metrics_text(views), "text/plain; version=0.0.4; charset=utf-8"};
	if (request.path == "/v1/events")
		return get_events(request);
	if (request.path.starts_with("/v1/members/")) {
		const std::string name = request.path.substr(std::string("/v1/members/").size());
		const auto member = views.member(name);

		if (!member)
			return refuse(404, fmt::format("there is no member '{}'; members are named POOL/NAME", name));
		return answer(*member);
	}
	if (request.path == "/v1/advice")
		return later([snapshot = controller_.snapshot()] { return advise(snapshot); });
	if (request.path == "/v1/explain")
		return explain_decision(controller_, request);
	if (request.path != "/v1/sessions" && request.path != "/v1/connections")
		return refuse(404, fmt::format("there is nothing at {}", request.path));
	const bool sessions = request.path == "/v1/sessions";
	auto filter = read_filter(request);
	if (!filter)
		return refuse(400, filter.error().message());
	if (!sessions && !filter->rule.empty())
		return refuse(400, "connections have no rule; allowed: virtual_server, member, key, limit");
	return later([snapshot = controller_.snapshot(), filter = *filter, sessions] {
		return sessions ? list_sessions(snapshot, filter) : list_connections(snapshot, filter);
	});
}

// The daemon's own file, again.
ApiAnswer Api::reload(const ApiRequest &request)
{
	if (!request.query.empty() || !request.body.empty())
		return refuse(400, "nothing is to be given: the file is that of holdfastd's --config");
	ApplyResult result = controller_.reload();

	if (auto *errors = std::get_if<ConfigErrors>(&result))
		return refuse(*errors, controller_.config_path());
	return answer(to_json(std::get<ApplyReport>(result), false));
}

ApiAnswer Api::put_config(const ApiRequest &request)
{
	auto dry = request.query.find("dry_run");
	auto revision = request.query.find("revision");
	const bool dry_run = dry != request.query.end() && dry->second != "0";

	for (const auto &[name, value] : request.query) {
		if (name != "dry_run" && name != "revision")
			return refuse(400, fmt::format("'{}': allowed are dry_run, revision", name));
	}
	if (revision != request.query.end() && revision->second != controller_.revision())
		return refuse(409, "another configuration was applied meanwhile; begin again from that");
	const Snapshot before = controller_.snapshot();
	ApplyResult result = controller_.apply(request.body, dry_run);

	if (auto *errors = std::get_if<ConfigErrors>(&result))
		return refuse(*errors);
	const auto &report = std::get<ApplyReport>(result);
	json body = to_json(report, dry_run);
	if (dry_run)
		return later([before, body, moves = report.moves,
			      after = std::get<Config>(parse_config(request.body))]() -> Result<json> {
			auto counted = count_affected(before, after, moves);
			json full = body;

			if (!counted)
				return counted.error();
			full.update(*counted);
			return full;
		});
	return answer(body);
}

ApiAnswer Api::patch_member(const ApiRequest &request)
{
	const std::string name = request.path.substr(std::string("/v1/members/").size());
	const size_t slash = name.find('/');
	std::optional<MemberStatus> status;
	std::optional<uint32_t> weight;
	bool reset = false;

	if (slash == std::string::npos)
		return refuse(404, fmt::format("'{}' is not a member; members are named POOL/NAME", name));
	const json body = json::parse(request.body, nullptr, false);
	if (!body.is_object() || body.empty())
		return refuse(400, "the body must be a JSON object with status or weight");
	for (const auto &[key, value] : body.items()) {
		if (key == "status" && value.is_string()) {
			const std::string text = value;

			if (text == "enable")
				status = MemberStatus::enabled;
			else if (text == "drain" || text == "maintain")
				status = MemberStatus::draining;
			else if (text == "disable")
				status = MemberStatus::disabled;
			else if (text == "reset")
				reset = true;
			else
				return refuse(400, fmt::format("status: '{}'; allowed: enable, drain, "
							       "maintain, disable, reset",
							       text));
		} else if (key == "weight" && value.is_number_integer()) {
			const int64_t number = value;

			if (number < HF_WEIGHT_MIN || number > HF_WEIGHT_MAX)
				return refuse(400, fmt::format("weight: {} is out of range; allowed: {}-{}", number,
							       static_cast<int>(HF_WEIGHT_MIN),
							       static_cast<int>(HF_WEIGHT_MAX)));
			weight = static_cast<uint32_t>(number);
		} else {
			return refuse(400, fmt::format("'{}': allowed are status (a word) and weight (a number)", key));
		}
	}
	const std::string pool = name.substr(0, slash);
	auto changed = controller_.override_member(pool, name.substr(slash + 1), [&](MemberOverride &one) {
		if (reset)
			one = {};
		if (status) {
			one.has_status = true;
			one.status = *status;
		}
		if (weight)
			one.weight = *weight;
	});
	if (!changed)
		return refuse(404, changed.error().message());
	events_.add({{"event", "member-changed"}, {"member", name}, {"change", body}});
	const json member = Views{controller_, sweeper_, checker_}.member(pool, *changed, false);
	if (status != MemberStatus::draining)
		return answer(member);
	return later([snapshot = controller_.snapshot(), name, member]() -> Result<json> {
		auto left = forecast(snapshot, name);
		json full = member;

		if (!left)
			return left.error();
		full["drain"] = *left;
		return full;
	});
}

ApiAnswer Api::delete_sessions(const ApiRequest &request)
{
	const bool all = request.query == std::map<std::string, std::string>{{"all", "1"}};
	auto filter = all ? Result<EntryFilter>(EntryFilter{}) : read_filter(request);

	if (!filter)
		return refuse(400, filter.error().message());
	if (request.query.empty() || request.query.contains("limit"))
		return refuse(400, "which sessions? give virtual_server, rule, member or key, or all=1 alone");
	return later([snapshot = controller_.snapshot(), filter = *filter]() -> Result<json> {
		auto deleted = holdfast::delete_sessions(snapshot, filter);
		if (!deleted)
			return deleted.error();
		return json{{"deleted", *deleted}};
	});
}

// What has happened lately; with follow=1, and what happens from now on.
ApiAnswer Api::get_events(const ApiRequest &request)
{
	ApiAnswer lines = ApiResponse{200, events_.recent(), "application/x-ndjson"};

	for (const auto &[name, value] : request.query) {
		if (name != "follow" || (value != "0" && value != "1"))
			return refuse(400, fmt::format("{}={}: allowed are follow=0 and follow=1", name, value));
		if (value == "1" && events_.followers() >= most_followers)
			return refuse(503, fmt::format("{} follow the events already", most_followers));
		if (value == "1")
			lines.follower = events_.follow();
	}
	return lines;
}

// What everybody who reaches the read-only listener may ask.
Result<void> Api::check_open(const ApiRequest &request) const
{
	// What is cheap, and names no client.
	static const std::set<std::string> open = {"/metrics",    "/v1/status",  "/v1/overview", "/v1/virtual-servers",
						   "/v1/pools",   "/v1/members", "/v1/rules",    "/v1/interfaces",
						   "/v1/counters"};
	const bool by_address = names_address(request.host);

	// A page of another site asks for it, or has its own name lead here, to read what a browser on this host gets.
	if (request.foreign || (request.local && !by_address))
		return Error("pages of other sites are not answered; on this host, ask by address, or for localhost");
	if (open.contains(request.path) || request.path.starts_with("/v1/members/") ||
	    find_status_page_file(request.path) || (request.path == "/v1/events" && !request.query.contains("follow")))
		return {};
	if (!names_clients(request.path))
		return Error(fmt::format("{} is not served here, but on the control socket", request.path));
	if (!controller_.configured().metrics.clients.value_or(request.local))
		return Error("what names clients is served on the control socket, to this host itself, and here with "
			     "metrics.clients: true");
	if (!by_address)
		return Error("what names clients is served to who asks by address, or for localhost");
	return {};
}

// Walks through tables are few at a time, and their answers short.
ApiAnswer Api::get_open(const ApiRequest &request)
{
	ApiRequest bounded = request;

	if (is_list(request.path))
		bounded.query.emplace("limit", std::to_string(most_open_entries));
	const auto limit = bounded.query.find("limit");
	size_t number = 0;
	if (limit != bounded.query.end() && read_number(limit->second, number) && number > most_open_entries)
		limit->second = std::to_string(most_open_entries);
	if (request.path == "/v1/status" && controller_.ids().members.all().size() > most_open_entries)
		return refuse(403, fmt::format("more than {} members are told of by the page: /v1/overview, "
					       "/v1/virtual-servers, /v1/members",
					       most_open_entries));
	if (!names_clients(request.path))
		return get(bounded);
	if (*open_walks_ >= most_open_walks)
		return refuse(503, fmt::format("{} such questions are being answered: ask again", most_open_walks));
	ApiAnswer answer = get(bounded);
	if (answer.work) {
		++*open_walks_;
		// Also if it is never run.
		const std::shared_ptr<void> done(nullptr, [walks = open_walks_](void *) { --*walks; });
		answer.work = [work = std::move(answer.work), done] { return work(); };
	}
	return answer;
}

ApiAnswer Api::handle(const ApiRequest &request, bool read_only)
{
	if (read_only && request.method != "GET")
		return refuse(403, "this listener is read-only; changes go to the control socket");
	if (read_only) {
		if (auto allowed = check_open(request); !allowed)
			return refuse(403, allowed.error().message());
	}
	if (request.method == "GET")
		return read_only ? get_open(request) : get(request);
	if (request.method == "PUT" && request.path == "/v1/config")
		return put_config(request);
	if (request.method == "POST" && request.path == "/v1/reload")
		return reload(request);
	if (request.method == "PATCH" && request.path.starts_with("/v1/members/"))
		return patch_member(request);
	if (request.method == "DELETE" && request.path == "/v1/sessions")
		return delete_sessions(request);
	return refuse(405, fmt::format("{} {} is not something that can be done", request.method, request.path));
}

} // namespace holdfast
