// SPDX-License-Identifier: GPL-2.0
// haproxy.cfg: sections of lines of words. Proxies (frontend, backend, listen) become
// virtual servers, pools, rules and health checks; each starts from the last `defaults`.
#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <set>

#include "convert/conversion.h"
#include "convert/haproxy_checks.h"
#include "convert/haproxy_file.h"
#include "convert/haproxy_rules.h"

namespace holdfast
{

namespace
{

using namespace haproxy;

// What a `bind` line says.
struct Bind {
	std::string address, port; // "": every address
	bool tls = false;
	Line line;
};

// What a backend has become.
struct Backend {
	std::string pool;
	ChosenRule chosen;
	std::string proxy_protocol;
	std::vector<Address> sources;
	std::optional<int64_t> idle;
	bool forwards_for = false;
};

class Haproxy
{
public:
	Haproxy(const std::vector<Section> &sections, const ConversionOptions &options)
		: sections_(sections), draft_(options)
	{
	}

	Conversion run();

private:
	void collect();
	void review(const Proxy &proxy);
	const Backend *backend(const std::string &name);
	void frontend(const Proxy &proxy);
	std::vector<Bind> binds(const Proxy &proxy);
	void add_members(const Proxy &proxy, Backend &made, YAML::Node pool);
	YAML::Node member(const Line &line, const Words &parameters, Backend &made, std::set<std::string> &taken);
	void member_parameter(const Line &line, const Words &parameters, size_t &at, YAML::Node member, Backend &made);

