// SPDX-License-Identifier: GPL-2.0
#include "control/advice.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>

#include "control/entries.h"
#include "datapath/encode.h"
#include "holdfast/gaps.h"

namespace holdfast
{

namespace
{

using nlohmann::json;

// What an entry of the LRU map takes in the kernel: 40 bytes of key and value, 48 of its own.
constexpr uint64_t session_bytes = 88;
// Fewer returns than this say nothing.
constexpr uint64_t least_returns = 100;
// So many of the returning clients may come too late: 0.5 %.
constexpr double tolerated = 0.005;
// A key is a heavy one with a twentieth of all hits, and twenty times what keys have on average.
constexpr double heavy_share = 0.05;
constexpr double heavy_factor = 20;
constexpr size_t most_keys = 3;
constexpr uint32_t candidates[] = {30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400};

struct Key {
	hf_session_key key;
	uint32_t member = 0, hits = 0;
};

// One scope's sessions.
struct Observed {
	std::string name; // the virtual server's, or "RULE@POOL"
	const Rule *rule = nullptr;
	bool tcp = false;
	std::vector<uint64_t> idle_at_most =
		std::vector<uint64_t>(std::size(candidates) + 1); // the last: the rule's own
	uint64_t sessions = 0, hits = 0;
	std::vector<Key> keys; // the heaviest first

	void add(const hf_session_key &key, const hf_session &session, uint32_t idle)
	{
		for (size_t i = 0; i < std::size(candidates); i++)
			idle_at_most[i] += idle <= candidates[i];
		idle_at_most.back() += idle <= rule->timeout;
		sessions++;
		hits += session.hits;
		const auto place =
			std::find_if(keys.begin(), keys.end(), [&](const Key &one) { return session.hits > one.hits; });
		if (place == keys.end() && keys.size() == most_keys)
			return;
		keys.insert(place, {key, session.member, session.hits});
		keys.resize(std::min(keys.size(), most_keys));
	}
};

using Scopes = std::map<uint32_t, Observed>;

// The scopes of all rules that keep a table.
Scopes scopes_of(const Config &config, const Ids &ids)
{
	Scopes scopes;

	for (const VirtualServer &server : config.virtual_servers) {
		const auto rule = std::find_if(config.rules.begin(), config.rules.end(),
					       [&](const Rule &one) { return one.name == server.persistence; });

		if (rule == config.rules.end() || !keeps_table(rule->type))
			continue;
		Observed &one = scopes[session_scope(server, *rule, ids)];
		one.name = rule->match_across ? rule->name + "@" + server.pool : server.name;
		one.rule = &*rule;
		one.tcp |= server.protocol == HF_PROTOCOL_TCP;
	}
	return scopes;
}

// How many came back after more than so many seconds. A bucket that the bound is in counts in part.
double later_than(const hf_gaps &gaps, uint32_t seconds)
{
	double later = 0;

	for (uint32_t bucket = 0; bucket < HF_GAP_BUCKETS; bucket++) {
		const uint32_t first = hf_gap_floor(bucket), next = hf_gap_floor(bucket + 1);
		const auto count = static_cast<double>(gaps.counts[bucket]);

		if (first > seconds)
			later += count;
		else if (next > seconds + 1)
			later += count * (next - seconds - 1) / (next - first);
	}
	return later;
}

// Of one rule's time-outs: what each would break, and cost.
class TimeoutAdvice
{
public:
	TimeoutAdvice(const Observed &observed, const hf_gaps &gaps, uint32_t remember)
		: observed_(observed), gaps_(gaps), remember_(remember)
	{
		for (const uint64_t count : gaps.counts)
			returns_ += count;
	}

	void put(json &one, json &notes) const
	{
		const uint32_t present = observed_.rule->timeout;
		json list = json::array();

		one["returns"] = returns_;
		one["broken"] = known(present) ? json(share(present)) : json();
		for (size_t i = 0; i < std::size(candidates); i++) {
			if (known(candidates[i]))
				list.push_back({{"timeout", candidates[i]},
						{"broken", share(candidates[i])},
						{"sessions", observed_.idle_at_most[i]},
						{"bytes", observed_.idle_at_most[i] * session_bytes}});
		}
		one["candidates"] = list;
		one["suggested"] = nullptr;
		if (returns_ < least_returns)
			notes.push_back(
				fmt::format("{} returning clients were seen: too few to say anything", returns_));
		else if (!known(present))
			notes.push_back(
				fmt::format("who comes too late for timeout {} is not known: advice.remember has to "
					    "be at least {}",
					    present, 2 * present));
		else
			suggest(one, notes);
	}

private:
	// Of a time-out that is close to what is remembered, nearly all late returns would go unseen.
	bool known(uint32_t seconds) const { return seconds <= remember_ / 2; }

	double share(uint32_t seconds) const
	{
		return returns_ ? later_than(gaps_, seconds) / static_cast<double>(returns_) : 0;
	}

	static std::string megabytes(int64_t bytes)
	{
		return fmt::format("{:.1f} MB {}", static_cast<double>(std::abs(bytes)) / 1e6,
				   bytes < 0 ? "less" : "more");
	}

