// SPDX-License-Identifier: GPL-2.0
// What the maps should hold for a configuration: computed whole, before anything
// is written.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "holdfast/abi.h"
#include "model/model.h"
#include "reconcile/ids.h"
#include "util/result.h"

namespace holdfast
{

struct PoolImage {
	hf_pool header{}; // without the places of its tables: those are found when it is written
	std::vector<uint32_t> rotation;
	std::vector<uint32_t> maglev;
	std::vector<uint32_t> once;
	std::vector<uint32_t> backups;
	std::vector<uint32_t> fastest;
};

// What a member is spared when it comes back: seconds.
struct MemberReturn {
	uint32_t recover = 0, warm_up = 0;
};

// The port ranges of one address and protocol, sorted.
struct RangeImage {
	Address address;
	hf_protocol protocol;
	std::vector<hf_port_range> ranges;
};

struct Image {
	std::map<uint32_t, hf_virtual_server> virtual_servers;
	std::map<uint32_t, hf_rule> rules;
	std::map<uint32_t, PoolImage> pools;
	std::map<uint32_t, hf_member> members;
	std::map<uint32_t, MemberReturn> returns; // of members that have such a setting
	// Exact entries: one port. By the bytes of hf_service_key.
	std::map<std::vector<uint8_t>, uint32_t> services;
	std::vector<RangeImage> ranges;
	std::vector<hf_source_address> sources; // runs, to which virtual servers refer by their places here
	std::map<uint16_t, uint8_t> addresses;  // slots of the filter that are not 0
	// The services of members that may begin to speak themselves. By the bytes of hf_service_key.
	std::map<std::vector<uint8_t>, hf_member_service> member_services;
	// Members by pool, address and port, where a rule's messages may name them. By the bytes of hf_endpoint_key.
	std::map<std::vector<uint8_t>, uint32_t> endpoints;
	// What cookies call members, and what rules write for them. By the bytes of hf_cookie_key, hf_cookie_text_key.
	std::map<std::vector<uint8_t>, uint32_t> cookie_members;
	std::map<std::vector<uint8_t>, hf_cookie_text> cookie_texts;
	hf_early_limits early_limits{};
	__u64 hash_key[2] = {};
	__u64 digest_key[2] = {}; // filled in by whoever keeps the secret
	// Likewise, by whoever knows the host: addresses that stay its own. Connections go on with those as their source,
	// also where none is to begin with it any more.
	std::set<Address> lasting;
};

// Gives numbers to names that have none. `sizes` are those of the maps.
Result<Image> make_image(const Config &config, const TableSizes &sizes, Ids &ids);
// Of some pools only, which are as they are given, not as the configuration has them: their members, and their tables.
Result<Image> make_pool_image(const Config &config, const std::vector<Pool> &pools, const TableSizes &sizes, Ids &ids);

} // namespace holdfast
