// SPDX-License-Identifier: GPL-2.0
#include "rules_txt/exchange.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "config/config.h"

namespace holdfast
{
namespace
{

const std::string good = "tcp 8001 8888 203.0.113.5,203.0.113.6\n"
			 "tcp 8080 8080 203.0.113.5\n"
			 "tcp 8081 8081 203.0.113.7\n"
			 "udp 8081 53 203.0.113.7,203.0.113.8\n"
			 "8080 tcp 300 http 8080 5 15 3 3 /health www.example.com\n"
			 "8081 tcp 0 tcp 8081 5 15 3 3\n"
			 "8081 udp 3600 udp 53 30 1 10 1\n";

Config imported(const std::string &text, std::string yaml = "version: 1\n", std::string *after = nullptr)
{
	const TxtRules rules = parse_txt(text);
	auto document = ConfigDocument::parse(yaml);

	EXPECT_TRUE(rules.problems.empty()) << rules.problems.front().text("f");
	EXPECT_TRUE(document);
	const auto problems = import_txt(rules, *Address::parse("192.0.2.10"), *document);
	EXPECT_TRUE(problems.empty()) << problems.front().text("f");
	const ConfigResult result = parse_config(document->text());
	if (after)
		*after = document->text();
	if (const auto *errors = std::get_if<ConfigErrors>(&result)) {
		ADD_FAILURE() << errors->front().text("f") << "\n" << document->text();
		return {};
	}
	return std::get<Config>(result);
}

TEST(RulesTxt, BecomeObjectsOfTheirNames)
{
	const Config config = imported(good);

	ASSERT_EQ(config.virtual_servers.size(), 4U);
	const VirtualServer &first = config.virtual_servers[0];
	EXPECT_EQ(first.name, "tcp-8001");
	EXPECT_EQ(first.address.text(), "192.0.2.10");
	EXPECT_EQ(first.first_port, 8001);
	EXPECT_EQ(first.pool, "tcp-8001");
	EXPECT_EQ(first.persistence, "");
	ASSERT_EQ(config.pools[0].members.size(), 2U);
	EXPECT_EQ(config.pools[0].members[1].address.text(), "203.0.113.6");
	EXPECT_EQ(config.pools[0].members[1].port, 8888);
	EXPECT_EQ(config.virtual_servers[1].persistence, "tcp-8080-persistence");
	EXPECT_EQ(config.virtual_servers[2].persistence, "") << "0 is off";
	EXPECT_EQ(config.rules.back().timeout, 3600U);
	EXPECT_EQ(config.rules.back().type, HF_RULE_SOURCE_ADDRESS);
	ASSERT_EQ(config.health_checks.size(), 3U);
	EXPECT_EQ(config.health_checks[0], (HealthCheck{.name = "tcp-8080",
							.type = CheckType::http,
							.port = 8080,
							.path = "/health",
							.host = "www.example.com",
							.interval = 15,
							.timeout = 5,
							.healthy_threshold = 3,
							.unhealthy_threshold = 3}));
	EXPECT_EQ(config.pools[1].health_checks, (std::vector<std::string>{"tcp-8080"}));
}

TEST(RulesTxt, ComeOutAsTheyWentIn)
{
	std::vector<std::string> left_out;
	std::string yaml, again;

	EXPECT_EQ(render_txt(parse_txt(good)), good);
	const Config config = imported(good, "version: 1\n", &yaml);
	EXPECT_EQ(render_txt(export_txt(config, left_out)), good);
	EXPECT_TRUE(left_out.empty()) << left_out.front();
	// And once more, into what is there.
	EXPECT_EQ(imported(good, yaml, &again), config);
	// Any order of lines is the same rules.
	EXPECT_EQ(
		render_txt(export_txt(imported("8081 tcp 0 tcp 8081 5 15 3 3\ntcp 8081 8081 203.0.113.7\n"), left_out)),
		"tcp 8081 8081 203.0.113.7\n8081 tcp 0 tcp 8081 5 15 3 3\n");
}

TEST(RulesTxt, WhatIsThereStays)
{
	const std::string yaml = R"(version: 1
hash_seed: "007"
pools:
  - {name: tcp-8001, members: [{name: old, address: 203.0.113.5, port: 8888, weight: 7}, {name: gone, address: 203.0.113.9, port: 8888}]}
  - {name: other, members: [{name: rs1, address: "2001:db8:1::5", port: 80}]}
virtual_servers:
  - {name: tcp-8001, address: 192.0.2.10, port: 8001, protocol: tcp, forwarding: dnat, pool: tcp-8001, idle_timeout: 77}
  - {name: six, address: "2001:db8::10", port: 80, protocol: tcp, forwarding: dnat, pool: other}
)";
	const Config config = imported("tcp 8001 8888 203.0.113.5,203.0.113.6\n", yaml);
	std::vector<std::string> left_out;

