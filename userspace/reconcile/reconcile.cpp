// SPDX-License-Identifier: GPL-2.0
#include "reconcile/reconcile.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <set>
#include <unordered_map>

#include "datapath/encode.h"
#include "reconcile/slots.h"

namespace holdfast
{

namespace
{

using Services = std::unordered_map<std::string, hf_service>; // by the bytes of the key

// Of a map: what is wanted, and what is not any more.
enum class Parts { wanted, old, both };

class Reconciler
{
public:
	Reconciler(Maps &maps, const Image &image) : maps_(maps), image_(image), slots_(maps.selection.size()) {}

	Result<void> plan();
	const Moves &moves() const { return moves_; }
	Result<ReconcileReport> write();
	Result<ReconcileReport> write_pool();

private:
	// A pool's table and where it will be. Several may be taken from the old one's place.
	struct TablePlan {
		hf_selection_table *header;
		const std::vector<uint32_t> *table;
		uint32_t offset;
	};

	template <typename Value> void write(MappedArray<Value> &array, uint32_t index, const Value &value)
	{
		report_.writes += array.set(index, value);
	}
	template <typename Value> void write_all(MappedArray<Value> &array, const std::map<uint32_t, Value> &values)
	{
		for (const auto &[id, value] : values)
			write(array, id, value);
	}
	template <typename Value, typename Values> void clear_others(MappedArray<Value> &array, const Values &values)
	{
		for (uint32_t id = 1; id < array.size(); id++) {
			if (!values.contains(id))
				write(array, id, Value{});
		}
	}

	Result<void> plan_tables();
	Result<void> plan_table(hf_selection_table *header, const std::vector<uint32_t> &table);
	Result<void> plan_sources();
	bool has_source(const hf_virtual_server &settings, const hf_source_address &address) const;
	Result<void> plan_services();
	bool is_another(const hf_virtual_server &before, const hf_virtual_server &settings) const;
	void plan_moves();
	bool ranges_are_there() const;
	void keep_live_parts(hf_pool &wanted, const hf_pool &there) const;
	void note_return(uint32_t id, const hf_member &there, hf_member &value) const;
	void write_members(bool final_states);
	void write_pools();
	void write_tables(bool empty_ones);
	Result<void> write_services();
	template <typename Key, typename Value>
	Result<void> write_map(HashMap<Key, Value> &map, const std::map<std::vector<uint8_t>, Value> &wanted,
			       Parts parts = Parts::both);
	void write_addresses(bool clear);
	void write_server(uint32_t id, const hf_virtual_server &value);
	Result<void> drop_moved();

