// SPDX-License-Identifier: GPL-2.0
// Configurations of HAProxy and keepalived: what becomes of them, and what is said of the rest.
#include <algorithm>
#include <gtest/gtest.h>

#include "convert/conversion.h"

namespace holdfast::test
{
namespace
{

class Convert : public testing::Test
{
protected:
	using Converter = Conversion (*)(const std::string &, const ConversionOptions &);

	const Config &convert(Converter converter, const std::string &text)
	{
		conversion_ = converter(text, options_);
		ConfigResult result = parse_config(conversion_.yaml);

		if (auto *errors = std::get_if<ConfigErrors>(&result)) {
			for (const ConfigError &error : *errors)
				ADD_FAILURE() << error.text("converted") << "\n" << conversion_.yaml;
			config_ = {};
		} else {
			config_ = std::get<Config>(std::move(result));
		}
		return config_;
	}
	const Config &haproxy(const std::string &text) { return convert(convert_haproxy, text); }
	const Config &keepalived(const std::string &text) { return convert(convert_keepalived, text); }

	const VirtualServer &server(const std::string &name) const { return named(config_.virtual_servers, name); }
	const Pool &pool(const std::string &name) const { return named(config_.pools, name); }
	const Rule &rule(const std::string &name) const { return named(config_.rules, name); }
	const HealthCheck &check(const std::string &name) const { return named(config_.health_checks, name); }

	// What is said of a line; empty: nothing.
	std::string said(int line) const
	{
		std::string all;

		for (const ConversionNote &note : conversion_.notes) {
			if (note.line == line)
				all += note.what + ": " + note.why + "\n";
		}
		return all;
	}

