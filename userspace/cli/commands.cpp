// SPDX-License-Identifier: GPL-2.0
#include "cli/commands.h"

#include <algorithm>
#include <CLI/CLI.hpp>
#include <filesystem>
#include <fmt/format.h>
#include <functional>
#include <unistd.h>

#include "cli/client.h"
#include "cli/convert.h"
#include "cli/exchange.h"
#include "cli/outcome.h"
#include "cli/print.h"
#include "config/config.h"
#include "doctor/doctor.h"
#include "documents/documents.h"
#include "util/file.h"
#include "util/hex.h"

namespace holdfast
{

namespace
{

using nlohmann::json;

struct Arguments {
	std::string socket = "/run/holdfast/holdfast.sock";
	bool as_json = false;
	std::string file;
	bool dry_run = false, tables_only = false;
	bool all = false;
	std::string virtual_server, rule, member, client;
	std::vector<std::string> key;
	std::vector<std::string> cookies, headers; // of a request to be explained
	std::string url;
	uint64_t limit = 1000;
	uint32_t weight = 0;
	std::string pin_directory = "/sys/fs/bpf/holdfast";
	std::string config = "/etc/holdfast/holdfast.yaml";
	std::string address, from, to, shell;
	std::vector<std::string> settings;
	bool follow = false;
	ConvertOptions convert;

