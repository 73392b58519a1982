// SPDX-License-Identifier: GPL-2.0
// Rules that decide each datagram by itself: SIP Call-ID and RADIUS attributes,
// through the whole data path.
#include <fmt/format.h>
#include <map>
#include <set>

#include "bpf/datapath_test.h"
#include "datapath/encode.h"

namespace holdfast::test
{
namespace
{

std::string radius(const std::string &user, int code = 1, const std::string &session = "")
{
	std::string attributes = std::string(1, '\x01') + static_cast<char>(user.size() + 2) + user;

	if (!session.empty())
		attributes += std::string(1, '\x2c') + static_cast<char>(session.size() + 2) + session;
	return std::string(1, static_cast<char>(code)) + '\x01' + '\0' + static_cast<char>(20 + attributes.size()) +
	       std::string(16, 'a') + attributes;
}

std::string sip(const std::string &call_id, const std::string &first = "INVITE sip:bob@example.com SIP/2.0")
{
	return first + "\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK776\r\nCall-ID: " + call_id +
	       "\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
}

class Datagram : public DatapathTest
{
protected:
	const std::string rules =
		"  - {name: calls, type: sip-call-id, timeout: 100}\n"
		"  - {name: users, type: radius-attribute, timeout: 100, attributes: [{type: User-Name}]}\n"
		"  - {name: either, type: radius-attribute, timeout: 100, relation: or, attributes: [{type: 1}, {type: "
		"44}]}\n"
		"  - {name: across, type: radius-attribute, match_across: true, attributes: [{type: 1}]}\n"
		"  - {name: limited, type: radius-attribute, override_connection_limit: true, attributes: [{type: "
		"1}]}\n";

	std::string server(const std::string &rule) const
	{
		return fmt::format("port: {}, protocol: udp, persistence: {}", rule == "calls" ? 5060 : 1812, rule);
	}

	Bytes datagram(const std::string &from, uint16_t port, uint16_t to, const std::string &payload) const
	{
		return ip(from, vip()) / Udp{.source = port, .destination = to} / Payload(payload);
	}

	// Sends a message; the member that it is sent to, 0 if to none.
	int send(Testbed &bed, const std::string &payload, uint16_t port, const std::string &from = "",
		 uint16_t to = 0) const
	{
		const uint16_t service = to ? to : payload.find("SIP/2.0") != std::string::npos ? 5060 : 1812;
		const Outcome outcome = run(bed, datagram(from.empty() ? client() : from, port, service, payload));

		return sent(hook(), outcome) ? addressee(outcome) : 0;
	}

	// And the member answers: from then on the client's socket has proved itself.
	int exchange(Testbed &bed, const std::string &payload, uint16_t port, const std::string &from = "") const
	{
		const int number = send(bed, payload, port, from);
		const std::string to = from.empty() ? client() : from;
		const uint16_t service = payload.find("SIP/2.0") != std::string::npos ? 5060 : 1812;
		const Outcome reply = run(bed, ip(member(number), to) / Udp{.source = 8080, .destination = port} /
						       Payload("an answer"));

		EXPECT_TRUE(sent(hook(), reply));
		EXPECT_EQ(reply.packet, expected_link(ip(vip(), to, 63) / Udp{.source = service, .destination = port} /
						      Payload("an answer")));
		return number;
	}

	static std::map<std::string, uint32_t> sessions(Testbed &bed)
	{
		std::map<std::string, uint32_t> all;

		EXPECT_TRUE(bed.maps->sessions.each([&](const hf_session_key &key, const hf_session &session) {
			all[hex({reinterpret_cast<const char *>(key.key), 16})] = session.member;
			return true;
		}));
		return all;
	}

	static std::string call_key(const std::string &call_id)
	{
		const SessionKey key = digest(call_id, digest_key);

		return hex({reinterpret_cast<const char *>(key.data()), key.size()});
	}