	const std::vector<Section> &sections_;
	Draft draft_;
	std::vector<Proxy> proxies_;
	std::map<std::string, Backend> backends_;
};

void Haproxy::collect()
{
	std::map<std::string, std::vector<Line>> named;
	std::vector<Line> last;

	for (const Section &section : sections_) {
		const std::string from = section.head.after("from");
		// Without a name that is asked for, the last ones count; defaults begin with nothing.
		const std::vector<Line> defaults = named.contains(from)         ? named[from]
						   : section.kind == "defaults" ? std::vector<Line>()
										: last;

		if (section.kind == "defaults" || section.kind == "frontend" || section.kind == "backend" ||
		    section.kind == "listen") {
			Proxy proxy{&section, defaults};

			proxy.lines.insert(proxy.lines.end(), section.lines.begin(), section.lines.end());
			if (section.kind == "defaults")
				last = named[section.name] = proxy.lines;
			else
				proxies_.push_back(proxy);
		} else if (section.kind == "global") {
			for (const Line &line : section.lines)
				draft_.note(line.number, line.text(),
					    "a setting of HAProxy's process: has no counterpart");
		} else {
			draft_.note(section.head.number, section.head.text(),
				    section.kind == "peers"
					    ? "tables are not shared between machines: rules that need none "
					      "(cookies, hashes) agree on all"
					    : "a section without a counterpart");
		}
	}
}

// Every line that is not read elsewhere is named here.
void Haproxy::review(const Proxy &proxy)
{
	static const std::set<std::string> read = {"bind",   "mode",   "default_backend", "balance",
						   "cookie", "server", "default-server",  "stick-table",
						   "stick",  "source", "hash-type",       "appsession"};
	static const std::set<std::string> read_options = {
		"httpchk",         "tcp-check",         "forwardfor", "redispatch",  "ssl-hello-chk",
		"http-keep-alive", "http-server-close", "httpclose",  "splice-auto", "splice-request",
		"splice-response", "clitcpka",          "srvtcpka",   "tcpka"};
	static const std::map<std::string, const char *> reasons = {
		{"acl", "requests are not routed by what they say: each frontend has one backend"},
		{"use_backend", "requests are not routed by what they say: each frontend has one backend"},
		{"use-server", "requests are not routed by what they say"},
		{"http-request", "requests and responses are not rewritten, and not refused by what they say"},
		{"http-response", "requests and responses are not rewritten"},
		{"http-after-response", "requests and responses are not rewritten"},
		{"tcp-request", "connections are not refused by what they say"},
		{"tcp-response", "connections are not refused by what they say"},
		{"redirect", "no request is answered here"},
		{"errorfile", "no request is answered here"},
		{"stats", "`metrics.listen` serves metrics and a status page"},
		{"log", "no line is written for a connection: see counters, metrics and `holdfast events`"},
		{"log-format", "no line is written for a connection: see counters, metrics and `holdfast events`"},
		{"compression", "what members send is not changed"},
		{"maxconn", "connections are limited per member (connection_limit), and by the size of the tables"},
		{"fullconn", "connections are limited per member (connection_limit)"},
		{"retries", "a member that does not accept a connection is replaced by another one"},
		{"email-alert", "use the metrics' alert rules"},
		{"rate-limit", "give members a connection_rate_limit"},
	};

	for (const Line &line : proxy.lines) {
		const std::string &key = line.words[0];
		const auto reason = reasons.find(key);

		if (key == "option" && !read_options.contains(line.word(1)))
			draft_.note(line.number, line.text(),
				    line.word(1).ends_with("-check") || line.word(1) == "smtpchk"
					    ? "such servers are checked by a connection (tcp)"
					    : "has no counterpart");
		else if (key == "no" || key == "description" || key == "id")
			draft_.note(line.number, line.text(), "has no counterpart");
		else if (key == "timeout" && line.word(1) != "client" && line.word(1) != "server" &&
			 line.word(1) != "tunnel" && line.word(1) != "check")
			draft_.note(line.number, line.text(),
				    "connections are not held here: their one time-out is idle_timeout");
		else if (reason != reasons.end())
			draft_.note(line.number, line.text(), reason->second);
		else if (key == "hash-type" && line.word(1) != "consistent")
			draft_.note(line.number, line.text(), "hashes are consistent ones (Maglev)");
		else if (!read.contains(key) && key != "option" && key != "timeout" && key != "http-check" &&
			 key != "tcp-check")
			draft_.note(line.number, line.text(), "is not a directive that can be converted");
		else if (key == "tcp-check" && line.words.size() > 1)
			draft_.note(line.number, line.text(), "what a member says to a tcp check is not looked at");
	}
}

void Haproxy::member_parameter(const Line &line, const Words &parameters, size_t &at, YAML::Node member, Backend &made)
{
	// Of checks, which are the pool's: see add_check().
	static const std::set<std::string> of_checks = {"inter", "fastinter", "downinter", "rise",      "fall",
							"port",  "ca-file",   "sni",       "check-sni", "verify"};
	static const std::set<std::string> with_value = {"addr",        "agent-addr",    "agent-check-inter",
							 "agent-port",  "ciphers",       "crl-file",
							 "crt",         "error-limit",   "id",
							 "init-addr",   "maxqueue",      "minconn",
							 "observe",     "on-error",      "on-marked-up",
							 "proto",       "alpn",          "check-proto",
							 "redir",       "resolvers",     "resolve-prefer",
							 "ssl-max-ver", "ssl-min-ver",   "track",
							 "verifyhost",  "pool-max-conn", "pool-purge-delay",
							 "check-alpn",  "namespace",     "usesrc",
							 "interface"};
	const std::string &key = parameters[at];
	const auto value = [&] { return at + 1 < parameters.size() ? parameters[++at] : std::string(); };

	if (key == "weight") {
		const uint32_t weight = number_of(value()).value_or(1);

		const bool disabled = member["status"].as<std::string>("") == "disable";
		if (!disabled)
			member.remove("status");
		if (weight)
			member["weight"] = std::min(weight, uint32_t{HF_WEIGHT_MAX});
		else if (!disabled)
			member["status"] = "maintain";
	} else if (key == "cookie") {
		member["cookie"] = value();
	} else if (key == "backup") {
		member["backup"] = true;
	} else if (key == "disabled") {
		member["status"] = "disable";
	} else if (key == "enabled") {
		if (member["status"].as<std::string>("") == "disable")
			member.remove("status");
	} else if (key == "maxconn") {
		member["connection_limit"] = value();
	} else if (key == "slowstart") {
		set_seconds(member, "warm_up", draft_, line, value(), 86400);
	} else if (key == "send-proxy" || key == "send-proxy-v2") {
		made.proxy_protocol = key == "send-proxy" ? "v1" : "v2";
	} else if (key == "source") {
		const std::string text = value();

		if (std::find(parameters.begin(), parameters.end(), "usesrc") != parameters.end())
			draft_.note(line.number, line.text(), "usesrc: servers see the clients themselves with dnat");
		else if (const auto source = Address::parse(text.substr(0, text.rfind(':'))))
			made.sources.push_back(*source);
		else if (const auto whole = Address::parse(text))
			made.sources.push_back(*whole);
		else
			draft_.note(line.number, line.text(), fmt::format("source {}: is not an address", text));
	} else if (key == "on-marked-down") {
		if (value() == "shutdown-sessions")
			draft_.note(line.number, line.text(), "give the pool on_down: reset");
	} else if (of_checks.contains(key)) {
		value();
	} else if (key == "ssl") {
		draft_.note(line.number, line.text(),
			    "ssl: nothing is encrypted here: members get what the client has sent");
	} else if (key != "check" && key != "check-ssl" && key != "stick" && key != "no-check") {
		const std::string more = with_value.contains(key) ? " " + value() : "";

		draft_.note(line.number, line.text(), fmt::format("{}{}: has no counterpart", key, more));
	}
}

YAML::Node Haproxy::member(const Line &line, const Words &parameters, Backend &made, std::set<std::string> &taken)
{
	YAML::Node member(YAML::NodeType::Map);
	std::string where = line.word(2), name = line.word(1);
	const size_t colon = where.rfind(':');
	std::string port;

	// The port is what stands behind the last colon, also of an IPv6 address without brackets.
	if (colon != std::string::npos && where.find(']', colon) == std::string::npos) {
		port = where.substr(colon + 1);
		where = where.substr(0, colon);
	}
	for (const char *family : {"ipv4@", "ipv6@"}) {
		if (where.starts_with(family))
			where = where.substr(5);
	}
	if (where.starts_with('[') && where.ends_with(']'))
		where = where.substr(1, where.size() - 2);
	if (!Address::parse(where)) {
		draft_.note(line.number, line.text(),
			    fmt::format("'{}' is not an address: names are not resolved", where));
		return {};
	}
	std::replace_if(
		name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c) && c != '-' && c != '_'; },
		'-');
	while (!taken.insert(name).second)
		name += "-again";
	member.SetStyle(YAML::EmitterStyle::Flow);
	member["name"] = name;
	member["address"] = where;
	if (!port.empty() && number_of(port))
		member["port"] = port;
	else if (!port.empty())
		draft_.note(line.number, line.text(),
			    fmt::format("port {}: a port is a number, or the client's is kept", port));
	made.proxy_protocol.clear();
	for (size_t at = 0; at < parameters.size(); at++)
		member_parameter(line, parameters, at, member, made);
	return member;
}

