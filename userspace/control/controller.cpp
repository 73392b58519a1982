// SPDX-License-Identifier: GPL-2.0
#include "control/controller.h"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <set>

#include "control/session_snapshot.h"
#include "datapath/encode.h"
#include "datapath/wake.h"
#include "doctor/doctor.h"
#include "netlink/own_addresses.h"
#include "reconcile/image.h"
#include "reconcile/reconcile.h"
#include "util/file.h"
#include "util/log.h"

namespace holdfast
{

namespace
{

template <typename Objects> std::set<std::string> names_of(const Objects &objects)
{
	std::set<std::string> names;

	for (const auto &object : objects)
		names.insert(object.name);
	return names;
}

std::set<std::string> member_names(const Config &config)
{
	std::set<std::string> names;

	for (const Pool &pool : config.pools) {
		for (const Member &member : pool.members)
			names.insert(member_key(pool.name, member.name));
	}
	return names;
}

// The same server, under the same name.
bool has_member(const Config &config, const std::string &pool, const Member &member)
{
	for (const Pool &one : config.pools) {
		if (one.name != pool)
			continue;
		return std::any_of(one.members.begin(), one.members.end(), [&](const Member &other) {
			return other.name == member.name && other.address == member.address &&
			       other.port == member.port;
		});
	}
	return false;
}

void log_findings(const std::vector<Finding> &findings)
{
	for (const Finding &finding : findings) {
		if (finding.wrong)
			log_line(LogLevel::error, fmt::format("{}; remedy: {}", finding.what, finding.remedy),
				 {{"remedy", finding.remedy}});
	}
}

} // namespace

const VirtualServer *Snapshot::virtual_server(uint32_t id) const
{
	const std::string name = ids.virtual_servers.name(id);

	for (const VirtualServer &server : config.virtual_servers) {
		if (server.name == name)
			return &server;
	}
	return nullptr;
}

const Rule *Snapshot::rule(const std::string &name) const
{
	for (const Rule &one : config.rules) {
		if (one.name == name)
			return &one;
	}
	return nullptr;
}

Controller::Controller(Options options, StateDirectory state, std::unique_ptr<Maps> maps)
	: options_(std::move(options)), state_(std::move(state)), maps_(std::move(maps))
{
}

Controller::~Controller() = default;

Result<void> Controller::start()
{
	auto overrides = state_.overrides();
	if (!overrides)
		return overrides.error();
	overrides_ = *overrides;
	auto ids = state_.ids();
	if (!ids)
		return ids.error();
	ids_ = *ids == Ids{} && maps_->adopted() ? ids_from_maps() : *ids;
	auto key = state_.digest_key(maps_->installation.find(0));
	if (!key)
		return key.error();
	digest_key_ = *key;
	if (auto applied = state_.applied()) {
		applied_ = *applied;
	} else {
		auto text = read_file(options_.config_path);
		if (!text)
			return text.error();
		applied_ = *text;
	}
	ConfigResult parsed = parse_config(applied_);
	if (auto *errors = std::get_if<ConfigErrors>(&parsed)) {
		std::string message;

		for (const ConfigError &error : *errors)
			message += (message.empty() ? "" : "\n") + error.text(applied_path());
		return Error(message);
	}
	config_ = std::get<Config>(parsed);
	if (maps_->adopted())
		health_ = wanted_health_ = health_from_maps();
	if (!(config_.tables == maps_->tables()))
		log_warning(
			"the tables keep the size that they were made with; `holdfast detach` and a start change that");

	auto mirror = NextHopMirror::open(*maps_);
	if (!mirror)
		return mirror.error();
	mirror_ = std::move(*mirror);
	auto written = write(effective(), [&] { return state_.save_applied(applied_); });
	if (!written)
		return written.error();
	if (!maps_->adopted())
		restore_sessions();
	if (auto attached = attach(config_); !attached) {
		// The kernel is forwarding already: one interface that is gone must not end that.
		if (!maps_->adopted())
			return attached;
		log_error("{}", attached.error().message());
	}
	own_addresses();
	refresh_next_hops();
	log_findings(examine_host(config_));
	if (file_differs())
		log_warning("{} is not what is applied; `holdfast apply` or SIGHUP applies it", options_.config_path);
	if (applied_call_)
		applied_call_();
	return {};
}

// New numbers are on disk before anything in the maps refers to them. `commit`
// makes the change the one that a restart goes on from; only then the names that
// are gone lose their numbers, and those are free when nothing refers to them.
Result<ApplyReport> Controller::write(const Config &config, const std::function<Result<void>()> &commit)
{
	Ids ids = ids_;
	auto image = make_image(config, maps_->tables(), ids);

	if (!image)
		return image.error();
	std::copy(digest_key_.begin(), digest_key_.end(), image->digest_key);
	image->lasting = lasting_addresses(config);
	if (auto fits = check_fit(*maps_, *image); !fits)
		return fits.error();
	if (auto saved = state_.save_ids(ids); !saved)
		return saved.error();
	ids_ = ids;
	consistent_ = false;
	auto done = reconcile(*maps_, *image);
	if (!done)
		return done.error();
	if (auto committed = commit(); !committed)
		return committed.error();
	const auto servers = ids_.virtual_servers.retire(names_of(config.virtual_servers));
	const auto members = ids_.members.retire(member_names(config));
	ids_.pools.release(ids_.pools.retire(names_of(config.pools)));
	ids_.rules.release(ids_.rules.retire(names_of(config.rules)));
	if (!ids_.virtual_servers.retired().empty() || !ids_.members.retired().empty()) {
		if (auto dropped = drop_orphans(*maps_, *done); !dropped)
			return dropped.error();
		for (const uint32_t id : servers)
			maps_->virtual_server_counters.clear(id);
		for (const uint32_t id : members)
			maps_->member_counters.clear(id);
		ids_.virtual_servers.release_all();
		ids_.members.release_all();
	}
	if (auto saved = state_.save_ids(ids_); !saved)
		return saved.error();
	consistent_ = true;
	return ApplyReport{{}, done->writes, done->sessions_dropped, done->connections_dropped};
}

// What the host has by itself, or will have because of this configuration.
std::set<Address> Controller::lasting_addresses(const Config &config)
{
	std::set<Address> lasting;
	auto addresses = mirror_->netlink().addresses();

	for (const HostAddress &there : addresses ? *addresses : std::vector<HostAddress>()) {
		if (!there.ours)
			lasting.insert(there.address);
	}
	for (const VirtualServer &server : config.virtual_servers) {
		if (server.own_addresses)
			lasting.insert(server.source_addresses.begin(), server.source_addresses.end());
	}
	return lasting;
}

// A state directory that was lost: the maps know the names, too.
Ids Controller::ids_from_maps() const
{
	Ids ids;

	for (uint32_t id = 1; id < maps_->virtual_server_settings.size(); id++)
		ids.virtual_servers.adopt(maps_->virtual_server_settings.get(id).name, id);
	for (uint32_t id = 1; id < maps_->pools.size(); id++) {
		ids.pools.adopt(maps_->pools.get(id).name, id);
		ids.rules.adopt(maps_->rules.get(id).name, id);
	}
	for (uint32_t id = 1; id < maps_->members.size(); id++) {
		const hf_member member = maps_->members.get(id);

		if (member.state != HF_MEMBER_ABSENT)
			ids.members.adopt(member_key(ids.pools.name(member.pool), member.name), id);
	}
	return ids;
}

ProgramOptions Controller::program_options(const Config &config)
{
	const auto &interfaces = config.interfaces;

	return {.hairpin_by_redirect =
			std::any_of(interfaces.begin(), interfaces.end(),
				    [](const Interface &one) { return interface_driver(one.name) == "veth"; }),
		.xdp = std::any_of(interfaces.begin(), interfaces.end(),
				   [](const Interface &one) { return one.mode != InterfaceMode::tc; }),
		.stages = needed_stages(config)};
}

Result<void> Controller::attach(const Config &config)
{
	ProgramOptions wanted = program_options(config);
	std::set<int> native, generic;

	if (!programs_ || !programs_->serve(wanted)) {
		// What is configured until now needs its programs until the change is written.
		if (programs_)
			wanted.stages->insert(programs_->options().stages->begin(), programs_->options().stages->end());
		auto programs = Programs::load(*maps_, wanted);

		if (!programs)
			return programs.error();
		programs_ = std::move(*programs);
	}
	// What can be seen to fail fails before anything is attached.
	for (const Interface &interface : config.interfaces) {
		if (!interface_index(interface.name))
			return Error(fmt::format("interface {}: there is no such interface in this network namespace",
						 interface.name));
	}
	const std::string stages = options_.pin_directory + "/stages";
	if (auto pinned = programs_->pin_stages(stages); !pinned)
		return pinned.error();
	std::vector<Attachment> attachments;
	for (const Interface &interface : config.interfaces) {
		auto attached = attach_interface(*programs_, interface, options_.pin_directory);

		if (!attached) {
			for (const Attachment &done : attachments) {
				if (!maps_->adopted() && attachments_.empty())
					detach_interface(done.interface, options_.pin_directory);
			}
			return attached.error();
		}
		if (attached->note.empty())
			log_line(LogLevel::info,
				 fmt::format("interface {}: {}", attached->interface, word(attached->mode)),
				 {{"interface", attached->interface}, {"mode", word(attached->mode)}});
		else
			log_line(LogLevel::warning,
				 fmt::format("interface {}: {}, because {}", attached->interface, word(attached->mode),
					     attached->note),
				 {{"interface", attached->interface},
				  {"mode", word(attached->mode)},
				  {"problem", attached->note}});
		if (attached->mode == InterfaceMode::xdp)
			native.insert(attached->index);
		if (attached->mode == InterfaceMode::xdp_generic)
			generic.insert(attached->index);
		attachments.push_back(*attached);
	}
	const auto names = names_of(config.interfaces);
	for (const std::string &name : attached_interfaces(options_.pin_directory)) {
		if (!names.contains(name)) {
			detach_interface(name, options_.pin_directory);
			log_line(LogLevel::info, fmt::format("interface {}: detached", name), {{"interface", name}});
		}
	}
	programs_->unpin_other_stages(stages);
	attachments_ = std::move(attachments);
	// Native XDP cannot send on a generic interface; among generic ones it can.
	mirror_->set_xdp_interfaces(native.empty() ? std::move(generic) : std::move(native));
	return {};
}

ApplyResult Controller::apply(const std::string &yaml, bool dry_run)
{
	ConfigResult parsed = parse_config(yaml);

	if (auto *errors = std::get_if<ConfigErrors>(&parsed))
		return *errors;
	const Config &config = std::get<Config>(parsed);
	auto refuse = [](const Error &error) { return ConfigErrors{{0, 0, "", error.message()}}; };
	ApplyReport report{describe_changes(config_, config)};

	if (auto tested = HealthChecker::test(config); !tested)
		return refuse(tested.error());
	if (dry_run) {
		Ids ids = ids_;
		auto image = make_image(with_health(with_overrides(config, overrides_), health_), maps_->tables(), ids);

		if (!image)
			return refuse(image.error());
		image->lasting = lasting_addresses(config);
		auto fits = check_fit(*maps_, *image);
		if (!fits)
			return refuse(fits.error());
		report.moves = *fits;
		return report;
	}
	// Interfaces and programs first: what can fail fails before the maps change.
	if (config.interfaces != config_.interfaces || !programs_ || !programs_->serve(program_options(config))) {
		if (auto attached = attach(config); !attached) {
			(void)attach(config_);
			return refuse(attached.error());
		}
	}
	// What was found of a member says nothing about another server of its name.
	for (const Pool &pool : config_.pools) {
		for (const Member &member : pool.members) {
			if (is_down(pool.name, member.name) && !has_member(config, pool.name, member)) {
				for (Health *health : {&health_, &wanted_health_})
					(*health)[pool.name].down.erase(member.name);
			}
		}
	}
	auto written = write(with_health(with_overrides(config, overrides_), health_), [&]() -> Result<void> {
		if (auto saved = state_.save_applied(yaml); !saved)
			return saved;
		config_ = config;
		applied_ = yaml;
		return {};
	});
	if (!written)
		return refuse(written.error());
	own_addresses();
	refresh_next_hops();
	log_findings(examine_host(config_));
	report.writes = written->writes;
	report.sessions_dropped = written->sessions_dropped;
	report.connections_dropped = written->connections_dropped;
	log_line(LogLevel::info,
		 fmt::format("applied: {} changes, {} writes, {} sessions and {} connections removed",
			     report.changes.size(), report.writes, report.sessions_dropped, report.connections_dropped),
		 {{"changes", std::to_string(report.changes.size())},
		  {"writes", std::to_string(report.writes)},
		  {"sessions_removed", std::to_string(report.sessions_dropped)},
		  {"connections_removed", std::to_string(report.connections_dropped)}});
	if (applied_call_)
		applied_call_();
	if (changed_call_)
		changed_call_(report);
	return report;
}

ApplyResult Controller::reload()
{
	auto text = read_file(options_.config_path);

	if (!text)
		return ConfigErrors{{0, 0, "", text.error().message()}};
	return apply(*text, false);
}

Snapshot Controller::snapshot() const
{
	std::set<int> interfaces;

	for (const Attachment &attachment : attachments_)
		interfaces.insert(attachment.index);
	return {maps_.get(), ids_, effective(), digest_key_, interfaces};
}

std::string Controller::snapshot_path() const
{
	if (!config_.state.snapshot)
		return {};
	return config_.state.snapshot_file.empty() ? state_.path() + "/sessions.snapshot" : config_.state.snapshot_file;
}

// New maps: the sessions of the old ones, if they were kept. What cannot be used is kept aside.
void Controller::restore_sessions()
{
	const std::string path = snapshot_path();

	if (path.empty() || !std::filesystem::exists(path))
		return;
	auto bytes = read_file(path);
	auto report = bytes ? unpack_sessions(snapshot(), *bytes) : bytes.error();
	if (report) {
		log_line(LogLevel::info,
			 fmt::format("{}: {} sessions restored; {} had expired, {} belong to nothing that is "
				     "configured, {} were not taken by the kernel",
				     path, report->restored, report->expired, report->unknown, report->failed),
			 {{"path", path},
			  {"sessions_restored", std::to_string(report->restored)},
			  {"sessions_expired", std::to_string(report->expired)},
			  {"sessions_unknown", std::to_string(report->unknown)},
			  {"sessions_failed", std::to_string(report->failed)}});
		return;
	}
	std::error_code failed;
	std::filesystem::rename(path, path + ".damaged", failed);
	log_error("{}: {}; no session was restored{}", path, report.error().message(),
		  failed ? "" : "; it is kept as " + path + ".damaged");
}

std::string Controller::revision() const
{
	__u64 digest[2];

	encode_hash_seed(applied_, digest);
	return fmt::format("{:016x}{:016x}", digest[0], digest[1]);
}

// An interface that was deleted and made again has lost its programs.
void Controller::attach_again()
{
	const bool lost = std::any_of(attachments_.begin(), attachments_.end(), [](const Attachment &attachment) {
		const int index = interface_index(attachment.interface);

		return index && index != attachment.index;
	});

	if (!lost)
		return;
	if (auto attached = attach(config_); !attached)
		log_error("{}", attached.error().message());
}

// The virtual servers' addresses, and those that members see as clients.
void Controller::own_addresses()
{
	std::set<Address> wanted, unwanted;
	std::set<int> interfaces;

	for (const VirtualServer &server : config_.virtual_servers) {
		auto &where = server.own_addresses ? wanted : unwanted;

		where.insert(server.address);
		where.insert(server.source_addresses.begin(), server.source_addresses.end());
	}
	for (const Address &address : unwanted)
		wanted.erase(address);
	// Also those that could not be attached to: what is attached still forwards.
	for (const Interface &interface : config_.interfaces) {
		if (const int index = interface_index(interface.name))
			interfaces.insert(index);
	}
	if (auto owned = holdfast::own_addresses(mirror_->netlink(), wanted, interfaces); !owned)
		log_error("{}", owned.error().message());
}

void Controller::refresh_next_hops()
{
	if (mirror_->changed()) {
		attach_again();
		own_addresses();
	}
	if (auto refreshed = mirror_->refresh(); !refreshed)
		log_error("{}", refreshed.error().message());
}

bool Controller::file_differs() const
{
	auto text = read_file(options_.config_path);

	return !text || *text != applied_;
}

void Controller::sample(Samples &samples, const IdTable &ids, const CounterArray<hf_traffic> &counters) const
{
	Samples next;

	for (const auto &[name, id] : ids.all()) {
		auto before = samples.find(id);
		const hf_traffic now = counters.sum(id);

		next[id] = {before == samples.end() ? now : before->second.now, now};
	}
	samples = std::move(next);
}

void Controller::sample()
{
	sample(server_samples_, ids_.virtual_servers, maps_->virtual_server_counters);
	sample(member_samples_, ids_.members, maps_->member_counters);
	write_health();
	sampled_before_ = sampled_;
	sampled_ = std::chrono::steady_clock::now();
	if (!attachments_.empty())
		wake_splices(*maps_, attachments_.front().index);
	renew_cookie_key();
	maps_->set_wall_clock();
	limit_segments();
}

// Clients are offered no longer segments than the ways to all of a pool's members take.
void Controller::limit_segments()
{
	for (const Pool &pool : config_.pools) {
		const uint32_t id = ids_.pools.find(pool.name);
		uint32_t least = 0;

		if (!id)
			continue;
		for (const Member &member : pool.members) {
			const uint32_t member_id = ids_.members.find(member_key(pool.name, member.name));
			const hf_next_hop hop = maps_->next_hops.get(maps_->members.get(member_id).next_hop);
			const uint32_t headers = member.address.is_ipv4() ? 40 : 60;

			if (hop.interface && hop.mtu > headers && hop.mtu <= UINT16_MAX)
				least = least ? std::min(least, hop.mtu - headers) : hop.mtu - headers;
		}
		std::atomic_ref<uint16_t> mss(maps_->pools.live(id)->mss);
		// What was learnt from the members themselves may be less.
		if (least && (!mss || mss > least))
			mss = static_cast<uint16_t>(least);
	}
}

// Once in each epoch of the SYN cookies, the key of the next one: when no cookie of
// the epoch before, which had the same place, is good any more.
void Controller::renew_cookie_key()
{
	const uint32_t span = maps_->now() >> HF_COOKIE_SPAN_SHIFT, epoch = span >> HF_COOKIE_KEY_SHIFT;

	if (epoch == cookie_epoch_ || span - (epoch << HF_COOKIE_KEY_SHIFT) < 2)
		return;
	cookie_epoch_ = epoch;
	maps_->renew_cookie_key(epoch);
}

Rates Controller::rates(const Samples &samples, uint32_t id) const
{
	const double seconds = std::chrono::duration<double>(sampled_ - sampled_before_).count();
	auto found = samples.find(id);

	if (found == samples.end() || seconds <= 0 || sampled_before_ == std::chrono::steady_clock::time_point{})
		return {};
	const auto &[before, now] = found->second;
	auto rate = [&](uint64_t first, uint64_t last) { return static_cast<double>(last - first) / seconds; };

	return {rate(before.connections, now.connections), rate(before.forward_packets, now.forward_packets),
		rate(before.reply_packets, now.reply_packets), rate(before.forward_bytes, now.forward_bytes),
		rate(before.reply_bytes, now.reply_bytes)};
}

Rates Controller::virtual_server_rates(uint32_t id) const
{
	return rates(server_samples_, id);
}

Rates Controller::member_rates(uint32_t id) const
{
	return rates(member_samples_, id);
}

} // namespace holdfast