	static uint32_t places(Testbed &bed, int number)
	{
		return bed.maps->member_connections.get(bed.member_id("web", fmt::format("rs{}", number)));
	}
};

INSTANTIATE_TEST_SUITE_P(Datapath, Datagram, testing::ValuesIn(all_places), place_name);

TEST_P(Datagram, ADialogStaysFromAnyPortAndAddress)
{
	Testbed bed(config(server("calls"), rules));
	std::set<int> used;

	for (int call = 0; call < 9; call++) {
		const std::string id = fmt::format("call-{}@example.com", call);
		const auto port = static_cast<uint16_t>(30000 + 10 * call);
		const int number = exchange(bed, sip(id), port);

		used.insert(number);
		EXPECT_EQ(exchange(bed, sip(id, "ACK sip:bob SIP/2.0"), static_cast<uint16_t>(port + 1)), number);
		EXPECT_EQ(exchange(bed, sip(id, "BYE sip:bob SIP/2.0"), static_cast<uint16_t>(port + 2), client(2)),
			  number);
		EXPECT_EQ(sessions(bed)[call_key(id)], bed.member_id("web", fmt::format("rs{}", number)));
	}
	EXPECT_EQ(used, (std::set<int>{1, 2, 3}));
	EXPECT_EQ(sessions(bed).size(), 9U);
}

TEST_P(Datagram, ManyUsersFromOnePortGoToTheirOwnMembers)
{
	Testbed bed(config(server("users"), rules));
	std::map<std::string, int> where;
	std::set<int> used;

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 12; i++) {
			const std::string user = fmt::format("user{}", i);
			const int number = exchange(bed, radius(user, round ? 4 : 1), 1645);

			ASSERT_EQ(where.emplace(user, number).first->second, number) << user;
			used.insert(number);
		}
	}
	EXPECT_EQ(used, (std::set<int>{1, 2, 3}));
	EXPECT_EQ(sessions(bed).size(), 12U);
	// One socket has a connection with each of three members.
	for (const int number : {1, 2, 3})
		EXPECT_EQ(places(bed, number), 1U);
}

TEST_P(Datagram, TheWholePacketIsAsItMustBe)
{
	Testbed bed(config(server("users"), rules));
	const Outcome outcome = run(bed, datagram(client(), 1645, 1812, radius("alice")));
	const int number = addressee(outcome);

	ASSERT_NE(number, 0);
	EXPECT_EQ(outcome.packet, expected_link(ip(client(), member(number), 63) /
						Udp{.source = 1645, .destination = 8080} / Payload(radius("alice"))));
}

TEST_P(Datagram, ASenderWithoutAnAnswerRecordsNothing)
{
	Testbed bed(config(server("users"), rules));

	for (uint16_t port = 1; port <= 50; port++)
		ASSERT_NE(send(bed, radius(fmt::format("user{}", port)), port), 0);
	EXPECT_EQ(sessions(bed).size(), 0U);
	// But its messages, from other ports too, already stay together.
	const int number = send(bed, radius("user7"), 7);
	EXPECT_EQ(send(bed, radius("user7"), 60007), number);
	EXPECT_EQ(exchange(bed, radius("user7"), 60008), number);
	EXPECT_EQ(sessions(bed).size(), 1U);
}

TEST_P(Datagram, AllKeysOfAnUnprovedSocketAreRecordedWithItsProof)
{
	Testbed bed(config(server("users"), rules, 1));

	for (int i = 0; i < 3; i++)
		ASSERT_EQ(send(bed, radius(fmt::format("user{}", i)), 1000), 1);
	EXPECT_EQ(sessions(bed).size(), 0U);
	EXPECT_EQ(exchange(bed, radius("user3"), 1000), 1);
	EXPECT_EQ(sessions(bed).size(), 4U);
}