	EXPECT_EQ(config.hash_seed, "007");
	ASSERT_EQ(config.pools[0].members.size(), 2U);
	EXPECT_EQ(config.pools[0].members[0].name, "old");
	EXPECT_EQ(config.pools[0].members[0].weight, 7U);
	EXPECT_EQ(config.virtual_servers[0].idle_timeout, 77U);
	EXPECT_EQ(config.virtual_servers[1].address.text(), "2001:db8::10");
	export_txt(config, left_out);
	EXPECT_EQ(left_out,
		  (std::vector<std::string>{"virtual server tcp-8001: it has settings that the format has not "
					    "(method, time-outs, and the like)",
					    "virtual server six: its name is not tcp-80"}));
}

// One list of members that stands in two places is two lists when one of them changes.
TEST(RulesTxt, AliasesAreNoTies)
{
	const std::string yaml = R"(version: 1
pools:
  - {name: tcp-8001, members: &m [{name: one, address: 203.0.113.5, port: 80}]}
  - {name: tcp-8002, members: *m}
virtual_servers:
  - {name: tcp-8001, address: 192.0.2.10, port: 8001, protocol: tcp, forwarding: dnat, pool: tcp-8001}
)";
	const Config config = imported("tcp 8001 80 203.0.113.9\n", yaml);
	std::vector<std::string> left_out;

	EXPECT_EQ(config.pools[0].members[0].address.text(), "203.0.113.9");
	EXPECT_EQ(config.pools[1].members[0].address.text(), "203.0.113.5");
	// A member of another name than an import gives is told.
	export_txt(
		imported("tcp 8003 80 203.0.113.5\n",
			 "version: 1\npools:\n  - {name: tcp-8003, members: [{name: mine, address: 203.0.113.5, port: "
			 "80}]}\n"),
		left_out);
	EXPECT_EQ(left_out,
		  (std::vector<std::string>{"settings of member tcp-8003/mine, beside its address and port"}));
}

TEST(RulesTxt, SettingsCanChangeAndGo)
{
	std::string yaml;
	const std::string rule = "tcp 80 80 203.0.113.5\n";

	imported(rule + "80 tcp 300 http 80 5 15 3 3 /\n", "version: 1\n", &yaml);
	const Config config = imported("80 tcp 0 tcp 81 1 1 1 1\n", yaml, &yaml);
	EXPECT_EQ(config.virtual_servers[0].persistence, "");
	EXPECT_EQ(config.rules.size(), predefined_rules().size());
	EXPECT_EQ(config.health_checks.size(), 1U);
	EXPECT_EQ(config.health_checks[0].type, CheckType::tcp);
	EXPECT_EQ(config.health_checks[0].port, 81);
}

