// SPDX-License-Identifier: GPL-2.0
#include "config/config.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <map>
#include <set>
#include <tuple>

#include "config/object_reader.h"
#include "config/rules.h"

namespace holdfast
{

namespace
{

constexpr int64_t port_max = 65535;

bool is_name(const std::string &name)
{
	return !name.empty() && name.size() <= HF_NAME_LENGTH && std::all_of(name.begin(), name.end(), [](char c) {
		return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
		       c == '-';
	});
}

// The names of one kind of object, with the place where each was given.
class Names
{
public:
	Names(std::string kind, ConfigErrors &errors) : kind_(std::move(kind)), errors_(errors) {}

	std::string read(ObjectReader &reader)
	{
		auto name = reader.text("name", true);

		if (!name)
			return {};
		if (!is_name(*name)) {
			reader.error("name",
				     fmt::format("'{}' is not a name; allowed: 1-{} characters of A-Z a-z 0-9 _ -",
						 *name, static_cast<int>(HF_NAME_LENGTH)));
			return {};
		}
		auto [where, fresh] = lines_.emplace(*name, reader.place("name").mark.line + 1);
		if (!fresh && where->second)
			reader.error("name", fmt::format("another {} in line {} has the name '{}'", kind_,
							 where->second, *name));
		return *name;
	}

	void check(const Place &place, const std::string &name) const
	{
		std::vector<std::string> candidates;

		if (lines_.contains(name))
			return;
		if (name.empty()) {
			report(errors_, place, fmt::format("is empty; a {} is expected", kind_));
			return;
		}
		for (const auto &entry : lines_)
			candidates.push_back(entry.first);
		std::string message = fmt::format("there is no {} '{}'", kind_, name);
		if (auto meant = closest(name, candidates))
			message += fmt::format("; did you mean '{}'?", *meant);
		report(errors_, place, message);
	}

	void add(const std::string &name) { lines_.emplace(name, 0); }

private:
	std::string kind_;
	ConfigErrors &errors_;
	std::map<std::string, int> lines_;
};

// One parse: fills `config`, collects errors.
// The lines of what may be in a pool only once.
struct MemberPlaces {
	std::map<std::string, int> endpoints;
	std::map<std::string, std::pair<int, bool>> cookies; // and whether it was given
};

const char *family(bool ipv4)
{
	return ipv4 ? "IPv4" : "IPv6";
}

class Parser
{
public:
	explicit Parser(ConfigErrors &errors)
		: errors_(errors), pool_names_("pool", errors), rule_names_("persistence rule", errors),
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
	static void read_tcp_options(ObjectReader &reader, Pool &pool);
	static bool read_forwarding(ObjectReader &reader, VirtualServer &server);
	static void read_sources(ObjectReader &reader, VirtualServer &server, bool known);
	static void read_opening(ObjectReader &reader, VirtualServer &server);
	void read_virtual_server(ObjectReader &reader);
	void read_port(ObjectReader &reader, VirtualServer &server);
	std::optional<Address> read_address(ObjectReader &reader);
	void check_references();
	void check_addresses();
	void check_overlaps();
	void check_across();

	ConfigErrors &errors_;
	Config config_;
	std::map<std::string, std::optional<Fields>> rule_fields_; // to be cloned; none: there was an error
	Names pool_names_;
	Names rule_names_;
	Names server_names_;
	// Beside config_.virtual_servers: the places of what is checked at the end.
	struct ServerPlaces {
		Place pool, persistence, port, server_first_wait, x_forwarded_for, forwarding, address,
			source_addresses;
		bool has_pool = false, has_persistence = false, has_protocol = false;
		bool has_forwarding = false; // and it serves the address
	};
	std::vector<ServerPlaces> places_;

