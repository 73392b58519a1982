// SPDX-License-Identifier: GPL-2.0
// keepalived.conf(5): words, and blocks of them in braces. What virtual_server blocks say
// of IPVS is converted; VRRP stays with keepalived.
#include <algorithm>
#include <bit>
#include <charconv>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <utility>

#include "convert/conversion.h"

namespace holdfast
{

namespace
{

struct Block {
	int line = 0;
	std::vector<std::string> words;
	std::vector<Block> children;

	std::string text() const { return fmt::format("{}", fmt::join(words, " ")); }
	std::string word(size_t index) const { return index < words.size() ? words[index] : ""; }
	// With all that is in it.
	std::string whole() const
	{
		std::string all = text() + ";";

		for (const Block &one : children)
			all += one.whole();
		return all;
	}
	const Block *child(const std::string &name) const
	{
		for (const Block &one : children) {
			if (one.word(0) == name)
				return &one;
		}
		return nullptr;
	}
};

// '!' and '#' begin comments; a block's '{' stands at the end of a line.
class Reader
{
public:
	explicit Reader(const std::string &text) : text_(text) {}

	Block read()
	{
		Block root;
		std::vector<Block *> open = {&root};

		for (int line = 1; place_ < text_.size(); line++) {
			Block one{line, {}, {}};

			for (const std::string &word : read_line()) {
				if (word == "{") {
					// After a line of its own, it belongs to the one before.
					if (one.words.empty() && !open.back()->children.empty()) {
						open.push_back(&open.back()->children.back());
						continue;
					}
					open.back()->children.push_back(one);
					open.push_back(&open.back()->children.back());
					one = {line, {}, {}};
				} else if (word == "}") {
					if (!one.words.empty())
						open.back()->children.push_back(one);
					one = {line, {}, {}};
					if (open.size() > 1)
						open.pop_back();
				} else {
					one.words.push_back(word);
				}
			}
			if (!one.words.empty())
				open.back()->children.push_back(one);
		}
		return root;
	}

private:
	std::vector<std::string> read_line()
	{
		std::vector<std::string> words;
		std::string word;
		bool quoted = false, any = false;
		const auto end_word = [&] {
			if (any)
				words.push_back(word);
			word.clear();
			any = false;
		};

		for (; place_ < text_.size() && text_[place_] != '\n'; place_++) {
			const char c = text_[place_];

			if (c == '"') {
				quoted = !quoted;
				any = true;
			} else if (!quoted && (c == '#' || c == '!')) {
				place_ = std::min(text_.find('\n', place_), text_.size()) - 1;
			} else if (!quoted && (c == ' ' || c == '\t' || c == '\r')) {
				end_word();
			} else if (!quoted && (c == '{' || c == '}')) {
				end_word();
				words.emplace_back(1, c);
			} else {
				word += c;
				any = true;
			}
		}
		place_++;
		end_word();
		return words;
	}

	const std::string &text_;
	size_t place_ = 0;
};

// A block that says how a real_server is checked.
bool is_tester(const Block &block)
{
	return block.word(0).ends_with("_CHECK") || block.word(0).ends_with("_GET");
}

std::optional<double> number(const std::string &text)
{
	double value = 0;
	const auto [stop, status] = std::from_chars(text.data(), text.data() + text.size(), value);

	if (text.empty() || status != std::errc() || stop != text.data() + text.size() || !(value >= 0 && value < 1e9))
		return std::nullopt;
	return value;
}

std::string endpoint_name(const std::string &address, const std::string &port)
{
	return port.empty() || port == "0" ? address : address + "-" + port;
}

class Keepalived
{
public:
	Keepalived(const Block &root, const ConversionOptions &options) : root_(root), draft_(options) {}

	Conversion run()
	{
		for (const Block &block : root_.children) {
			const std::string &kind = block.word(0);

			if (kind == "virtual_server") {
				virtual_server(block);
			} else if (kind == "virtual_server_group") {
				const bool used = std::any_of(
					root_.children.begin(), root_.children.end(), [&](const Block &other) {
						return other.word(0) == "virtual_server" && other.word(1) == "group" &&
						       other.word(2) == block.word(1);
					});

				if (!used)
					draft_.note(block.line, block.text(), "no virtual_server is of this group");
			} else if (kind.starts_with("vrrp") || kind == "static_ipaddress" || kind == "static_routes" ||
				   kind == "static_rules" || kind == "track_file" || kind == "track_process" ||
				   kind == "bfd_instance") {
				draft_.note(block.line, block.text(),
					    "moving addresses between hosts stays with keepalived: keep this block "
					    "there");
			} else {
				draft_.note(block.line, block.text(),
					    kind == "include" ? "is not followed: convert that file, too"
							      : "has no counterpart");
			}
		}
		return draft_.finish();
	}

private:
	struct Place {
		std::string address, port;
		int line;
	};

