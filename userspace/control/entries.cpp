// SPDX-License-Identifier: GPL-2.0
#include "control/entries.h"

#include <fmt/format.h>

#include "datapath/encode.h"

namespace holdfast
{

namespace
{

using nlohmann::json;

// The filter with its names turned into numbers and addresses.
struct Wanted {
	uint32_t virtual_server = 0, member = 0; // 0: any
	std::string rule;
	std::optional<Address> key;
	uint64_t limit = 0;
};

Result<Wanted> resolve(const Snapshot &snapshot, const EntryFilter &filter)
{
	Wanted wanted{.rule = filter.rule, .limit = filter.limit};

	if (!filter.virtual_server.empty()) {
		wanted.virtual_server = snapshot.ids.virtual_servers.find(filter.virtual_server);
		if (!wanted.virtual_server)
			return Error(fmt::format("there is no virtual server '{}'", filter.virtual_server));
	}
	if (!filter.member.empty()) {
		wanted.member = snapshot.ids.members.find(filter.member);
		if (!wanted.member)
			return Error(
				fmt::format("there is no member '{}'; members are named POOL/NAME", filter.member));
	}
	if (!filter.rule.empty() && !snapshot.ids.rules.find(filter.rule))
		return Error(fmt::format("there is no rule '{}'", filter.rule));
	if (!filter.key.empty()) {
		wanted.key = Address::parse(filter.key);
		if (!wanted.key)
			return Error(fmt::format("'{}' is not an address", filter.key));
	}
	return wanted;
}

Address masked(const Address &address, const Rule &rule)
{
	std::array<uint8_t, 16> bytes = address.bytes();
	const int first = address.is_ipv4() ? 96 : 0;
	const int bits = address.is_ipv4() ? rule.ipv4_mask_bits : rule.ipv6_mask_bits;

	for (int bit = first + bits; bit < 128; bit++)
		bytes[static_cast<size_t>(bit / 8)] &= static_cast<uint8_t>(~(0x80 >> bit % 8));
	return Address(bytes);
}

std::string or_number(const std::string &name, uint32_t id)
{
	return name.empty() ? fmt::format("#{}", id) : name;
}

// The data path's clock may be a second ahead of what was read before the walk.
uint32_t age(uint32_t now, uint32_t then)
{
	return now > then ? now - then : 0;
}

struct SessionView {
	const VirtualServer *server;
	const Rule *rule;
};

bool matches(const Wanted &wanted, const SessionView &view, const hf_session_key &key, const hf_session &session)
{
	if (wanted.virtual_server && key.scope != wanted.virtual_server)
		return false;
	if (wanted.member && session.member != wanted.member)
		return false;
	if (!wanted.rule.empty() && (!view.rule || view.rule->name != wanted.rule))
		return false;
	// A client's address finds the session of its network, whatever the mask.
	return !wanted.key || (view.rule && masked(*wanted.key, *view.rule) == Address(key.key));
}

Result<void>
each_session(const Snapshot &snapshot, const Wanted &wanted,
	     const std::function<bool(const SessionView &, const hf_session_key &, const hf_session &)> &visit)
{
	std::map<uint32_t, SessionView> views;
	const uint32_t now = snapshot.maps->now();

	return snapshot.maps->sessions.each([&](const hf_session_key &key, const hf_session &session) {
		auto [view, fresh] = views.try_emplace(key.scope);

		if (fresh) {
			view->second.server = snapshot.virtual_server(key.scope);
			view->second.rule = view->second.server ? snapshot.rule_of(*view->second.server) : nullptr;
		}
		// What has expired is gone, swept or not.
		if (session.last_seen == HF_SESSION_DEAD || !view->second.rule ||
		    age(now, session.last_seen) > view->second.rule->timeout ||
		    !matches(wanted, view->second, key, session))
			return true;
		return visit(view->second, key, session);
	});
}

const char *state_word(uint8_t state)
{
	switch (state) {
	case HF_CONNECTION_SYN:
		return "syn";
	case HF_CONNECTION_UNCONFIRMED:
		return "unconfirmed";
	case HF_CONNECTION_ESTABLISHED:
		return "established";
	case HF_CONNECTION_HALF_CLOSED:
		return "half-closed";
	case HF_CONNECTION_CLOSED:
		return "closed";
	default:
		return "?";
	}
}

} // namespace

Result<json> list_sessions(const Snapshot &snapshot, const EntryFilter &filter)
{
	auto wanted = resolve(snapshot, filter);
	json list = json::array();
	uint64_t matched = 0;

	if (!wanted)
		return wanted.error();
	const uint32_t now = snapshot.maps->now();
	auto walked = each_session(
		snapshot, *wanted, [&](const SessionView &view, const hf_session_key &key, const hf_session &session) {
			if (matched++ >= wanted->limit)
				return true;
			const uint32_t idle = age(now, session.last_seen);

			list.push_back(
				{{"virtual_server", view.server->name},
				 {"rule", view.rule->name},
				 {"key", Address(key.key).text()},
				 {"member", or_number(snapshot.ids.members.name(session.member), session.member)},
				 {"age", age(now, session.created)},
				 {"idle", idle},
				 {"left", view.rule->timeout - std::min(idle, view.rule->timeout)},
				 {"hits", session.hits}});
			return true;
		});
	if (!walked)
		return walked.error();
	const size_t shown = list.size();
	return json{{"sessions", std::move(list)}, {"matched", matched}, {"shown", shown}};
}

Result<uint64_t> delete_sessions(const Snapshot &snapshot, const EntryFilter &filter)
{
	auto wanted = resolve(snapshot, filter);
	std::vector<hf_session_key> keys;
	uint64_t deleted = 0;

	if (!wanted)
		return wanted.error();
	auto walked = each_session(snapshot, *wanted,
				   [&](const SessionView &, const hf_session_key &key, const hf_session &) {
					   keys.push_back(key);
					   return true;
				   });
	if (!walked)
		return walked.error();
	for (const hf_session_key &key : keys)
		deleted += snapshot.maps->sessions.erase(key);
	return deleted;
}

Result<json> list_connections(const Snapshot &snapshot, const EntryFilter &filter)
{
	auto wanted = resolve(snapshot, filter);
	json list = json::array();
	uint64_t matched = 0;

	if (!wanted)
		return wanted.error();
	const uint32_t now = snapshot.maps->now();
	auto walked = snapshot.maps->connections.each([&](const hf_flow_key &key, const hf_connection &connection) {
		// The forward direction stands for both.
		if (connection.flags & HF_CONNECTION_REPLY ||
		    (wanted->virtual_server && connection.virtual_server != wanted->virtual_server) ||
		    (wanted->member && connection.member != wanted->member) ||
		    (wanted->key && *wanted->key != Address(key.source)) || matched++ >= wanted->limit)
			return true;
		list.push_back(
			{{"virtual_server", or_number(snapshot.ids.virtual_servers.name(connection.virtual_server),
						      connection.virtual_server)},
			 {"protocol", word(static_cast<hf_protocol>(key.protocol))},
			 {"client", endpoint_text(Address(key.source), from_network(key.source_port))},
			 {"address", endpoint_text(Address(key.destination), from_network(key.destination_port))},
			 {"member", or_number(snapshot.ids.members.name(connection.member), connection.member)},
			 {"state", state_word(connection.state)},
			 {"age", age(now, connection.created)},
			 {"idle", age(now, connection.last_seen)}});
		return true;
	});
	if (!walked)
		return walked.error();
	const size_t shown = list.size();
	return json{{"connections", std::move(list)}, {"matched", matched}, {"shown", shown}};
}

} // namespace holdfast