	void check_direct(const VirtualServer &server, const ServerPlaces &places, hf_rule_type rule, const Pool *pool);
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

std::optional<Address> Parser::read_address(ObjectReader &reader)
{
	auto text = reader.text("address", true);

	if (!text)
		return std::nullopt;
	auto address = Address::parse(*text);
	if (!address) {
		reader.error("address", fmt::format("'{}' is not an IPv4 or IPv6 address", *text));
		return std::nullopt;
	}
	if (!address->is_unicast() || address->is_loopback()) {
		reader.error("address", fmt::format("{} is not an address that a host on a network can have", *text));
		return std::nullopt;
	}
	return address;
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
	if (auto address = read_address(reader))
		member.address = *address;
	if (auto port = reader.integer("port", 1, port_max))
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

	pool.name = pool_names_.read(reader);
	reader.each("members", [&](ObjectReader &member) { read_member(member, pool, names, places); });
	pool.reset_on_down = reader.word<bool>("on_down", {{"keep", false}, {"reset", true}}).value_or(false);
	read_tcp_options(reader, pool);
	reader.unavailable({"health_checks", "health_relation"});
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
	const std::string name = rule_names_.read(reader);

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

// `80`, or `8000-8099`.
static std::optional<std::pair<uint16_t, uint16_t>> parse_ports(const std::string &text)
{
	const char *end = text.data() + text.size();
	unsigned first = 0, last = 0;
	auto [after_first, status] = std::from_chars(text.data(), end, first);

	last = first;
	if (status == std::errc() && after_first != end && *after_first == '-') {
		auto [after_last, last_status] = std::from_chars(after_first + 1, end, last);

		status = last_status;
		after_first = after_last;
	}
	if (status != std::errc() || after_first != end || first < 1 || last > port_max || first > last)
		return std::nullopt;
	return std::pair(static_cast<uint16_t>(first), static_cast<uint16_t>(last));
}

void Parser::read_port(ObjectReader &reader, VirtualServer &server)
{
	auto text = reader.text("port", true);

	if (!text)
		return;
	const auto ports = parse_ports(*text);
	if (ports)
		std::tie(server.first_port, server.last_port) = *ports;
	else
		reader.error(
			"port",
			fmt::format("'{}' is not a port or a range of ports; allowed: 1-65535, as in 80 or 8000-8099",
				    *text));
}

// What members see as clients.
void Parser::read_sources(ObjectReader &reader, VirtualServer &server, bool known)
{
	const std::vector<std::string> texts = reader.texts("source_addresses");

	for (const std::string &text : texts) {
		const auto address = Address::parse(text);

		if (!address || !address->is_unicast() || address->is_loopback())
			reader.error("source_addresses", fmt::format("'{}' is not an address that a host on a network "
								     "can have",
								     text));
		else if (std::find(server.source_addresses.begin(), server.source_addresses.end(), *address) !=
			 server.source_addresses.end())
			reader.error("source_addresses", fmt::format("{} is given twice", text));
		else if (known && server.address != Address() && address->is_ipv4() != has_ipv4_members(server))
			reader.error("source_addresses", fmt::format("{} is not of the members' family", text));
		else if (*address == server.address)
			reader.error("source_addresses", fmt::format("{} is the virtual server's own address", text));
		else
			server.source_addresses.push_back(*address);
	}
	if (auto text = reader.text("source_ports")) {
		if (const auto ports = parse_ports(*text))
			std::tie(server.lowest_source_port, server.highest_source_port) = *ports;
		else
			reader.error("source_ports",
				     fmt::format("'{}' is not a range of ports; allowed: 1-65535, as in "
						 "1024-65535",
						 *text));
	}
	if (!known)
		return; // it has had its error
	for (const char *key : {"source_addresses", "source_ports"}) {
		if (!has_sources(server.forwarding) && reader.has(key))
			reader.error(key,
				     fmt::format("belongs to forwarding fullnat, nat46 and nat64; with {} members see "
						 "the clients' own addresses",
						 word(server.forwarding)));
	}
	if (has_sources(server.forwarding) && !reader.has("source_addresses"))
		reader.error("source_addresses",
			     fmt::format("is required with forwarding {}: what members see as clients",
					 word(server.forwarding)));
	else if (has_sources(server.forwarding) && reader.is_empty_list("source_addresses"))
		reader.error("source_addresses", "is empty; at least one address is needed");
}

// False: it is not a mode, or not one for such clients.
bool Parser::read_forwarding(ObjectReader &reader, VirtualServer &server)
{
	const auto forwarding = reader.word<hf_forwarding>("forwarding", with_words(forwardings()), true);

	server.forwarding = forwarding.value_or(server.forwarding);
	if (server.address == Address() || serves_family(server.forwarding, server.address.is_ipv4()))
		return forwarding.has_value();
	reader.error("forwarding", fmt::format("'{}' is for {} clients: {} is an {} address", word(server.forwarding),
					       family(!server.address.is_ipv4()), server.address.text(),
					       family(server.address.is_ipv4())));
	return false;
}

// `direct`: what members answer does not pass here, and nothing but the link header is written.
void Parser::check_direct(const VirtualServer &server, const ServerPlaces &places, hf_rule_type rule, const Pool *pool)
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

// How TCP connections begin.
void Parser::read_opening(ObjectReader &reader, VirtualServer &server)
{
	server.syn_protection = reader.boolean("syn_protection").value_or(false);
	server.server_first = reader.boolean("server_first").value_or(false);
	if (auto wait = reader.integer("server_first_wait", 1, HF_SERVER_FIRST_WAIT_MAX))
		server.server_first_wait = static_cast<uint32_t>(*wait);
	server.x_forwarded_for = reader.boolean("x_forwarded_for").value_or(false);
	if (auto version = reader.word<uint8_t>("proxy_protocol", {{"none", 0}, {"v1", 1}, {"v2", 2}}))
		server.proxy_protocol = *version;
	for (const char *key :
	     {"syn_protection", "server_first", "server_first_wait", "proxy_protocol", "x_forwarded_for"}) {
		if (server.protocol == HF_PROTOCOL_UDP && reader.has(key))
			reader.error(key, "belongs to protocol tcp only");
	}
}

void Parser::read_virtual_server(ObjectReader &reader)
{
	VirtualServer server;

	server.name = server_names_.read(reader);
	if (auto address = read_address(reader))
		server.address = *address;
	read_port(reader, server);
	const auto protocol =
		reader.word<hf_protocol>("protocol", {{"tcp", HF_PROTOCOL_TCP}, {"udp", HF_PROTOCOL_UDP}}, true);
	if (protocol)
		server.protocol = *protocol;
	server.persistence = reader.text("persistence").value_or("");
	const bool known = read_forwarding(reader, server);
	reader.unavailable_word("method", {"fastest-response"});
	if (auto method = reader.word<hf_method>("method", with_words(methods())))
		server.method = *method;
	server.pool = reader.text("pool", true).value_or("");
	server.idle_timeout =
		server.protocol == HF_PROTOCOL_UDP ? HF_UDP_IDLE_TIMEOUT_DEFAULT : HF_TCP_IDLE_TIMEOUT_DEFAULT;
	if (auto timeout = reader.integer("idle_timeout", 1, HF_IDLE_TIMEOUT_MAX))
		server.idle_timeout = static_cast<uint32_t>(*timeout);
	read_opening(reader, server);
	read_sources(reader, server, known);
	server.own_addresses = reader.boolean("own_addresses").value_or(true);
	reader.unavailable({"new_sessions_per_second"});
	places_.push_back({reader.place("pool"), reader.place("persistence"), reader.place("port"),
			   reader.place("server_first_wait"), reader.place("x_forwarded_for"),
			   reader.place("forwarding"), reader.place("address"), reader.place("source_addresses"),
			   reader.has("pool"), reader.has("persistence"), protocol.has_value(), known});
	config_.virtual_servers.push_back(server);
}

void Parser::check_references()
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
			pool_names_.check(places_[i].pool, server.pool);
		if (places_[i].has_persistence)
			rule_names_.check(places_[i].persistence, server.persistence);
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
			check_direct(server, places_[i], rule == rules.end() ? HF_RULE_NONE : rule->second->type,
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
void Parser::check_addresses()
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
void Parser::check_across()
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

void Parser::check_overlaps()
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

Config Parser::parse(const YAML::Node &root)
{
	ObjectReader reader(root, "", errors_);

	for (const Rule &rule : predefined_rules()) {
		config_.rules.push_back(rule);
		rule_names_.add(rule.name);
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
	reader.each("pools", [&](ObjectReader &object) { read_pool(object); });
	reader.each("persistence", [&](ObjectReader &object) { read_rule(object); });
	reader.each("virtual_servers", [&](ObjectReader &object) { read_virtual_server(object); });
	reader.object("early_data", [&](ObjectReader &object) { read_early_data(object); });
	for (size_t i = 0; i < config_.virtual_servers.size(); i++) {
		const VirtualServer &server = config_.virtual_servers[i];

		if (server.server_first_wait >= config_.early_data.timeout)
			report(errors_, places_[i].server_first_wait,
			       fmt::format("{} s; allowed: less than early_data.timeout, {} s",
					   server.server_first_wait, config_.early_data.timeout));
	}
	reader.unavailable({"health_checks", "state", "metrics"});
	check_references();
	check_addresses();
	check_overlaps();
	check_across();
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