void Haproxy::add_members(const Proxy &proxy, Backend &made, YAML::Node pool)
{
	std::set<std::string> taken;
	std::vector<std::pair<Line, Words>> servers;
	std::vector<std::pair<Line, std::string>> protocols; // of each server
	Words defaults;

	for (const Line &line : proxy.lines) {
		if (line.words[0] == "default-server") {
			defaults.insert(defaults.end(), line.words.begin() + 1, line.words.end());
		} else if (line.words[0] == "source") {
			if (line.has("usesrc"))
				draft_.note(line.number, line.text(),
					    "usesrc: servers see the clients themselves with dnat");
			else if (const auto source = Address::parse(line.word(1)))
				made.sources.push_back(*source);
			else
				draft_.note(line.number, line.text(), "is not an address");
		} else if (line.words[0] == "server") {
			Words parameters = defaults;

			if (line.words.size() > 3)
				parameters.insert(parameters.end(), line.words.begin() + 3, line.words.end());
			YAML::Node one = member(line, parameters, made, taken);
			if (!one.IsMap() || !one["name"])
				continue;
			pool["members"].push_back(one);
			servers.emplace_back(line, parameters);
			protocols.emplace_back(line, made.proxy_protocol);
		}
	}
	std::sort(made.sources.begin(), made.sources.end());
	made.sources.erase(std::unique(made.sources.begin(), made.sources.end()), made.sources.end());
	for (const auto &[line, protocol] : protocols) {
		if (protocol != protocols[0].second) {
			made.proxy_protocol.clear();
			draft_.note(
				line.number, line.text(),
				"the PROXY protocol is spoken to all members of a virtual server, or to none: to none");
		}
	}
	add_health_check(proxy, pool, servers, draft_);
}

