// SPDX-License-Identifier: GPL-2.0
#include "reconcile/ids.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace holdfast
{

uint32_t IdTable::acquire(const std::string &name, uint32_t limit)
{
	if (const uint32_t id = find(name)) {
		if (id < limit)
			return id;
		// The tables have become smaller.
		ids_.erase(name);
		names_.erase(id);
	}
	// Upwards and around, so that a number rests for as long as possible.
	for (uint32_t tried = 0; tried < limit; tried++) {
		const uint32_t id = next_ >= limit || next_ == 0 ? 1 : next_;

		next_ = id + 1;
		if (names_.contains(id) || retired_.contains(id))
			continue;
		ids_[name] = id;
		names_[id] = name;
		return id;
	}
	return 0;
}

uint32_t IdTable::find(const std::string &name) const
{
	auto found = ids_.find(name);

	return found == ids_.end() ? 0 : found->second;
}

std::string IdTable::name(uint32_t id) const
{
	auto found = names_.find(id);

	return found == names_.end() ? std::string() : found->second;
}

std::set<uint32_t> IdTable::retire(const std::set<std::string> &keep)
{
	std::set<uint32_t> gone;

	for (auto entry = ids_.begin(); entry != ids_.end();) {
		if (keep.contains(entry->first)) {
			++entry;
			continue;
		}
		gone.insert(entry->second);
		names_.erase(entry->second);
		entry = ids_.erase(entry);
	}
	retired_.insert(gone.begin(), gone.end());
	return gone;
}

void IdTable::adopt(const std::string &name, uint32_t id)
{
	if (name.empty())
		return;
	ids_[name] = id;
	names_[id] = name;
	next_ = std::max(next_, id + 1);
}

void IdTable::release(const std::set<uint32_t> &ids)
{
	for (const uint32_t id : ids)
		retired_.erase(id);
}

std::string Ids::save() const
{
	nlohmann::json json;

	auto put = [&](const char *key, const IdTable &table) {
		json[key] = {{"ids", table.ids_}, {"retired", table.retired_}, {"next", table.next_}};
	};
	put("virtual_servers", virtual_servers);
	put("pools", pools);
	put("rules", rules);
	put("members", members);
	return json.dump(1) + "\n";
}

Result<Ids> Ids::load(const std::string &text)
{
	Ids ids;

	try {
		const nlohmann::json json = nlohmann::json::parse(text);
		auto get = [&](const char *key, IdTable &table) {
			table.ids_ = json.at(key).at("ids").get<std::map<std::string, uint32_t>>();
			table.retired_ = json.at(key).at("retired").get<std::set<uint32_t>>();
			table.next_ = json.at(key).at("next").get<uint32_t>();
			for (const auto &[name, id] : table.ids_)
				table.names_[id] = name;
		};

		get("virtual_servers", ids.virtual_servers);
		get("pools", ids.pools);
		get("rules", ids.rules);
		get("members", ids.members);
	} catch (const nlohmann::json::exception &exception) {
		return Error(exception.what());
	}
	return ids;
}

} // namespace holdfast
