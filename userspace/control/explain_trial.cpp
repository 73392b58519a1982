// SPDX-License-Identifier: GPL-2.0
#include "control/explain_trial.h"

#include <algorithm>
#include <cstring>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <netinet/in.h>

#include "datapath/encode.h"
#include "datapath/trial.h"
#include "netlink/netlink.h"

namespace holdfast
{

namespace
{

using nlohmann::json;

// What comes in one packet on any path.
constexpr size_t most_payload = 1400;

hf_rule_type type_of(const Snapshot &snapshot, const VirtualServer &server)
{
	const Rule *rule = snapshot.rule_of(server);

	return rule ? rule->type : HF_RULE_NONE;
}

Bytes make_segment(const Question &question, const TrialSeed &seed)
{
	Bytes segment;

	if (seed.flow.protocol == IPPROTO_TCP) {
		tcphdr tcp{};

		tcp.source = seed.flow.source_port;
		tcp.dest = seed.flow.destination_port;
		tcp.seq = tcp.ack_seq = to_network(uint32_t{1});
		tcp.doff = sizeof(tcp) / 4;
		tcp.syn = seed.begins;
		tcp.ack = !seed.begins;
		tcp.window = to_network(uint16_t{65535});
		append(segment, tcp);
		tcp.check = transport_checksum(seed.flow, segment);
		std::memcpy(segment.data(), &tcp, sizeof(tcp));
		return segment;
	}
	udphdr udp{};
	std::string payload = question.message.value_or("");

	payload.resize(std::max(payload.size(), question.length));
	udp.source = seed.flow.source_port;
	udp.dest = seed.flow.destination_port;
	udp.len = to_network(static_cast<uint16_t>(sizeof(udp) + payload.size()));
	append(segment, udp);
	segment.insert(segment.end(), payload.begin(), payload.end());
	udp.check = transport_checksum(seed.flow, segment);
	// RFC 768: 0 would say that there is none.
	if (!udp.check)
		udp.check = 0xffff;
	std::memcpy(segment.data(), &udp, sizeof(udp));
	return segment;
}

// What an entry of the server and its rule alone would need.
std::set<uint32_t> stages_for(const Snapshot &snapshot, const VirtualServer &server)
{
	Config alone;

	alone.virtual_servers = {server};
	if (const Rule *rule = snapshot.rule_of(server))
		alone.rules = {*rule};
	std::set<uint32_t> stages = needed_stages(alone);
	stages.erase(HF_STAGE_ICMP);
	return stages;
}

// Where the client's packets come in, if routes lead both ways alike.
int interface_to(const Snapshot &snapshot, const Address &client)
{
	const auto netlink = Netlink::open();
	const auto route = netlink ? (*netlink)->route(client) : std::nullopt;

	return route && snapshot.interfaces.contains(route->interface) ? route->interface : *snapshot.interfaces.begin();
}

json not_tried(const Error &error)
{
	return {{"outcome", "not tried"}, {"problem", error.message()}};
}

} // namespace

bool can_be_tried(const Snapshot &snapshot, const VirtualServer &server)
{
	return !snapshot.interfaces.empty() && !splices(server, type_of(snapshot, server));
}

json try_packet(const Snapshot &snapshot, const VirtualServer &server, const Question &question, const TrialSeed &seed)
{
	std::vector<uint32_t> members;
	json reasons = json::array();

	if (seed.flow.protocol == IPPROTO_UDP && question.length > most_payload)
		return not_tried(Error("the datagram takes more than one packet"));
	for (const Pool &pool : snapshot.config.pools) {
		for (const Member &member : pool.members) {
			if (pool.name == server.pool)
				members.push_back(snapshot.ids.members.find(member_key(pool.name, member.name)));
		}
	}
	const auto trial = Trial::load(*snapshot.maps, stages_for(snapshot, server));
	if (!trial)
		return not_tried(trial.error());
	for (const hf_session_key &key : seed.sessions)
		(*trial)->copy_session(key);
	for (const hf_flow_key &key : seed.connections)
		(*trial)->copy_connection(key);
	const auto outcome = (*trial)->run(seed.flow, make_segment(question, seed),
					   interface_to(snapshot, Address(seed.flow.source)), members);
	if (!outcome)
		return not_tried(outcome.error());
#define HF_REASON_NAME(reason, reason_kind, text) #reason,
	constexpr const char *names[] = {HF_REASONS(HF_REASON_NAME)};
#undef HF_REASON_NAME
	for (const uint32_t reason : outcome->reasons)
		reasons.push_back(names[reason]);
	return {{"outcome", outcome->forwarded ? "forwarded"
			    : outcome->dropped ? "dropped"
					       : "not forwarded"},
		{"member", outcome->member ? json(snapshot.ids.members.name(outcome->member)) : json(nullptr)},
		{"reasons", reasons}};
}

} // namespace holdfast
