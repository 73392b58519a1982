// SPDX-License-Identifier: GPL-2.0
#include "config/config.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <tuple>

#include "config/checks.h"
#include "config/health_checks.h"
#include "config/names.h"
#include "config/object_reader.h"
#include "config/rules.h"
#include "config/virtual_servers.h"

namespace holdfast
{

namespace
{

// The lines of what may be in a pool only once.
struct MemberPlaces {
	std::map<std::string, int> endpoints;
	std::map<std::string, std::pair<int, bool>> cookies; // and whether it was given
};

// One parse: fills `config`, collects errors.
class Parser
{
public:
	explicit Parser(ConfigErrors &errors)
		: errors_(errors),
		  written_{{}, {}, {"pool", errors}, {"persistence rule", errors}, {"health check", errors}},
		  server_names_("virtual server", errors)
	{
	}

	Config parse(const YAML::Node &root);

private:
	void read_interface(ObjectReader &reader);
	void read_tables(ObjectReader &reader);
	void read_pool(ObjectReader &reader);
	void read_member(ObjectReader &reader, Pool &pool, Names &names, MemberPlaces &places);
	static void read_cookie(ObjectReader &reader, Member &member, MemberPlaces &places);
	void read_rule(ObjectReader &reader);
	bool inherit_rule(ObjectReader &reader);
	void read_early_data(ObjectReader &reader);
	void read_pool_checks(ObjectReader &reader, Pool &pool);
	void read_state(ObjectReader &reader);
	void read_metrics(ObjectReader &reader);
	static void read_tcp_options(ObjectReader &reader, Pool &pool);