	ExchangeOptions exchange() const { return {socket, as_json, dry_run}; }
};

int show(const Arguments &arguments, const std::string &target, const std::function<std::string(const json &)> &print)
{
	const Reply reply = call(arguments.socket, "GET", target);

	if (const int status = check_reply(reply))
		return status;
	if (arguments.as_json)
		fmt::print("{}\n", reply.body.dump(1));
	else
		fmt::print("{}", print(reply.body));
	return done;
}

// Without a daemon: what it would find when it is started with this file.
json examine_without_daemon(const Arguments &arguments, const std::string &problem)
{
	std::vector<Finding> findings = {{true, fmt::format("no daemon answers: {}", problem),
					  "systemctl start holdfast; journalctl -u holdfast says why it does not run"}};
	auto add = [&](const std::vector<Finding> &more) { findings.insert(findings.end(), more.begin(), more.end()); };

	add(examine_kernel());
	const auto text = read_file(arguments.config);
	if (!text) {
		findings.push_back({true, text.error().message(), "--config says where the configuration is"});
		return to_json(findings);
	}
	const ConfigResult parsed = parse_config(*text);
	if (const auto *errors = std::get_if<ConfigErrors>(&parsed)) {
		for (const ConfigError &error : *errors)
			findings.push_back({true, error.text(arguments.config), ""});
		return to_json(findings);
	}
	add(examine_host(std::get<Config>(parsed)));
	add(examine_routes(std::get<Config>(parsed)));
	add(examine_neighbours(std::get<Config>(parsed)));
	return to_json(findings);
}

// Fails if anything is wrong.
int examine(const Arguments &arguments)
{
	const Reply reply = call(arguments.socket, "GET", "/v1/doctor");

	if (const int status = reply.absent ? done : check_reply(reply))
		return status;
	const json findings = reply.reached ? reply.body["findings"] : examine_without_daemon(arguments, reply.problem);
	if (arguments.as_json)
		fmt::print("{}\n", json{{"findings", findings}}.dump(1));
	else
		fmt::print("{}", print_findings(findings));
	const bool wrong = std::any_of(findings.begin(), findings.end(),
				       [](const json &finding) { return finding["kind"] == "error"; });
	return wrong ? failed : done;
}

// Several values of one key stand in lines of their own.
std::string key_text(const Arguments &arguments)
{
	std::string text;

	for (const std::string &value : arguments.key)
		text += (text.empty() ? "" : "\n") + value;
	return text;
}

// The head of the request that --url, --header and --cookie describe.
std::string request_head(const Arguments &arguments)
{
	std::string head = fmt::format("GET {} HTTP/1.1\r\n", arguments.url.empty() ? "/" : arguments.url), cookies;

	for (const std::string &header : arguments.headers)
		head += header + "\r\n";
	for (const std::string &cookie : arguments.cookies)
		cookies += (cookies.empty() ? "" : "; ") + cookie;
	return head + (cookies.empty() ? "" : "Cookie: " + cookies + "\r\n") + "\r\n";
}

// Hexadecimal digits, with white space wherever a person puts it.
int explain(const Arguments &arguments)
{
	std::string target = fmt::format("/v1/explain?virtual_server={}&client={}",
					 percent_encode(arguments.virtual_server), percent_encode(arguments.client));

	if (!arguments.file.empty()) {
		auto text = read_file(arguments.file);

		if (!text) {
			complain(text.error().message());
			return failed;
		}
		std::erase_if(*text, [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; });
		if (!bytes_of_hex(*text)) {
			complain(
				fmt::format("{}: hexadecimal digits, two for each byte, are expected", arguments.file));
			return failed;
		}
		// No more than this is looked at, however long the message is.
		target +=
			fmt::format("&length={}&message={}", text->size() / 2, text->substr(0, 2UL * HF_MESSAGE_BYTES));
	} else if (!arguments.cookies.empty() || !arguments.headers.empty() || !arguments.url.empty()) {
		target += "&message=" + hex(request_head(arguments));
	}
	if (arguments.tables_only)
		target += "&trial=0";
	return show(arguments, target, print_explanation);
}

std::string filter_query(const Arguments &arguments, bool with_limit)
{
	std::string query;

	for (const auto &[name, value] : {std::pair("virtual_server", arguments.virtual_server),
					  {"rule", arguments.rule},
					  {"member", arguments.member},
					  {"key", key_text(arguments)}}) {
		if (!value.empty())
			query += fmt::format("{}{}={}", query.empty() ? "?" : "&", name, percent_encode(value));
	}
	if (with_limit)
		query += fmt::format("{}limit={}", query.empty() ? "?" : "&", arguments.limit);
	return query;
}

int check_file(const Arguments &arguments)
{
	auto text = read_file(arguments.file);

	if (!text) {
		complain(text.error().message());
		return failed;
	}
	const ConfigResult result = parse_config(*text);
	const auto *errors = std::get_if<ConfigErrors>(&result);
	if (arguments.as_json) {
		json list = json::array();

		for (const ConfigError &error : errors ? *errors : ConfigErrors{})
			list.push_back({{"path", error.path},
					{"line", error.line},
					{"column", error.column},
					{"message", error.message}});
		fmt::print("{}\n", json{{"valid", !errors}, {"errors", list}}.dump(1));
		return errors ? failed : done;
	}
	if (!errors) {
		const auto &config = std::get<Config>(result);

		fmt::print("{}: valid: {} virtual servers, {} pools, {} rules\n", arguments.file,
			   config.virtual_servers.size(), config.pools.size(),
			   config.rules.size() - predefined_rules().size());
		return done;
	}
	for (const ConfigError &error : *errors)
		fmt::print(stderr, "{}\n", error.text(arguments.file));
	return failed;
}

int apply_file(const Arguments &arguments)
{
	auto text = read_file(arguments.file);

	if (!text) {
		complain(text.error().message());
		return failed;
	}
	return apply_text(arguments.exchange(), *text, arguments.file);
}

int change_member(const Arguments &arguments, const json &change)
{
	const Reply reply =
		call(arguments.socket, "PATCH", "/v1/members/" + percent_encode(arguments.member), change.dump());

	if (const int status = check_reply(reply))
		return status;
	if (arguments.as_json) {
		fmt::print("{}\n", reply.body.dump(1));
		return done;
	}
	fmt::print("{}", print_members(json::array({reply.body})));
	if (reply.body.contains("drain"))
		fmt::print("{}", print_forecast(reply.body["drain"]));
	return done;
}

int print_events(const Arguments &arguments)
{
	const auto take = [&](const std::string &line) {
		fmt::print("{}\n", arguments.as_json ? line : print_event(json::parse(line, nullptr, false)));
		std::fflush(stdout);
	};

	return check_reply(read_lines(arguments.socket, arguments.follow ? "/v1/events?follow=1" : "/v1/events", take));
}

int delete_sessions(const Arguments &arguments)
{
	std::string query = filter_query(arguments, false);

	if (query.empty()) {
		if (!arguments.all) {
			complain("which sessions? give a filter, or --all");
			return wrong_usage;
		}
		query = "?all=1";
	}
	const Reply reply = call(arguments.socket, "DELETE", "/v1/sessions" + query);
	if (const int status = check_reply(reply))
		return status;
	const uint64_t deleted = reply.body["deleted"];
	if (arguments.as_json)
		fmt::print("{}\n", reply.body.dump(1));
	else
		fmt::print("{} sessions deleted\n", deleted);
	return done;
}

// The daemon's own program does it: it alone knows how to attach and detach.
int detach(const Arguments &arguments)
{
	const std::string beside = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "holdfastd";
	const std::string program = std::filesystem::exists(beside) ? beside : "holdfastd";

	::execlp(program.c_str(), program.c_str(), "--detach", "--pin-dir", arguments.pin_directory.c_str(), nullptr);
	complain(fmt::format("{}: {}", program, std::strerror(errno)));
	return failed;
}

// A filter that is empty by mistake would be none, and match everything.
const CLI::Validator
	not_empty([](const std::string &value) { return std::string(value.empty() ? "must not be empty" : ""); }, "");

void add_filters(CLI::App *command, Arguments &arguments, const std::string &key_help)
{
	command->add_option("--virtual-server", arguments.virtual_server, "only of this virtual server")
		->check(not_empty);
	command->add_option("--member", arguments.member, "only of this member, POOL/NAME")->check(not_empty);
	command->add_option("--key", arguments.key, key_help)->check(not_empty)->allow_extra_args(false);
}

class CommandLine
{
public:
	CommandLine() : app_("holdfast: looks at and changes a running holdfastd")
	{
		app_.require_subcommand(1);
		app_.set_version_flag("--version", "holdfast " HOLDFAST_VERSION);
		app_.fallthrough();
		app_.add_option("--socket", arguments_.socket, "the daemon's control socket")->capture_default_str();
		app_.add_flag("--json", arguments_.as_json, "machine-readable output");
		add_files();
		add_show();
		add_explain();
		add_sessions();
		add_members();
		add_exchange();
		add_convert();
		add_documents();
		auto *command = add(&app_, "detach", "remove programs, links and pins (stop the daemon first)",
				    [this] { return detach(arguments_); });
		command->add_option("--pin-dir", arguments_.pin_directory, "where they are pinned")
			->capture_default_str();
	}

