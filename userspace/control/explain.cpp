// SPDX-License-Identifier: GPL-2.0
#include "control/explain.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fmt/format.h>

#include "control/entries.h"
#include "control/explain_trial.h"
#include "datapath/encode.h"
#include "holdfast/siphash.h"

namespace holdfast
{

namespace
{

using nlohmann::json;

struct Client {
	Address address;
	uint16_t port = 0; // 0: not given
};

Result<Client> parse_client(const std::string &text)
{
	Client client;
	std::string address = text, port;

	if (text.starts_with('[')) {
		const size_t end = text.find(']');

		address = text.substr(1, end == std::string::npos ? end : end - 1);
		port = end == std::string::npos ? "" : text.substr(end + 1);
	} else if (std::count(text.begin(), text.end(), ':') == 1) {
		address = text.substr(0, text.find(':'));
		port = text.substr(text.find(':'));
	}
	const auto parsed = Address::parse(address);
	if (!parsed)
		return Error(fmt::format("client: '{}' is not ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT", text));
	client.address = *parsed;
	if (port.empty())
		return client;
	const char *end = port.data() + port.size();
	const auto [stop, status] = std::from_chars(port.data() + 1, end, client.port);
	if (port[0] != ':' || status != std::errc() || stop != end || !client.port)
		return Error(fmt::format("client: '{}' is not a port; allowed: 1-65535", port));
	return client;
}

// As other_end_key() of the data path.
void mark(hf_flow_key &flow, uint32_t member)
{
	for (int i = 0; i < 3; i++)
		flow.pad[i] = static_cast<uint8_t>(member >> 8 * i);
}

std::string join(const json &names)
{
	std::string text;

	for (const json &name : names)
		text += (text.empty() ? "" : ", ") + name.get<std::string>();
	return text;
}

class Explanation
{
public:
	Explanation(const Snapshot &snapshot, const VirtualServer &server, const Client &client,
		    const Question &question)
		: snapshot_(snapshot), maps_(*snapshot.maps), server_(server), client_(client), question_(question),
		  rule_(snapshot.rule_of(server)), id_(snapshot.ids.virtual_servers.find(server.name)),
		  pool_(snapshot.ids.pools.find(server.pool)), now_(maps_.now())
	{
	}

	Result<json> answer();

private:
	void try_it();
	hf_session_key socket_key() const;
	TrialSeed seed() const;
	void say(std::string step) { steps_.push_back(std::move(step)); }
	bool decide(uint32_t member, const char *by)
	{
		member_ = member;
		by_ = by;
		return true;
	}
	std::string name(uint32_t member) const
	{
		const std::string found = snapshot_.ids.members.name(member);

		return found.empty() ? fmt::format("#{}", member) : found;
	}
	// Why the member takes no new client (or, if `old`, no old one); "" if it does.
	std::string restraint(uint32_t id, const hf_member &member) const;
	std::string refusal(uint32_t id, bool old, bool limited) const;
	std::string unfit(uint32_t id) const;
	// Does this socket already have a connection with the member?
	bool is_bound(uint32_t id) const;
	template <typename Visit> void each_port(Visit visit) const
	{
		for (uint32_t port = server_.first_port; port <= server_.last_port; port++)
			visit(static_cast<uint16_t>(port));
	}
	hf_flow_key client_flow(uint16_t port) const;
	hf_flow_key reply_key(uint32_t id, uint16_t port) const;
	uint32_t age(uint32_t then) const { return static_cast<int32_t>(now_ - then) > 0 ? now_ - then : 0; }
	std::optional<hf_connection> connection() const;
	Result<std::vector<hf_session_key>> keys();
	bool by_connection();
	bool by_session(const std::vector<hf_session_key> &keys);
	bool by_socket();
	bool by_hash(uint64_t hash);
	uint32_t first_of(const hf_selection_table &table, uint32_t place) const;
	bool by_backup(uint32_t place);
	std::string usable_backups() const;
	void by_method(bool in_turn = false);
	void by_endpoint(const MessageKeys &message);
	void by_cookie(const MessageKeys &message);
	bool by_message_hash();
	uint64_t source_hash(bool with_port) const;
	DigestKeys digest_keys() const;