// Nothing: there is none of that name, or it has no server.
const Backend *Haproxy::backend(const std::string &name)
{
	if (const auto known = backends_.find(name); known != backends_.end())
		return &known->second;
	const auto proxy = std::find_if(proxies_.begin(), proxies_.end(), [&](const Proxy &one) {
		return one.section->name == name && one.section->kind != "frontend";
	});
	if (proxy == proxies_.end() || !proxy->find({"server"}))
		return nullptr;
	Backend made;
	made.pool = draft_.name("pools", name);
	YAML::Node pool = draft_.add("pools", made.pool);
	pool.SetStyle(YAML::EmitterStyle::Block);
	add_members(*proxy, made, pool);
	made.chosen = choose_rule(*proxy, made.pool, draft_);
	for (const char *kind : {"server", "tunnel"}) {
		if (const Line *line = proxy->find({"timeout", kind}))
			made.idle = std::max(made.idle.value_or(0),
					     whole_seconds(draft_, *line, line->word(2), 604800).value_or(0));
	}
	made.forwards_for = proxy->http() && proxy->find({"option", "forwardfor"});
	return &(backends_[name] = made);
}

std::vector<Bind> Haproxy::binds(const Proxy &proxy)
{
	std::vector<Bind> binds;

	for (const Line &line : proxy.lines) {
		if (line.words[0] != "bind")
			continue;
		for (size_t start = 0; start <= line.word(1).size();) {
			const size_t comma = std::min(line.word(1).find(',', start), line.word(1).size());
			std::string where = line.word(1).substr(start, comma - start);

			start = comma + 1;
			for (const char *family : {"ipv4@", "ipv6@"}) {
				if (where.starts_with(family))
					where = where.substr(5);
			}
			const size_t colon = where.rfind(':');
			if (colon == std::string::npos || where.starts_with('/') ||
			    where.find('@') != std::string::npos) {
				draft_.note(line.number, line.text(), fmt::format("'{}' is not ADDRESS:PORT", where));
				continue;
			}
			Bind bind{where.substr(0, colon), where.substr(colon + 1), line.has("ssl"), line};
			if (bind.address.starts_with('[') && bind.address.ends_with(']'))
				bind.address = bind.address.substr(1, bind.address.size() - 2);
			if (bind.address == "*" || bind.address == "0.0.0.0" || bind.address == "::" ||
			    bind.address.empty())
				bind.address = draft_.options().address ? draft_.options().address->text() : "";
			if (bind.address.empty())
				draft_.note(line.number, line.text(),
					    "a virtual server has one address: give it with --address");
			else
				binds.push_back(bind);
		}
		std::string more;
		for (size_t at = 2; at < line.words.size(); at++)
			more += line.word(at) == "accept-proxy" || line.word(at) == "ssl" ? "" : " " + line.word(at);
		if (!more.empty() && !line.has("ssl"))
			draft_.note(line.number, line.text(),
				    "there is no socket whose parameters that could be:" + more);
		if (line.has("accept-proxy"))
			draft_.note(
				line.number, line.text(),
				"accept-proxy: clients come with their own addresses, and the PROXY protocol is not "
				"read");
	}
	return binds;
}