	ConfigErrors &errors_;
	Config config_;
	std::map<std::string, std::optional<Fields>> rule_fields_; // to be cloned; none: there was an error
	Written written_;
	Names server_names_;
};

void Parser::read_interface(ObjectReader &reader)
{
	Interface interface;
	// An interface's name is the kernel's: up to 15 characters, no '/' and no space.
	auto name = reader.text("name", true);

	if (name) {
		if (name->empty() || name->size() > 15 || name->find_first_of("/ \t\n:") != std::string::npos)
			reader.error("name", fmt::format("'{}' is not an interface's name", *name));
		for (const Interface &other : config_.interfaces) {
			if (other.name == *name)
				reader.error("name", fmt::format("the interface '{}' is given twice", *name));
		}
		interface.name = *name;
	}
	if (auto mode = reader.word<InterfaceMode>("mode", {{"auto", InterfaceMode::automatic},
							    {"xdp", InterfaceMode::xdp},
							    {"xdp-generic", InterfaceMode::xdp_generic},
							    {"tc", InterfaceMode::tc}}))
		interface.mode = *mode;
	config_.interfaces.push_back(interface);
}

void Parser::read_tables(ObjectReader &reader)
{
	auto size = [&](const char *key, uint32_t &value, int64_t least, int64_t most) {
		if (auto found = reader.integer(key, least, most))
			value = static_cast<uint32_t>(*found);
	};

	size("sessions", config_.tables.sessions, 1024, 67108864);
	size("connections", config_.tables.connections, 1024, 134217728);
	size("virtual_servers", config_.tables.virtual_servers, 16, 65535);
	size("members", config_.tables.members, 16, 1048576);
	size("selection", config_.tables.selection, 262144, 268435456);
	size("splices", config_.tables.splices, 1024, HF_SPLICE_SLOT + 1);
}

// What cookies call a member: its name, if nothing is said.
void Parser::read_cookie(ObjectReader &reader, Member &member, MemberPlaces &places)
{
	const bool given = reader.has("cookie");

	member.cookie = reader.text("cookie").value_or(member.name);
	const bool named = std::all_of(member.cookie.begin(), member.cookie.end(), [](unsigned char c) {
		return (std::isalnum(c) && c < 128) || c == '.' || c == '_' || c == '-';
	});

	if (member.cookie.empty() && !given)
		return; // its name was refused
	if (!named || member.cookie.empty() || member.cookie.size() > HF_NAME_LENGTH) {
		reader.error("cookie",
			     fmt::format("'{}' cannot name a member in a cookie; allowed: 1-{} letters, digits, "
					 "\".\", \"_\" and \"-\"",
					 member.cookie, static_cast<int>(HF_NAME_LENGTH)));
		return;
	}
	auto [where, fresh] = places.cookies.emplace(member.cookie, std::pair(reader.place().mark.line + 1, given));
	// Two names that are the same have had their error.
	if (!fresh && (given || where->second.second))
		reader.error(given ? "cookie" : "name", fmt::format("cookies call the member in line {} '{}', too",
								    where->second.first, member.cookie));
}

void Parser::read_member(ObjectReader &reader, Pool &pool, Names &names, MemberPlaces &places)
{
	Member member;

	member.name = names.read(reader);
	if (auto address = reader.address("address"))
		member.address = *address;
	if (auto port = reader.integer("port", 1, UINT16_MAX))
		member.port = static_cast<uint16_t>(*port);
	if (auto weight = reader.integer("weight", HF_WEIGHT_MIN, HF_WEIGHT_MAX))
		member.weight = static_cast<uint32_t>(*weight);
	if (auto status = reader.word<MemberStatus>("status", {{"enable", MemberStatus::enabled},
							       {"maintain", MemberStatus::draining},
							       {"disable", MemberStatus::disabled}}))
		member.status = *status;
	if (auto limit = reader.integer("connection_limit", 0, HF_CONNECTION_LIMIT_MAX))
		member.connection_limit = static_cast<uint32_t>(*limit);
	auto number = [&](const char *key, uint32_t &value, int64_t least, int64_t most) {
		if (auto found = reader.integer(key, least, most))
			value = static_cast<uint32_t>(*found);
	};
	number("connection_rate_limit", member.connection_rate_limit, 0, HF_CONNECTION_RATE_MAX);
	number("recover", member.recover, 0, HF_RECOVER_MAX);
	number("warm_up", member.warm_up, 0, HF_WARM_UP_MAX);
	number("warm_rate", member.warm_rate, HF_WARM_RATE_MIN, HF_CONNECTION_RATE_MAX);
	if (reader.has("warm_rate") && (!reader.has("warm_up") || reader.text("warm_up") == "0"))
		reader.error("warm_rate", "does nothing without warm_up");
	member.backup = reader.boolean("backup").value_or(false);
	read_cookie(reader, member, places);
	auto [where, fresh] = places.endpoints.emplace(fmt::format("{} {}", member.address.text(), member.port),
						       reader.place().mark.line + 1);
	if (!fresh && member.address != Address())
		reader.error("address",
			     fmt::format("the member in line {} has the same address and port", where->second));
	pool.members.push_back(member);
}

void Parser::read_pool(ObjectReader &reader)
{
	MemberPlaces places;
	Names names("member of this pool", errors_);
	Pool pool;

	pool.name = written_.pool_names.read(reader);
	reader.each("members", [&](ObjectReader &member) { read_member(member, pool, names, places); });
	pool.reset_on_down = reader.word<bool>("on_down", {{"keep", false}, {"reset", true}}).value_or(false);
	read_tcp_options(reader, pool);
	read_pool_checks(reader, pool);
	if (pool.members.empty())
		reader.error("members", "a pool needs at least one member");
	else if (std::all_of(pool.members.begin(), pool.members.end(), [](const Member &one) { return one.backup; }))
		reader.error("members", "all of them are backups, of nobody");
	config_.pools.push_back(pool);
}

// The settings of the rule that this one is a clone of. False: there are none.
bool Parser::inherit_rule(ObjectReader &reader)
{
	const auto from = reader.text("clone");

	if (!from)
		return false;
	auto original = rule_fields_.find(*from);
	if (original == rule_fields_.end())
		reader.error("clone", fmt::format("'{}' is neither predefined nor the name of a rule above", *from));
	if (original == rule_fields_.end() || !original->second)
		return false;
	if (reader.has("type")) {
		reader.error("type", "belongs to the rule that is cloned");
		return false;
	}
	reader.inherit(*original->second);
	return true;
}

void Parser::read_rule(ObjectReader &reader)
{
	const Place where = reader.place("name");
	const std::string name = written_.rule_names.read(reader);

	if (name.starts_with("LB_PERSIS_"))
		report(errors_, where, "names that begin with LB_PERSIS_ are those of the predefined rules");
	if (reader.has("clone") && !inherit_rule(reader)) {
		// What is cloned from it has no error of its own.
		rule_fields_.insert_or_assign(name, std::nullopt);
		reader.ignore_the_rest();
		return;
	}
	Fields fields = reader.fields();
	for (const char *key : {"name", "clone"})
		fields.erase(key);
	rule_fields_.insert_or_assign(name, std::move(fields));
	if (auto rule = read_rule_settings(reader)) {
		rule->name = name;
		config_.rules.push_back(*rule);
	}
}

void Parser::read_early_data(ObjectReader &reader)
{
	auto number = [&](const char *key, uint32_t &value, int64_t least, int64_t most) {
		if (auto found = reader.integer(key, least, most))
			value = static_cast<uint32_t>(*found);
	};

	number("max_head", config_.early_data.max_head, HF_EARLY_HEAD_MIN, HF_EARLY_HEAD_MAX);
	number("max_bytes_per_client", config_.early_data.max_bytes_per_client, HF_EARLY_CLIENT_BYTES_MIN,
	       HF_EARLY_CLIENT_BYTES_MAX);
	number("timeout", config_.early_data.timeout, HF_EARLY_TIMEOUT_MIN, HF_EARLY_TIMEOUT_MAX);
	// A head of the greatest length has to fit into its client's share, in whole pieces.
	const uint32_t least =
		(config_.early_data.max_head / HF_PIECE_SHORTEST + 2) * HF_PIECE_BYTES + HF_OPENING_BYTES;
	if (config_.early_data.max_bytes_per_client < least)
		reader.error("max_bytes_per_client",
			     fmt::format("{} is too little for a head of max_head: {}; allowed: at least {}",
					 config_.early_data.max_bytes_per_client, config_.early_data.max_head, least));
}

void Parser::read_pool_checks(ObjectReader &reader, Pool &pool)
{
	written_.checks_of_pools.push_back(reader.place("health_checks"));
	pool.health_checks = reader.texts("health_checks");
	for (size_t i = 0; i < pool.health_checks.size(); i++) {
		if (std::find(pool.health_checks.begin(), pool.health_checks.begin() + static_cast<ptrdiff_t>(i),
			      pool.health_checks[i]) != pool.health_checks.begin() + static_cast<ptrdiff_t>(i))
			reader.error("health_checks", fmt::format("'{}' is given twice", pool.health_checks[i]));
	}
	pool.any_check = reader.word<bool>("health_relation", {{"and", false}, {"or", true}}).value_or(false);
	if (reader.has("health_relation") && pool.health_checks.size() < 2)
		reader.error("health_relation", "relates several health_checks; there are not two");
}

void Parser::read_state(ObjectReader &reader)
{
	auto path = [&](const char *key) {
		std::string value = reader.text(key).value_or("");

		if (reader.has(key) && (value.empty() || value[0] != '/'))
			reader.error(key, fmt::format("'{}' is not an absolute path", value));
		return value;
	};
	const std::string snapshot = reader.text("snapshot").value_or("false");

	config_.state.directory = path("directory");
	config_.state.snapshot = snapshot != "false";
	if (config_.state.snapshot && snapshot != "true") {
		config_.state.snapshot_file = snapshot;
		if (snapshot.empty() || snapshot[0] != '/')
			reader.error("snapshot",
				     fmt::format("'{}'; allowed: true, false, or an absolute path", snapshot));
	}
	if (auto interval = reader.integer("snapshot_interval", HF_SNAPSHOT_INTERVAL_MIN, HF_SNAPSHOT_INTERVAL_MAX))
		config_.state.snapshot_interval = static_cast<uint32_t>(*interval);
	if (reader.has("snapshot_interval") && !config_.state.snapshot)
		reader.error("snapshot_interval", "does nothing without snapshot");
}

void Parser::read_metrics(ObjectReader &reader)
{
	const auto listen = reader.text("listen");

	config_.metrics.clients = reader.boolean("clients");
	if (!listen)
		return;
	config_.metrics.given = true;
	config_.metrics.listen = *listen == "off" ? "" : *listen;
	if (*listen != "off" && !parse_endpoint(*listen))
		reader.error("listen", fmt::format("'{}'; allowed: off, or ADDRESS:PORT, as in 127.0.0.1:9420 or "
						   "[::1]:9420",
						   *listen));
}

// `auto`, or what is known of the members.
void Parser::read_tcp_options(ObjectReader &reader, Pool &pool)
{
	if (!reader.is_mapping("member_tcp_options")) {
		reader.word<bool>("member_tcp_options", {{"auto", true}});
		return;
	}
	reader.object("member_tcp_options", [&](ObjectReader &object) {
		TcpOptions options;

		options.sack = object.boolean("sack").value_or(true);
		options.timestamps = object.boolean("timestamps").value_or(true);
		options.window_scale = object.boolean("window_scale").value_or(true);
		pool.member_tcp_options = options;
	});
}

Config Parser::parse(const YAML::Node &root)
{
	ObjectReader reader(root, "", errors_);

	for (const Rule &rule : predefined_rules()) {
		config_.rules.push_back(rule);
		written_.rule_names.add(rule.name);
		rule_fields_[rule.name] = Fields{{"type", YAML::Node(word(rule.type))}};
	}
	if (!root.IsMap()) {
		if (!root.IsDefined() || root.IsNull())
			errors_.push_back({0, 0, "", "the file is empty; it needs at least version: 1"});
		return config_;
	}
	reader.integer("version", 1, 1, true);
	reader.each("interfaces", [&](ObjectReader &object) { read_interface(object); });
	reader.object("tables", [&](ObjectReader &object) { read_tables(object); });
	config_.hash_seed = reader.text("hash_seed").value_or("");
	reader.each("health_checks", [&](ObjectReader &object) {
		const std::string name = written_.check_names.read(object);

		config_.health_checks.push_back(read_health_check(object));
		config_.health_checks.back().name = name;
	});
	reader.each("pools", [&](ObjectReader &object) { read_pool(object); });
	reader.each("persistence", [&](ObjectReader &object) { read_rule(object); });
	reader.each("virtual_servers", [&](ObjectReader &object) {
		const std::string name = server_names_.read(object);

		config_.virtual_servers.push_back(read_virtual_server(object, written_.servers.emplace_back()));
		config_.virtual_servers.back().name = name;
	});
	reader.object("early_data", [&](ObjectReader &object) { read_early_data(object); });
	reader.object("state", [&](ObjectReader &object) { read_state(object); });
	reader.object("metrics", [&](ObjectReader &object) { read_metrics(object); });
	reader.object("advice", [&](ObjectReader &object) {
		if (auto remember = object.integer("remember", 0, HF_REMEMBER_MAX))
			config_.advice.remember = static_cast<uint32_t>(*remember);
	});
	check_config(config_, written_, errors_);
	reader.finish();

	// Id 0 is "none".
	auto fits = [&](const char *key, size_t count, uint32_t size) {
		if (count >= size)
			reader.error(key, fmt::format("{} of them; at most {} fit into tables.{}: {}", count, size - 1,
						      key, size));
	};
	size_t member_count = 0;
	for (const Pool &pool : config_.pools)
		member_count += pool.members.size();
	fits("virtual_servers", config_.virtual_servers.size(), config_.tables.virtual_servers);
	fits("members", member_count, config_.tables.members);
	for (const auto &[key, count] :
	     {std::pair("pools", config_.pools.size()), {"persistence", config_.rules.size()}}) {
		if (count >= HF_POOLS)
			reader.error(key, fmt::format("{} of them; allowed: at most {}", count, HF_POOLS - 1));
	}
	return config_;
}

// The line in which another document begins; 0 if there is one document only. At
// the start of a line the marker cannot be anything else (YAML 1.2, 9.1.2).
int second_document(const std::string &text)
{
	bool content = false;
	int number = 0;

	for (size_t start = 0; start < text.size();) {
		const size_t end = std::min(text.find('\n', start), text.size());
		const std::string line = text.substr(start, end - start);
		const size_t first = line.find_first_not_of(" \t\r");

		number++;
		if (line.starts_with("---") && (line.size() == 3 || line.find_first_of(" \t\r", 3) == 3)) {
			if (content)
				return number;
			content = true;
		} else if (first != std::string::npos && line[first] != '#' && line[0] != '%') {
			content = true;
		}
		start = end + 1;
	}
	return 0;
}

} // namespace

ConfigResult parse_config(const std::string &text)
{
	ConfigErrors errors;

	try {
		if (const int line = second_document(text))
			errors.push_back({line, 1, "", "a second document; one is allowed"});
		Config config = Parser(errors).parse(YAML::Load(text));

		if (errors.empty())
			return config;
	} catch (const TooManyErrors &) {
		errors.push_back({0, 0, "", fmt::format("more than {} errors; the rest is not shown", errors.size())});
	} catch (const YAML::Exception &exception) {
		errors.push_back({exception.mark.line + 1, exception.mark.column + 1, "", exception.msg});
	}
	std::sort(errors.begin(), errors.end(), [](const ConfigError &a, const ConfigError &b) {
		return std::tie(a.line, a.column, a.path) < std::tie(b.line, b.column, b.path);
	});
	return errors;
}

} // namespace holdfast
