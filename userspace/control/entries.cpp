// SPDX-License-Identifier: GPL-2.0
#include "control/entries.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <set>

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
	std::vector<std::string> key;
	std::optional<Address> client; // the key, where it is an address
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
	wanted.key = filter.key;
	if (filter.key.size() == 1)
		wanted.client = Address::parse(filter.key[0]);
	return wanted;
}

std::string or_number(const std::string &name, uint32_t id)
{
	return name.empty() ? fmt::format("#{}", id) : name;
}

// The data path's clock may be a second ahead of what was read before the walk; what a snapshot brought back may be from
// before the clock began.
uint32_t age(uint32_t now, uint32_t then)
{
	return static_cast<int32_t>(now - then) > 0 ? now - then : 0;
}

// What a scope stands for, and the keys in it that were asked for.
struct SessionView {
	const Rule *rule = nullptr;
	std::string scope; // the virtual server's name, or "RULE@POOL"
	bool used = true;  // by the virtual server that was asked for
	std::vector<SessionKey> keys;
};

SessionView view_scope(const Snapshot &snapshot, const Wanted &wanted, uint32_t scope)
{
	SessionView view;

	if (scope & HF_SCOPE_ACROSS) {
		const std::string rule = snapshot.ids.rules.name((scope & ~HF_SCOPE_ACROSS) >> HF_SCOPE_RULE_SHIFT);

		const std::string pool = snapshot.ids.pools.name(scope & HF_SCOPE_POOL_MASK);
		const VirtualServer *server = snapshot.virtual_server(wanted.virtual_server);

		view.rule = snapshot.rule(rule);
		view.scope = rule + "@" + pool;
		view.used = !wanted.virtual_server || (server && server->persistence == rule && server->pool == pool);
	} else if (const VirtualServer *server = snapshot.virtual_server(scope)) {
		view.rule = snapshot.rule_of(*server);
		view.scope = server->name;
		view.used = !wanted.virtual_server || scope == wanted.virtual_server;
	}
	if (view.rule && !wanted.key.empty()) {
		// A value that this rule cannot have is no error: another rule may have it.
		if (auto keys = keys_of_values(wanted.key, *view.rule, snapshot.digest_key))
			view.keys = *keys;
	}
	return view;
}

bool matches(const Wanted &wanted, const SessionView &view, const hf_session_key &key, const hf_session &session)
{
	SessionKey bytes;

	if (key.kind != session_kind(view.rule->type))
		return false; // of the rule's former type
	if (!view.used)
		return false;
	if (wanted.member && session.member != wanted.member)
		return false;
	if (!wanted.rule.empty() && view.rule->name != wanted.rule)
		return false;
	if (wanted.key.empty())
		return true;
	std::copy(std::begin(key.key), std::end(key.key), bytes.begin());
	return std::find(view.keys.begin(), view.keys.end(), bytes) != view.keys.end() ||
	       (wanted.key.size() == 1 && wanted.key[0] == session_key_text(key));
}

// With `remembered`, also those that are over and kept for advice: they might come to life with a longer time-out.
Result<void>
each_session(const Snapshot &snapshot, const HashMap<hf_session_key, hf_session> &map, const Wanted &wanted,
	     const std::function<bool(const SessionView &, const hf_session_key &, const hf_session &)> &visit,
	     bool remembered = false)
{
	std::map<uint32_t, SessionView> views;
	const uint32_t now = snapshot.maps->now();

	return map.each([&](const hf_session_key &key, const hf_session &session) {
		auto view = views.find(key.scope);

		if (view == views.end())
			view = views.emplace(key.scope, view_scope(snapshot, wanted, key.scope)).first;
		// What has expired is gone, swept or not.
		if (session.last_seen == HF_SESSION_DEAD || !view->second.rule ||
		    (!remembered && age(now, session.last_seen) > view->second.rule->timeout) ||
		    !matches(wanted, view->second, key, session))
			return true;
		return visit(view->second, key, session);
	});
}

const char *state_word(const hf_connection &connection)
{
	switch (connection.state) {
	case HF_CONNECTION_SYN:
		return "syn";
	case HF_CONNECTION_UNCONFIRMED:
		return "unconfirmed";
	case HF_CONNECTION_ESTABLISHED:
		return connection.flags & HF_CONNECTION_SPLICED ? "bound" : "established";
	case HF_CONNECTION_HALF_CLOSED:
		return "half-closed";
	case HF_CONNECTION_CLOSED:
		return "closed";
	case HF_CONNECTION_COLLECTING:
		return "collecting";
	case HF_CONNECTION_CONNECTING:
		return "connecting";
	default:
		return "?";
	}
}

} // namespace

uint32_t session_scope(const VirtualServer &server, const Rule &rule, const Ids &ids)
{
	if (!rule.match_across)
		return ids.virtual_servers.find(server.name);
	return HF_SCOPE_ACROSS | ids.rules.find(rule.name) << HF_SCOPE_RULE_SHIFT | ids.pools.find(server.pool);
}