	int run(int argc, char **argv)
	{
		try {
			app_.parse(argc, argv);
		} catch (const CLI::ParseError &error) {
			return app_.exit(error) ? wrong_usage : done;
		}
		return action_();
	}

private:
	CLI::App *add(CLI::App *parent, const std::string &name, const std::string &help, std::function<int()> action)
	{
		CLI::App *command = parent->add_subcommand(name, help);

		command->callback([this, action = std::move(action)] { action_ = action; });
		return command;
	}

	void add_files()
	{
		CLI::App *check =
			add(&app_, "check", "validate a configuration file", [this] { return check_file(arguments_); });
		check->add_option("FILE", arguments_.file)->required();
		CLI::App *apply = add(&app_, "apply", "make the running daemon follow a file",
				      [this] { return apply_file(arguments_); });
		apply->add_option("FILE", arguments_.file)->required();
		apply->add_flag("--dry-run", arguments_.dry_run, "say what would change, and change nothing");
		add(&app_, "reload", "make the running daemon follow its own file (holdfastd --config) again",
		    [this] { return reload(arguments_.exchange()); });
		add(&app_, "status", "daemon, interfaces, virtual servers, members",
		    [this] { return show(arguments_, "/v1/status", print_status); });
		add(&app_, "advise", "what the sessions' own data says of time-outs and keys (see advice.remember)",
		    [this] { return show(arguments_, "/v1/advice", print_advice); });
		add(&app_, "doctor", "what keeps the host from serving what is configured, and the remedies",
		    [this] { return examine(arguments_); })
			->add_option("--config", arguments_.config,
				     "where no daemon answers: the configuration to look at")
			->capture_default_str();
	}