TEST(RulesTxt, EveryFaultyLineIsTold)
{
	const std::vector<std::pair<std::string, std::string>> lines = {
		{"sctp 1 1 203.0.113.5", "f:1: protocol: 'sctp'; allowed: tcp, udp"},
		{"tcp 0 1 203.0.113.5", "f:1: forwarding-port: '0'; allowed: 1-65535"},
		{"tcp 1 65536 203.0.113.5", "f:1: origin-port: '65536'; allowed: 1-65535"},
		{"tcp 1 1 203.0.113.256",
		 "f:1: address: '203.0.113.256' is not an address that a host on a network can have"},
		{"tcp 1 1 203.0.113.5,", "f:1: address: '' is not an address that a host on a network can have"},
		{"tcp 1 1 203.0.113.5,203.0.113.5", "f:1: address: 203.0.113.5 is given twice"},
		{"tcp 1 1", "f:1: line: 3 fields; expected: protocol forwarding-port origin-port address[,address...]"},
		{"tcp  1 1 203.0.113.5", "f:1: line: fields are separated by single spaces, and none stands at an end"},
		{"tcp 1 1 203.0.113.5 ", "f:1: line: fields are separated by single spaces, and none stands at an end"},
		{"1 tcp 29 tcp 1 5 15 3 3", "f:1: persistence: '29'; allowed: 0 (off), 30-3600"},
		{"1 tcp 3601 tcp 1 5 15 3 3", "f:1: persistence: '3601'; allowed: 0 (off), 30-3600"},
		{"1 tcp 30 tcp 0 5 15 3 3", "f:1: check-port: '0'; allowed: 1-65535"},
		{"1 tcp 30 tcp 1 31 15 3 3", "f:1: response-timeout: '31'; allowed: 1-30"},
		{"1 tcp 30 tcp 1 5 0 3 3", "f:1: interval: '0'; allowed: 1-30"},
		{"1 tcp 30 tcp 1 5 15 11 3", "f:1: unhealthy-threshold: '11'; allowed: 1-10"},
		{"1 tcp 30 tcp 1 5 15 3 x", "f:1: healthy-threshold: 'x'; allowed: 1-10"},
		{"1 tcp 30 icmp 1 5 15 3 3", "f:1: check-type: 'icmp'; allowed: tcp, http, udp"},
		{"1 tcp 30 tcp 1 5 15 3 3 /", "f:1: path: a tcp check has none"},
		{"1 tcp 30 http 1 5 15 3 3", "f:1: path: is required for an http check"},
		{"1 udp 30 http 1 5 15 3 3 /", "f:1: check-type: http belongs to rules of protocol tcp"},
		{"1 tcp 30 http 1 5 15 3 3 health",
		 "f:1: path: 'health'; allowed: '/', and visible ASCII characters behind it"},
	};
	std::string all;

	for (const auto &[line, problem] : lines) {
		const TxtRules rules = parse_txt(line + "\n");

		ASSERT_EQ(rules.problems.size(), 1U) << line;
		EXPECT_EQ(rules.problems[0].text("f"), problem);
		all += line + "\n";
	}
	// Together: each in its line, and the doubles that they make.
	EXPECT_GE(parse_txt(all).problems.size(), lines.size());
	EXPECT_EQ(parse_txt("tcp 1 1 203.0.113.5\n\ntcp 1 2 203.0.113.6\n").problems.at(0).text("f"),
		  "f:3: forwarding-port: line 1 has tcp 1 already");
	EXPECT_EQ(parse_txt("1 udp 30 tcp 1 5 15 3 3\n").warnings.at(0).text("f"),
		  "f:1: check-type: a udp rule with a tcp check: a check of its own protocol tells more");
	auto document = ConfigDocument::parse("version: 1\n");
	EXPECT_EQ(import_txt(parse_txt("7 tcp 30 tcp 1 5 15 3 3\n"), *Address::parse("192.0.2.10"), *document)
			  .at(0)
			  .text("f"),
		  "f:1: port: there is no rule tcp 7");
	EXPECT_EQ(import_txt(parse_txt("tcp 7 7 2001:db8::5\n"), *Address::parse("192.0.2.10"), *document)
			  .at(0)
			  .text("f"),
		  "f:1: address: 2001:db8::5 is not of the family of the virtual address 192.0.2.10");
}

} // namespace
} // namespace holdfast