TEST_P(Datagram, OfSeveralKeysTheFirstInOrderDecidesAndAllAreRecorded)
{
	Testbed bed(config(server("either"), rules));
	const int first = exchange(bed, radius("alice", 1), 1000);
	const int second = exchange(bed, radius("bob", 4, "session-9"), 1001);

	ASSERT_NE(first, second);
	EXPECT_EQ(sessions(bed).size(), 3U);
	// User-Name comes first in the configuration: session-9 follows alice.
	EXPECT_EQ(exchange(bed, radius("alice", 4, "session-9"), 1002), first);
	EXPECT_EQ(sessions(bed).size(), 3U);
	EXPECT_EQ(exchange(bed, radius("carol", 4, "session-9"), 1003), first);
	EXPECT_EQ(exchange(bed, radius("carol"), 1004), first) << "recorded by her session";
	EXPECT_EQ(exchange(bed, radius("bob"), 1005), second);
}

TEST_P(Datagram, WithoutAKeyTheConnectionThenTheMethodDecides)
{
	Testbed bed(config(server("calls"), rules));
	const int number = exchange(bed, sip("one@example"), 5000);

	for (int i = 0; i < 4; i++)
		EXPECT_EQ(send(bed, "\r\n\r\n", 5000, "", 5060), number) << "a keep-alive on a socket that is bound";
	EXPECT_EQ(bed.reason(HF_REASON_key_absent), 4U);
	std::set<int> used;
	for (uint16_t port = 6000; port < 6003; port++)
		used.insert(send(bed, "OPTIONS sip:x SIP/2.0\r\n\r\n", port));
	EXPECT_EQ(used.size(), 3U);
	EXPECT_EQ(bed.reason(HF_REASON_key_absent), 7U);
	EXPECT_NE(send(bed, "INVITE sip:x SIP/2.0\r\nCall-ID:\r\n\r\n", 6004), 0);
	EXPECT_EQ(bed.reason(HF_REASON_key_malformed), 1U);
	EXPECT_NE(send(bed, "INVITE sip:x SIP/2.0\r\ni" + std::string(200, ' ') + ": x\r\n\r\n", 6006), 0);
	EXPECT_EQ(bed.reason(HF_REASON_key_scan_limit), 1U);
	EXPECT_EQ(sessions(bed).size(), 1U);
}

TEST_P(Datagram, AnAnswerOfAClientGoesToTheServerThatAsked)
{
	Testbed bed(config(server("calls"), rules));
	const int number = exchange(bed, sip("register@phone", "REGISTER sip:example.com SIP/2.0"), 5000);

	// The server begins a dialog of its own over the socket that it knows.
	const Outcome call = run(bed, ip(member(number), client()) / Udp{.source = 8080, .destination = 5000} /
					      Payload(sip("incoming@server")));
	ASSERT_TRUE(sent(hook(), call));
	EXPECT_EQ(send(bed, sip("incoming@server", "SIP/2.0 200 OK"), 5000), number);
	// It is that server's from now on, from wherever.
	EXPECT_EQ(send(bed, sip("incoming@server", "BYE sip:x SIP/2.0"), 7000, client(2)), number);
}