	ConversionOptions options_;
	Conversion conversion_;
	Config config_;

private:
	template <typename Object>
	static const Object &named(const std::vector<Object> &objects, const std::string &name)
	{
		static const Object nothing;
		const auto found = std::find_if(objects.begin(), objects.end(),
						[&](const Object &object) { return object.name == name; });

		if (found != objects.end())
			return *found;
		ADD_FAILURE() << "there is no " << name;
		return nothing;
	}
};

TEST_F(Convert, AShopBehindHaproxy)
{
	haproxy(R"(global
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 2m
    option forwardfor
frontend www
    bind 192.0.2.10:80,ipv4@192.0.2.11:8000-8010   # two places
    default_backend web
backend web
    balance leastconn
    cookie SRV insert indirect nocache httponly secure attr SameSite=Lax maxidle 30m
    option httpchk HEAD /health HTTP/1.1\r\nHost:\ www.example.com
    http-check expect status 200-299
    default-server inter 3s fall 4 rise 2
    server rs1 10.0.2.11:8080 check cookie a weight 10
    server rs2 10.0.2.12:8080 check cookie b weight 0 maxconn 500 slowstart 60s
    server spare 10.0.2.13:8080 check backup disabled send-proxy-v2
)");
	const VirtualServer &www = server("www");
	EXPECT_EQ(www.address.text(), "192.0.2.10");
	EXPECT_EQ(www.first_port, 80);
	EXPECT_EQ(www.method, HF_METHOD_LEAST_CONNECTIONS);
	EXPECT_EQ(www.forwarding, HF_FORWARDING_DNAT);
	EXPECT_EQ(www.idle_timeout, 120U) << "the longer one";
	EXPECT_TRUE(www.x_forwarded_for);
	EXPECT_EQ(server("www-2").address.text(), "192.0.2.11");
	EXPECT_EQ(server("www-2").last_port, 8010);
	EXPECT_EQ(www.proxy_protocol, 0) << "one server's is not all servers'";
	const Rule &shop = rule(www.persistence);
	EXPECT_EQ(shop.type, HF_RULE_INSERT_COOKIE);
	EXPECT_EQ(shop.keyword, "SRV");
	EXPECT_EQ(shop.timeout, 1800U);
	for (const char *attribute : {"HttpOnly", "Secure", "SameSite=Lax"})
		EXPECT_NE(shop.cookie_attributes.find(attribute), std::string::npos) << shop.cookie_attributes;
	const Pool &web = pool("web");
	ASSERT_EQ(web.members.size(), 3U);
	EXPECT_EQ(web.members[0].weight, 10U);
	EXPECT_EQ(web.members[0].cookie, "a");
	EXPECT_EQ(web.members[1].status, MemberStatus::draining) << "weight 0";
	EXPECT_EQ(web.members[1].connection_limit, 500U);
	EXPECT_EQ(web.members[1].warm_up, 60U);
	EXPECT_TRUE(web.members[2].backup);
	EXPECT_EQ(web.members[2].status, MemberStatus::disabled);
	const HealthCheck &health = check("web");
	EXPECT_EQ(health.path, "/health");
	EXPECT_EQ(health.host, "www.example.com");
	EXPECT_EQ(health.interval, 3U);
	EXPECT_EQ(health.unhealthy_threshold, 4U);
	EXPECT_EQ(health.healthy_threshold, 2U);
	// Everything else is said.
	EXPECT_NE(said(2), "");
	EXPECT_NE(said(5), "");
	EXPECT_NE(said(20).find("PROXY protocol"), std::string::npos) << said(20);
	for (const int line : {4, 6, 7, 8, 11, 13, 15, 16, 17, 18, 19})
		EXPECT_EQ(said(line), "");
	EXPECT_NE(said(14).find("carry no date"), std::string::npos) << said(14);
}

TEST_F(Convert, BothFamiliesOfOneFrontend)
{
	const Conversion conversion = convert_haproxy(
		"listen dns\n  bind 192.0.2.10:53\n  bind [2001:db8::10]:53-55\n  server a 10.0.2.11\n", {});

	ASSERT_EQ(conversion.errors.size(), 1U) << "members of one family serve clients of one";
	EXPECT_NE(conversion.errors[0].message.find("IPv6 address"), std::string::npos);
}

TEST_F(Convert, KeysOfHaproxy)
{
	const auto backend = [&](const std::string &lines) -> const Rule & {
		haproxy("defaults\n  mode http\nlisten x\n  bind 192.0.2.10:80\n  server a 10.0.2.11:80\n" + lines);
		return rule(server("x").persistence);
	};

	EXPECT_EQ(backend("  balance hdr(X-User)\n").keyword, "X-User");
	EXPECT_EQ(rule("x").type, HF_RULE_HTTP_HEADER_HASH);
	EXPECT_EQ(backend("  balance url_param uid\n").type, HF_RULE_HTTP_REQUEST_HASH);
	EXPECT_EQ(rule("x").keyword, "uid");
	EXPECT_EQ(backend("  balance rdp-cookie\n").type, HF_RULE_RDP_COOKIE);
	EXPECT_EQ(backend("  cookie JSESSIONID prefix\n").type, HF_RULE_EMBEDDED_COOKIE);
	EXPECT_EQ(backend("  cookie SRV rewrite\n").type, HF_RULE_REWRITE_COOKIE);
	EXPECT_EQ(backend("  stick-table type ip size 1m expire 30m\n  stick on src\n").timeout, 1800U);
	EXPECT_EQ(rule("x").type, HF_RULE_SOURCE_ADDRESS);
	EXPECT_EQ(backend("  stick-table type ip size 1m expire 500\n  stick on src,ipmask(24)\n").ipv4_mask_bits, 24);
	EXPECT_EQ(rule("x").timeout, 1U);
	EXPECT_NE(said(6).find("whole seconds"), std::string::npos) << said(6);
	EXPECT_EQ(backend("  stick-table type string len 32 size 1m expire 1h\n  stick on req.cook(shop)\n"
			  "  stick store-response res.cook(shop)\n")
			  .type,
		  HF_RULE_PERSISTENT_COOKIE);
	EXPECT_EQ(rule("x").timeout, 3600U);
	EXPECT_EQ(backend("  stick-table type binary len 32 size 30k expire 30m\n  stick on payload_lv(43,1)\n").type,
		  HF_RULE_SSL_SESSION_ID);
	EXPECT_EQ(backend("  balance source\n  cookie SRV insert\n").timeout, 86400U);
	EXPECT_EQ(server("x").method, HF_METHOD_SOURCE_HASH);
	EXPECT_NE(said(7).find("a day"), std::string::npos) << said(7);
	// One rule for a virtual server: the rest is said.
	backend("  cookie SRV insert\n  stick-table type ip size 1m\n  stick on src\n  balance uri\n");
	EXPECT_EQ(rule("x").type, HF_RULE_INSERT_COOKIE);
	for (const int line : {7, 8, 9})
		EXPECT_NE(said(line), "") << line;
}

TEST_F(Convert, WhatHaproxyCanAndThisCannot)
{
	haproxy(R"(listen secure
    bind 192.0.2.10:443 ssl crt /etc/x.pem accept-proxy
    bind :8443
    bind /run/x.sock
    mode http
    cookie SRV insert
    acl a path_beg /a
    use_backend other if a
    http-request set-header X 1
    option persist
    nonsense here
    server a 10.0.2.11:443 ssl verify none check
    server b www.example.com:443 check inter 500ms
    server c 10.0.2.12:443 track a/b
)");
	EXPECT_EQ(server("secure").persistence, "") << "what is encrypted cannot be read";
	EXPECT_EQ(check("secure").type, CheckType::tcp);
	for (const int line : {2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14})
		EXPECT_NE(said(line), "") << line;
	EXPECT_EQ(pool("secure").members.size(), 2U);
	// An address for what has none, and sources.
	options_.address = Address::parse("192.0.2.20");
	options_.source_addresses = {*Address::parse("10.0.2.5"), *Address::parse("fd00::5")};
	haproxy("listen x\n  bind *:80\n  server a 10.0.2.11:80\n");
	EXPECT_EQ(server("x").address.text(), "192.0.2.20");
	EXPECT_EQ(server("x").forwarding, HF_FORWARDING_FULLNAT);
	ASSERT_EQ(server("x").source_addresses.size(), 1U);
	EXPECT_EQ(server("x").source_addresses[0].text(), "10.0.2.5");
	EXPECT_EQ(convert_haproxy("frontend x\n  bind :80\n", {}).yaml, "");
	EXPECT_EQ(convert_haproxy("", {}).yaml, "");
	EXPECT_EQ(convert_haproxy("bind 1\n\"unclosed 'quote\n\\", {}).yaml, "");
}

TEST_F(Convert, ChecksOfHaproxy)
{
	const auto backend = [&](const std::string &lines, const std::string &server = "check") -> const HealthCheck & {
		haproxy("defaults\n  option httpchk\nlisten x\n  bind 192.0.2.10:80\n  server a 10.0.2.11:80 " +
			server + "\n" + lines);
		return check("x");
	};

	EXPECT_EQ(backend("").type, CheckType::http);
	EXPECT_EQ(backend("  option tcp-check\n").type, CheckType::tcp) << "the last one counts";
	EXPECT_EQ(backend("  option mysql-check user x\n").type, CheckType::tcp);
	EXPECT_EQ(backend("  http-check expect ! status 500-599\n").expect_status, (StatusRanges{{200, 399}}));
	EXPECT_NE(said(6), "");
	EXPECT_EQ(backend("  http-check expect status 204\n").expect_status, (StatusRanges{{204, 204}}));
	EXPECT_EQ(backend("  option httpchk GET /x HTTP/1.1\\r\\nHost:\\ www.example.com\n").host, "www.example.com");
	EXPECT_EQ(said(6), "");
	EXPECT_EQ(backend("  option httpchk GET /x HTTP/1.1\\r\\nHost:\\ www.example.com\\r\\nX:\\ y\n").host,
		  "www.example.com");
	EXPECT_NE(said(6), "");
	EXPECT_EQ(backend("  option httpchk GET /x HTTP/1.1\\r\\nHost: www\n").host, "");
	EXPECT_NE(said(6), "");
	const HealthCheck &tls = backend("", "check check-ssl verify required check-sni www.x inter 1m");
	EXPECT_EQ(tls.type, CheckType::https);
	EXPECT_TRUE(tls.verify);
	EXPECT_EQ(tls.sni, "www.x");
	EXPECT_EQ(tls.interval, 60U);
	EXPECT_FALSE(backend("", "check ssl verify none").verify);
	haproxy("listen x\n  bind 192.0.2.10:80\n  default-server check\n  server a 10.0.2.11:80 no-check\n");
	EXPECT_TRUE(config_.health_checks.empty());
}

TEST_F(Convert, WhatHaproxysFilesAreMadeOf)
{
	// Named defaults, and time-outs that are none.
	options_.address = Address::parse("2001:db8::10");
	haproxy("defaults web\n  mode http\n  timeout client 1m\ndefaults db\n  mode tcp\n  timeout client 8h\n"
		"listen x from web\n  bind :::80 interface eth0\n  cookie S insert maxidle 5m\n"
		"  server a 2001:db8::11:8080 disabled weight 0\n  server b [2001:db8::12]:8080\n");
	EXPECT_EQ(server("x").idle_timeout, 60U);
	EXPECT_EQ(rule(server("x").persistence).type, HF_RULE_INSERT_COOKIE);
	EXPECT_EQ(pool("x").members[0].address.text(), "2001:db8::11");
	EXPECT_EQ(pool("x").members[0].port, 8080);
	EXPECT_EQ(pool("x").members[0].status, MemberStatus::disabled);
	EXPECT_NE(said(8).find("interface eth0"), std::string::npos) << said(8);
	const std::string place = "listen x\n  bind 192.0.2.10:80\n  server a 10.0.2.11:80\n";
	haproxy(place + "  timeout client 0\n");
	EXPECT_EQ(server("x").idle_timeout, 604800U);
	EXPECT_NE(said(4), "");
	for (const char *time : {"18446744073709551615d", "5y", "", "-1"}) {
		haproxy(place + "  timeout client " + time + "\n");
		EXPECT_NE(said(4), "") << time;
		EXPECT_NE(server("x").idle_timeout, 1U) << time;
	}
	haproxy(place + "  source 10.0.2.5 usesrc clientip\n");
	EXPECT_EQ(server("x").forwarding, HF_FORWARDING_DNAT);
	EXPECT_NE(said(4), "");
	haproxy(place + "  source 10.0.2.5\nlog-forward y\n  bind 192.0.2.10:1514\n");
	EXPECT_EQ(server("x").forwarding, HF_FORWARDING_FULLNAT);
	EXPECT_EQ(config_.virtual_servers.size(), 1U) << "another section's place";
	haproxy(place +
		"  stick on src\n  stick on hdr(x)\n  stick store-request url_param(y)\nfrontend z\n  stick on src\n");
	for (const int line : {5, 6, 7, 8})
		EXPECT_NE(said(line), "") << line;
	haproxy(place + "  mode http\n  cookie S\n");
	EXPECT_EQ(rule("x").type, HF_RULE_PERSISTENT_COOKIE);
	// Nothing of it is believed.
	for (const char *line : {"cookie",
				 "server",
				 "server y",
				 "stick",
				 "stick on",
				 "balance",
				 "timeout",
				 "timeout client",
				 "bind",
				 "option",
				 "http-check",
				 "http-check expect",
				 "stick-table",
				 "default-server",
				 "source",
				 "option httpchk",
				 "server z 1.2.3.4:5 weight",
				 "server z 1.2.3.4:5 source",
				 "balance hash",
				 "bind :",
				 "bind ,,",
				 "\\",
				 "\"",
				 "option forwardfor header"})
		convert_haproxy("listen x\n  bind 192.0.2.10:80\n  mode http\n  server a 10.0.2.11:80 check\n  " +
					std::string(line) + "\n",
				{});
	options_.interfaces = {"a\"b: [", ""};
	EXPECT_NE(convert_haproxy(place, options_).errors.size(), 0U);
}

TEST_F(Convert, AKeepalivedOfEveryKind)
{
	keepalived(R"(! VRRP stays where it is
vrrp_instance VI_1 {
    state MASTER
}
virtual_server 192.0.2.10 80 {
    delay_loop 6
    lb_algo wlc
    lb_kind NAT
    persistence_timeout 50
    persistence_granularity 255.255.255.0
    protocol TCP
    sorry_server 10.0.2.99 80
    quorum 2
    real_server 10.0.2.11 8080 {
        weight 3
        HTTP_GET {
            url {
                path /health
                digest 9b3a
                status_code 200
            }
            connect_timeout 3
            retry 2
            delay_before_retry 2
        }
        notify_down "/bin/x"
    }
    real_server 10.0.2.12 8080
    {
        weight 0
        uthreshold 100
    }
}
virtual_server group DNS {
    lb_algo sh
    lb_kind DR
    protocol UDP
    persistence_timeout
    real_server 10.0.2.13 53 { UDP_CHECK { connect_port 53 } }
}
virtual_server_group DNS {
    192.0.2.11 53
    192.0.2.12-20 53
    fwmark 3
}
virtual_server fwmark 7 {
}
include other.conf
)");
	const VirtualServer &web = server("vs-192-0-2-10-80");
	EXPECT_EQ(web.method, HF_METHOD_LEAST_CONNECTIONS);
	EXPECT_EQ(web.forwarding, HF_FORWARDING_DNAT);
	EXPECT_EQ(rule(web.persistence).timeout, 50U);
	EXPECT_EQ(rule(web.persistence).ipv4_mask_bits, 24);
	const Pool &members = pool(web.pool);
	ASSERT_EQ(members.members.size(), 3U);
	EXPECT_TRUE(members.members[0].backup) << "the sorry server";
	EXPECT_EQ(members.members[1].weight, 3U);
	EXPECT_EQ(members.members[2].status, MemberStatus::draining);
	EXPECT_EQ(members.members[2].connection_limit, 100U);
	ASSERT_EQ(members.health_checks.size(), 1U);
	const HealthCheck &health = check(members.health_checks[0]);
	EXPECT_EQ(health.type, CheckType::http);
	EXPECT_EQ(health.path, "/health");
	EXPECT_EQ(health.interval, 6U);
	EXPECT_EQ(health.unhealthy_threshold, 3U) << "and two more tries";
	EXPECT_EQ(health.expect_status, (StatusRanges{{200, 200}}));
	const VirtualServer &dns = server("vs-192-0-2-11-53");
	EXPECT_EQ(dns.protocol, HF_PROTOCOL_UDP);
	EXPECT_EQ(dns.forwarding, HF_FORWARDING_DIRECT);
	EXPECT_EQ(dns.method, HF_METHOD_SOURCE_HASH);
	EXPECT_EQ(rule(dns.persistence).timeout, 360U);
	EXPECT_EQ(pool(dns.pool).members[0].port, 0);
	for (const int line : {2, 13, 19, 24, 26, 28, 43, 44, 46, 48})
		EXPECT_NE(said(line), "") << line;
	EXPECT_NE(said(16).find("tried again with the next one, in 6 s"), std::string::npos) << said(16);
	for (const int line : {6, 7, 8, 9, 10, 11, 12, 15, 18, 20, 22, 23, 31, 32, 36, 37, 38})
		EXPECT_EQ(said(line), "") << line;
	EXPECT_EQ(convert_keepalived("}}}{{{ virtual_server", {}).yaml, "");
	convert_keepalived("virtual_server 192.0.2.1 80 {\ndelay_loop inf\npersistence_granularity 99999999999\n"
			   "real_server 10.0.2.11 80 {\nweight nan\nTCP_CHECK {\nretry 2147483647\nconnect_timeout "
			   "1e300\n}\n}\n}\n",
			   {});
	EXPECT_EQ(convert_keepalived("virtual_server", {}).yaml, "");
}

} // namespace
} // namespace holdfast::test