	void add_exchange()
	{
		CLI::App *events =
			add(&app_, "events", "what has happened: members, configurations; sessions, if followed",
			    [this] { return print_events(arguments_); });
		events->add_flag("--follow,-f", arguments_.follow, "and what happens from now on, sessions too");
		CLI::App *rule = app_.add_subcommand("rule", "persistence rules");
		rule->require_subcommand(1);
		CLI::App *clone =
			add(rule, "clone", "a new rule with another one's settings, and some of its own", [this] {
				return clone_rule(arguments_.exchange(), arguments_.from, arguments_.to,
						  arguments_.settings);
			});
		clone->add_option("FROM", arguments_.from, "a rule, also a predefined one")->required();
		clone->add_option("TO", arguments_.to, "the new one's name")->required();
		clone->add_option("KEY=VALUE", arguments_.settings, "settings that differ, as in timeout=600");
		clone->add_flag("--dry-run", arguments_.dry_run, "say what would change, and change nothing");
		CLI::App *import =
			app_.add_subcommand("import", "rules in other formats, into the running configuration");
		import->require_subcommand(1);
		CLI::App *txt = add(import, "txt", "port-forwarding rules and their settings, a line each", [this] {
			return import_txt_file(arguments_.exchange(), arguments_.file, arguments_.address);
		});
		txt->add_option("FILE", arguments_.file, "the lines")->required();
		txt->add_option("--address", arguments_.address, "the virtual address that the rules get")->required();
		txt->add_flag("--dry-run", arguments_.dry_run, "say what would change, and change nothing");
		CLI::App *out = app_.add_subcommand("export", "the running configuration's rules in other formats");
		out->require_subcommand(1);
		txt = add(out, "txt", "port-forwarding rules and their settings, a line each", [this] {
			return export_txt_file(arguments_.exchange(), arguments_.file, arguments_.address);
		});
		txt->add_option("FILE", arguments_.file, "where to; otherwise standard output");
		txt->add_option("--address", arguments_.address, "only of this virtual address");
	}

	void add_convert()
	{
		CLI::App *parent = app_.add_subcommand(
			"convert", "another balancer's configuration as one of Holdfast's; what cannot be, by line");

		parent->require_subcommand(1);
		for (const char *kind : {"haproxy", "keepalived"}) {
			CLI::App *command = add(parent, kind, fmt::format("a configuration of {}", kind), [this, kind] {
				arguments_.convert.file = arguments_.file;
				arguments_.convert.as_json = arguments_.as_json;
				return convert_file(kind, arguments_.convert);
			});

			command->add_option("FILE", arguments_.file)->required();
			command->add_option("--interface", arguments_.convert.interfaces,
					    "that packets come in by (default: eth0); may be repeated");
			command->add_option("--address", arguments_.convert.address,
					    "the virtual address of what listens on every address");
			command->add_option("--source", arguments_.convert.sources,
					    "an address from which members see clients (fullnat); without: dnat, for "
					    "members whose gateway is this host; may be repeated");
		}
	}

	void add_documents()
	{
		CLI::App *completion = add(&app_, "completion", "the completion of this command for a shell", [this] {
			fmt::print("{}", arguments_.shell == "zsh" ? zsh_completion(app_, "holdfast")
								   : bash_completion(app_, "holdfast"));
			return done;
		});
		completion->add_option("SHELL", arguments_.shell, "bash or zsh")
			->required()
			->check(CLI::IsMember({"bash", "zsh"}));
		add(&app_, "manual", "this command's manual page, for man(1)", [this] {
			fmt::print("{}", manual_page(app_, "holdfast", 1));
			return done;
		});
	}

