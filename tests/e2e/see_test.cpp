// SPDX-License-Identifier: GPL-2.0
// What a person, and a monitoring system, see of a running daemon: the status page in a real
// browser, the metrics in a real Prometheus.
#include <chrono>
#include <cstring>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <set>
#include <sstream>
#include <thread>

#include "e2e/lab.h"

namespace holdfast::test
{
namespace
{

using namespace std::chrono_literals;
using nlohmann::json;

class See : public testing::Test
{
protected:
	static constexpr const char *listen = "metrics: {listen: \"10.0.2.1:9420\", clients: true}\n";

	static std::string shop(const std::string &top)
	{
		std::string yaml = Lab::base_config("auto");
		const std::string checks = "    health_checks: [web]\n";

		for (const char *pool : {"web4", "web6"}) {
			const std::string line = fmt::format("  - name: {}\n", pool);

			yaml.insert(yaml.find(line) + line.size(), checks);
		}
		yaml += top +
			"health_checks:\n  - {name: web, type: http, interval: 1, timeout: 1, healthy_threshold: 1, "
			"unhealthy_threshold: 2}\n"
			"persistence:\n  - {name: by-address, type: source-address, timeout: 300}\nvirtual_servers:\n";
		for (const bool ipv4 : {true, false})
			yaml += fmt::format("  - {{name: shop{}, address: \"{}\", port: 80, protocol: tcp, forwarding: "
					    "dnat, pool: web{}, persistence: by-address}}\n",
					    ipv4 ? 4 : 6, Lab::vip(ipv4), ipv4 ? 4 : 6);
		return yaml;
	}

	json look(const std::string &url, const std::string &what, const std::string &directory) const
	{
		const Ran ran = lab_.run("balancer", fmt::format("timeout {} {}/tests/e2e/look_at_status_page {} {} {}",
								 static_cast<int>(180 * slowness()), source_directory(),
								 url, directory, what));

		EXPECT_EQ(ran.status, 0) << ran.output;
		const size_t begin = ran.output.rfind("\n{");

		if (ran.status)
			return {};
		return json::parse(ran.output.substr(begin == std::string::npos ? ran.output.find('{') : begin + 1),
				   nullptr, false);
	}

	std::string curl(const std::string &options) const
	{
		return lab_.run("balancer", "curl -s --max-time 10 " + options).output;
	}

	void wait_for_state(const std::string &member, const std::string &state) const
	{
		for (int i = 0; i < 500; i++) {
			const json members = lab_.query("show members");

			for (const auto &one : members["members"]) {
				if (one["name"] == member && one["state"] == state)
					return;
			}
			std::this_thread::sleep_for(20ms);
		}
		ADD_FAILURE() << member << " does not become " << state;
	}

