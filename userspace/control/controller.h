// SPDX-License-Identifier: GPL-2.0
// The running installation: what is configured, and the verbs that change it.
// Every change takes one road: validate whole, compute the image, write what
// differs, remember. Used from one thread; what takes long is handed out as a
// Snapshot, which may be used from another.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "config/config.h"
#include "control/state_directory.h"
#include "datapath/attach.h"
#include "datapath/maps.h"
#include "health/checker.h"
#include "nexthop/mirror.h"
#include "persist/message.h"
#include "reconcile/ids.h"
#include "reconcile/reconcile.h"

namespace holdfast
{

// What a change did, or would do.
struct ApplyReport {
	std::vector<std::string> changes; // a line each; empty: nothing differs
	uint64_t writes = 0;
	uint64_t sessions_dropped = 0;
	uint64_t connections_dropped = 0;
	Moves moves; // of a dry run
};

using ApplyResult = std::variant<ApplyReport, ConfigErrors>;

// Which sessions or connections are meant. Empty fields match everything.
struct EntryFilter {
	std::string virtual_server, rule, member;
	std::vector<std::string> key; // readable: several where several values make one
	uint64_t limit = 1000;
};

// Names for numbers, as of one moment, over maps that are read live.
struct Snapshot {
	const Maps *maps = nullptr;
	Ids ids;
	Config config;
	DigestKey digest_key{};
	std::set<int> interfaces; // that packets come in by

	const VirtualServer *virtual_server(uint32_t id) const;
	const Rule *rule_of(const VirtualServer &server) const { return rule(server.persistence); }
	const Rule *rule(const std::string &name) const;
};

struct Rates {
	double connections = 0, forward_packets = 0, reply_packets = 0, forward_bytes = 0, reply_bytes = 0;
};

class Controller
{
public:
	struct Options {
		std::string config_path;
		std::string pin_directory;
	};

	Controller(Options options, StateDirectory state, std::unique_ptr<Maps> maps);
	~Controller();
	Controller(const Controller &) = delete;
	Controller &operator=(const Controller &) = delete;

	// Brings the maps up to the configuration applied last (or, on the first start,
	// to that of the file), loads the programs and attaches them.
	Result<void> start();

	ApplyResult apply(const std::string &yaml, bool dry_run);
	// Reads the file given at the start again.
	ApplyResult reload();

	// `change` gets the member's present override. Unknown members are an error. Returns the member as it is then.
	Result<Member> override_member(const std::string &pool, const std::string &member,
				       const std::function<void(MemberOverride &)> &change);

	// What health checks found. Writes the pools for which that is another state; what cannot be written is tried
	// again with the next sample().
	void set_health(Health health);
	// Of each member that went down or came up with that.
	void when_member_turns(std::function<void(const std::string &member, bool up)> call)
	{
		turned_call_ = std::move(call);
	}
	// Called when a configuration has been applied, also that of the start.
	void when_applied(std::function<void()> call) { applied_call_ = std::move(call); }

	// Called when another configuration than before was applied, on whatever way.
	void when_changed(std::function<void(const ApplyReport &)> call) { changed_call_ = std::move(call); }

	// The kernel's routes or neighbours changed.
	void refresh_next_hops();
	// Once a second: for rates.
	void sample();

	Snapshot snapshot() const;
	Config overridden() const { return with_overrides(config_, overrides_); }
	Config effective() const { return with_health(with_overrides(config_, overrides_), health_); }
	Pool effective(const Pool &pool) const { return with_health(with_overrides(pool, overrides_), health_); }
	const Health &health() const { return health_; }
	bool is_down(const std::string &pool, const std::string &member) const
	{
		const auto found = health_.find(pool);

		return found != health_.end() && found->second.down.contains(member);
	}
	const Config &configured() const { return config_; }
	const MemberOverrides &overrides() const { return overrides_; }
	const std::string &applied_text() const { return applied_; }
	// Another text has another one.
	std::string revision() const;
	const std::vector<Attachment> &attachments() const { return attachments_; }
	const std::string &config_path() const { return options_.config_path; }
	// Where the sessions are to be kept; empty: nowhere.
	std::string snapshot_path() const;
	// Does the file say something else than what is applied?
	bool file_differs() const;
	Maps &maps() { return *maps_; }
	NextHopMirror &mirror() { return *mirror_; }
	const Ids &ids() const { return ids_; }
	Rates virtual_server_rates(uint32_t id) const;
	Rates member_rates(uint32_t id) const;

private:
	struct Sample {
		hf_traffic before{}, now{};
	};
	using Samples = std::map<uint32_t, Sample>;

	Result<ApplyReport> write(const Config &config, const std::function<Result<void>()> &commit);
	Ids ids_from_maps() const;
	std::set<Address> lasting_addresses(const Config &config);
	void attach_again();
	void own_addresses();
	void renew_cookie_key();
	void limit_segments();
	std::string applied_path() const { return state_.path() + "/applied.yaml"; }
	Result<void> write_overrides(const Pool &pool, const MemberOverrides &overrides);
	Result<void> write_pools(const std::vector<Pool> &pools);
	void write_health();
	Health health_from_maps() const;
	void restore_sessions();
	static ProgramOptions program_options(const Config &config);
	Result<void> attach(const Config &config);
	void sample(Samples &samples, const IdTable &ids, const CounterArray<hf_traffic> &counters) const;
	Rates rates(const Samples &samples, uint32_t id) const;

	Options options_;
	StateDirectory state_;
	std::unique_ptr<Maps> maps_;
	std::unique_ptr<Programs> programs_;
	std::unique_ptr<NextHopMirror> mirror_;
	std::vector<Attachment> attachments_;
	Ids ids_;
	uint32_t cookie_epoch_ = 0;
	DigestKey digest_key_{};
	bool consistent_ = false; // the maps hold all of config_, and nothing else: the last change was written whole
	Config config_;
	MemberOverrides overrides_;
	Health health_;        // as it is written
	Health wanted_health_; // as it was found last
	std::function<void()> applied_call_;
	std::function<void(const ApplyReport &)> changed_call_;
	std::function<void(const std::string &, bool)> turned_call_;
	std::string applied_;
	Samples server_samples_, member_samples_;
	std::chrono::steady_clock::time_point sampled_{}, sampled_before_{};
};

// What differs between two configurations, a line each, as `apply` prints it.
std::vector<std::string> describe_changes(const Config &from, const Config &to);

} // namespace holdfast
