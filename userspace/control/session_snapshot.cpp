// SPDX-License-Identifier: GPL-2.0
#include "control/session_snapshot.h"

#include <algorithm>
#include <ctime>
#include <fmt/format.h>
#include <map>
#include <openssl/sha.h>

#include "datapath/encode.h"

namespace holdfast
{

namespace
{

const std::string heading = "holdfast sessions ";
const std::string version = "1\n";
constexpr size_t digest_size = SHA256_DIGEST_LENGTH;

std::string sha256(std::string_view bytes)
{
	std::string digest(digest_size, '\0');

	SHA256(reinterpret_cast<const unsigned char *>(bytes.data()), bytes.size(),
	       reinterpret_cast<unsigned char *>(digest.data()));
	return digest;
}

std::string fingerprint(const DigestKey &key)
{
	return sha256({reinterpret_cast<const char *>(key.data()), sizeof(key)}).substr(0, 8);
}

template <typename Number> void put(std::string &bytes, Number number)
{
	for (size_t i = 0; i < sizeof(number); i++)
		bytes += static_cast<char>(static_cast<uint64_t>(number) >> 8 * i);
}

// What is beyond the end is 0, and remembered.
class Reader
{
public:
	explicit Reader(std::string_view bytes) : bytes_(bytes) {}

	std::string_view text(size_t size)
	{
		if (size > bytes_.size()) {
			short_ = true;
			return {};
		}
		const std::string_view found = bytes_.substr(0, size);
		bytes_.remove_prefix(size);
		return found;
	}

	template <typename Number> Number number()
	{
		const std::string_view bytes = text(sizeof(Number));
		uint64_t value = 0;

		for (size_t i = 0; i < bytes.size(); i++)
			value |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[i])) << 8 * i;
		return static_cast<Number>(value);
	}

	std::vector<std::string> texts()
	{
		const auto count = number<uint32_t>();
		std::vector<std::string> all;

		for (uint32_t i = 0; i < count && !short_; i++)
			all.emplace_back(text(number<uint16_t>()));
		return all;
	}

	bool is_short() const { return short_; }
	bool at_end() const { return bytes_.empty(); }

private:
	std::string_view bytes_;
	bool short_ = false;
};

// Names get numbers in the order in which they are met.
class NameTable
{
public:
	uint32_t number(const std::string &name)
	{
		const auto [found, fresh] = numbers_.emplace(name, static_cast<uint32_t>(names_.size()));

		if (fresh)
			names_.push_back(name);
		return found->second;
	}

	void write(std::string &bytes) const
	{
		put(bytes, static_cast<uint32_t>(names_.size()));
		for (const std::string &name : names_) {
			put(bytes, static_cast<uint16_t>(name.size()));
			bytes += name;
		}
	}

private:
	std::map<std::string, uint32_t> numbers_;
	std::vector<std::string> names_;
};

// "" if nothing of that name is configured.
std::string scope_text(const Ids &ids, uint32_t scope)
{
	if (!(scope & HF_SCOPE_ACROSS)) {
		const std::string name = ids.virtual_servers.name(scope);
		return name.empty() ? "" : "virtual-server " + name;
	}
	const std::string rule = ids.rules.name((scope & ~HF_SCOPE_ACROSS) >> HF_SCOPE_RULE_SHIFT);
	const std::string pool = ids.pools.name(scope & HF_SCOPE_POOL_MASK);
	return rule.empty() || pool.empty() ? "" : "rule " + rule + " " + pool;
}

struct Scope {
	uint32_t id = 0; // 0: not configured
	const Rule *rule = nullptr;
};

Scope find_scope(const Snapshot &snapshot, const std::string &text)
{
	const size_t first = text.find(' '), second = text.find(' ', first + 1);
	const std::string kind = text.substr(0, first);

	if (first == std::string::npos)
		return {};
	if (kind == "virtual-server") {
		const uint32_t id = snapshot.ids.virtual_servers.find(text.substr(first + 1));
		const VirtualServer *server = snapshot.virtual_server(id);
		return server ? Scope{id, snapshot.rule_of(*server)} : Scope{};
	}
	if (kind != "rule" || second == std::string::npos)
		return {};
	const std::string name = text.substr(first + 1, second - first - 1);
	const uint32_t rule = snapshot.ids.rules.find(name), pool = snapshot.ids.pools.find(text.substr(second + 1));
	if (!rule || !pool)
		return {};
	return {HF_SCOPE_ACROSS | rule << HF_SCOPE_RULE_SHIFT | pool, snapshot.rule(name)};
}

// A scope that is per virtual server belongs to no rule that matches across them, and the other way round.
bool has_scope(const Rule &rule, uint32_t scope)
{
	return keeps_table(rule.type) && rule.match_across == static_cast<bool>(scope & HF_SCOPE_ACROSS);
}

} // namespace

