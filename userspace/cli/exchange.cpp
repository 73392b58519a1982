// SPDX-License-Identifier: GPL-2.0
#include "cli/exchange.h"

#include <fmt/format.h>
#include <optional>
#include <set>
#include <variant>

#include "cli/client.h"
#include "cli/outcome.h"
#include "config/config.h"
#include "config/document.h"
#include "rules_txt/exchange.h"
#include "util/file.h"

namespace holdfast
{

namespace
{

using nlohmann::json;

struct Applied {
	int status = done; // not `done`: it has been said why
	std::string text, revision;
};

Applied get_applied(const std::string &socket)
{
	const Reply reply = call(socket, "GET", "/v1/config");

	if (const int status = check_reply(reply))
		return {status, {}, {}};
	return {done, reply.body.value("config", ""), reply.body.value("revision", "")};
}

// What only the whole configuration shows, by the line that made the object: "virtual_servers[7].port".
std::vector<TxtProblem> whole_problems(const std::string &yaml, const TxtRules &rules)
{
	const ConfigResult result = parse_config(yaml);
	const auto *errors = std::get_if<ConfigErrors>(&result);
	const YAML::Node root = YAML::Load(yaml);
	std::vector<TxtProblem> problems;

	for (const ConfigError &error : errors ? *errors : ConfigErrors{}) {
		const size_t open = error.path.find('['), close = error.path.find(']');
		TxtProblem problem{0, error.path, error.message};

		if (open != std::string::npos && close != std::string::npos) {
			const size_t index = std::strtoul(error.path.c_str() + open + 1, nullptr, 10);
			const std::string name = root[error.path.substr(0, open)][index]["name"].as<std::string>("");

			for (const auto &[place, rule] : rules.forwarding) {
				if (name == fmt::format("{}-{}", word(place.second), place.first))
					problem.line = rule.line;
			}
		}
		problems.push_back(problem);
	}
	return problems;
}

// Nothing: it has been said why.
std::optional<ConfigDocument> document_of(const Applied &applied)
{
	auto document = ConfigDocument::parse(applied.text);

	if (document)
		return std::move(*document);
	complain(document.error().message());
	return std::nullopt;
}

std::string number(const json &body, const char *key)
{
	return std::to_string(body.value(key, uint64_t{0}));
}

int report(const ExchangeOptions &options, const Reply &reply, const std::string &file)
{
	if (const int status = check_reply(reply, file))
		return status;
	const json &body = reply.body;
	if (options.as_json) {
		fmt::print("{}\n", body.dump(1));
		return done;
	}
	for (const json &change : body["changes"])
		fmt::print("{}\n", change.get<std::string>());
	if (body["changes"].empty())
		fmt::print("nothing differs\n");
	if (options.dry_run)
		fmt::print("dry run: nothing was changed; {} sessions and {} connections would go, {} sessions would "
			   "move\n",
			   number(body, "sessions_removed"), number(body, "connections_removed"),
			   number(body, "sessions_moved"));
	else
		fmt::print("applied: {} map writes; {} sessions and {} connections were of what is gone\n",
			   number(body, "writes"), number(body, "sessions_removed"),
			   number(body, "connections_removed"));
	return done;
}

} // namespace

int apply_text(const ExchangeOptions &options, const std::string &text, const std::string &file,
	       const std::string &revision)
{
	std::string query;

	if (options.dry_run)
		query += "?dry_run=1";
	if (!revision.empty())
		query += (query.empty() ? "?" : "&") + ("revision=" + revision);
	return report(options, call(options.socket, "PUT", "/v1/config" + query, text), file);
}

int reload(const ExchangeOptions &options)
{
	return report(options, call(options.socket, "POST", "/v1/reload"), {});
}

int import_txt_file(const ExchangeOptions &options, const std::string &file, const std::string &address)
{
	auto text = read_file(file);
	const auto parsed = Address::parse(address);

	if (!text) {
		complain(text.error().message());
		return failed;
	}
	if (!parsed || !parsed->is_unicast()) {
		complain(fmt::format("--address: '{}' is not an IPv4 or IPv6 address", address));
		return wrong_usage;
	}
	const TxtRules rules = parse_txt(*text);
	std::vector<TxtProblem> problems = rules.problems;
	if (rules.forwarding.empty() && rules.settings.empty() && problems.empty()) {
		complain(fmt::format("{}: there is no rule in it", file));
		return failed;
	}
	const Applied applied = get_applied(options.socket);
	if (applied.status)
		return applied.status;
	auto document = document_of(applied);
	if (!document)
		return failed;
	const auto refused = import_txt(rules, *parsed, *document);
	problems.insert(problems.end(), refused.begin(), refused.end());
	std::sort(problems.begin(), problems.end(),
		  [](const TxtProblem &a, const TxtProblem &b) { return a.line < b.line; });
	if (problems.empty())
		problems = whole_problems(document->text(), rules);
	for (const TxtProblem &problem : problems)
		fmt::print(stderr, "{}\n", problem.text(file));
	if (!problems.empty()) {
		complain("nothing was changed");
		return failed;
	}
	for (const TxtProblem &warning : rules.warnings)
		fmt::print(stderr, "warning: {}\n", warning.text(file));
	return apply_text(options, document->text(), "", applied.revision);
}

int export_txt_file(const ExchangeOptions &options, const std::string &file, const std::string &address)
{
	const auto only = address.empty() ? std::nullopt : Address::parse(address);
	const Applied applied = get_applied(options.socket);
	std::vector<std::string> left_out;
	std::set<Address> addresses;

	if (applied.status)
		return applied.status;
	if (!address.empty() && !only) {
		complain(fmt::format("--address: '{}' is not an IPv4 or IPv6 address", address));
		return wrong_usage;
	}
	const ConfigResult result = parse_config(applied.text);
	const auto *parsed = std::get_if<Config>(&result);
	if (!parsed) {
		complain("the daemon's configuration is of another version than this program's");
		return failed;
	}
	Config config = *parsed;
	std::erase_if(config.virtual_servers, [&](const VirtualServer &server) {
		if (!only || server.address == *only)
			return false;
		left_out.push_back(
			fmt::format("virtual server {}: its address is {}", server.name, server.address.text()));
		return true;
	});
	const TxtRules rules = export_txt(config, left_out);
	for (const VirtualServer &server : config.virtual_servers) {
		if (rules.forwarding.contains({server.first_port, server.protocol}))
			addresses.insert(server.address);
	}
	if (addresses.size() > 1) {
		complain(fmt::format("the rules are of {} virtual addresses; --address says which to export",
				     addresses.size()));
		return wrong_usage;
	}
	for (const std::string &line : left_out)
		fmt::print(stderr, "not exported: {}\n", line);
	if (file.empty()) {
		fmt::print("{}", render_txt(rules));
		return done;
	}
	if (auto written = write_file(file, render_txt(rules), 0644); !written) {
		complain(written.error().message());
		return failed;
	}
	return done;
}

int clone_rule(const ExchangeOptions &options, const std::string &from, const std::string &to,
	       const std::vector<std::string> &settings)
{
	const Applied applied = get_applied(options.socket);

	if (applied.status)
		return applied.status;
	auto document = document_of(applied);
	if (!document)
		return failed;
	if (document->find("persistence", to)) {
		complain(fmt::format("there is a rule '{}' already", to));
		return failed;
	}
	YAML::Node rule = document->add("persistence", to);
	rule["clone"] = from;
	for (const std::string &setting : settings) {
		const size_t equals = setting.find('=');

		if (equals == std::string::npos || !equals) {
			complain(fmt::format("'{}' is not KEY=VALUE", setting));
			return wrong_usage;
		}
		try {
			rule[setting.substr(0, equals)] = YAML::Load(setting.substr(equals + 1));
		} catch (const YAML::Exception &exception) {
			complain(fmt::format("'{}': {}", setting, exception.msg));
			return wrong_usage;
		}
	}
	return apply_text(options, document->text(), "", applied.revision);
}

} // namespace holdfast
