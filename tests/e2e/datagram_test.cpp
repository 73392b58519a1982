// SPDX-License-Identifier: GPL-2.0
// SIP and RADIUS with real clients and servers: dialogs from changing ports,
// accounting that follows authentication, and what an operator sees of it.
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <thread>

#include "e2e/datagram_lab.h"
#include "persist/message.h"

namespace holdfast::test
{
namespace
{

std::string config(bool ipv4, const std::string &mode, int timeout = 300)
{
	return Lab::base_config(mode) +
	       fmt::format(
		       "persistence:\n"
		       "  - {{name: calls, type: sip-call-id, timeout: {0}}}\n"
		       "  - {{name: users, type: radius-attribute, timeout: {0}, match_across: true, "
		       "attributes: [{{type: User-Name}}]}}\n"
		       "virtual_servers:\n"
		       "  - {{name: sip, address: \"{1}\", port: 5060, protocol: udp, forwarding: dnat, pool: sip{2}, "
		       "persistence: calls}}\n"
		       "  - {{name: auth, address: \"{1}\", port: 1812, protocol: udp, forwarding: dnat, pool: "
		       "radius{2}, "
		       "persistence: users}}\n"
		       "  - {{name: acct, address: \"{1}\", port: 1813, protocol: udp, forwarding: dnat, pool: "
		       "radius{2}, "
		       "persistence: users}}\n",
		       timeout, Lab::vip(ipv4), ipv4 ? 4 : 6);
}

std::vector<std::string> make_users(int count, const std::string &prefix = "user")
{
	std::vector<std::string> users;

	for (int i = 0; i < count; i++)
		users.push_back(fmt::format("{}{}", prefix, i));
	return users;
}

// The member of the one session that is shown, or how many there are.
std::string session_of(const Lab &lab, const std::string &arguments)
{
	const auto sessions = lab.query("show sessions " + arguments)["sessions"];

	return sessions.size() == 1 ? sessions[0]["member"].get<std::string>()
				    : fmt::format("{} sessions", sessions.size());
}

TEST(Sip, ThousandsOfCallsFromChangingPorts)
{
	constexpr int calls = 3000;
	Lab lab(4);
	SipServers servers(lab, true);

	lab.start_daemon(config(true, "xdp"));
	const auto numbers = make_sip_calls(lab, true, calls, 500);
	EXPECT_EQ(numbers.at("status"), 0);
	EXPECT_EQ(numbers.at("SuccessfulCall(C)"), calls);
	EXPECT_EQ(numbers.at("FailedCall(C)"), 0);
	EXPECT_EQ(servers.sum("orphans"), 0) << "an ACK or BYE came to a server without its INVITE";
	const auto invites = servers.column("invites");
	for (const auto &[name, count] : invites)
		EXPECT_GT(count, calls / 4) << name;
	EXPECT_EQ(servers.sum("acks"), servers.sum("invites"));
	EXPECT_EQ(lab.query("show sessions --limit 1")["matched"], calls);
}

TEST(Sip, ADisabledServersDialogsMoveAndStay)
{
	const std::string invite = "INVITE sip:x SIP/2.0\r\nCall-ID: moving@example\r\n\r\n";
	Lab lab(4);

	lab.start_services(); // the name service answers any datagram
	std::string yaml = config(true, "xdp");
	const size_t at = yaml.find("port: 5060, protocol");
	yaml.replace(yaml.find("pool: sip4", at), 10, "pool: name4");
	lab.start_daemon(yaml);
	auto ask = [&](int port) { return lab.ask_udp(true, 1, 5060, port, invite); };
	const std::string first = ask(30001);
	ASSERT_NE(first, "");
	EXPECT_EQ(ask(30002), first);
	EXPECT_EQ(session_of(lab, "--key moving@example"), "name4/" + first);
	EXPECT_EQ(session_of(lab, "--rule calls --key moving@example --virtual-server sip"), "name4/" + first);
	EXPECT_EQ(session_of(lab, "--key other@example"), "0 sessions");
	ASSERT_EQ(lab.holdfast("member disable name4/" + first).status, 0);
	const std::string second = ask(30003);
	EXPECT_NE(second, first);
	ASSERT_EQ(lab.holdfast("member reset name4/" + first).status, 0);
	EXPECT_EQ(ask(30004), second);

	// Why? From the datagram's bytes.
	std::ofstream(lab.directory() + "/datagram.hex") << hex(invite) << "\n";
	const std::string question = "explain --virtual-server sip --client 192.0.2.103:999 --hex ";
	const auto answer = lab.query(question + lab.directory() + "/datagram.hex");
	EXPECT_EQ(answer["member"], "name4/" + second);
	EXPECT_EQ(answer["by"], "session");
	EXPECT_EQ(answer["trial"]["member"], answer["member"]) << answer;
	EXPECT_NE(lab.holdfast(question + lab.directory() + "/datagram.hex").output.find("moving@example"),
		  std::string::npos);
	EXPECT_EQ(lab.holdfast("explain --virtual-server sip --client 192.0.2.103").status, 1) << "no datagram given";
	EXPECT_EQ(lab.holdfast(question + "/nowhere").status, 1);
	EXPECT_EQ(lab.holdfast("explain --virtual-server nobody --client 192.0.2.1").status, 1);
	EXPECT_EQ(lab.holdfast("session delete --key moving@example").status, 0);
	EXPECT_EQ(session_of(lab, "--key moving@example"), "0 sessions");
	// The secret is nobody else's, and stays.
	EXPECT_EQ(shell("stat -c %a " + lab.directory() + "/state/secret").output, "600\n");
}

TEST(Radius, AccountingFollowsAuthenticationFromOnePort)
{
	Lab lab(4);
	RadiusServers servers(lab);
	const auto users = make_users(300);

	lab.start_daemon(config(true, "xdp"));
	EXPECT_EQ(ask_radius(lab, true, "auth", users), 300);
	EXPECT_EQ(ask_radius(lab, true, "acct", users, "-start"), 300);
	EXPECT_EQ(ask_radius(lab, true, "acct", users, "-update"), 300);
	const auto authenticated = servers.seen("Access-Request"), accounted = servers.seen("Accounting-Request");
	std::set<std::string> used;
	ASSERT_EQ(authenticated.size(), 300U);
	for (const auto &[user, where] : authenticated) {
		ASSERT_EQ(where.size(), 1U) << user;
		ASSERT_EQ(accounted.at(user), where) << user;
		used.insert(*where.begin());
		EXPECT_EQ(session_of(lab, "--rule users --key " + user), "radius4/" + *where.begin());
		if (used.size() == 3)
			break;
	}
	for (const auto &[user, where] : authenticated)
		ASSERT_EQ(accounted.at(user), where) << user;
	EXPECT_EQ(used.size(), 3U);
	EXPECT_EQ(lab.query("show sessions --limit 1")["matched"], 300);
}

TEST(Radius, AnIdleUserIsBalancedAnew)
{
	Lab lab(4);
	RadiusServers servers(lab);

	lab.start_daemon(config(true, "tc", 2));
	// Of three servers in turn, the same user comes to another one after each time-out.
	EXPECT_EQ(ask_radius(lab, true, "auth", {"alice"}), 1);
	EXPECT_EQ(ask_radius(lab, true, "auth", {"alice"}), 1);
	EXPECT_EQ(servers.seen("Access-Request")["alice"].size(), 1U);
	std::this_thread::sleep_for(std::chrono::milliseconds(4200));
	EXPECT_EQ(ask_radius(lab, true, "auth", {"alice"}), 1);
	EXPECT_EQ(servers.seen("Access-Request")["alice"].size(), 2U);
}

} // namespace
} // namespace holdfast::test
