// SPDX-License-Identifier: GPL-2.0
// Forwarding modes other than dnat: direct, and fullnat with its sources.
#include <fmt/format.h>
#include <map>
#include <set>

#include "bpf/datapath_test.h"

namespace holdfast::test
{
namespace
{

class Forwarding : public DatapathTest
{
protected:
	std::string source(int number = 1) const
	{
		return ipv4() ? fmt::format("10.0.9.{}", number) : fmt::format("fd00::9:{:x}", number);
	}

	// One source address; `more` settings of the virtual server.
	std::string fullnat(const std::string &more, const std::string &rules = "", int members = 3,
			    int sources = 1) const
	{
		std::string addresses;

		for (int i = 1; i <= sources; i++)
			addresses += fmt::format("{}\"{}\"", i > 1 ? ", " : "", source(i));
		std::string yaml = config(more + ", source_addresses: [" + addresses + "]", rules, members);

		yaml.replace(yaml.find("forwarding: dnat"), 16, "forwarding: fullnat");
		return yaml;
	}

	std::string direct(const std::string &more, const std::string &rules = "", int members = 3) const
	{
		std::string yaml = config(more, rules, members);

		yaml.replace(yaml.find("forwarding: dnat"), 16, "forwarding: direct");
		for (size_t at = yaml.find(", port: 8080}"); at != std::string::npos; at = yaml.find(", port: 8080}"))
			yaml.replace(at, 13, "}");
		return yaml;
	}

	Packet udp(const std::string &from, uint16_t from_port, const std::string &to, uint16_t to_port,
		   uint8_t ttl = 64) const
	{
		return ip(from, to, ttl) / Udp{.source = from_port, .destination = to_port};
	}

	// The port of a sent packet's source, or destination.
	uint16_t port_of(const Outcome &outcome, bool of_source) const
	{
		const size_t at = 14 + (ipv4() ? 20 : 40) + (of_source ? 0 : 2);

		return static_cast<uint16_t>(outcome.packet.at(at) << 8 | outcome.packet.at(at + 1));
	}

	// Handshake through fullnat; the port that the member sees, 0 if nobody answers.
	struct Made {
		int member = 0;
		uint16_t port = 0;
	};
	Made make(Testbed &bed, const std::string &from, uint16_t port) const
	{
		const Outcome opened = run(bed, tcp(from, port, vip(), 80, syn, 1000));
		Made made{sent(hook(), opened) ? addressee(opened) : 0, 0};

		if (!made.member)
			return made;
		made.port = port_of(opened, true);
		const Outcome answered =
			run(bed, tcp(member(made.member), 8080, source(), made.port, syn | ack, 5000, 1001));
		EXPECT_TRUE(sent(hook(), answered));
		EXPECT_EQ(port_of(answered, false), port);
		EXPECT_EQ(addressee(run(bed, tcp(from, port, vip(), 80, ack, 1001, 5001))), made.member);
		return made;
	}

	static size_t other_ends(Testbed &bed)
	{
		size_t count = 0;

		EXPECT_TRUE(bed.maps->other_ends.each([&](const auto &, const auto &) { return ++count > 0; }));
		return count;
	}