	void add_show()
	{
		CLI::App *parent = app_.add_subcommand("show", "tables of one kind");
		const std::vector<std::tuple<std::string, std::string, std::function<std::string(const json &)>>>
			kinds = {
				{"virtual-servers", "virtual_servers", print_virtual_servers},
				{"pools", "pools", print_pools},
				{"members", "members", print_members},
				{"rules", "rules", print_rules},
				{"interfaces", "interfaces", print_interfaces},
			};

		parent->require_subcommand(1);
		for (const auto &kind : kinds) {
			const std::string &name = std::get<0>(kind);

			add(parent, name, name, [this, kind] {
				return show(arguments_, "/v1/" + std::get<0>(kind), [&kind](const json &body) {
					return std::get<2>(kind)(body[std::get<1>(kind)]);
				});
			});
		}
		CLI::App *counters =
			add(parent, "counters", "why packets were dropped or took a second-best way", [this] {
				return show(arguments_, "/v1/counters", [&](const json &body) {
					return print_counters(body["counters"], arguments_.all);
				});
			});
		counters->add_flag("--all", arguments_.all, "also those that are zero");
		CLI::App *sessions = add(parent, "sessions", "which client belongs to which member", [this] {
			return show(arguments_, "/v1/sessions" + filter_query(arguments_, true), print_sessions);
		});
		add_filters(sessions, arguments_,
			    "only the session of this key: a client's address, a Call-ID, an attribute's "
			    "value (again for each further attribute of one key), or its digest");
		sessions->add_option("--rule", arguments_.rule, "only of this rule")->check(not_empty);
		sessions->add_option("--limit", arguments_.limit, "at most so many")->capture_default_str();
		CLI::App *connections = add(parent, "connections", "connections, one line each", [this] {
			return show(arguments_, "/v1/connections" + filter_query(arguments_, true), print_connections);
		});
		add_filters(connections, arguments_, "only of this client address");
		connections->add_option("--limit", arguments_.limit, "at most so many")->capture_default_str();
	}

	void add_explain()
	{
		CLI::App *command = add(&app_, "explain", "which member a packet would get, and why; changes nothing",
					[this] { return explain(arguments_); });

		command->add_option("--virtual-server", arguments_.virtual_server, "that the packet is for")
			->required();
		command->add_option("--client", arguments_.client, "ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT")
			->required();
		CLI::Option *file = command->add_option("--hex", arguments_.file,
							"a file with a datagram's payload, or the first bytes of a "
							"stream, in hexadecimal digits");
		command->add_option("--cookie", arguments_.cookies, "NAME=VALUE, of a request; may be repeated")
			->excludes(file);
		command->add_option("--header", arguments_.headers, "NAME:VALUE, of a request; may be repeated")
			->excludes(file);
		command->add_option("--url", arguments_.url, "path and query of a request, as in /a?uid=42")
			->excludes(file);
		command->add_flag("--tables-only", arguments_.tables_only,
				  "without a trial of the packet by the data path's own program");
	}

	void add_sessions()
	{
		CLI::App *parent = app_.add_subcommand("session", "delete sessions: their clients are balanced anew");

		parent->require_subcommand(1);
		for (const char *name : {"delete", "flush"}) {
			CLI::App *command = add(parent, name, "sessions that match the filters",
						[this] { return delete_sessions(arguments_); });

			add_filters(command, arguments_, "the session of this key, as in `show sessions`");
			command->add_option("--rule", arguments_.rule, "only of this rule")->check(not_empty);
			command->add_flag("--all", arguments_.all, "every session");
		}
	}

	void add_members()
	{
		CLI::App *parent = app_.add_subcommand("member", "change a member now; survives restarts until reset");
		const std::vector<std::pair<std::string, std::string>> verbs = {
			{"enable", "takes everything"},
			{"disable", "takes no sessions and no new clients: its sessions move"},
			{"drain", "keeps sessions and connections, takes no new clients"},
			{"maintain", "the same as drain"},
			{"reset", "back to what the configuration says"},
		};

		parent->require_subcommand(1);
		for (const auto &verb : verbs) {
			CLI::App *command = add(parent, verb.first, verb.second, [this, status = verb.first] {
				return change_member(arguments_, {{"status", status}});
			});

			command->add_option("MEMBER", arguments_.member, "POOL/NAME")->required();
		}
		CLI::App *weight = add(parent, "weight", "its share of new clients",
				       [this] { return change_member(arguments_, {{"weight", arguments_.weight}}); });
		weight->add_option("MEMBER", arguments_.member, "POOL/NAME")->required();
		weight->add_option("WEIGHT", arguments_.weight, "1-256")->required();
	}

	CLI::App app_;
	Arguments arguments_;
	std::function<int()> action_;
};

} // namespace

int run_command_line(int argc, char **argv)
{
	return CommandLine().run(argc, argv);
}

} // namespace holdfast