// A digest is written in hexadecimal: also that is a way to name a key.
std::string session_key_text(const hf_session_key &key)
{
	return key.kind == HF_SESSION_ADDRESS ? Address(key.key).text()
					      : hex({reinterpret_cast<const char *>(key.key), sizeof(key.key)});
}

Result<json> list_sessions(const Snapshot &snapshot, const EntryFilter &filter)
{
	auto wanted = resolve(snapshot, filter);
	json list = json::array();
	uint64_t matched = 0;

	if (!wanted)
		return wanted.error();
	const uint32_t now = snapshot.maps->now();
	auto walked = each_session(
		snapshot, snapshot.maps->sessions, *wanted,
		[&](const SessionView &view, const hf_session_key &key, const hf_session &session) {
			if (matched++ >= wanted->limit)
				return true;
			const uint32_t idle = age(now, session.last_seen);

			list.push_back(
				{{"virtual_server", view.scope},
				 {"rule", view.rule->name},
				 {"key", session_key_text(key)},
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
	uint64_t deleted = 0;

	if (!wanted)
		return wanted.error();
	const uint32_t now = snapshot.maps->now();
	// Proposals, too: otherwise a client would get the same member again.
	for (const auto *map : {&snapshot.maps->embryonic_sessions, &snapshot.maps->sessions}) {
		std::vector<std::pair<hf_session_key, bool>> keys; // is it one that counts?
		auto walked = each_session(
			snapshot, *map, *wanted,
			[&](const SessionView &view, const hf_session_key &key, const hf_session &session) {
				keys.emplace_back(key, age(now, session.last_seen) <= view.rule->timeout);
				return true;
			},
			true);
		if (!walked)
			return walked.error();
		deleted = 0;
		for (const auto &[key, alive] : keys)
			deleted += map->erase(key) && alive;
	}
	return deleted;
}

Result<json> forecast(const Snapshot &snapshot, const std::string &member)
{
	auto wanted = resolve(snapshot, {.member = member});
	const uint32_t now = snapshot.maps->now();
	uint64_t sessions = 0;
	uint32_t last = 0;

	if (!wanted)
		return wanted.error();
	auto walked = each_session(snapshot, snapshot.maps->sessions, *wanted,
				   [&](const SessionView &view, const hf_session_key &, const hf_session &session) {
					   sessions++;
					   last = std::max(last, view.rule->timeout - age(now, session.last_seen));
					   return true;
				   });
	if (!walked)
		return walked.error();
	return json{{"sessions", sessions},
		    {"last_ends_in", last},
		    {"connections",
		     std::max(0, static_cast<int32_t>(snapshot.maps->member_connections.get(wanted->member)))}};
}

Result<json> count_affected(const Snapshot &snapshot, const Config &after, const Moves &moves)
{
	std::set<std::string> servers, members, disabled;
	std::set<uint32_t> gone_servers, gone_members, disabled_members;
	uint64_t removed = 0, moved = 0, connections = 0;

	for (const VirtualServer &server : after.virtual_servers)
		servers.insert(server.name);
	for (const Pool &pool : after.pools) {
		for (const Member &member : pool.members) {
			members.insert(member_key(pool.name, member.name));
			if (member.status == MemberStatus::disabled)
				disabled.insert(member_key(pool.name, member.name));
		}
	}
	// Those that take none now lose none.
	for (const Pool &pool : snapshot.config.pools) {
		for (const Member &member : pool.members) {
			if (member.status == MemberStatus::disabled || member.status == MemberStatus::down)
				disabled.erase(member_key(pool.name, member.name));
		}
	}
	for (const auto &[name, id] : snapshot.ids.virtual_servers.all()) {
		if (!servers.contains(name))
			gone_servers.insert(id);
	}
	for (const auto &[name, id] : snapshot.ids.members.all()) {
		if (!members.contains(name))
			gone_members.insert(id);
		else if (disabled.contains(name))
			disabled_members.insert(id);
	}
	auto walked =
		each_session(snapshot, snapshot.maps->sessions, {},
			     [&](const SessionView &, const hf_session_key &key, const hf_session &session) {
				     if (gone_members.contains(session.member) || gone_servers.contains(key.scope))
					     removed++;
				     else if (disabled_members.contains(session.member))
					     moved++;
				     return true;
			     });
	if (walked)
		walked = snapshot.maps->connections.each([&](const hf_flow_key &, const hf_connection &connection) {
			if (!(connection.flags & HF_CONNECTION_REPLY) &&
			    (gone_members.contains(connection.member) || moves.members.contains(connection.member) ||
			     gone_servers.contains(connection.virtual_server) ||
			     moves.virtual_servers.contains(connection.virtual_server)))
				connections++;
			return true;
		});
	if (!walked)
		return walked.error();
	return json{{"sessions_removed", removed}, {"sessions_moved", moved}, {"connections_removed", connections}};
}

json event_json(const Ids &ids, const hf_event &event)
{
	static const std::map<uint8_t, const char *> kinds = {{HF_EVENT_SESSION_MADE, "session-made"},
							      {HF_EVENT_SESSION_MOVED, "session-moved"},
							      {HF_EVENT_SESSION_EXPIRED, "session-expired"},
							      {HF_EVENT_REFUSED, "refused"}};
	const auto kind = kinds.find(event.kind);
	json one = {{"event", kind == kinds.end() ? "?" : kind->second}};
	hf_session_key key{event.scope, event.session_kind, {}, {}};

	std::copy(std::begin(event.key), std::end(event.key), key.key);
	one[event.kind == HF_EVENT_REFUSED ? "client" : "key"] = session_key_text(key);
	if (event.scope & HF_SCOPE_ACROSS) {
		one["rule"] = ids.rules.name((event.scope & ~HF_SCOPE_ACROSS) >> HF_SCOPE_RULE_SHIFT);
		one["pool"] = ids.pools.name(event.scope & HF_SCOPE_POOL_MASK);
	}
	if (const uint32_t server = event.scope & HF_SCOPE_ACROSS ? event.virtual_server : event.scope)
		one["virtual_server"] = or_number(ids.virtual_servers.name(server), server);
	if (event.member)
		one["member"] = or_number(ids.members.name(event.member), event.member);
	if (event.from)
		one["from"] = or_number(ids.members.name(event.from), event.from);
	return one;
}

// As flow_mark_member() of the data path.
hf_flow_key marked(hf_flow_key key, uint32_t member)
{
	for (int i = 0; i < 3; i++)
		key.pad[i] = static_cast<uint8_t>(member >> 8 * i);
	return key;
}

// What a spliced connection has beside its entries.
void add_splice(json &one, const hf_splice &splice, uint32_t now)
{
	one["age"] = age(now, splice.begun);
	one["shift"] = splice.state == HF_SPLICE_BOUND ? json(splice.shift) : json(nullptr);
	one["held"] = splice.pieces ? splice.client_next - splice.client_first : 0;
	one["rebinds"] = splice.rebinds;
}

Result<json> list_connections(const Snapshot &snapshot, const EntryFilter &filter)
{
	auto wanted = resolve(snapshot, filter);
	json list = json::array();
	uint64_t matched = 0;

	if (!wanted)
		return wanted.error();
	if (!wanted->key.empty() && !wanted->client)
		return Error(fmt::format("'{}' is not an address", wanted->key[0]));
	const uint32_t now = snapshot.maps->now();
	auto walked = snapshot.maps->connections.each([&](const hf_flow_key &key, const hf_connection &connection) {
		// The forward direction stands for both; where a socket's datagrams go to several members, the reply.
		const bool reply = connection.flags & HF_CONNECTION_REPLY;
		// Where both ends are translated, a reply does not name its client.
		const auto end = connection.forwarding >= HF_FORWARDING_FULLNAT
					 ? snapshot.maps->other_ends.find(reply ? key : marked(key, connection.member))
					 : std::nullopt;
		const Address client(!reply ? key.source : end ? end->address : key.destination);
		const uint16_t client_port = !reply ? key.source_port : end ? end->port : key.destination_port;
		const Address address(reply ? connection.address : key.destination);

		if (reply != static_cast<bool>(connection.flags & HF_CONNECTION_PER_DATAGRAM) ||
		    (wanted->virtual_server && connection.virtual_server != wanted->virtual_server) ||
		    (wanted->member && connection.member != wanted->member) ||
		    (wanted->client && *wanted->client != client) || matched++ >= wanted->limit)
			return true;
		const bool spliced = connection.flags & HF_CONNECTION_SPLICED;
		json one = {{"virtual_server", or_number(snapshot.ids.virtual_servers.name(connection.virtual_server),
							 connection.virtual_server)},
			    {"protocol", word(static_cast<hf_protocol>(key.protocol))},
			    {"client", endpoint_text(client, from_network(client_port))},
			    {"address",
			     endpoint_text(address, from_network(reply ? connection.port : key.destination_port))},
			    {"member", connection.member ? json(or_number(snapshot.ids.members.name(connection.member),
									  connection.member))
							 : json(nullptr)},
			    {"state", state_word(connection)},
			    {"age", spliced ? 0 : age(now, connection.created)},
			    {"idle", age(now, connection.last_seen)}};
		if (end && !reply)
			one["source"] = endpoint_text(Address(end->address), from_network(end->port));
		const auto splice =
			spliced ? snapshot.maps->splices.find(connection.splice & HF_SPLICE_SLOT) : std::nullopt;
		if (splice && splice->id == connection.splice)
			add_splice(one, *splice, now);
		list.push_back(std::move(one));
		return true;
	});
	if (!walked)
		return walked.error();
	const size_t shown = list.size();
	return json{{"connections", std::move(list)}, {"matched", matched}, {"shown", shown}};
}

} // namespace holdfast
