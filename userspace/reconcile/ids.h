// SPDX-License-Identifier: GPL-2.0
// Numbers for names. The data path's entries refer to objects by number; a name
// keeps its number for as long as it is configured, over restarts and however
// the file is ordered. The number of a name that is gone stays reserved until
// nothing in the tables refers to it (release).
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "util/result.h"

namespace holdfast
{

class IdTable
{
public:
	// The number of `name`, a new one if it has none. 0: all are taken.
	uint32_t acquire(const std::string &name, uint32_t limit);
	uint32_t find(const std::string &name) const;
	// "" if no name has it.
	std::string name(uint32_t id) const;

	// Names that are not in `keep` lose their numbers, which stay reserved.
	std::set<uint32_t> retire(const std::set<std::string> &keep);
	// Numbers that nothing refers to any more.
	void release(const std::set<uint32_t> &ids);
	void release_all() { retired_.clear(); }
	// The name has this number already: as the maps say. "" is no name.
	void adopt(const std::string &name, uint32_t id);
	const std::set<uint32_t> &retired() const { return retired_; }

	const std::map<std::string, uint32_t> &all() const { return ids_; }
	bool operator==(const IdTable &) const = default;

private:
	friend struct Ids;

	std::map<std::string, uint32_t> ids_;
	std::map<uint32_t, std::string> names_;
	std::set<uint32_t> retired_;
	uint32_t next_ = 1;
};

struct Ids {
	IdTable virtual_servers, pools, rules, members; // members as "POOL/NAME"

	// As JSON, for the state directory.
	std::string save() const;
	static Result<Ids> load(const std::string &json);
	bool operator==(const Ids &) const = default;
};

} // namespace holdfast
