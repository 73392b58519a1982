// SPDX-License-Identifier: GPL-2.0
#include "convert/haproxy_checks.h"

#include <algorithm>
#include <fmt/format.h>

#include "convert/haproxy_rules.h"

namespace holdfast::haproxy
{

namespace
{

void set_http_check(const Proxy &proxy, YAML::Node check, Draft &draft)
{
	const Line *line = proxy.find({"option", "httpchk"});
	std::string method = "OPTIONS", path = "/";

	check["type"] = "http";
	if (line->words.size() == 3) {
		path = line->word(2);
	} else if (line->words.size() > 3) {
		method = line->word(2);
		path = line->word(3);
	}
	// Headers, as they used to be smuggled in behind the version.
	for (size_t at = 4; at < line->words.size(); at++) {
		const std::string &word = line->words[at];
		const size_t host = word.find("\r\nHost:");
		const size_t begin = host == std::string::npos ? host : word.find_first_not_of(' ', host + 7);
		const size_t end = std::min(word.find_first_of("\r\n", begin), word.size());

		if (begin != std::string::npos && begin < end)
			check["host"] = word.substr(begin, end - begin);
		if ((host == std::string::npos && at > 4) ||
		    (host != std::string::npos && (begin >= end || end < word.size())))
			draft.note(line->number, line->text(), "checks send no other header than Host");
	}
	for (const Line &one : proxy.lines) {
		if (one.words[0] != "http-check")
			continue;
		if (one.word(1) == "send") {
			method = one.has("meth") ? one.after("meth") : method;
			path = one.has("uri") ? one.after("uri") : path;
			for (size_t i = 2; i + 2 < one.words.size(); i++) {
				if (one.words[i] != "hdr")
					continue;
				if (one.words[i + 1] == "Host" || one.words[i + 1] == "host")
					check["host"] = one.words[i + 2];
				else
					draft.note(one.number, one.text(), "checks send no other header than Host");
			}
			if (one.has("body"))
				draft.note(one.number, one.text(), "checks send no body");
		} else if (one.word(1) == "expect" && one.word(2) == "status") {
			check["expect_status"] = one.word(3);
		} else {
			draft.note(one.number, one.text(), "checks look at the status only");
		}
	}
	if (method != "HEAD" && method != "GET" && method != "OPTIONS") {
		draft.note(line->number, line->text(),
			   fmt::format("method {}: checks have HEAD, GET, OPTIONS", method));
		method = "GET";
	}
	check["method"] = method;
	check["path"] = path;
}

// The last of several kinds of check counts.
bool checks_http(const Proxy &proxy)
{
	for (auto line = proxy.lines.rbegin(); line != proxy.lines.rend(); ++line) {
		const std::string kind = line->words[0] == "option" ? line->word(1) : "";

		if (kind == "httpchk" || kind.ends_with("-check") || kind.ends_with("-chk") || kind == "smtpchk")
			return kind == "httpchk";
	}
	return false;
}

} // namespace

void add_health_check(const Proxy &proxy, YAML::Node pool, const std::vector<std::pair<Line, Words>> &servers,
		      Draft &draft)
{
	const auto checked = [](const Words &words) {
		const auto last = std::find_if(words.rbegin(), words.rend(), [](const std::string &word) {
			return word == "check" || word == "no-check";
		});

		return last != words.rend() && *last == "check";
	};
	const auto has = [](const Words &words, const char *word) {
		return std::find(words.begin(), words.end(), word) != words.end();
	};
	const auto value = [](const Words &words, const char *word) {
		const auto found =
			std::find(words.rbegin(), words.rend(), word); // the server's counts, not the default

		return found == words.rend() || found == words.rbegin() ? std::string() : *(found - 1);
	};
	const auto first = std::find_if(servers.begin(), servers.end(),
					[&](const auto &server) { return checked(server.second); });

	const bool asks_http = checks_http(proxy);

	if (!asks_http) {
		for (const Line &line : proxy.lines) {
			if (line.words[0] == "http-check")
				draft.note(line.number, line.text(), "the check is none of HTTP");
		}
	}
	if (first == servers.end()) {
		if (const Line *line = proxy.find({"option", "httpchk"}))
			draft.note(line->number, line->text(), "no server has `check`: none is checked");
		return;
	}
	const std::string name = draft.name("health_checks", pool["name"].Scalar());
	YAML::Node check = draft.add("health_checks", name);
	if (asks_http)
		set_http_check(proxy, check, draft);
	else
		check["type"] = "tcp";
	if (has(first->second, "check-ssl") || (has(first->second, "ssl") && check["type"].Scalar() == "http")) {
		check["type"] = "https";
		check["verify"] = value(first->second, "verify") != "none";
		if (const std::string file = value(first->second, "ca-file"); !file.empty())
			check["ca_file"] = file;
		for (const char *word : {"sni", "check-sni"}) {
			const std::string asked = value(first->second, word);

			if (!asked.empty())
				check["sni"] = asked.starts_with("str(") ? call_of(asked).second : asked;
		}
	}
	const std::string interval = value(first->second, "inter");
	check["interval"] = interval.empty() ? 2 : whole_seconds(draft, first->first, interval, 3600).value_or(2);
	check["timeout"] = std::min<int64_t>(60, check["interval"].as<int64_t>());
	if (const Line *timeout = proxy.find({"timeout", "check"}))
		set_seconds(check, "timeout", draft, *timeout, timeout->word(2), 60);
	const std::string rise = value(first->second, "rise"), fall = value(first->second, "fall");
	check["healthy_threshold"] = rise.empty() ? "2" : rise;
	check["unhealthy_threshold"] = fall.empty() ? "3" : fall;
	if (const std::string port = value(first->second, "port"); !port.empty())
		check["port"] = port;
	pool["health_checks"].push_back(name);
	pool["health_checks"].SetStyle(YAML::EmitterStyle::Flow);
	for (const auto &[line, words] : servers) {
		for (const char *word : {"fastinter", "downinter"}) {
			if (has(words, word))
				draft.note(line.number, line.text(), fmt::format("{}: checks have one interval", word));
		}
		for (const char *word : {"inter", "rise", "fall", "port"}) {
			if (value(words, word) != value(first->second, word))
				draft.note(line.number, line.text(),
					   fmt::format("{}: members of a pool are checked alike: as {}", word,
						       first->first.word(1)));
		}
		if (!checked(words))
			draft.note(line.number, line.text(), "is checked now, as the pool's other members are");
	}
}

} // namespace holdfast::haproxy