	void suggest(json &one, json &notes) const
	{
		const uint32_t present = observed_.rule->timeout;

		for (size_t i = 0; i < std::size(candidates); i++) {
			const uint32_t other = candidates[i];

			if (!known(other))
				break;
			// The shortest that is long enough; what is about the present one is no advice.
			if (share(other) > tolerated)
				continue;
			if (share(present) > tolerated ? other <= present : other * 2 > present)
				return;
			const auto more = static_cast<int64_t>(
				(observed_.idle_at_most[i] - observed_.idle_at_most.back()) * session_bytes);
			one["suggested"] = other;
			notes.push_back(
				fmt::format("timeout: {} breaks {:.1f} % of returning clients, {} would break {:.1f} "
					    "%, and take {}",
					    present, 100 * share(present), other, 100 * share(other), megabytes(more)));
			return;
		}
		notes.push_back(
			fmt::format("timeout: {} breaks {:.1f} % of returning clients, and none up to {} breaks less "
				    "than {:.1f} %: a larger advice.remember may show one",
				    present, 100 * share(present), remember_ / 2, 100 * tolerated));
	}

	const Observed &observed_;
	const hf_gaps &gaps_;
	uint32_t remember_;
	uint64_t returns_ = 0;
};

std::string remedy(const Observed &observed, const hf_session_key &key)
{
	const bool ipv4 = Address(key.key).is_ipv4();

	switch (observed.rule->type) {
	case HF_RULE_SOURCE_ADDRESS:
		if (!observed.tcp)
			return "many clients behind one address, most likely: a rule by what their messages say "
			       "(sip-call-id, radius-attribute) tells them apart";
		return (ipv4 ? observed.rule->ipv4_mask_bits < 32 : observed.rule->ipv6_mask_bits < 128)
			       ? "a network of many clients: longer masks, or a rule of type insert-cookie (HTTP) or "
				 "ssl-session-id (TLS), tell them apart"
			       : "many clients behind one address (a carrier's NAT, a proxy), most likely: "
				 "insert-cookie (HTTP) or ssl-session-id (TLS) tells them apart";
	case HF_RULE_RADIUS_ATTRIBUTE:
		return "many users have the same value: choose attributes that differ, as User-Name, or several with "
		       "relation: and";
	default:
		return "many clients have the same value, or one client makes that load: look at who sends it";
	}
}

void put_keys(json &one, json &notes, const Observed &observed, const Snapshot &snapshot)
{
	one["keys"] = json::array();
	for (const Key &key : observed.keys) {
		const double share =
			static_cast<double>(key.hits) / static_cast<double>(std::max<uint64_t>(1, observed.hits));
		const double mean = static_cast<double>(observed.hits) / static_cast<double>(observed.sessions);

		if (share < heavy_share || key.hits < heavy_factor * mean)
			continue;
		one["keys"].push_back({{"key", session_key_text(key.key)},
				       {"member", snapshot.ids.members.name(key.member)},
				       {"hits", key.hits},
				       {"share", share}});
		notes.push_back(
			fmt::format("key {} has {:.0f} % of all hits ({} of {}; {:.1f} on average), all on {}: {}",
				    session_key_text(key.key), 100 * share, key.hits, observed.hits, mean,
				    snapshot.ids.members.name(key.member), remedy(observed, key.key)));
	}
}

} // namespace

void GapWatch::follow(const Config &config, const Ids &ids)
{
	std::map<uint32_t, std::string> wanted;
	std::set<uint32_t> there;

	if (config.advice.remember) {
		for (const auto &[scope, observed] : scopes_of(config, ids)) {
			const Rule &rule = *observed.rule;

			if (wanted.size() < HF_GAP_SCOPES)
				wanted[scope] =
					fmt::format("{} {} {} {} {}", rule.name, word(rule.type), rule.ipv4_mask_bits,
						    rule.ipv6_mask_bits, config.advice.remember);
		}
	}
	for (const uint32_t scope : maps_.gaps.indices()) {
		there.insert(scope);
		if (!wanted.contains(scope))
			maps_.gaps.remove(scope);
	}
	for (const auto &[scope, depends] : wanted) {
		const auto before = watched_.find(scope);

		if (!there.contains(scope) || (before != watched_.end() && before->second != depends))
			maps_.gaps.clear(scope);
	}
	watched_ = std::move(wanted);
	maps_.gaps_wanted.set(0, config.advice.remember);
}

Result<json> advise(const Snapshot &snapshot)
{
	Scopes scopes = scopes_of(snapshot.config, snapshot.ids);
	const uint32_t now = snapshot.maps->now(), remember = snapshot.config.advice.remember;
	const std::vector<uint32_t> indices = snapshot.maps->gaps.indices();
	const std::set<uint32_t> counted(indices.begin(), indices.end());
	json list = json::array();

	auto walked = snapshot.maps->sessions.each([&](const hf_session_key &key, const hf_session &session) {
		const auto scope = scopes.find(key.scope);

		if (scope != scopes.end() && session.last_seen != HF_SESSION_DEAD &&
		    key.kind == session_kind(scope->second.rule->type))
			scope->second.add(
				key, session,
				static_cast<uint32_t>(std::max(0, static_cast<int32_t>(now - session.last_seen))));
		return true;
	});
	if (!walked)
		return walked.error();
	for (const auto &[scope, observed] : scopes) {
		const hf_gaps gaps = snapshot.maps->gaps.sum(scope);
		json notes = json::array();
		json one = {{"virtual_server", observed.name},
			    {"rule", observed.rule->name},
			    {"type", word(observed.rule->type)},
			    {"timeout", observed.rule->timeout},
			    {"sessions", observed.idle_at_most.back()}};

		if (remember && counted.contains(scope))
			TimeoutAdvice(observed, gaps, remember).put(one, notes);
		else if (remember)
			notes.push_back(fmt::format("not counted: there are more than {} of these", +HF_GAP_SCOPES));
		if (observed.sessions)
			put_keys(one, notes, observed, snapshot);
		one["notes"] = std::move(notes);
		list.push_back(std::move(one));
	}
	return json{{"remember", remember}, {"advice", std::move(list)}};
}

} // namespace holdfast