	Maps &maps_;
	const Image &image_;
	Slots slots_;
	ReconcileReport report_;
	std::vector<TablePlan> tables_;
	Services have_, want_;
	uint32_t first_range_ = 0;
	bool write_ranges_ = false;
	uint32_t first_source_ = 0;
	Moves moves_;
};

std::string key_text(const hf_service_key &key)
{
	return {reinterpret_cast<const char *>(&key), sizeof(key)};
}

bool same(const hf_service &a, const hf_service &b)
{
	return std::memcmp(&a, &b, sizeof(a)) == 0;
}

bool same_endpoint(const hf_member &a, const hf_member &b)
{
	return std::memcmp(a.address, b.address, sizeof(a.address)) == 0 && a.port == b.port;
}

// What the tables' writer and the data path put into a pool. What was learnt from its
// members holds as long as they are the same.
void Reconciler::keep_live_parts(hf_pool &wanted, const hf_pool &there) const
{
	wanted.rotation = there.rotation;
	wanted.maglev = there.maglev;
	wanted.once = there.once;
	wanted.backups = there.backups;
	wanted.fastest = there.fastest;
	if (std::strcmp(wanted.name, there.name) != 0)
		return;
	wanted.mss = there.mss;
	if (!wanted.tcp_fixed && !there.tcp_fixed)
		wanted.tcp_lacking = there.tcp_lacking;
}

// A member that was disabled is spared for a while.
void Reconciler::note_return(uint32_t id, const hf_member &there, hf_member &value) const
{
	auto settings = image_.returns.find(id);

	if (settings == image_.returns.end()) {
		value.recovered = value.warm = 0;
	} else {
		const auto &[recover, warm_up] = settings->second;
		const uint32_t now = maps_.now();
		const bool returns = there.state >= HF_MEMBER_DISABLED && value.state < HF_MEMBER_DISABLED;
		const auto until = [&](uint32_t present, uint32_t setting, uint32_t longest) {
			return !setting ? 0 : returns ? now + longest : std::min(present, now + longest);
		};

		// Settings that are lowered hold at once.
		value.recovered = until(there.recovered, recover, recover);
		value.warm = until(there.warm, warm_up, recover + warm_up);
	}
}

// First the members that take more than before; when the tables are written, those
// that take less. The next hop belongs to the neighbour mirror: it stays while the
// address does.
void Reconciler::write_members(bool final_states)
{
	for (const auto &[id, wanted] : image_.members) {
		const hf_member there = maps_.members.get(id);
		hf_member value = wanted;

		if (there.state != HF_MEMBER_ABSENT && !same_endpoint(there, value)) {
			// Not to be met half written.
			__atomic_store_n(&maps_.members.live(id)->state, HF_MEMBER_ABSENT, __ATOMIC_RELEASE);
		} else if (there.state != HF_MEMBER_ABSENT) {
			value.next_hop = there.next_hop;
			value.route_generation = there.route_generation;
			value.flags |= there.flags & HF_MEMBER_ROUTED;
			value.recovered = there.recovered;
			value.warm = there.warm;
			note_return(id, there, value);
			if (!final_states && there.state < value.state)
				value.state = there.state;
		}
		// Until the mirror has looked, a router may lead to it.
		if (maps_.members.live(id)->state == HF_MEMBER_ABSENT)
			value.flags |= HF_MEMBER_ROUTED;
		// What has come back is not to be met before the rest is written.
		hf_member hidden = value;
		hidden.state = maps_.members.live(id)->state;
		report_.writes += maps_.members.set(id, hidden) || hidden.state != value.state;
		__atomic_store_n(&maps_.members.live(id)->state, value.state, __ATOMIC_RELEASE);
	}
}

Result<void> Reconciler::plan_table(hf_selection_table *header, const std::vector<uint32_t> &table)
{
	const auto size = static_cast<uint32_t>(table.size());
	hf_selection_table place{};

	std::memcpy(&place, header, sizeof(place));
	bool equal = place.size == size && uint64_t{place.offset} + size <= maps_.selection.size();
	for (uint32_t i = 0; equal && i < size; i++)
		equal = maps_.selection.get(place.offset + i) == table[i];
	if (equal)
		return {};
	auto offset = size ? slots_.take(size) : std::optional<uint32_t>(0);
	if (!offset)
		return Error(fmt::format(
			"no room for the pools' selection tables in tables.selection: {}; a larger number takes "
			"effect after `holdfast detach`",
			maps_.selection.size()));
	tables_.push_back({header, &table, *offset});
	return {};
}

Result<void> Reconciler::plan_tables()
{
	// All tables that the data path may be reading now are occupied: also those
	// that are about to be replaced, whose space is free with the next change.
	for (uint32_t id = 1; id < maps_.pools.size(); id++) {
		const hf_pool pool = maps_.pools.get(id);

		slots_.occupy(pool.rotation.offset, pool.rotation.size);
		slots_.occupy(pool.maglev.offset, pool.maglev.size);
		slots_.occupy(pool.once.offset, pool.once.size);
		slots_.occupy(pool.backups.offset, pool.backups.size);
		slots_.occupy(pool.fastest.offset, pool.fastest.size);
	}
	for (const auto &[id, wanted] : image_.pools) {
		hf_pool *live = maps_.pools.live(id);

		for (const auto &[header, table] : {std::pair(&live->maglev, &wanted.maglev),
						    {&live->rotation, &wanted.rotation},
						    {&live->once, &wanted.once},
						    {&live->backups, &wanted.backups},
						    {&live->fastest, &wanted.fastest}}) {
			if (auto planned = plan_table(header, *table); !planned)
				return planned;
		}
	}
	return {};
}

void Reconciler::write_pools()
{
	for (const auto &[id, pool] : image_.pools) {
		hf_pool value = pool.header;

		keep_live_parts(value, maps_.pools.get(id));
		write(maps_.pools, id, value);
	}
}

// A table that is emptied is emptied last: until then something may choose from it.
void Reconciler::write_tables(bool empty_ones)
{
	for (const TablePlan &plan : tables_) {
		const hf_selection_table place{plan.offset, static_cast<uint32_t>(plan.table->size())};
		uint64_t word = 0;

		if (plan.table->empty() != empty_ones)
			continue;
		for (uint32_t i = 0; i < place.size; i++)
			maps_.selection.set(place.offset + i, (*plan.table)[i]);
		std::memcpy(&word, &place, sizeof(word));
		std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t *>(plan.header))
			.store(word, std::memory_order_release);
		report_.writes++;
	}
}

// Runs of source addresses are written into the half of the array that is not in use.
Result<void> Reconciler::plan_sources()
{
	constexpr uint32_t half = HF_SOURCE_ADDRESSES / 2;

	if (image_.sources.size() > half)
		return Error(fmt::format("{} different source_addresses; there is room for {}", image_.sources.size(),
					 half));
	for (uint32_t id = 1; id < maps_.virtual_server_settings.size(); id++) {
		const hf_virtual_server *settings = maps_.virtual_server_settings.live(id);

		if (settings->sources && settings->first_source >= half)
			first_source_ = half;
	}
	bool equal = true;
	for (uint32_t i = 0; i < image_.sources.size(); i++) {
		const hf_source_address there = maps_.source_addresses.get(first_source_ + i);

		equal = equal && std::memcmp(&there, &image_.sources[i], sizeof(there)) == 0;
	}
	if (!equal)
		first_source_ = half - first_source_;
	return {};
}

// Of settings as they are in the image.
bool Reconciler::has_source(const hf_virtual_server &settings, const hf_source_address &address) const
{
	for (uint32_t i = 0; i < settings.sources; i++) {
		if (std::memcmp(&image_.sources[settings.first_source + i], &address, sizeof(address)) == 0)
			return true;
	}
	return false;
}

bool Reconciler::ranges_are_there() const
{
	for (const RangeImage &range : image_.ranges) {
		auto found = have_.find(key_text(encode_service_key(range.address, 0, range.protocol)));

		if (found == have_.end() || found->second.ranges != range.ranges.size())
			return false;
		for (uint32_t i = 0; i < found->second.ranges; i++) {
			const hf_port_range there = maps_.port_ranges.get(found->second.first_range + i);

			if (std::memcmp(&there, &range.ranges[i], sizeof(there)) != 0)
				return false;
		}
	}
	return true;
}

Result<void> Reconciler::plan_services()
{
	const uint32_t half = maps_.port_ranges.size() / 2;
	size_t count = 0;

	auto read = maps_.virtual_servers.each([&](const hf_service_key &key, const hf_service &service) {
		have_.emplace(key_text(key), service);
		return true;
	});
	if (!read)
		return read;
	for (const auto &[key, id] : image_.services)
		want_.emplace(std::string(key.begin(), key.end()), hf_service{id, 0, 0});
	write_ranges_ = !ranges_are_there();
	// Runs of ranges are written into the half of the array that is not in use.
	first_range_ = half;
	for (const auto &[key, service] : have_) {
		if (service.ranges && service.first_range >= half)
			first_range_ = 0;
	}
	for (const RangeImage &range : image_.ranges) {
		const std::string key = key_text(encode_service_key(range.address, 0, range.protocol));
		const auto size = static_cast<uint32_t>(range.ranges.size());

		if (write_ranges_)
			want_.emplace(key, hf_service{0, first_range_ + static_cast<uint32_t>(count), size});
		else
			want_.emplace(key, have_.at(key));
		count += size;
	}
	if (count > half)
		return Error(fmt::format("{} port ranges; there is room for {}", count, half));
	return {};
}

Result<void> Reconciler::write_services()
{
	uint32_t next = first_range_;

	for (const RangeImage &range : image_.ranges) {
		for (const hf_port_range &one : range.ranges) {
			if (write_ranges_)
				write(maps_.port_ranges, next++, one);
		}
	}
	for (const auto &[text, service] : want_) {
		auto found = have_.find(text);
		hf_service_key key{};

		if (found != have_.end() && same(found->second, service))
			continue;
		std::memcpy(&key, text.data(), sizeof(key));
		if (auto set = maps_.virtual_servers.set(key, service); !set)
			return set;
		report_.writes++;
	}
	for (const auto &[text, service] : have_) {
		auto wanted = want_.find(text);
		hf_service_key key{};

		if (wanted != want_.end())
			continue;
		std::memcpy(&key, text.data(), sizeof(key));
		maps_.virtual_servers.erase(key);
		report_.writes++;
	}
	return {};
}

// A hash map that holds what is wanted, by the bytes of its keys, and nothing else.
template <typename Key, typename Value> Result<void>
Reconciler::write_map(HashMap<Key, Value> &map, const std::map<std::vector<uint8_t>, Value> &wanted, Parts parts)
{
	std::map<std::vector<uint8_t>, Value> have;
	Key key{};

	auto read = map.each([&](const Key &one, const Value &value) {
		const auto *bytes = reinterpret_cast<const uint8_t *>(&one);

		have.emplace(std::vector<uint8_t>(bytes, bytes + sizeof(one)), value);
		return true;
	});
	if (!read)
		return read;
	for (const auto &[bytes, value] : wanted) {
		auto there = have.find(bytes);

		std::memcpy(&key, bytes.data(), sizeof(key));
		if (parts != Parts::old &&
		    (there == have.end() || std::memcmp(&there->second, &value, sizeof(value)) != 0)) {
			if (auto set = map.set(key, value); !set)
				return set;
			report_.writes++;
		}
		if (there != have.end())
			have.erase(there);
	}
	if (parts == Parts::wanted)
		return {};
	for (const auto &entry : have) {
		std::memcpy(&key, entry.first.data(), sizeof(key));
		map.erase(key);
		report_.writes++;
	}
	return {};
}

// Bits are set before anything needs them, and cleared when nothing does.
void Reconciler::write_addresses(bool clear)
{
	hf_address_filter *filter = maps_.addresses.live(0);

	for (uint32_t slot = 0; slot < sizeof(filter->bits); slot++) {
		auto wanted = image_.addresses.find(static_cast<uint16_t>(slot));
		const uint8_t bits = wanted == image_.addresses.end() ? 0 : wanted->second;
		const uint8_t value = clear ? bits : filter->bits[slot] | bits;

		if (filter->bits[slot] != value) {
			filter->bits[slot] = value;
			report_.writes++;
		}
	}
}

// A packet may come while this is written: sources are there before a mode needs them, and after it does.
void Reconciler::write_server(uint32_t id, const hf_virtual_server &value)
{
	const hf_virtual_server before = maps_.virtual_server_settings.get(id);

	if (before.pool && before.forwarding != value.forwarding && !before.sources != !value.sources) {
		const hf_virtual_server &with = value.sources ? value : before;
		hf_virtual_server staged = value.sources ? before : value;

		staged.first_source = with.first_source;
		staged.sources = with.sources;
		staged.lowest_port = with.lowest_port;
		staged.highest_port = with.highest_port;
		maps_.virtual_server_settings.set(id, staged);
	}
	write(maps_.virtual_server_settings, id, value);
}

// Do its connections of before mean nothing to it?
bool Reconciler::is_another(const hf_virtual_server &before, const hf_virtual_server &settings) const
{
	constexpr uint8_t lasting = HF_SERVER_SPLICES | HF_SERVER_FOLLOWS | HF_SERVER_WRITES | HF_SERVER_FORWARDED_FOR;

	if (!before.pool)
		return false;
	// Whose streams are read, or changed, is settled when they begin. And
	// connections that are decided as a whole, or their datagrams: those of before are neither.
	if (before.parser != settings.parser || ((before.flags ^ settings.flags) & lasting))
		return true;
	// Its members are of the other family from now on.
	if (changes_family(static_cast<hf_forwarding>(before.forwarding)) !=
	    changes_family(static_cast<hf_forwarding>(settings.forwarding)))
		return true;
	// Nobody answers ARP for a source that is taken away from this host.
	for (uint32_t i = 0; i < before.sources; i++) {
		const hf_source_address source = maps_.source_addresses.get(before.first_source + i);

		if (!has_source(settings, source) && !image_.lasting.contains(Address(source.address)))
			return true;
	}
	return false;
}

void Reconciler::plan_moves()
{
	for (const auto &[id, wanted] : image_.members) {
		const hf_member there = maps_.members.get(id);

		if (there.state != HF_MEMBER_ABSENT && !same_endpoint(there, wanted))
			moves_.members.insert(id);
	}
	for (const auto &[id, settings] : image_.virtual_servers) {
		if (is_another(maps_.virtual_server_settings.get(id), settings))
			moves_.virtual_servers.insert(id);
	}
	for (const auto &[text, service] : have_) {
		auto wanted = want_.find(text);

		// One that is no longer where it was.
		if (service.virtual_server && (wanted == want_.end() || !same(wanted->second, service)))
			moves_.virtual_servers.insert(service.virtual_server);
	}
}

Result<void> Reconciler::drop_moved()
{
	for (const auto &[filter, ids] :
	     {std::pair(HF_SWEEP_MEMBER, moves_.members), {HF_SWEEP_VIRTUAL_SERVER, moves_.virtual_servers}}) {
		for (const uint32_t id : ids) {
			auto swept = maps_.sweep_connections(filter, id);

			if (!swept)
				return swept.error();
			report_.connections_dropped += swept->deleted / 2;
		}
	}
	return {};
}

Result<void> Reconciler::plan()
{
	// New ones are there before old ones go.
	if (image_.cookie_texts.size() > maps_.cookie_texts_limit / 2)
		return Error(fmt::format(
			"{} members under rules that write cookies, each counted with each rule; at most {}",
			image_.cookie_texts.size(), maps_.cookie_texts_limit / 2));
	if (auto planned = plan_tables(); !planned)
		return planned;
	if (auto planned = plan_sources(); !planned)
		return planned;
	if (auto planned = plan_services(); !planned)
		return planned;
	plan_moves();
	return {};
}

Result<ReconcileReport> Reconciler::write()
{
	const hf_installation installation{HF_ABI_VERSION,
					   0,
					   {image_.hash_key[0], image_.hash_key[1]},
					   {image_.digest_key[0], image_.digest_key[1]}};

	if (auto set = maps_.installation.set(0, installation); !set)
		return set.error();
	write(maps_.early_limits, 0, image_.early_limits);
	write_addresses(false);
	write_members(false);
	write_all(maps_.rules, image_.rules);
	write_pools();
	write_tables(false);
	// What is written into cookies can be read before it is written.
	if (auto written = write_map(maps_.cookie_members, image_.cookie_members, Parts::wanted); !written)
		return written.error();
	if (auto written = write_map(maps_.cookie_texts, image_.cookie_texts, Parts::wanted); !written)
		return written.error();
	for (uint32_t i = 0; i < image_.sources.size(); i++)
		write(maps_.source_addresses, first_source_ + i, image_.sources[i]);
	for (const auto &[id, settings] : image_.virtual_servers) {
		hf_virtual_server value = settings;

		value.first_source += value.sources ? first_source_ : 0;
		write_server(id, value);
	}
	if (auto written = write_services(); !written)
		return written.error();
	if (auto written = write_map(maps_.member_services, image_.member_services); !written)
		return written.error();
	if (auto written = write_map(maps_.pool_endpoints, image_.endpoints); !written)
		return written.error();
	write_tables(true);
	write_members(true);

	// From here on nothing new refers to what is going away.
	clear_others(maps_.virtual_server_settings, image_.virtual_servers);
	if (auto written = write_map(maps_.cookie_texts, image_.cookie_texts, Parts::old); !written)
		return written.error();
	if (auto written = write_map(maps_.cookie_members, image_.cookie_members, Parts::old); !written)
		return written.error();
	clear_others(maps_.pools, image_.pools);
	clear_others(maps_.rules, image_.rules);
	clear_others(maps_.members, image_.members);
	if (auto dropped = drop_moved(); !dropped)
		return dropped.error();
	write_addresses(true);
	return report_;
}

Result<ReconcileReport> Reconciler::write_pool()
{
	if (auto planned = plan_tables(); !planned)
		return planned.error();
	write_members(false);
	write_pools();
	write_tables(false);
	write_tables(true);
	write_members(true);
	return report_;
}

} // namespace

Result<Moves> check_fit(Maps &maps, const Image &image)
{
	Reconciler reconciler(maps, image);

	if (auto planned = reconciler.plan(); !planned)
		return planned.error();
	return reconciler.moves();
}

Result<ReconcileReport> reconcile(Maps &maps, const Image &image)
{
	Reconciler reconciler(maps, image);

	if (auto planned = reconciler.plan(); !planned)
		return planned.error();
	return reconciler.write();
}

Result<ReconcileReport> reconcile_pool(Maps &maps, const Image &image)
{
	return Reconciler(maps, image).write_pool();
}

Result<void> drop_orphans(Maps &maps, ReconcileReport &report)
{
	auto sessions = maps.sweep_sessions(HF_SWEEP_ORPHANS);
	if (!sessions)
		return sessions.error();
	auto connections = maps.sweep_connections(HF_SWEEP_ORPHANS);
	if (!connections)
		return connections.error();
	report.sessions_dropped += sessions->deleted;
	report.connections_dropped += connections->deleted / 2;
	return {};
}

} // namespace holdfast