void Haproxy::frontend(const Proxy &proxy)
{
	const Line *chosen = proxy.find({"default_backend"});
	const std::string name = chosen ? chosen->word(1) : proxy.section->name;
	const std::vector<Bind> places = binds(proxy);
	const Backend *made = places.empty() ? nullptr : backend(name);

	for (const Line &line : proxy.section->lines) {
		static const std::set<std::string> of_backends = {"stick", "stick-table", "cookie", "balance",
								  "server"};

		if (proxy.section->kind == "frontend" && of_backends.contains(line.words[0]))
			draft_.note(line.number, line.text(), "is not looked at in a frontend");
	}
	if (const Line *option = proxy.find({"option", "forwardfor"}); option && option->words.size() > 2)
		draft_.note(option->number, option->text(), "the header is X-Forwarded-For, and every request gets it");
	if (places.empty()) {
		draft_.note(proxy.section->head.number, proxy.section->head.text(),
			    "has no place that can be converted");
		return;
	}
	if (!made) {
		draft_.note(proxy.section->head.number, proxy.section->head.text(),
			    chosen ? fmt::format("backend {} is not there, or has no server", name)
				   : "has no default_backend");
		return;
	}
	for (const Bind &bind : places) {
		YAML::Node server = draft_.add("virtual_servers", draft_.name("virtual_servers", proxy.section->name));

		server["address"] = bind.address;
		server["port"] = bind.port;
		server["protocol"] = "tcp";
		draft_.set_forwarding(server, made->sources);
		server["method"] = made->chosen.method;
		server["pool"] = made->pool;
		if (bind.tls)
			draft_.note(bind.line.number, bind.line.text(),
				    "ssl: TLS is not ended here: it goes to the members as it is, which need the "
				    "certificate");
		if (!made->chosen.rule.empty() && !(bind.tls && made->chosen.reads_http))
			server["persistence"] = made->chosen.rule;
		else if (!made->chosen.rule.empty())
			draft_.note(bind.line.number, bind.line.text(),
				    "the backend's rule reads HTTP, which is encrypted here: give a rule of type "
				    "source-address or ssl-session-id");
		const Line *client = proxy.find({"timeout", "client"});
		const int64_t own = client ? whole_seconds(draft_, *client, client->word(2), 604800).value_or(0) : 0;
		if (const int64_t idle = std::max(own, made->idle.value_or(0)))
			server["idle_timeout"] = idle;
		if (!made->proxy_protocol.empty())
			server["proxy_protocol"] = made->proxy_protocol;
		if (((proxy.http() && proxy.find({"option", "forwardfor"})) || made->forwards_for) && !bind.tls)
			server["x_forwarded_for"] = true;
	}
}

Conversion Haproxy::run()
{
	collect();
	for (const Proxy &proxy : proxies_)
		review(proxy);
	for (const Proxy &proxy : proxies_) {
		if (proxy.section->kind != "backend")
			frontend(proxy);
	}
	for (const Proxy &proxy : proxies_) {
		if (proxy.section->kind == "backend" && !backends_.contains(proxy.section->name))
			draft_.note(proxy.section->head.number, proxy.section->head.text(),
				    "no frontend has it as its default_backend");
	}
	return draft_.finish();
}

} // namespace

Conversion convert_haproxy(const std::string &text, const ConversionOptions &options)
{
	const std::vector<Section> sections = read_sections(text);

	return Haproxy(sections, options).run();
}

} // namespace holdfast
