// SPDX-License-Identifier: GPL-2.0
#include "reconcile/reconcile.h"

#include <cstring>
#include <fmt/format.h>
#include <unordered_map>

#include "datapath/encode.h"
#include "reconcile/slots.h"

namespace holdfast {

namespace {

class Reconciler {
public:
	Reconciler(Maps &maps, const Image &image) : maps_(maps), image_(image), slots_(maps.selection.size()) {}

	Result<ReconcileReport> run(const std::set<uint32_t> &retired_servers,
				    const std::set<uint32_t> &retired_members);

private:
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

	void write_members();
	Result<void> write_pools();
	Result<void> write_table(hf_selection_table *header, const std::vector<uint32_t> &table);
	Result<void> write_services();
	Result<bool> ranges_are_there(const std::unordered_map<std::string, hf_service> &have) const;
	void write_addresses(bool clear);
	Result<void> drop(const std::set<uint32_t> &servers, const std::set<uint32_t> &members);

	Maps &maps_;
	const Image &image_;
	Slots slots_;
	ReconcileReport report_;
};

std::string key_text(const hf_service_key &key)
{
	return {reinterpret_cast<const char *>(&key), sizeof(key)};
}

bool same(const hf_service &a, const hf_service &b)
{
	return std::memcmp(&a, &b, sizeof(a)) == 0;
}

// A member's next hop belongs to the neighbour mirror: it stays while the address does.
void Reconciler::write_members()
{
	for (const auto &[id, wanted] : image_.members) {
		const hf_member there = maps_.members.get(id);
		hf_member value = wanted;

		if (std::memcmp(there.address, value.address, sizeof(there.address)) == 0)
			value.next_hop = there.next_hop;
		write(maps_.members, id, value);
	}
}

Result<void> Reconciler::write_table(hf_selection_table *header, const std::vector<uint32_t> &table)
{
	hf_selection_table place{};

	std::memcpy(&place, header, sizeof(place));
	bool equal = place.size == table.size() && place.offset + place.size <= maps_.selection.size();
	for (uint32_t i = 0; equal && i < place.size; i++)
		equal = maps_.selection.get(place.offset + i) == table[i];
	if (equal)
		return {};

	const auto size = static_cast<uint32_t>(table.size());
	place = {0, size};
	if (size) {
		const auto offset = slots_.take(size);

		if (!offset)
			return Error("no room for the pools' selection tables: fewer members, or weights with a common divisor, need less");
		place.offset = *offset;
	}
	for (uint32_t i = 0; i < size; i++)
		maps_.selection.set(place.offset + i, table[i]);
	uint64_t word = 0;
	std::memcpy(&word, &place, sizeof(word));
	std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t *>(header)).store(word, std::memory_order_release);
	report_.writes++;
	return {};
}

Result<void> Reconciler::write_pools()
{
	// All tables that the data path may be reading now are occupied: also those
	// that are about to be replaced, whose space is free with the next change.
	for (uint32_t id = 1; id < maps_.pools.size(); id++) {
		const hf_pool pool = maps_.pools.get(id);

		slots_.occupy(pool.rotation.offset, pool.rotation.size);
		slots_.occupy(pool.maglev.offset, pool.maglev.size);
	}
	for (const auto &[id, wanted] : image_.pools) {
		hf_pool *live = maps_.pools.live(id);

		if (std::memcmp(live->name, wanted.header.name, sizeof(live->name)) != 0) {
			std::memcpy(live->name, wanted.header.name, sizeof(live->name));
			report_.writes++;
		}
		if (auto written = write_table(&live->maglev, wanted.maglev); !written)
			return written;
		if (auto written = write_table(&live->rotation, wanted.rotation); !written)
			return written;
	}
	return {};
}

Result<bool> Reconciler::ranges_are_there(const std::unordered_map<std::string, hf_service> &have) const
{
	for (const RangeImage &range : image_.ranges) {
		auto found = have.find(key_text(encode_service_key(range.address, 0, range.protocol)));

		if (found == have.end() || found->second.ranges != range.ranges.size())
			return false;
		for (uint32_t i = 0; i < found->second.ranges; i++) {
			const hf_port_range there = maps_.port_ranges.get(found->second.first_range + i);

			if (std::memcmp(&there, &range.ranges[i], sizeof(there)) != 0)
				return false;
		}
	}
	return true;
}

Result<void> Reconciler::write_services()
{
	std::unordered_map<std::string, hf_service> have, want;
	const uint32_t half = maps_.port_ranges.size() / 2;

	auto read = maps_.virtual_servers.each([&](const hf_service_key &key, const hf_service &service) {
		have.emplace(key_text(key), service);
		return true;
	});
	if (!read)
		return read;
	for (const auto &[key, id] : image_.services)
		want.emplace(std::string(key.begin(), key.end()), hf_service{id, 0, 0});

	auto there = ranges_are_there(have);
	if (!there)
		return there.error();
	// Runs of ranges are written into the half of the array that is not in use.
	uint32_t next = half;
	for (const auto &[key, service] : have) {
		if (service.ranges && service.first_range >= half)
			next = 0;
	}
	const uint32_t end = next + half;
	for (const RangeImage &range : image_.ranges) {
		const hf_service_key key = encode_service_key(range.address, 0, range.protocol);

		if (*there) {
			want.emplace(key_text(key), have.at(key_text(key)));
			continue;
		}
		if (next + range.ranges.size() > end)
			return Error(fmt::format("no room for more than {} port ranges", half));
		want.emplace(key_text(key), hf_service{0, next, static_cast<uint32_t>(range.ranges.size())});
		for (const hf_port_range &one : range.ranges)
			write(maps_.port_ranges, next++, one);
	}
	for (const auto &[text, service] : want) {
		auto found = have.find(text);
		hf_service_key key{};

		if (found != have.end() && same(found->second, service))
			continue;
		std::memcpy(&key, text.data(), sizeof(key));
		if (auto set = maps_.virtual_servers.set(key, service); !set)
			return set;
		report_.writes++;
	}
	for (const auto &[text, service] : have) {
		hf_service_key key{};

		if (want.contains(text))
			continue;
		std::memcpy(&key, text.data(), sizeof(key));
		maps_.virtual_servers.erase(key);
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

Result<void> Reconciler::drop(const std::set<uint32_t> &servers, const std::set<uint32_t> &members)
{
	auto sweep = [&](hf_sweep_filter filter, uint32_t id) -> Result<void> {
		auto sessions = maps_.sweep_sessions(filter, id);
		if (!sessions)
			return sessions.error();
		auto connections = maps_.sweep_connections(filter, id);
		if (!connections)
			return connections.error();
		report_.sessions_dropped += sessions->deleted;
		report_.connections_dropped += connections->deleted / 2;
		return {};
	};

	for (const uint32_t id : servers) {
		if (auto swept = sweep(HF_SWEEP_VIRTUAL_SERVER, id); !swept)
			return swept;
		maps_.virtual_server_counters.clear(id);
	}
	for (const uint32_t id : members) {
		if (auto swept = sweep(HF_SWEEP_MEMBER, id); !swept)
			return swept;
		maps_.member_counters.clear(id);
	}
	return {};
}

Result<ReconcileReport> Reconciler::run(const std::set<uint32_t> &retired_servers,
					const std::set<uint32_t> &retired_members)
{
	const hf_installation installation{HF_ABI_VERSION, 0, {image_.hash_key[0], image_.hash_key[1]}};

	if (auto set = maps_.installation.set(0, installation); !set)
		return set.error();
	write_members();
	write_all(maps_.rules, image_.rules);
	if (auto written = write_pools(); !written)
		return written.error();
	write_all(maps_.virtual_server_settings, image_.virtual_servers);
	write_addresses(false);
	if (auto written = write_services(); !written)
		return written.error();

	// From here on nothing new refers to what is going away.
	clear_others(maps_.virtual_server_settings, image_.virtual_servers);
	clear_others(maps_.pools, image_.pools);
	clear_others(maps_.rules, image_.rules);
	clear_others(maps_.members, image_.members);
	if (auto dropped = drop(retired_servers, retired_members); !dropped)
		return dropped.error();
	write_addresses(true);
	return report_;
}

} // namespace

Result<ReconcileReport> reconcile(Maps &maps, const Image &image, const std::set<uint32_t> &retired_servers,
				  const std::set<uint32_t> &retired_members)
{
	return Reconciler(maps, image).run(retired_servers, retired_members);
}

} // namespace holdfast