Result<std::string> pack_sessions(const Snapshot &snapshot)
{
	const uint32_t now = snapshot.maps->now();
	NameTable scopes, members;
	std::string records, bytes = heading + version;
	std::map<uint32_t, std::pair<std::string, uint32_t>> known; // text and time-out, by scope
	uint64_t count = 0;

	auto walked = snapshot.maps->sessions.each([&](const hf_session_key &key, const hf_session &session) {
		const std::string member = snapshot.ids.members.name(session.member);
		auto scope = known.find(key.scope);

		if (scope == known.end()) {
			const std::string text = scope_text(snapshot.ids, key.scope);
			const Rule *rule = find_scope(snapshot, text).rule;

			scope = known.emplace(key.scope, std::pair(text, rule ? rule->timeout : 0)).first;
		}
		const auto &[text, timeout] = scope->second;
		if (session.last_seen == HF_SESSION_DEAD || member.empty() || text.empty() ||
		    static_cast<int32_t>(now - session.last_seen) > static_cast<int32_t>(timeout))
			return true;
		put(records, scopes.number(text));
		put(records, members.number(member));
		put(records, key.kind);
		put(records, std::max<int32_t>(0, static_cast<int32_t>(now - session.created)));
		put(records, std::max<int32_t>(0, static_cast<int32_t>(now - session.last_seen)));
		put(records, session.hits);
		records.append(reinterpret_cast<const char *>(key.key), sizeof(key.key));
		count++;
		return true;
	});
	if (!walked)
		return walked.error();
	put(bytes, static_cast<uint64_t>(::time(nullptr)));
	bytes += fingerprint(snapshot.digest_key);
	scopes.write(bytes);
	members.write(bytes);
	put(bytes, count);
	bytes += records;
	return bytes + sha256(bytes);
}

Result<RestoreReport> unpack_sessions(const Snapshot &snapshot, const std::string &bytes)
{
	const std::string begin = heading + version;

	if (!bytes.starts_with(heading))
		return Error("it is not a snapshot of sessions");
	if (!bytes.starts_with(begin))
		return Error("it is of a version that this program does not know");
	if (bytes.size() < begin.size() + digest_size ||
	    sha256(std::string_view(bytes).substr(0, bytes.size() - digest_size)) !=
		    bytes.substr(bytes.size() - digest_size))
		return Error("it is damaged: its checksum is wrong");
	Reader reader(std::string_view(bytes).substr(begin.size(), bytes.size() - begin.size() - digest_size));
	const auto then = static_cast<int64_t>(reader.number<uint64_t>());
	// A clock that was set back makes nobody younger.
	const auto since = static_cast<uint32_t>(std::clamp<int64_t>(::time(nullptr) - then, 0, INT32_MAX));
	const bool same_secret = reader.text(8) == fingerprint(snapshot.digest_key);
	const std::vector<std::string> scope_names = reader.texts(), member_names = reader.texts();
	const auto count = reader.number<uint64_t>();
	const uint32_t now = snapshot.maps->now();
	std::vector<Scope> scopes;
	std::vector<uint32_t> members;
	RestoreReport report;

	for (const std::string &name : scope_names)
		scopes.push_back(find_scope(snapshot, name));
	for (const std::string &name : member_names)
		members.push_back(snapshot.ids.members.find(name));
	for (uint64_t i = 0; i < count; i++) {
		const auto scope = reader.number<uint32_t>(), member = reader.number<uint32_t>();
		const auto kind = reader.number<uint8_t>();
		const uint64_t age = uint64_t{reader.number<uint32_t>()} + since;
		const uint64_t idle = uint64_t{reader.number<uint32_t>()} + since;
		const auto hits = reader.number<uint32_t>();
		const std::string_view bytes_of_key = reader.text(16);

		if (reader.is_short() || scope >= scopes.size() || member >= members.size())
			return Error(fmt::format("it contradicts itself in session {}", i + 1));
		const Rule *rule = scopes[scope].rule;
		if (!rule || !members[member] || !has_scope(*rule, scopes[scope].id) ||
		    kind != session_kind(rule->type) || (kind != HF_SESSION_ADDRESS && !same_secret)) {
			report.unknown++;
			continue;
		}
		if (idle > rule->timeout) {
			report.expired++;
			continue;
		}
		hf_session_key key{.scope = scopes[scope].id, .kind = kind};
		std::copy(bytes_of_key.begin(), bytes_of_key.end(), key.key);
		// Times before the host's start are below zero, as differences they are right.
		hf_session session{members[member], now - static_cast<uint32_t>(std::min<uint64_t>(age, INT32_MAX)),
				   now - static_cast<uint32_t>(idle), hits};
		if (session.last_seen == HF_SESSION_DEAD)
			session.last_seen--;
		(snapshot.maps->sessions.add(key, session) ? report.restored : report.failed)++;
	}
	if (!reader.at_end())
		return Error("it has bytes behind its end");
	return report;
}

} // namespace holdfast