	const Snapshot &snapshot_;
	const Maps &maps_;
	const VirtualServer &server_;
	const Client client_;
	const Question &question_;
	bool answer_ = false; // the message answers a request of the other side
	hf_parser_outcome outcome_ = HF_PARSER_NONE;
	std::vector<SessionKey> digests_; // of the message
	std::vector<hf_session_key> keys_;
	json trial_;
	const Rule *rule_;
	uint32_t id_, pool_, now_;
	uint32_t member_ = 0;
	const char *by_ = "nothing";
	std::vector<std::string> steps_;
};

// As member_is_held_back() of the data path.
std::string Explanation::restraint(uint32_t id, const hf_member &member) const
{
	const auto wait = static_cast<int32_t>(member.recovered - now_),
		   warm = static_cast<int32_t>(member.warm - now_);
	uint32_t rate = member.rate_limit;

	if (member.recovered && wait > 0)
		return fmt::format("it has come back, and gets nobody new for another {} s", wait);
	if (member.warm && warm > 0 && (!rate || member.warm_rate < rate))
		rate = member.warm_rate;
	const uint64_t begun = rate ? maps_.member_rates.find(id).value_or(0) : 0;
	if (begun >> 32 == now_ && static_cast<uint32_t>(begun) >= rate && rate)
		return fmt::format("it has had this second's {} new connections", rate);
	return {};
}

std::string Explanation::refusal(uint32_t id, bool old, bool limited) const
{
	const hf_member member = id < maps_.members.size() ? maps_.members.get(id) : hf_member{};
	const auto taken = static_cast<int32_t>(maps_.member_connections.get(id));

	if (member.state == HF_MEMBER_ABSENT || member.pool != pool_)
		return "it is not in the pool any more";
	if (member.state == HF_MEMBER_DISABLED)
		return "it is disabled";
	if (member.state == HF_MEMBER_DOWN)
		return "it is down: its health checks say so";
	if (member.state == HF_MEMBER_DRAINING && !old)
		return "it is being drained: no new clients";
	if (limited && member.connection_limit && taken >= static_cast<int32_t>(member.connection_limit))
		return fmt::format("it is full: {} of {} connections", taken, member.connection_limit);
	return {};
}

// Why a client that is new to it, and has not even been proposed to it, cannot have it.
std::string Explanation::unfit(uint32_t id) const
{
	const std::string why = refusal(id, false, true);

	return why.empty() ? restraint(id, maps_.members.get(id)) : why;
}

// From the client's socket to a port of the virtual server.
hf_flow_key Explanation::client_flow(uint16_t port) const
{
	hf_flow_key flow{};

	std::copy(client_.address.bytes().begin(), client_.address.bytes().end(), flow.source);
	std::copy(server_.address.bytes().begin(), server_.address.bytes().end(), flow.destination);
	flow.source_port = to_network(client_.port);
	flow.destination_port = to_network(port);
	flow.protocol = static_cast<uint8_t>(server_.protocol);
	return flow;
}

// As connection_partner_key() of the data path, of datagrams.
hf_flow_key Explanation::reply_key(uint32_t id, uint16_t port) const
{
	const hf_member member = maps_.members.get(id);
	hf_flow_key client = client_flow(port), key{};

	key.protocol = client.protocol;
	std::copy(std::begin(client.source), std::end(client.source), key.destination);
	key.destination_port = client.source_port;
	if (server_.forwarding == HF_FORWARDING_DIRECT) {
		std::copy(std::begin(client.destination), std::end(client.destination), key.source);
		key.source_port = client.destination_port;
		mark(key, id);
		return key;
	}
	std::copy(std::begin(member.address), std::end(member.address), key.source);
	key.source_port = member.port ? member.port : client.destination_port;
	if (!has_sources(server_.forwarding))
		return key;
	mark(client, id);
	auto end = maps_.other_ends.find(client);
	const auto embryo = end ? std::nullopt : maps_.embryonic_connections.find(client);
	if (embryo)
		end = embryo->other_end;
	if (end) {
		std::copy(std::begin(end->address), std::end(end->address), key.destination);
		key.destination_port = end->port;
	}
	return key;
}

bool Explanation::is_bound(uint32_t id) const
{
	bool bound = false;

	if (!client_.port)
		return false;
	each_port([&](uint16_t port) {
		const hf_flow_key key = reply_key(id, port);
		const auto found = maps_.connections.find(key);
		const auto embryo = found ? std::nullopt : maps_.embryonic_connections.find(key);

		bound = bound || (found && age(found->last_seen) <= server_.idle_timeout) ||
			(embryo && age(embryo->connection.last_seen) <= HF_EMBRYONIC_TIMEOUT);
	});
	return bound;
}

std::optional<hf_connection> Explanation::connection() const
{
	std::optional<hf_connection> found;

	if (!client_.port)
		return found;
	each_port([&](uint16_t port) {
		if (!found)
			found = maps_.connections.find(client_flow(port));
	});
	return found;
}

bool Explanation::by_connection()
{
	const auto found = connection();

	if (!client_.port) {
		say("no client port was given: a new connection is assumed");
		return false;
	}
	if (!found) {
		say("the client has no connection from this port");
		return false;
	}
	if (found->state == HF_CONNECTION_CLOSED || age(found->last_seen) > server_.idle_timeout) {
		say("its connection is over");
		return false;
	}
	const hf_member member = maps_.members.get(found->member);
	if (member.state >= HF_MEMBER_DISABLED && member.flags & HF_MEMBER_RESETS) {
		say(fmt::format("its connection belongs to {}, which is down, in a pool with on_down: reset",
				name(found->member)));
		return false;
	}
	say(fmt::format("its connection, {} s old, belongs to {}", age(found->created), name(found->member)));
	return decide(found->member, "connection");
}

Result<std::vector<hf_session_key>> Explanation::keys()
{
	std::vector<SessionKey> found;
	std::vector<hf_session_key> all;

	if (rule_->type == HF_RULE_SOURCE_ADDRESS) {
		found.push_back(masked(client_.address, *rule_).bytes());
		say(fmt::format("the key is the client's address under the rule's mask: {}",
				masked(client_.address, *rule_).text()));
	} else if (question_.message) {
		const MessageKeys message = read_message(*question_.message, question_.length, *rule_, digest_keys());
		const char *const outcomes[] = {"the message has no key",
						"",
						"the key lies beyond what is looked at",
						"the message is malformed, so it has no key",
						"looking for the key took more steps than are allowed",
						"it is another protocol, so it has no key",
						"the message names a member by its address",
						"the message names a member by a cookie"};

		found = message.keys;
		for (const std::string &readable : message.readable)
			say(fmt::format("the message's key: {}", readable));
		if (message.outcome != HF_PARSER_KEYS)
			say(outcomes[message.outcome]);
		outcome_ = message.outcome;
		if (outcome_ == HF_PARSER_MEMBER)
			by_endpoint(message);
		if (outcome_ == HF_PARSER_COOKIE)
			by_cookie(message);
		answer_ = message.answer;
		if (answer_ && server_.protocol == HF_PROTOCOL_UDP)
			say("it answers a request of the server: without a session it follows its socket's connection");
	} else {
		return Error(fmt::format("rule '{}' of type {} reads messages: give one (--hex FILE{})", rule_->name,
					 word(rule_->type),
					 reads_http(rule_->type) ? ", or --cookie, --header, --url" : ""));
	}
	digests_ = found;
	for (const SessionKey &bytes : found) {
		hf_session_key key{};

		key.scope = session_scope(server_, *rule_, snapshot_.ids);
		key.kind = static_cast<uint8_t>(session_kind(rule_->type));
		std::copy(bytes.begin(), bytes.end(), key.key);
		all.push_back(key);
	}
	keys_ = all;
	return all;
}

bool Explanation::by_session(const std::vector<hf_session_key> &keys)
{
	for (const hf_session_key &key : keys) {
		const auto session = maps_.sessions.find(key);

		if (!session || session->last_seen == HF_SESSION_DEAD) {
			say("no session has this key");
			continue;
		}
		const std::string what =
			fmt::format("its session, {} s old and idle for {} s, names {}", age(session->created),
				    age(session->last_seen), name(session->member));
		if (age(session->last_seen) > rule_->timeout) {
			say(fmt::format("{}, but has expired (timeout {} s)", what, rule_->timeout));
			continue;
		}
		const bool limited = rule_->override_connection_limit && !is_bound(session->member);
		const std::string why = refusal(session->member, true, limited);
		if (why.empty()) {
			say(what);
			return decide(session->member, "session");
		}
		say(fmt::format("{}, but {}", what, why));
	}
	for (const hf_session_key &key : keys) {
		const auto proposal = maps_.embryonic_sessions.find(key);
		// As session_embryonic_timeout() of the data path.
		const uint32_t timeout =
			key.kind == HF_SESSION_ADDRESS ? uint32_t{HF_EMBRYONIC_TIMEOUT} : rule_->timeout;

		if (!proposal || age(proposal->last_seen) > timeout ||
		    !refusal(proposal->member, false, rule_->override_connection_limit && !is_bound(proposal->member))
			     .empty())
			continue;
		say(fmt::format("a sender that has not proved itself yet was given {} for this key",
				name(proposal->member)));
		return decide(proposal->member, "proposal");
	}
	return false;
}

hf_session_key Explanation::socket_key() const
{
	const uint16_t port = to_network(client_.port);
	hf_session_key key{};

	key.scope = id_;
	key.kind = HF_SESSION_ADDRESS;
	std::copy(client_.address.bytes().begin(), client_.address.bytes().end(), key.key);
	key.key[0] ^= static_cast<uint8_t>(port);
	key.key[1] ^= static_cast<uint8_t>(port >> 8);
	return key;
}

// As datagram_propose() of the data path.
bool Explanation::by_socket()
{
	if (!client_.port)
		return false;
	const auto proposal = maps_.embryonic_sessions.find(socket_key());
	if (!proposal || age(proposal->last_seen) > HF_EMBRYONIC_TIMEOUT ||
	    !refusal(proposal->member, false, !is_bound(proposal->member)).empty())
		return false;
	say(fmt::format("its socket, which has not proved itself yet, was given {}", name(proposal->member)));
	return decide(proposal->member, "proposal");
}

DigestKeys Explanation::digest_keys() const
{
	const auto installation = maps_.installation.find(0);

	return {snapshot_.digest_key, {installation->hash_key[0], installation->hash_key[1]}};
}

uint64_t Explanation::source_hash(bool with_port) const
{
	const auto installation = maps_.installation.find(0);
	__u64 words[3] = {0, 0, client_.port};

	std::memcpy(words, client_.address.bytes().data(), 16);
	return hf_siphash(installation->hash_key, words, with_port ? 3 : 2);
}

// As select_by_hash() of the data path.
bool Explanation::by_hash(uint64_t hash)
{
	const hf_pool pool = maps_.pools.get(pool_);
	auto slot = [&](const hf_selection_table &table) {
		return maps_.selection.get(table.offset + static_cast<uint32_t>(hash % table.size));
	};

	if (!pool.maglev.size)
		return by_backup(static_cast<uint32_t>(hash));
	for (int attempt = 0; attempt <= HF_HASH_ATTEMPTS; attempt++) {
		const uint32_t id = slot(pool.maglev);
		const std::string why = unfit(id);

		if (why.empty()) {
			say(fmt::format("the hash names {}", name(id)));
			return decide(id, "hash");
		}
		say(fmt::format("the hash names {}, but {}", name(id), why));
		hash += 0x9e3779b97f4a7c15ULL;
		hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9ULL;
		hash = (hash ^ hash >> 27) * 0x94d049bb133111ebULL;
		hash ^= hash >> 31;
	}
	if (const uint32_t id = first_of(pool.rotation, static_cast<uint32_t>(hash)))
		return decide(id, "hash");
	return by_backup(static_cast<uint32_t>(hash));
}

// As select_from() of the data path.
uint32_t Explanation::first_of(const hf_selection_table &table, uint32_t place) const
{
	for (uint32_t attempt = 0; table.size && attempt < HF_ROTATION_ATTEMPTS; attempt++) {
		const uint32_t id = maps_.selection.get(table.offset + (place + attempt) % table.size);

		if (unfit(id).empty())
			return id;
	}
	return 0;
}

// As select_backup() of the data path.
bool Explanation::by_backup(uint32_t place)
{
	const uint32_t id = first_of(maps_.pools.get(pool_).backups, place);

	if (!id)
		return false;
	say(fmt::format("no other member may take the packet: {} is a backup", name(id)));
	return decide(id, "backup");
}

// As bind_named() of the data path.
void Explanation::by_endpoint(const MessageKeys &message)
{
	auto found = maps_.pool_endpoints.find(encode_endpoint(pool_, message.address, message.port));

	if (!found && message.port >= server_.first_port && message.port <= server_.last_port)
		found = maps_.pool_endpoints.find(encode_endpoint(pool_, message.address, 0));
	const std::string what = endpoint_text(message.address, message.port);
	const std::string why = found ? refusal(*found, true, false) : "no member of the pool has that address";
	if (why.empty()) {
		say(fmt::format("{} is {}", what, name(*found)));
		decide(*found, "message");
	} else {
		say(fmt::format("{}: {}", what, why));
	}
}

// As mark_member() of the data path.
void Explanation::by_cookie(const MessageKeys &message)
{
	const auto now = static_cast<uint32_t>(::time(nullptr) / HF_COOKIE_DATE_SECONDS);

	for (const MemberCookie &cookie : message.cookies) {
		const auto found = maps_.cookie_members.find(encode_cookie(pool_, cookie.name));
		// Dates are numbers of 30 bits, that go round.
		const auto left = (static_cast<int32_t>((cookie.date - now) << 2) >> 2) * HF_COOKIE_DATE_SECONDS;
		const bool dated = rule_->type == HF_RULE_INSERT_COOKIE;
		std::string why;

		if (dated && left <= 0)
			why = fmt::format("it expired {} s ago", -left);
		else
			why = found ? refusal(*found, true, false) : "no member of the pool is called so";
		if (!why.empty()) {
			say(fmt::format("{}: {}", cookie.name, why));
			continue;
		}
		say(fmt::format("{} is {}{}", cookie.name, name(*found),
				dated ? fmt::format(", for another {} s", left) : ""));
		decide(*found, "cookie");
		return;
	}
}

// As bind_by_keys() of the data path.
bool Explanation::by_message_hash()
{
	uint64_t hash = 0;

	if (outcome_ != HF_PARSER_KEYS || digests_.empty())
		return false;
	std::memcpy(&hash, digests_[0].data(), sizeof(hash));
	return by_hash(hash);
}

std::string Explanation::usable_backups() const
{
	std::string names;

	for (const Pool &pool : snapshot_.config.pools) {
		for (const Member &member : pool.members) {
			const uint32_t id = snapshot_.ids.members.find(member_key(pool.name, member.name));

			if (pool.name == server_.pool && member.backup && unfit(id).empty())
				names += (names.empty() ? "" : ", ") + name(id);
		}
	}
	return names;
}

// How a method takes one of some members.
static const char *way_of(hf_method method)
{
	if (method == HF_METHOD_LEAST_CONNECTIONS)
		return "that with the fewest for its weight of";
	if (method == HF_METHOD_FASTEST_RESPONSE)
		return "the next in turn of those that health checks find fastest, or, where none is, of all:";
	return method == HF_METHOD_RANDOM ? "one of" : "the next in turn of";
}

// `in_turn`: whatever the configured method is.
void Explanation::by_method(bool in_turn)
{
	std::string takers;

	if (server_.method == HF_METHOD_SOURCE_HASH && !in_turn) {
		say("the balancing method, source-hash, decides");
		by_hash(source_hash(false));
		return;
	}
	for (const Pool &pool : snapshot_.config.pools) {
		if (pool.name != server_.pool)
			continue;
		for (const Member &member : pool.members) {
			const uint32_t id = snapshot_.ids.members.find(member_key(pool.name, member.name));
			const std::string why = unfit(id);

			if (member.backup)
				continue;
			if (why.empty())
				takers += (takers.empty() ? "" : ", ") + name(id);
			else
				say(fmt::format("{} is passed over: {}", name(id), why));
		}
	}
	if (takers.empty()) {
		takers = usable_backups();
		if (!takers.empty())
			say("no other member may take the packet: a backup does");
	}
	if (takers.empty()) {
		say("no member of the pool may take the packet: it is dropped, and its sender told");
		return;
	}
	const hf_method method = in_turn ? HF_METHOD_ROUND_ROBIN : server_.method;
	say(fmt::format("the balancing method, {}, takes {} {}", word(method), way_of(method), takers));
	by_ = "method";
}

// The client's socket, or one that it has not used; what was written of it, and of its keys.
TrialSeed Explanation::seed() const
{
	TrialSeed seed;
	uint16_t unused = 61000;

	seed.flow = client_flow(server_.first_port);
	if (!client_.port)
		seed.flow.source_port = to_network(unused);
	while (!client_.port && unused > 1024 && maps_.connections.find(seed.flow))
		seed.flow.source_port = to_network(--unused);
	seed.begins = std::string(by_) != "connection";
	seed.sessions = keys_;
	if (!client_.port)
		return seed;
	seed.sessions.push_back(socket_key());
	each_port([&](uint16_t port) {
		if (maps_.connections.find(client_flow(port)))
			seed.flow = client_flow(port);
	});
	seed.connections.push_back(seed.flow);
	for (const Pool &pool : snapshot_.config.pools) {
		for (const Member &member : pool.members) {
			if (pool.name != server_.pool)
				continue;
			const uint32_t id = snapshot_.ids.members.find(member_key(pool.name, member.name));
			hf_flow_key marked = seed.flow;

			mark(marked, id);
			seed.connections.push_back(marked);
			seed.connections.push_back(reply_key(id, from_network(seed.flow.destination_port)));
		}
	}
	return seed;
}

void Explanation::try_it()
{
	// A connection that is over for the data path is decided by its client's session.
	if (keys_.empty() && rule_ && rule_->type == HF_RULE_SOURCE_ADDRESS) {
		const auto told = steps_;

		(void)keys();
		steps_ = told;
	}
	trial_ = try_packet(snapshot_, server_, question_, seed());
	const std::string outcome = trial_["outcome"];

	if (outcome == "not tried") {
		say(fmt::format("the data path's program could not be asked: {}",
				trial_["problem"].get<std::string>()));
		return;
	}
	const std::string member = trial_["member"].is_null() ? "" : trial_["member"].get<std::string>();
	std::string what = outcome == "forwarded" ? "goes to " + member
			   : member.empty()       ? "is " + outcome
						  : fmt::format("is for {}, but {}", member, outcome);
	if (!trial_["reasons"].empty())
		what += " (counted: " + join(trial_["reasons"]) + ")";
	const bool differs = member_ && member != name(member_);
	say(fmt::format("tried with the data path's own program, such a packet {}{}", what,
			differs ? ", which is not what the tables seemed to say: the program is right" : ""));
}

Result<json> Explanation::answer()
{
	const bool datagrams = rule_ && server_.protocol == HF_PROTOCOL_UDP && reads_datagrams(rule_->type);
	bool decided = false;

	say(fmt::format("virtual server {}: rule {}, pool {}", server_.name,
			rule_ ? fmt::format("{} ({})", rule_->name, word(rule_->type)) : "none", server_.pool));
	if (!datagrams)
		decided = by_connection();
	const bool stream = rule_ && server_.protocol == HF_PROTOCOL_TCP && reads_streams(rule_->type);
	bool in_turn = false;
	if (!decided && stream && server_.server_first) {
		say("the server speaks first: nothing of the stream is waited for");
	} else if (!decided && stream && writes(rule_->type)) {
		if (auto keys = this->keys(); !keys)
			return keys.error();
		decided = member_;
	} else if (!decided && stream && !keeps_table(rule_->type)) {
		if (auto keys = this->keys(); !keys)
			return keys.error();
		decided = by_message_hash();
		in_turn = !decided && rule_->type == HF_RULE_COOKIE_HASH && !rule_->keyword.empty() &&
			  outcome_ == HF_PARSER_NONE;
	} else if (!decided && rule_ && keeps_table(rule_->type)) {
		auto keys = this->keys();

		if (!keys)
			return keys.error();
		decided = member_ || by_session(*keys);
		if (!decided && datagrams && (keys->empty() || answer_))
			decided = by_connection() || by_socket();
	} else if (!decided && rule_) {
		const bool with_port = rule_->type == HF_RULE_SOURCE_ADDRESS_PORT_HASH;

		if (with_port && !client_.port)
			return Error(fmt::format("rule '{}' hashes the port, too: give the client as ADDRESS:PORT",
						 rule_->name));
		by_hash(source_hash(with_port));
		decided = true;
	}
	if (!decided)
		by_method(in_turn);
	if (question_.trial && can_be_tried(snapshot_, server_))
		try_it();
	return json{{"virtual_server", server_.name},
		    {"rule", rule_ ? json(rule_->name) : json(nullptr)},
		    {"client", client_.port ? endpoint_text(client_.address, client_.port) : client_.address.text()},
		    {"member", member_ ? json(name(member_)) : json(nullptr)},
		    {"by", by_},
		    {"steps", steps_},
		    {"trial", trial_}};
}

} // namespace

Result<json> explain(const Snapshot &snapshot, const Question &question)
{
	const uint32_t id = snapshot.ids.virtual_servers.find(question.virtual_server);
	const VirtualServer *server = id ? snapshot.virtual_server(id) : nullptr;
	auto client = parse_client(question.client);

	if (!server)
		return Error(fmt::format("there is no virtual server '{}'", question.virtual_server));
	if (!client)
		return client.error();
	if (client->address.is_ipv4() != server->address.is_ipv4())
		return Error(fmt::format("client: {} and the virtual server's {} are not of one family",
					 client->address.text(), server->address.text()));
	return Explanation(snapshot, *server, *client, question).answer();
}

} // namespace holdfast