TEST_P(Datagram, WhatAServerBeginsIsItsOwn)
{
	Testbed bed(config(server("calls"), rules));
	// A trunk talks to all three from one socket.
	std::map<int, std::string> dialogs;

	for (int i = 0; dialogs.size() < 3 && i < 9; i++) {
		const std::string id = fmt::format("trunk-{}", i);
		dialogs.emplace(exchange(bed, sip(id), 5000), id);
	}
	ASSERT_EQ(dialogs.size(), 3U);
	for (int number = 1; number <= 3; number++) {
		const std::string id = fmt::format("begun-by-{}", number);
		const Bytes call =
			ip(member(number), client()) / Udp{.source = 8080, .destination = 5000} / Payload(sip(id));
		const Outcome outcome = run(bed, call);

		ASSERT_TRUE(sent(hook(), outcome));
		EXPECT_EQ(outcome.packet, expected_link(ip(vip(), client(), 63) /
							Udp{.source = 5060, .destination = 5000} / Payload(sip(id))));
		EXPECT_EQ(sessions(bed)[call_key(id)], bed.member_id("web", fmt::format("rs{}", number)));
	}
	for (const int number : {2, 3, 1}) {
		const std::string id = fmt::format("begun-by-{}", number);

		EXPECT_EQ(send(bed, sip(id, "SIP/2.0 100 Trying"), 5000), number);
		EXPECT_EQ(send(bed, sip(id, "BYE sip:x SIP/2.0"), 7000, client(2)), number);
	}
	// One that is called without any connection: nobody but its server gets its answer.
	const std::string id = "begun-to-an-idle-phone";
	const Outcome call =
		run(bed, ip(member(2), client(9)) / Udp{.source = 8080, .destination = 9999} / Payload(sip(id)));
	ASSERT_TRUE(sent(hook(), call));
	EXPECT_EQ(call.packet, expected_link(ip(vip(), client(9), 63) / Udp{.source = 5060, .destination = 9999} /
					     Payload(sip(id))));
	EXPECT_EQ(send(bed, sip(id, "SIP/2.0 200 OK"), 9999, client(9)), 2);
	// Answers of servers are theirs to no more than before.
	const size_t before = sessions(bed).size();
	run(bed, ip(member(1), client()) / Udp{.source = 8080, .destination = 5000} /
			 Payload(sip("never-asked", "SIP/2.0 200 OK")));
	EXPECT_EQ(sessions(bed).size(), before);
}

TEST_P(Datagram, WhatAServerSendsUnaskedHasTheVirtualAddress)
{
	Testbed bed(config(server("calls"), rules));
	const std::string answer = sip("via@elsewhere", "SIP/2.0 200 OK");
	const Outcome outcome =
		run(bed, ip(member(2), client(9)) / Udp{.source = 8080, .destination = 9999} / Payload(answer));

	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(outcome.packet,
		  expected_link(ip(vip(), client(9), 63) / Udp{.source = 5060, .destination = 9999} / Payload(answer)));
	EXPECT_TRUE(passed(hook(), run(bed, ip(member(2), client(9)) / Udp{.source = 53, .destination = 9999} /
						    Payload("not its service"))));
}

TEST_P(Datagram, AMemberThatIsDisabledLosesItsDialogsForGood)
{
	Testbed bed(config(server("calls"), rules));
	const int number = exchange(bed, sip("one@example"), 5000);
	const std::string name = fmt::format("rs{}", number);

	bed.override_member("web", name, MemberStatus::draining);
	EXPECT_EQ(exchange(bed, sip("one@example"), 5001), number);
	bed.override_member("web", name, MemberStatus::disabled);
	const int other = exchange(bed, sip("one@example"), 5002);
	EXPECT_NE(other, number);
	EXPECT_GE(bed.reason(HF_REASON_session_moved), 1U);
	bed.override_member("web", name, MemberStatus::enabled);
	EXPECT_EQ(exchange(bed, sip("one@example"), 5003), other);
}

TEST_P(Datagram, AnIdleSessionExpires)
{
	Testbed bed(config(server("users"), rules));
	const int number = exchange(bed, radius("alice"), 1000);

	std::vector<std::pair<hf_session_key, hf_session>> all;
	ASSERT_TRUE(bed.maps->sessions.each([&](const hf_session_key &key, const hf_session &session) {
		all.emplace_back(key, session);
		return true;
	}));
	ASSERT_EQ(all.size(), 1U);
	all[0].second.last_seen -= 101;
	ASSERT_TRUE(bed.maps->sessions.set(all[0].first, all[0].second));
	EXPECT_NE(exchange(bed, radius("alice"), 1001), number) << "the next turn of the rotation";
	EXPECT_EQ(bed.reason(HF_REASON_session_expired), 1U);
}