	std::vector<Place> places_of(const Block &block);
	void virtual_server(const Block &block);
	void set_method(YAML::Node server, const Block &option);
	std::string persistence(const Block &block, const std::string &name);
	std::string check_of(const Block &block, const std::string &name);
	bool read_check(YAML::Node check, const Block &block, const std::string &tester);
	YAML::Node member(const Block &block, const std::set<std::string> &taken, bool direct);
	void whole_seconds(YAML::Node node, const char *key, const Block &option);

	const Block &root_;
	Draft draft_;
};

void Keepalived::whole_seconds(YAML::Node node, const char *key, const Block &option)
{
	const auto seconds = number(option.word(1));

	if (!seconds) {
		draft_.note(option.line, option.text(), "a number of seconds is expected");
		return;
	}
	const auto whole = std::max<int64_t>(1, static_cast<int64_t>(*seconds + 0.999));
	if (static_cast<double>(whole) != *seconds)
		draft_.note(option.line, option.text(), fmt::format("times are whole seconds: {}", whole));
	node[key] = whole;
}

std::vector<Keepalived::Place> Keepalived::places_of(const Block &block)
{
	std::vector<Place> places;

	if (block.word(1) == "fwmark") {
		draft_.note(block.line, block.text(),
			    "packets are not chosen by firewall marks: give the address, port and protocol");
		return {};
	}
	if (block.word(1) != "group")
		return {{block.word(1), block.word(2), block.line}};
	for (const Block &group : root_.children) {
		if (group.word(0) != "virtual_server_group" || group.word(1) != block.word(2))
			continue;
		for (const Block &one : group.children) {
			if (one.word(0) == "fwmark")
				draft_.note(one.line, one.text(), "packets are not chosen by firewall marks");
			else if (one.word(0).find('-') != std::string::npos ||
				 one.word(0).find('/') != std::string::npos)
				draft_.note(one.line, one.text(), "an address range: give each address of it");
			else
				places.push_back({one.word(0), one.word(1), one.line});
		}
	}
	if (places.empty())
		draft_.note(block.line, block.text(), "there is no address in that group");
	return places;
}

void Keepalived::set_method(YAML::Node server, const Block &option)
{
	static const std::map<std::string, std::pair<const char *, const char *>> methods = {
		{"rr", {"round-robin", ""}},
		{"wrr", {"round-robin", ""}},
		{"lc", {"least-connections", ""}},
		{"wlc", {"least-connections", ""}},
		{"sh", {"source-hash", ""}},
		{"mh", {"source-hash", ""}},
		{"sed", {"least-connections", "the nearest is least-connections"}},
		{"nq", {"least-connections", "the nearest is least-connections"}},
		{"lblc", {"least-connections", "destinations are not looked at: least-connections"}},
		{"lblcr", {"least-connections", "destinations are not looked at: least-connections"}},
		{"dh", {"round-robin", "destinations are not looked at: round-robin"}},
		{"fo", {"round-robin", "make all members but the first a backup"}},
		{"ovf", {"round-robin", "give the members a connection_limit"}},
	};
	const auto found = methods.find(option.word(1));

	server["method"] = found == methods.end() ? "round-robin" : found->second.first;
	if (found == methods.end())
		draft_.note(option.line, option.text(), "is not a method that is known: round-robin");
	else if (*found->second.second)
		draft_.note(option.line, option.text(), found->second.second);
}

std::string Keepalived::persistence(const Block &block, const std::string &name)
{
	const Block *timeout = block.child("persistence_timeout");
	const Block *granularity = block.child("persistence_granularity");
	const Block *engine = block.child("persistence_engine");

	if (!timeout && !engine)
		return "";
	const std::string rule_name = draft_.name("persistence", name + "-persistence");
	YAML::Node rule = draft_.add("persistence", rule_name);
	const bool sip = engine && engine->word(1) == "sip";
	rule["type"] = sip ? "sip-call-id" : "source-address";
	if (engine && !sip)
		draft_.note(engine->line, engine->text(), "is not an engine that is known: source addresses are used");
	if (timeout && timeout->words.size() > 1)
		whole_seconds(rule, "timeout", *timeout);
	else if (timeout)
		rule["timeout"] = 360; // keepalived's own default
	if (granularity && !sip) {
		const auto mask = Address::parse(granularity->word(1));
		const auto bits = number(granularity->word(1));

		if (mask && mask->is_ipv4()) {
			int length = 0;

			for (size_t i = 12; i < 16; i++)
				length += std::popcount(mask->bytes()[i]);
			rule["ipv4_mask_bits"] = length;
		} else if (bits) {
			rule["ipv6_mask_bits"] = static_cast<int>(*bits);
		} else {
			draft_.note(granularity->line, granularity->text(), "a netmask or a prefix length is expected");
		}
	}
	return rule_name;
}

// What one of the tester blocks in a real_server says; false: it is none that there is here.
bool Keepalived::read_check(YAML::Node check, const Block &block, const std::string &tester)
{
	static const std::map<std::string, const char *> types = {{"HTTP_GET", "http"},
								  {"SSL_GET", "https"},
								  {"TCP_CHECK", "tcp"},
								  {"UDP_CHECK", "udp"},
								  {"PING_CHECK", "icmp"}};
	const auto type = types.find(tester);

	if (type == types.end())
		return false;
	check["type"] = type->second;
	const bool http = tester == "HTTP_GET" || tester == "SSL_GET";
	if (tester == "SSL_GET")
		check["verify"] = false; // as keepalived has it
	if (http) {
		check["method"] = "GET";
		check["expect_status"] = "200-299";
	}
	bool asked = false;
	for (const Block &option : block.children) {
		const std::string &key = option.word(0);

		if (key == "connect_port" && tester != "PING_CHECK") {
			check["port"] = option.word(1);
		} else if (key == "connect_timeout") {
			whole_seconds(check, "timeout", option);
		} else if (key == "retry" || key == "nb_get_retry") {
			check["unhealthy_threshold"] = static_cast<int>(number(option.word(1)).value_or(0)) + 1;
		} else if (key == "delay_loop") {
			whole_seconds(check, "interval", option);
		} else if (key == "virtualhost" && http) {
			check["host"] = option.word(1);
		} else if (key == "url" && http && std::exchange(asked, true)) {
			draft_.note(option.line, option.text(), "one URL is asked for: the first");
		} else if (key == "url" && http) {
			for (const Block &part : option.children) {
				if (part.word(0) == "path")
					check["path"] = part.word(1);
				else if (part.word(0) == "virtualhost")
					check["host"] = part.word(1);
				else if (part.word(0) == "status_code")
					check["expect_status"] =
						part.words.size() > 2
							? fmt::format("{}", fmt::join(part.words.begin() + 1,
										      part.words.end(), ","))
							: part.word(1);
				else
					draft_.note(part.line, part.text(), "bodies are not compared");
			}
		} else {
			draft_.note(option.line, option.text(), "has no counterpart in health checks");
		}
	}
	return true;
}

// The checks of a pool are those of its first member that has any.
std::string Keepalived::check_of(const Block &block, const std::string &name)
{
	std::string made, like;
	const Block *from = nullptr;

	std::vector<std::pair<const Block *, std::string>> servers; // and what their checks say
	for (const Block &server : block.children) {
		if (server.word(0) != "real_server")
			continue;
		std::string here;
		for (const Block &tester : server.children) {
			if (is_tester(tester))
				here += tester.whole();
		}
		servers.emplace_back(&server, here);
		if (!from && !here.empty()) {
			from = &server;
			like = here;
		}
	}
	for (const auto &[server, here] : servers) {
		if (from && here != like)
			draft_.note(server->line, server->text(),
				    "members of a pool are checked alike: as the first one with a check");
	}
	if (!from)
		return "";
	for (const Block &tester : from->children) {
		if (!is_tester(tester))
			continue;
		YAML::Node values(YAML::NodeType::Map);
		values["unhealthy_threshold"] = 2; // one retry
		values["healthy_threshold"] = 1;
		values["timeout"] = 5;
		values["interval"] = 60; // keepalived's own default
		if (const Block *loop = block.child("delay_loop"))
			whole_seconds(values, "interval", *loop);
		if (!made.empty() || !read_check(values, tester, tester.word(0))) {
			draft_.note(tester.line, tester.text(),
				    made.empty() ? "has no counterpart: tcp, http, https, udp and icmp checks are there"
						 : "one check a member is converted: add it to the pool by hand");
			continue;
		}
		if (values["unhealthy_threshold"].as<int>(1) > 1)
			draft_.note(tester.line, tester.text(),
				    fmt::format("a failed check is tried again with the next one, in {} s",
						values["interval"].Scalar()));
		made = draft_.name("health_checks", name);
		YAML::Node check = draft_.add("health_checks", made);
		for (const auto &value : values)
			check[value.first.Scalar()] = value.second.Scalar();
	}
	return made;
}

YAML::Node Keepalived::member(const Block &block, const std::set<std::string> &taken, bool direct)
{
	YAML::Node member(YAML::NodeType::Map);
	std::string name = endpoint_name(block.word(1), block.word(2));

	std::replace_if(name.begin(), name.end(), [](char c) { return c == '.' || c == ':'; }, '-');
	if (name.starts_with('-'))
		name = "0" + name;
	while (taken.contains(name))
		name += "-again";
	member.SetStyle(YAML::EmitterStyle::Flow);
	member["name"] = name;
	member["address"] = block.word(1);
	if (!direct && number(block.word(2)).value_or(0) > 0)
		member["port"] = block.word(2);
	for (const Block &option : block.children) {
		const std::string &key = option.word(0);

		if (key == "weight") {
			const double weight = number(option.word(1)).value_or(1);

			if (weight < 1)
				member["status"] = "maintain";
			else
				member["weight"] = static_cast<int>(std::min(weight, 256.0));
			if (weight > 256)
				draft_.note(option.line, option.text(), "weights go to 256");
		} else if (key == "uthreshold") {
			member["connection_limit"] = option.word(1);
		} else if (!is_tester(option)) {
			draft_.note(option.line, option.text(),
				    key.starts_with("notify") ? "nothing is run: `holdfast events --follow` tells it"
				    : key == "inhibit_on_failure"
					    ? "with on_down: keep, connections of a member that is down go on; its "
					      "sessions move"
					    : "has no counterpart for a member");
		}
	}
	return member;
}

void Keepalived::virtual_server(const Block &block)
{
	static const std::set<std::string> read = {"lb_algo",
						   "lvs_sched",
						   "lb_kind",
						   "lvs_method",
						   "persistence_timeout",
						   "persistence_granularity",
						   "persistence_engine",
						   "protocol",
						   "delay_loop",
						   "real_server",
						   "sorry_server",
						   "virtualhost"};
	const std::vector<Place> places = places_of(block);
	const Block *protocol = block.child("protocol");
	const Block *kind = block.child("lb_kind") ? block.child("lb_kind") : block.child("lvs_method");
	const bool direct = kind && (kind->word(1) == "DR" || kind->word(1) == "TUN");

	if (places.empty())
		return;
	if (protocol && protocol->word(1) != "TCP" && protocol->word(1) != "UDP") {
		draft_.note(protocol->line, protocol->text(), "TCP and UDP are balanced, and nothing else");
		return;
	}
	for (const Block &option : block.children) {
		if (!read.contains(option.word(0)))
			draft_.note(option.line, option.text(), "has no counterpart for a virtual server");
	}
	if (kind && kind->word(1) == "TUN")
		draft_.note(kind->line, kind->text(),
			    "packets are not put into tunnels: direct, for members on a link of this host, or fullnat");
	const std::string base = endpoint_name(places[0].address, places[0].port) +
				 (protocol && protocol->word(1) == "UDP" ? "-udp" : "");
	const std::string pool_name = draft_.name("pools", "pool-" + base);
	YAML::Node pool = draft_.add("pools", pool_name);
	pool.SetStyle(YAML::EmitterStyle::Block);
	std::set<std::string> taken;
	for (const Block &one : block.children) {
		if (one.word(0) != "real_server" && one.word(0) != "sorry_server")
			continue;
		YAML::Node made = member(one, taken, direct);
		if (one.word(0) == "sorry_server")
			made["backup"] = true;
		taken.insert(made["name"].Scalar());
		pool["members"].push_back(made);
	}
	if (const std::string check = check_of(block, "check-" + base); !check.empty()) {
		pool["health_checks"].push_back(check);
		pool["health_checks"].SetStyle(YAML::EmitterStyle::Flow);
		if (const Block *host = block.child("virtualhost"))
			draft_.note(host->line, host->text(), "give it to the health check as its host");
	}
	const std::string rule = persistence(block, base);
	for (const Place &place : places) {
		const std::string name =
			draft_.name("virtual_servers", "vs-" + endpoint_name(place.address, place.port));

		if (number(place.port).value_or(0) < 1) {
			draft_.note(place.line, block.text(),
				    "a virtual server has one port, or at most a range: give it by hand");
			continue;
		}
		YAML::Node server = draft_.add("virtual_servers", name);
		server["address"] = place.address;
		server["port"] = place.port;
		server["protocol"] = protocol && protocol->word(1) == "UDP" ? "udp" : "tcp";
		draft_.set_forwarding(server, {});
		if (direct) {
			server["forwarding"] = "direct";
			server.remove("source_addresses");
		}
		for (const char *key : {"lb_algo", "lvs_sched"}) {
			if (const Block *algorithm = block.child(key))
				set_method(server, *algorithm);
		}
		server["pool"] = pool_name;
		if (!rule.empty())
			server["persistence"] = rule;
	}
}

} // namespace

Conversion convert_keepalived(const std::string &text, const ConversionOptions &options)
{
	const Block root = Reader(text).read();

	return Keepalived(root, options).run();
}

} // namespace holdfast