	Lab lab_;
};

TEST_F(See, TheStatusPage)
{
	lab_.start_daemon(shop(listen));
	std::map<int, std::string> servers;
	for (const bool ipv4 : {true, false}) {
		for (int client = 1; client <= 9; client++) {
			const std::string server = lab_.ask_tcp(ipv4, client);

			if (ipv4)
				servers[client] = server;
		}
	}
	shell(fmt::format("kill -KILL $(cat {0}/rs3/pid) $(pgrep -P $(cat {0}/rs3/pid))", lab_.directory()));
	wait_for_state("web4/rs3", "down");
	wait_for_state("web6/rs3", "down");
	// Somebody's session moves: a fallback, with its reason.
	for (int client = 1; client <= 9; client++) {
		if (servers[client] == "rs3") {
			EXPECT_NE(lab_.ask_tcp(true, client), "rs3");
		}
	}
	const int client = servers[1] == "rs3" ? 2 : 1;
	for (const bool ipv4 : {true, false})
		lab_.start("client",
			   fmt::format("sh -c 'while :; do curl -s -o /dev/null --interface {} http://{}/; done'",
				       Lab::client_address(ipv4, client), Lab::vip_url(ipv4)));
	const char *shots = std::getenv("HOLDFAST_SCREENSHOTS");
	const std::string directory = shots ? shots : lab_.directory();
	const json seen = look("http://10.0.2.1:9420/", "tour " + Lab::client_address(true, client), directory);
	ASSERT_TRUE(seen.is_object());

	ASSERT_EQ(seen["servers"].size(), 2U) << seen;
	EXPECT_EQ(seen["servers"][0][0], "shop4");
	EXPECT_EQ(seen["servers"][0][1], "192.0.2.10:80/tcp");
	EXPECT_EQ(seen["servers"][1][1], "[2001:db8::10]:80/tcp");
	EXPECT_EQ(seen["servers"][0][3], "by-address");
	const json members = lab_.query("show members")["members"];
	ASSERT_EQ(seen["members"].size(), members.size());
	std::set<std::string> down;
	for (const auto &row : seen["members"]) {
		if (row[2] == "down")
			down.insert(row[0]);
	}
	EXPECT_EQ(down, (std::set<std::string>{"web4/rs3", "web6/rs3"}));
	EXPECT_EQ(seen["down"], (json{"web4/rs3", "web6/rs3"}));
	// Its health's history says why.
	const std::string detail = seen["detail"];
	EXPECT_NE(detail.find("web4/rs3"), std::string::npos) << detail;
	EXPECT_NE(detail.find("Last problem: "), std::string::npos) << detail;
	EXPECT_NE(detail.find("failed"), std::string::npos) << detail;
	EXPECT_NE(detail.find("passed"), std::string::npos) << detail;
	const std::string found = seen["client"];
	EXPECT_NE(found.find("1 session\n"), std::string::npos) << found;
	EXPECT_NE(found.find("web4/" + servers[client]), std::string::npos) << found;
	const std::string reasons = seen["reasons"].dump();
	EXPECT_NE(reasons.find("session_moved"), std::string::npos) << reasons;
	const std::string events = seen["events"].dump();
	EXPECT_NE(events.find("member-down"), std::string::npos) << events;
	EXPECT_GT(seen["chart"].get<std::string>().size(), 20U) << "a line with a few points";
	EXPECT_GT(std::stod(seen["rate"].get<std::string>()), 1) << "connections a second";
	EXPECT_EQ(seen["filtered"].size(), members.size() / 3) << seen["filtered"];
	// Keys, colours, a narrow window.
	EXPECT_EQ(seen["key_slash"], "client-key");
	EXPECT_EQ(seen["key_m"], "members-search");
	const std::string reached = seen["reached_by_tab"].dump();
	EXPECT_NE(reached.find("web4/rs1"), std::string::npos) << reached;
	EXPECT_NE(seen["light"], seen["dark"]);
	EXPECT_LE(seen["narrow"][0], seen["narrow"][1]);
	EXPECT_TRUE(seen["sticking_out"].empty()) << seen["sticking_out"];
	// Nothing from elsewhere, nothing wrong.
	for (const auto &host : seen["resources"])
		EXPECT_EQ(host, "10.0.2.1:9420");
	EXPECT_TRUE(seen["console"].empty()) << seen["console"];
	EXPECT_EQ(seen["banner"], "");
}

TEST_F(See, ThePageWithTenThousandMembers)
{
	constexpr int pools = 100, members = 100;
	std::string yaml = shop(listen);
	std::string many;

	for (int pool = 0; pool < pools; pool++) {
		many += fmt::format("  - name: many{}\n    members:\n", pool);
		for (int member = 0; member < members; member++)
			many += fmt::format("      - {{name: m{}, address: 10.1.{}.{}, port: 80}}\n", member, pool,
					    member + 1);
	}
	yaml.insert(yaml.find("  - name: web4\n"), many);
	lab_.start_daemon(yaml);
	const json seen =
		look("http://10.0.2.1:9420/", fmt::format("many many{}/m{}", pools - 1, members - 1), lab_.directory());
	ASSERT_TRUE(seen.is_object());
	EXPECT_EQ(seen["shown"], 50);
	const std::string pages = seen["pages"], second = seen["second_page"];
	EXPECT_TRUE(pages.starts_with("1–50 of 10,0")) << pages;
	EXPECT_TRUE(second.starts_with("51–100 of 10,0")) << second;
	EXPECT_LT(seen["page_took"], 2 * slowness());
	EXPECT_LT(seen["filter_took"], 3 * slowness());
	EXPECT_LT(seen["longest_task_ms"], 250 * slowness()) << "that would be felt as a freeze";
	EXPECT_LT(seen["elements"], 5000);
	EXPECT_TRUE(seen["console"].empty()) << seen["console"];
	const json list = json::parse(lab_.run("balancer", "curl -s http://10.0.2.1:9420/v1/members").output);
	EXPECT_GT(list["matched"], pools * members);
	EXPECT_EQ(list["members"].size(), 1000U) << "who asks for all of them asks the control socket";
	fmt::print("10,000 members: a page in {:.2f} s, a filter in {:.2f} s, longest task {} ms\n",
		   seen["page_took"].get<double>(), seen["filter_took"].get<double>(), seen["longest_task_ms"].dump());
}

// Sessions and connections name clients: they are shown where only this host can ask, or where that was asked for.
TEST_F(See, ClientsAreNotNamedToEverybody)
{
	lab_.start_daemon(shop("metrics: {listen: \"10.0.2.1:9420\"}\n"));
	ASSERT_NE(lab_.ask_tcp(true, 1), "");
	const std::string key = "key=" + Lab::client_address(true, 1);
	EXPECT_NE(curl("'http://10.0.2.1:9420/v1/sessions?" + key + "'").find("metrics.clients"), std::string::npos);
	EXPECT_NE(curl("-i http://10.0.2.1:9420/").find("200 OK"), std::string::npos);
	EXPECT_NE(curl("-i http://10.0.2.1:9420/").find("default-src 'self'"), std::string::npos);
	EXPECT_NE(curl("-i http://10.0.2.1:9420/v1/events").find("200 OK"), std::string::npos);
	EXPECT_NE(curl("-i 'http://10.0.2.1:9420/v1/events?follow=1'").find("403"), std::string::npos);
	const auto apply = [&](const std::string &top) {
		std::ofstream(lab_.directory() + "/next.yaml") << shop(top);
		const Ran ran = lab_.holdfast("apply " + lab_.directory() + "/next.yaml");
		ASSERT_EQ(ran.status, 0) << ran.output;
	};
	apply(listen);
	EXPECT_EQ(json::parse(curl("'http://10.0.2.1:9420/v1/sessions?" + key + "'"))["matched"], 1);
	// A name may be anybody's, who has it lead here.
	EXPECT_NE(
		curl("-H 'Host: evil.example:9420' 'http://10.0.2.1:9420/v1/sessions?" + key + "'").find("by address"),
		std::string::npos);
	const std::string sessions = curl("'http://10.0.2.1:9420/v1/sessions?limit=5000'");
	EXPECT_EQ(json::parse(sessions)["matched"], 1);
	EXPECT_NE(curl("-H 'Sec-Fetch-Site: cross-site' http://10.0.2.1:9420/v1/status").find("other sites"),
		  std::string::npos);
	EXPECT_NE(curl("-i -H 'Sec-Fetch-Site: cross-site' -H 'Sec-Fetch-Mode: navigate' http://10.0.2.1:9420/")
			  .find("200 OK"),
		  std::string::npos)
		<< "a link to the page";
	EXPECT_NE(curl("-i -H 'Host: lb1.example:9420' http://10.0.2.1:9420/metrics").find("200 OK"),
		  std::string::npos);
	// On every address of this host: it is seen who asks from elsewhere.
	apply("metrics: {listen: \"0.0.0.0:9420\"}\n");
	EXPECT_EQ(json::parse(curl("'http://127.0.0.1:9420/v1/sessions?" + key + "'"))["matched"], 1);
	EXPECT_NE(curl("'http://10.0.2.1:9420/v1/sessions?" + key + "'").find("metrics.clients"), std::string::npos);
	apply("metrics: {listen: \"127.0.0.1:9420\"}\n");
	EXPECT_EQ(curl("http://10.0.2.1:9420/metrics"), "");
	EXPECT_NE(curl("-H 'Host: evil.example:9420' http://127.0.0.1:9420/v1/status").find("other sites"),
		  std::string::npos);
	EXPECT_EQ(json::parse(curl("'http://localhost:9420/v1/sessions?" + key + "'"))["matched"], 1);
	apply("metrics: {listen: \"127.0.0.1:9420\", clients: false}\n");
	EXPECT_NE(curl("'http://127.0.0.1:9420/v1/sessions?" + key + "'").find("metrics.clients"), std::string::npos);
	// Lists by the page.
	const json page = json::parse(curl("'http://127.0.0.1:9420/v1/members?pool=web4&offset=1&limit=1'"));
	EXPECT_EQ(page["matched"], 3);
	ASSERT_EQ(page["members"].size(), 1U);
	EXPECT_EQ(page["members"][0]["name"], "web4/rs2");
	EXPECT_NE(curl("'http://127.0.0.1:9420/v1/members?state=well'").find("allowed: up, down"), std::string::npos);
	EXPECT_NE(curl("'http://127.0.0.1:9420/v1/members?limit=-1'").find("limit"), std::string::npos);
}

TEST_F(See, APrometheusReadsTheMetrics)
{
	lab_.start_daemon(shop("metrics: {listen: \"127.0.0.1:9420\"}\n"));
	for (const bool ipv4 : {true, false}) {
		for (int client = 1; client <= 6; client++)
			lab_.ask_tcp(ipv4, client);
	}
	const Ran checked = lab_.run("balancer", "curl -s http://127.0.0.1:9420/metrics | promtool check metrics");
	EXPECT_EQ(checked.status, 0) << checked.output;
	EXPECT_EQ(checked.output, "");
	const std::string directory = lab_.directory() + "/prometheus",
			  packaging = source_directory() + "/scripts/packaging";
	shell("mkdir " + directory);
	std::ofstream(directory + "/prometheus.yml")
		<< "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [" << packaging
		<< "/holdfast-alerts.yaml]\nscrape_configs:\n  - job_name: holdfast\n    static_configs: [{targets: "
		   "[\"127.0.0.1:9420\"]}]\n";
	lab_.start("balancer",
		   fmt::format("prometheus --config.file={0}/prometheus.yml --storage.tsdb.path={0}/data "
			       "--web.listen-address=127.0.0.1:9090",
			       directory),
		   directory + "/log");
	const auto ask = [&](const std::string &query) {
		return json::parse(curl("-G http://127.0.0.1:9090/api/v1/query --data-urlencode '" + query + "'"),
				   nullptr, false);
	};
	const auto has_data = [&](const json &answer) {
		return answer.is_object() && answer.value("status", "") == "success" &&
		       !answer["data"]["result"].empty();
	};
	json answer;
	for (int i = 0; i < 300 * slowness() && !has_data(answer = ask("query=up == 1")); i++)
		std::this_thread::sleep_for(100ms);
	ASSERT_TRUE(has_data(answer)) << answer << shell("tail -5 " + directory + "/log").output;
	// A drop, a reject and a fallback of each kind, so that every panel has something to show.
	ASSERT_EQ(lab_.holdfast("member disable web4/rs1").status, 0);
	for (int round = 0; round < 8; round++) {
		for (int client = 1; client <= 6; client++)
			lab_.ask_tcp(true, client);
		std::this_thread::sleep_for(500ms);
	}
	// Every query of the dashboard is one that this Prometheus understands, over metrics that are there.
	std::ifstream file(packaging + "/holdfast-dashboard.json");
	const json dashboard = json::parse(file);
	int queries = 0;
	for (const auto &panel : dashboard["panels"]) {
		for (const auto &target : panel["targets"]) {
			std::string query = target["expr"];

			for (const auto &[variable, value] : {std::pair("$instance", ".*"),
							      {"$virtual_server", ".*"},
							      {"$pool", ".*"},
							      {"$__rate_interval", "10s"}}) {
				for (size_t at = query.find(variable); at != std::string::npos;
				     at = query.find(variable))
					query.replace(at, std::strlen(variable), value);
			}
			EXPECT_EQ(query.find('$'), std::string::npos) << query;
			answer = ask("query=" + query);
			EXPECT_EQ(answer.value("status", ""), "success") << query << answer;
			const std::string title = panel["title"];
			// What went wrong in this lab is little: its panels may be empty.
			if (!title.starts_with("Drops") && !title.starts_with("Rejects")) {
				EXPECT_TRUE(has_data(answer)) << title << ": " << query;
			}
			queries++;
		}
	}
	EXPECT_GE(queries, 20);
	// The alert rules are loaded, and one of them sees what was done here.
	shell(fmt::format("kill -KILL $(cat {0}/rs1/pid) $(pgrep -P $(cat {0}/rs1/pid))", lab_.directory()));
	for (int i = 0; i < 200 * slowness() && !has_data(ask("query=ALERTS{alertname=\"HoldfastMemberDown\"}")); i++)
		std::this_thread::sleep_for(100ms);
	EXPECT_TRUE(has_data(ask("query=ALERTS{alertname=\"HoldfastMemberDown\", member=\"rs1\"}")));
	answer = json::parse(curl("http://127.0.0.1:9090/api/v1/rules"));
	for (const auto &rule : answer["data"]["groups"][0]["rules"])
		EXPECT_EQ(rule["health"], "ok") << rule;
	EXPECT_EQ(answer["data"]["groups"][0]["rules"].size(), 10U);
	// When they fire, and when not.
	const Ran rules =
		shell(fmt::format("cp {} {}/tests/e2e/alerts.yaml {} && cd {} && promtool test rules alerts.yaml",
				  packaging + "/holdfast-alerts.yaml", source_directory(), directory, directory));
	EXPECT_EQ(rules.status, 0) << rules.output;
}

} // namespace
} // namespace holdfast::test