	static size_t connections(Testbed &bed)
	{
		size_t count = 0;

		EXPECT_TRUE(bed.maps->connections.each([&](const auto &, const auto &) { return ++count > 0; }));
		return count;
	}
};

INSTANTIATE_TEST_SUITE_P(Datapath, Forwarding, testing::ValuesIn(all_places), place_name);

// The packet as it is, but for its link header and a hop.
TEST_P(Forwarding, DirectWritesTheLinkHeaderOnly)
{
	Testbed bed(direct("port: 80, protocol: tcp"));
	auto forwarded = [&](uint8_t flags, uint32_t sequence, uint32_t acknowledged, size_t payload) {
		const auto packet = [&](uint8_t ttl) {
			return ip(client(), vip(), ttl) /
			       Tcp{.source = 40000,
				   .destination = 80,
				   .sequence = sequence,
				   .acknowledgement = acknowledged,
				   .flags = flags} /
			       Payload(payload);
		};
		const Outcome outcome = run(bed, packet(64));

		EXPECT_TRUE(sent(hook(), outcome));
		EXPECT_EQ(outcome.packet, expected_link(packet(63)));
	};

	forwarded(syn, 1000, 0, 0);
	EXPECT_EQ(connections(bed), 0U) << "a SYN alone is embryonic";
	forwarded(syn, 1000, 0, 0);
	// The member's answer is not seen: who goes on has heard it.
	forwarded(ack, 1001, 777, 0);
	EXPECT_GT(connections(bed), 0U);
	forwarded(ack | psh, 1001, 777, 100);
	forwarded(ack | fin, 1101, 777, 0);
	EXPECT_EQ(bed.maps->virtual_server_counters.sum(bed.server_id("shop")).connections, 1U);
}

TEST_P(Forwarding, DirectKeepsClientsWithTheirMembers)
{
	const std::string rule = "  - {name: by-address, type: source-address, timeout: 100}\n";

	for (const char *persistence : {"", ", persistence: by-address", ", persistence: LB_PERSIS_HASH_SRC_ADDR"}) {
		Testbed bed(direct(fmt::format("port: 80, protocol: tcp{}", persistence), rule));
		auto whose = [&](int number, uint16_t port, uint8_t flags) {
			// By the traffic that is counted: all next hops are one here.
			std::map<int, uint64_t> before;

			for (int i = 1; i <= 3; i++)
				before[i] = bed.maps->member_counters.sum(bed.member_id("web", fmt::format("rs{}", i)))
						    .forward_packets;
			EXPECT_TRUE(sent(hook(), run(bed, tcp(client(number), port, vip(), 80, flags, 1001, 777))));
			for (int i = 1; i <= 3; i++) {
				if (bed.maps->member_counters.sum(bed.member_id("web", fmt::format("rs{}", i)))
					    .forward_packets > before[i])
					return i;
			}
			return 0;
		};
		std::set<int> used;

		for (int number = 1; number <= 12; number++) {
			const int first = whose(number, 40000, syn);

			used.insert(first);
			for (const uint8_t flags : {ack, uint8_t(ack | psh), ack})
				ASSERT_EQ(whose(number, 40000, flags), first) << persistence;
			if (*persistence) {
				ASSERT_EQ(whose(number, 41000, syn), first) << persistence;
			}
			// A FIN is all that is ever seen of an end: a SYN from the same port begins anew.
			whose(number, 40000, ack | fin);
			whose(number, 40000, syn);
			ASSERT_EQ(whose(number, 40000, ack), whose(number, 40000, ack | psh));
		}
		EXPECT_GE(used.size(), 2U) << persistence;
		EXPECT_EQ(bed.reason(HF_REASON_connection_expired), 0U);
		EXPECT_EQ(bed.reason(HF_REASON_tuple_in_use), 0U);
	}
}

// With dnat these would be one tuple at the member's side.
TEST_P(Forwarding, DirectKnowsVirtualServersApart)
{
	std::string yaml = direct("port: 80, protocol: tcp", "", 1);

	yaml += fmt::format(
		"  - {{name: other, address: \"{}\", port: 81, protocol: tcp, forwarding: direct, pool: web}}\n",
		vip());
	Testbed bed(yaml);
	for (const uint16_t port : {uint16_t{80}, uint16_t{81}}) {
		ASSERT_TRUE(sent(hook(), run(bed, tcp(client(), 40000, vip(), port, syn, 1000))));
		ASSERT_TRUE(sent(hook(), run(bed, tcp(client(), 40000, vip(), port, ack, 1001, 1))));
	}
	EXPECT_EQ(connections(bed), 4U);
}

TEST_P(Forwarding, DirectNeedsMembersOnTheLink)
{
	Testbed bed(direct("port: 80, protocol: tcp", "", 1));

	bed.maps->members.live(bed.member_id("web", "rs1"))->flags |= HF_MEMBER_ROUTED;
	EXPECT_TRUE(dropped(hook(), run(bed, tcp(client(), 40000, vip(), 80, syn, 1000))));
	EXPECT_EQ(bed.reason(HF_REASON_not_on_link), 1U);
	EXPECT_EQ(bed.maps->member_connections.get(bed.member_id("web", "rs1")), 0U);
}

TEST_P(Forwarding, DirectDatagrams)
{
	Testbed bed(direct("port: 53, protocol: udp"));
	const Packet first = udp(client(), 5000, vip(), 53) / Payload(100);

	const Outcome outcome = run(bed, first);
	ASSERT_TRUE(sent(hook(), outcome));
	EXPECT_EQ(outcome.packet, expected_link(udp(client(), 5000, vip(), 53, 63) / Payload(100)));
	EXPECT_TRUE(sent(hook(), run(bed, udp(client(), 5000, vip(), 53, 1) / Payload(1)))) << "back, as an error";
	EXPECT_EQ(bed.reason(HF_REASON_hop_limit), 1U);
}

TEST_P(Forwarding, FullnatTranslatesBothEnds)
{
	Testbed bed(fullnat("port: 80, protocol: tcp"));
	auto segment = [&](const std::string &from, uint16_t from_port, const std::string &to, uint16_t to_port,
			   uint8_t ttl, uint8_t flags, size_t payload) {
		return ip(from, to, ttl) /
		       Tcp{.source = from_port,
			   .destination = to_port,
			   .sequence = 1001,
			   .acknowledgement = 5001,
			   .flags = flags} /
		       Payload(payload);
	};
	const Made made = make(bed, client(), 40000);

	ASSERT_NE(made.member, 0);
	EXPECT_EQ(made.port, 40000) << "the client's own, as it is free";
	EXPECT_EQ(run(bed, segment(client(), 40000, vip(), 80, 64, ack | psh, 300)).packet,
		  expected_link(segment(source(), 40000, member(made.member), 8080, 63, ack | psh, 300)));
	EXPECT_EQ(run(bed, segment(member(made.member), 8080, source(), 40000, 64, ack | psh, 700)).packet,
		  expected_link(segment(vip(), 80, client(), 40000, 63, ack | psh, 700)));
	EXPECT_EQ(connections(bed), 2U);
	EXPECT_EQ(other_ends(bed), 2U);
	// What belongs to no connection is nobody's.
	EXPECT_TRUE(passed(hook(), run(bed, segment(member(made.member), 8080, source(), 40001, 64, ack, 0))));
	// The end of it.
	run(bed, segment(client(), 40000, vip(), 80, 64, ack | fin, 0));
	run(bed, segment(member(made.member), 8080, source(), 40000, 64, ack | fin, 0));
	ASSERT_TRUE(bed.maps->sweep_connections(HF_SWEEP_ALL));
	EXPECT_EQ(other_ends(bed), 0U);
}

TEST_P(Forwarding, FullnatOfDatagrams)
{
	Testbed bed(fullnat("port: 53, protocol: udp"));
	const Outcome asked = run(bed, udp(client(), 5000, vip(), 53) / Payload(60));
	const int number = addressee(asked);

	ASSERT_NE(number, 0);
	EXPECT_EQ(asked.packet, expected_link(udp(source(), 5000, member(number), 8080, 63) / Payload(60)));
	EXPECT_EQ(run(bed, udp(member(number), 8080, source(), 5000) / Payload(90)).packet,
		  expected_link(udp(vip(), 53, client(), 5000, 63) / Payload(90)));
	EXPECT_EQ(addressee(run(bed, udp(client(), 5000, vip(), 53) / Payload(60))), number);
	if (ipv4()) {
		const auto unsummed = [&](const std::string &from, uint16_t from_port, const std::string &to,
					  uint16_t to_port, uint8_t ttl) {
			return ip(from, to, ttl) / Udp{.source = from_port, .destination = to_port, .checksum = 0} /
			       Payload(60);
		};
		EXPECT_EQ(run(bed, unsummed(client(), 5000, vip(), 53, 64)).packet,
			  expected_link(unsummed(source(), 5000, member(number), 8080, 63)));
	}
}

// No two connections have one tuple; nobody's is given to another.
TEST_P(Forwarding, SourcesAreGivenOnce)
{
	Testbed bed(fullnat("port: 80, protocol: tcp, source_ports: 30000-30399", "", 2));
	std::map<std::pair<int, uint16_t>, int> owners;

	for (int number = 1; number <= 250; number++) {
		const Made made = make(bed, client(number), 40000);

		ASSERT_NE(made.member, 0) << number;
		ASSERT_TRUE(made.port >= 30000 && made.port <= 30399) << made.port;
		ASSERT_TRUE(owners.emplace(std::pair(made.member, made.port), number).second) << "given twice";
	}
	for (const auto &[where, number] : owners) {
		const Outcome outcome =
			run(bed, tcp(member(where.first), 8080, source(), where.second, ack | psh, 5001, 1001));
		const Bytes wanted = tcp(vip(), 80, client(number), 40000, ack | psh, 5001, 1001);

		ASSERT_TRUE(sent(hook(), outcome));
		// The addresses: behind TTL and header checksum (IPv4), or the hop limit.
		ASSERT_TRUE(std::equal(wanted.begin() + (ipv4() ? 26 : 22), wanted.begin() + (ipv4() ? 34 : 54),
				       outcome.packet.begin() + (ipv4() ? 26 : 22)));
	}
}

TEST_P(Forwarding, PortsRunOutAndComeBack)
{
	Testbed bed(fullnat("port: 80, protocol: tcp, source_ports: 30000-30003", "", 1));
	std::vector<std::pair<int, uint16_t>> made;

	for (int number = 1; number <= 4; number++) {
		for (int attempt = 0; attempt < 50 && made.size() < static_cast<size_t>(number); attempt++) {
			// Each is chosen at random, so that it may need more than one attempt.
			const Made one = make(bed, client(number), 40000);

			if (one.member)
				made.emplace_back(number, one.port);
		}
	}
	ASSERT_EQ(made.size(), 4U);
	const uint64_t before = bed.reason(HF_REASON_ports_exhausted);
	EXPECT_TRUE(dropped(hook(), run(bed, tcp(client(5), 40000, vip(), 80, syn, 1000))));
	EXPECT_EQ(bed.reason(HF_REASON_ports_exhausted), before + 1);
	EXPECT_EQ(bed.maps->member_connections.get(bed.member_id("web", "rs1")), 4U) << "it has taken no place";
	// A connection that is over keeps its port until it is swept.
	run(bed, tcp(client(1), 40000, vip(), 80, ack | fin, 1001, 5001));
	run(bed, tcp(member(1), 8080, source(), made[0].second, ack | fin, 5001, 1002));
	EXPECT_TRUE(dropped(hook(), run(bed, tcp(client(5), 40000, vip(), 80, syn, 1000))));
	for (const auto &key_of : {0, 1}) {
		hf_flow_key key{};
		bool found = false;
		hf_connection closed{};

		ASSERT_TRUE(bed.maps->connections.each([&](const hf_flow_key &one, const hf_connection &connection) {
			if (connection.state != HF_CONNECTION_CLOSED ||
			    !(connection.flags & HF_CONNECTION_REPLY) != !key_of)
				return true;
			key = one;
			closed = connection;
			found = true;
			return false;
		}));
		ASSERT_TRUE(found);
		closed.last_seen -= HF_CLOSED_SOURCE_TIMEOUT - 2;
		ASSERT_TRUE(bed.maps->connections.set(key, closed));
	}
	ASSERT_TRUE(bed.maps->sweep_connections(HF_SWEEP_EXPIRED));
	EXPECT_EQ(connections(bed), 8U) << "the member may still have it in TIME_WAIT";
	std::vector<std::pair<hf_flow_key, hf_connection>> over;
	ASSERT_TRUE(bed.maps->connections.each([&](const hf_flow_key &one, const hf_connection &connection) {
		if (connection.state == HF_CONNECTION_CLOSED)
			over.emplace_back(one, connection);
		return true;
	}));
	for (auto &[key, connection] : over) {
		connection.last_seen -= 10;
		ASSERT_TRUE(bed.maps->connections.set(key, connection));
	}
	ASSERT_TRUE(bed.maps->sweep_connections(HF_SWEEP_EXPIRED));
	EXPECT_EQ(connections(bed), 6U);
	Made again;
	for (int attempt = 0; attempt < 50 && !again.member; attempt++)
		again = make(bed, client(5), 40000);
	EXPECT_EQ(again.port, made[0].second);
}

TEST_P(Forwarding, SeveralSourceAddresses)
{
	Testbed bed(fullnat("port: 80, protocol: tcp, source_ports: 30000-30001", "", 1, 3));
	std::set<Bytes> seen;

	for (int number = 1; number <= 60; number++) {
		const Outcome outcome = run(bed, tcp(client(number), 40000, vip(), 80, syn, 1000));

		if (sent(hook(), outcome))
			seen.insert(Bytes(outcome.packet.begin() + (ipv4() ? 26 : 22),
					  outcome.packet.begin() + (ipv4() ? 30 : 38)));
	}
	EXPECT_EQ(seen.size(), 3U);
}

// Half of a connection is lost: the other half has all that it takes.
TEST_P(Forwarding, FullnatIsHealed)
{
	for (const bool lose_reply : {false, true}) {
		Testbed bed(fullnat("port: 80, protocol: tcp"));
		const Made made = make(bed, client(), 40000);
		std::vector<hf_flow_key> lost;

		ASSERT_TRUE(bed.maps->connections.each([&](const hf_flow_key &key, const hf_connection &connection) {
			if (static_cast<bool>(connection.flags & HF_CONNECTION_REPLY) == lose_reply)
				lost.push_back(key);
			return true;
		}));
		ASSERT_EQ(lost.size(), 1U);
		bed.maps->connections.erase(lost[0]);
		const uint32_t now = bed.maps->now();
		while (bed.maps->now() == now)
			continue;
		const Bytes forward = tcp(client(), 40000, vip(), 80, ack, 1001, 5001);
		const Bytes reply = tcp(member(made.member), 8080, source(), made.port, ack, 5001, 1001);
		EXPECT_TRUE(sent(hook(), run(bed, lose_reply ? forward : reply)));
		EXPECT_EQ(bed.reason(HF_REASON_connection_healed), 1U);
		EXPECT_TRUE(sent(hook(), run(bed, lose_reply ? reply : forward)));
		EXPECT_EQ(other_ends(bed), 2U);
	}
}

TEST_P(Forwarding, FragmentsGoTheWayOfTheirFirst)
{
	for (const bool is_direct : {true, false}) {
		Testbed bed(is_direct ? direct("port: 53, protocol: udp") : fullnat("port: 53, protocol: udp"));
		auto fragment = [&](const std::string &from, uint16_t from_port, const std::string &to,
				    uint16_t to_port, uint8_t ttl, bool first, uint32_t id) -> Bytes {
			const uint16_t offset = first ? 0 : 65; // in units of 8 bytes
			const Payload whole(1000);
			const Bytes datagram =
				Packet(ip(from, to, ttl) / Udp{.source = from_port, .destination = to_port} / whole);
			const size_t header = ipv4() ? 34 : 54;
			const Bytes part(datagram.begin() + static_cast<ptrdiff_t>(header + offset * 8),
					 first ? datagram.begin() + static_cast<ptrdiff_t>(header + 520)
					       : datagram.end());
			Payload payload(0);

			payload.bytes = part;
			if (ipv4())
				return Packet(Ethernet{} /
					      Ipv4{.source = from,
						   .destination = to,
						   .ttl = ttl,
						   .identification = static_cast<uint16_t>(id),
						   .fragment = static_cast<uint16_t>((first ? 0x2000 : 0) | offset),
						   .protocol = 17} /
					      payload);
			Bytes body = {
				uint8_t(offset >> 5), uint8_t(offset << 3 | (first ? 1 : 0)), 0, 0, uint8_t(id >> 8),
				uint8_t(id)};
			Bytes built = Packet(Ethernet{} / Ipv6{.source = from, .destination = to, .hop_limit = ttl} /
					     Extension{.type = 44, .body = body, .length = 0} / payload);
			built[54] = 17; // what follows the fragment header
			return built;
		};
		for (const bool first : {true, false}) {
			const Bytes packet = fragment(client(), 5000, vip(), 53, 64, first, 7);
			const Outcome outcome = bed.run(hook(), packet);

			ASSERT_TRUE(sent(hook(), outcome)) << first;
			if (is_direct) {
				EXPECT_EQ(outcome.packet,
					  expected_link(fragment(client(), 5000, vip(), 53, 63, first, 7)));
			} else {
				int number = addressee(outcome);

				ASSERT_NE(number, 0) << first;
				EXPECT_EQ(outcome.packet,
					  expected_link(fragment(source(), 5000, member(number), 8080, 63, first, 7)));
				// And the answer's.
				EXPECT_EQ(bed.run(hook(), fragment(member(number), 8080, source(), 5000, 64, first, 9))
						  .packet,
					  expected_link(fragment(vip(), 53, client(), 5000, 63, first, 9)));
			}
		}
	}
}

// Datagrams of one socket go to many members, from a source for each.
TEST_P(Forwarding, FullnatOfDatagramsThatAreRead)
{
	const std::string rule = "  - {name: users, type: radius-attribute, attributes: [{type: 1}]}\n";
	auto request = [](const std::string &user) {
		Bytes bytes = {1, 7, 0, 0};

		bytes.resize(20, 9);
		bytes.push_back(1);
		bytes.push_back(static_cast<uint8_t>(user.size() + 2));
		bytes.insert(bytes.end(), user.begin(), user.end());
		bytes[3] = static_cast<uint8_t>(bytes.size());
		Payload payload(0);
		payload.bytes = bytes;
		return payload;
	};

	for (const bool is_direct : {false, true}) {
		const std::string server = "port: 1812, protocol: udp, persistence: users";
		Testbed bed(is_direct ? direct(server, rule) : fullnat(server, rule));
		std::map<std::string, int> members;
		std::map<int, uint16_t> ports;

		for (int round = 0; round < 3; round++) {
			for (int i = 0; i < 9; i++) {
				const std::string user = fmt::format("user{}", i);
				const Outcome outcome = run(bed, udp(client(), 5000, vip(), 1812) / request(user));

				ASSERT_TRUE(sent(hook(), outcome));
				if (is_direct) {
					EXPECT_EQ(outcome.packet,
						  expected_link(udp(client(), 5000, vip(), 1812, 63) / request(user)));
					continue;
				}
				const int number = addressee(outcome);
				ASSERT_EQ(members.emplace(user, number).first->second, number) << user;
				const uint16_t port = port_of(outcome, true);
				ASSERT_EQ(ports.emplace(number, port).first->second, port) << user;
				EXPECT_EQ(run(bed, udp(member(number), 8080, source(), port) / Payload(30)).packet,
					  expected_link(udp(vip(), 1812, client(), 5000, 63) / Payload(30)));
			}
			// Another socket of the same number, of another client.
			run(bed, udp(client(2), 5000, vip(), 1812) / request("somebody"));
		}
		if (!is_direct) {
			EXPECT_EQ(ports.size(), 3U);
			// What each of them says in a later second is the client's, too.
			const uint32_t now = bed.maps->now();
			while (bed.maps->now() == now)
				continue;
			for (const auto &[number, port] : ports)
				EXPECT_EQ(run(bed, udp(member(number), 8080, source(), port) / Payload(30)).packet,
					  expected_link(udp(vip(), 1812, client(), 5000, 63) / Payload(30)));
		}
		for (const auto &counter : {HF_REASON_tuple_in_use, HF_REASON_ports_exhausted, HF_REASON_table_full})
			EXPECT_EQ(bed.reason(counter), 0U);
	}
}

// What a rule across virtual servers says holds in whatever mode they forward.
TEST_P(Forwarding, SessionsAreMatchedAcrossModes)
{
	const std::string rule = "  - {name: across, type: source-address, match_across: true}\n";
	std::string yaml = fullnat("port: 80, protocol: tcp, persistence: across", rule);

	yaml += fmt::format("  - {{name: plain, address: \"{}\", port: 81, protocol: tcp, forwarding: dnat, pool: web, "
			    "persistence: across}}\n",
			    vip());
	Testbed bed(yaml);
	for (int number = 1; number <= 9; number++) {
		const int by_fullnat = make(bed, client(number), 40000).member;

		ASSERT_NE(by_fullnat, 0);
		EXPECT_EQ(connect(bed, client(number), 40001, 81), by_fullnat);
	}
}

} // namespace
} // namespace holdfast::test