TEST_P(Datagram, MatchAcrossIsOneSessionForSeveralVirtualServers)
{
	const std::string yaml =
		config(server("across"), rules) +
		fmt::format("  - {{name: accounting, address: \"{}\", forwarding: dnat, pool: web, port: "
			    "1813, protocol: udp, persistence: across}}\n",
			    vip());
	Testbed bed(yaml);

	for (int i = 0; i < 5; i++) {
		const std::string user = fmt::format("user{}", i);
		const auto port = static_cast<uint16_t>(2000 + i);

		const int number = exchange(bed, radius(user), port);
		EXPECT_EQ(send(bed, radius(user, 4), static_cast<uint16_t>(port + 100), "", 1813), number);
	}
	EXPECT_EQ(sessions(bed).size(), 5U);
}

// Connection limits: the members' lines get one.
std::string limited(std::string yaml, int limit)
{
	for (size_t at = yaml.find("port: 8080}"); at != std::string::npos; at = yaml.find("port: 8080}", at + 20))
		yaml.replace(at, 11, fmt::format("port: 8080, connection_limit: {}}}", limit));
	return yaml;
}

TEST_P(Datagram, AFullMemberKeepsItsSessionsUnlessTheRuleOverridesThem)
{
	for (const bool override : {false, true}) {
		Testbed bed(limited(config(server(override ? "limited" : "users"), rules, 2), 2));
		const int number = exchange(bed, radius("alice"), 1000);
		const int other = 3 - number;

		// The rest of its places, and those of the other one but one.
		for (uint16_t port = 2000; places(bed, number) < 2; port++)
			ASSERT_NE(exchange(bed, radius(fmt::format("user{}", port)), port), 0);
		if (places(bed, other) >= 2)
			ADD_FAILURE() << "no room left with the other member";
		EXPECT_EQ(exchange(bed, radius("alice"), 1000), number) << "her socket is bound";
		EXPECT_EQ(exchange(bed, radius("alice"), 1001), override ? other : number);
		EXPECT_EQ(places(bed, number), override ? 2U : 3U);
		EXPECT_EQ(bed.reason(HF_REASON_session_over_limit), override ? 1U : 0U);
		EXPECT_EQ(exchange(bed, radius("alice"), 1001), override ? other : number) << "there she stays";
		if (override) {
			EXPECT_EQ(send(bed, radius("new"), 3000), 0) << "all are full";
			EXPECT_EQ(bed.reason(HF_REASON_no_usable_member), 1U);
		}
	}
}

TEST_P(Datagram, ASocketIsNotRepelledByItsOwnPlace)
{
	Testbed bed(limited(config(server("limited"), rules, 2), 2));
	const int number = exchange(bed, radius("alice"), 1000);

	// Her second socket takes the last place, and asks again before it was answered.
	ASSERT_EQ(send(bed, radius("alice"), 1001), number);
	ASSERT_EQ(places(bed, number), 2U);
	EXPECT_EQ(send(bed, radius("alice"), 1001), number);
	EXPECT_EQ(bed.reason(HF_REASON_session_over_limit), 0U);
	// And no proposal leads a third one beyond the limit.
	EXPECT_EQ(send(bed, radius("alice"), 1002), 3 - number);
	EXPECT_EQ(places(bed, number), 2U);
}

TEST_P(Datagram, AProposalDoesNotOverruleALiveSession)
{
	Testbed bed(config(server("either"), rules));
	const int number = exchange(bed, radius("bob", 4, "old-session"), 1000);
	const int proposed = send(bed, radius("carol"), 1001); // never answered

	ASSERT_NE(proposed, number);
	// Her name is only proposed, the session lives.
	EXPECT_EQ(exchange(bed, radius("carol", 4, "old-session"), 1002), number);
	EXPECT_EQ(exchange(bed, radius("bob", 4, "old-session"), 1003), number);
}

TEST_P(Datagram, WithoutAKeyASocketKeepsItsMember)
{
	Testbed bed(config(server("calls"), rules));
	const int number = send(bed, "INVITE sip:x SIP/2.0\r\n\r\n", 5000);

	EXPECT_EQ(send(bed, "INVITE sip:x SIP/2.0\r\n\r\n", 5000), number);
	EXPECT_NE(send(bed, "INVITE sip:x SIP/2.0\r\n\r\n", 5001), number) << "the next in turn";
}

TEST_P(Datagram, AProposalForAFullMemberIsForgotten)
{
	Testbed bed(limited(config(server("limited"), rules, 2), 1));
	const int number = send(bed, radius("alice"), 1000); // never answered

	ASSERT_NE(number, 0);
	ASSERT_EQ(places(bed, number), 1U);
	EXPECT_EQ(send(bed, radius("alice"), 1001), 3 - number) << "the place is the first socket's";
	EXPECT_EQ(send(bed, radius("alice"), 1001), 3 - number);
	EXPECT_EQ(bed.reason(HF_REASON_member_full), 0U);
}

TEST_P(Datagram, AnEmbryoOfAnotherVirtualServerIsLeftAlone)
{
	Testbed bed(
		config(server("users"), rules, 1) +
		fmt::format("  - {{name: other, address: \"{}\", forwarding: dnat, pool: web, port: 1813, protocol: "
			    "udp, persistence: users}}\n",
			    vip()));

	ASSERT_EQ(send(bed, radius("alice"), 1000), 1);
	// The member's answers could not be told apart.
	EXPECT_EQ(send(bed, radius("bob"), 1000, "", 1813), 0);
	EXPECT_EQ(bed.reason(HF_REASON_tuple_in_use), 1U);
	EXPECT_EQ(places(bed, 1), 1U);
	EXPECT_EQ(exchange(bed, radius("alice"), 1000), 1);
}

TEST_P(Datagram, ARuleReachesSocketsThatAreInUse)
{
	const auto plain = config("port: 1812, protocol: udp", rules);
	Testbed bed(plain);

	ASSERT_NE(exchange(bed, radius("alice"), 1000), 0);
	bed.apply(config(server("users"), rules));
	std::set<int> used;
	for (const char *user : {"alice", "bob", "carol"})
		used.insert(exchange(bed, radius(user), 1000));
	EXPECT_EQ(used.size(), 3U);
	bed.apply(plain);
	EXPECT_EQ(exchange(bed, radius("alice"), 1000), exchange(bed, radius("bob"), 1000));
}

TEST_P(Datagram, PlacesAreCountedExactlyAndGivenBack)
{
	Testbed bed(limited(config("port: 80, protocol: tcp", "", 2), 3));

	for (uint16_t port = 1000; port < 1006; port++)
		ASSERT_NE(connect(bed, client(), port), 0);
	EXPECT_EQ(places(bed, 1), 3U);
	EXPECT_EQ(places(bed, 2), 3U);
	EXPECT_EQ(addressee(run(bed, tcp(client(), 1006, vip(), 80, syn))), 0) << "a RST instead";
	EXPECT_EQ(bed.reason(HF_REASON_no_usable_member), 1U);
	// One ends with a RST: its place is free at once, and taken again if it was none.
	const Outcome reset = run(bed, tcp(client(), 1000, vip(), 80, rst, 1001));
	const int number = addressee(reset);
	ASSERT_NE(number, 0);
	EXPECT_EQ(places(bed, number), 2U);
	EXPECT_EQ(connect(bed, client(), 1007), number);
	EXPECT_EQ(places(bed, number), 3U);
	// Half-open ones have places, too, and lose them with the sweep.
	bed.clear();
	EXPECT_EQ(places(bed, 1) + places(bed, 2), 0U);
	for (uint16_t port = 2000; port < 2006; port++)
		ASSERT_TRUE(sent(hook(), run(bed, tcp(client(), port, vip(), 80, syn))));
	EXPECT_TRUE(sent(hook(), bed.run(hook(), tcp(client(), 2006, vip(), 80, syn)))) << "the answer is a RST";
	EXPECT_EQ(places(bed, 1) + places(bed, 2), 6U);
	EXPECT_EQ(bed.reason(HF_REASON_no_usable_member), 2U);
}

} // namespace
} // namespace holdfast::test
