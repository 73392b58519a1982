// SPDX-License-Identifier: GPL-2.0
#include "reconcile/image.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

#include "datapath/encode.h"
#include "reconcile/selection.h"

namespace holdfast
{

namespace
{

template <typename Key> std::vector<uint8_t> bytes_of(const Key &key)
{
	std::vector<uint8_t> bytes(sizeof(key));

	std::memcpy(bytes.data(), &key, sizeof(key));
	return bytes;
}

Error no_room(const char *what, uint32_t limit)
{
	return Error(fmt::format("no room for another {}: the tables hold {}; a larger number under `tables` takes "
				 "effect after `holdfast detach`",
				 what, limit - 1));
}

// What chooses from which pools decides which tables they need: of hashes a Maglev table, of least-connections and
// fastest-response a list.
struct PoolUses {
	std::set<std::string> by_hash, by_connections, by_response;
};

PoolUses uses_of_pools(const Config &config)
{
	std::set<std::string> stateless;
	PoolUses uses;

	for (const Rule &rule : config.rules) {
		if (is_hash(rule.type))
			stateless.insert(rule.name);
	}
	for (const VirtualServer &server : config.virtual_servers) {
		if (server.method == HF_METHOD_SOURCE_HASH || stateless.contains(server.persistence))
			uses.by_hash.insert(server.pool);
		if (server.method == HF_METHOD_LEAST_CONNECTIONS)
			uses.by_connections.insert(server.pool);
		if (server.method == HF_METHOD_FASTEST_RESPONSE)
			uses.by_response.insert(server.pool);
	}
	return uses;
}

Result<void> add_pool(Image &image, const Pool &pool, const PoolUses &uses, const TableSizes &sizes, Ids &ids)
{
	const uint32_t pool_id = ids.pools.acquire(pool.name, HF_POOLS);
	std::vector<Candidate> all, taking_new, backups;

	if (!pool_id)
		return no_room("pool", HF_POOLS);
	for (const Member &member : pool.members) {
		const uint32_t id = ids.members.acquire(member_key(pool.name, member.name), sizes.members);

		if (!id)
			return no_room("member", sizes.members);
		image.members[id] = encode(member, pool_id, pool.reset_on_down);
		if (member.recover || member.warm_up)
			image.returns[id] = {member.recover, member.warm_up};
		image.addresses[address_filter_slot(member.address)] |= HF_ADDRESS_MEMBER;
		const Candidate candidate{member.name, id, member.weight};
		if (!member.backup)
			all.push_back(candidate);
		if (member.status == MemberStatus::enabled)
			(member.backup ? backups : taking_new).push_back(candidate);
	}
	// The order of the file must not matter: a hash may end in these tables, too.
	for (auto *list : {&taking_new, &backups})
		std::sort(list->begin(), list->end(),
			  [](const Candidate &a, const Candidate &b) { return a.name < b.name; });
	PoolImage &result = image.pools[pool_id];
	result.header = encode(pool);
	result.rotation = make_rotation(taking_new);
	result.backups = make_rotation(backups);
	if (uses.by_connections.contains(pool.name)) {
		for (const Candidate &candidate : taking_new)
			result.once.push_back(candidate.id);
	}
	for (const Member &member : pool.members) {
		if (member.fast && !member.backup && member.status == MemberStatus::enabled &&
		    uses.by_response.contains(pool.name))
			result.fastest.push_back(ids.members.find(member_key(pool.name, member.name)));
	}
	if (uses.by_hash.contains(pool.name))
		result.maglev = make_maglev(all);
	return {};
}

// A SIP server also begins: what it sends from its service's port leaves with the
// address of the first virtual server, in the order of the file, that has it.
void add_member_services(Image &image, const Pool &pool, const VirtualServer &server, uint32_t id, const Ids &ids)
{
	for (const Member &member : pool.members) {
		hf_member_service service{};

		std::copy(server.address.bytes().begin(), server.address.bytes().end(), service.address);
		// A member without a port speaks from the virtual server's own one.
		service.port = member.port ? to_network(server.first_port) : uint16_t{0};
		service.virtual_server = static_cast<uint16_t>(id);
		service.member = ids.members.find(member_key(pool.name, member.name));
		image.member_services.emplace(
			bytes_of(encode_service_key(member.address, member.port, server.protocol)), service);
	}
}

// A routing token names a member by its address.
void add_endpoints(Image &image, const Pool &pool, const Ids &ids)
{
	for (const Member &member : pool.members)
		image.endpoints[bytes_of(encode_endpoint(ids.pools.find(pool.name), member.address, member.port))] =
			ids.members.find(member_key(pool.name, member.name));
}

// Members that cookies name, and what is written into those.
void add_cookies(Image &image, const Pool &pool, const Rule &rule, const Ids &ids)
{
	for (const Member &member : pool.members) {
		const uint32_t id = ids.members.find(member_key(pool.name, member.name));
		const hf_cookie_text_key key{ids.rules.find(rule.name), id};

		image.cookie_members[bytes_of(encode_cookie(ids.pools.find(pool.name), member.cookie))] = id;
		image.cookie_texts[bytes_of(key)] = encode_cookie_text(rule, member.cookie);
	}
}

} // namespace

Result<Image> make_image(const Config &config, const TableSizes &sizes, Ids &ids)
{
	std::map<std::pair<Address, hf_protocol>, std::vector<hf_port_range>> ranges;
	std::map<std::vector<Address>, uint32_t> sources;
	std::map<std::string, const Rule *> rules;
	std::map<std::string, const Pool *> pools;
	Image image;

	encode_hash_seed(config.hash_seed, image.hash_key);
	image.early_limits = encode(config.early_data);
	for (const Rule &rule : config.rules)
		rules.emplace(rule.name, &rule);
	for (const Pool &pool : config.pools)
		pools.emplace(pool.name, &pool);
	for (const Rule &rule : config.rules) {
		const uint32_t id = ids.rules.acquire(rule.name, HF_POOLS);

		if (!id)
			return no_room("rule", HF_POOLS);
		image.rules[id] = encode(rule);
	}
	const PoolUses uses = uses_of_pools(config);
	for (const Pool &pool : config.pools) {
		if (auto added = add_pool(image, pool, uses, sizes, ids); !added)
			return added.error();
	}
	for (const VirtualServer &server : config.virtual_servers) {
		const uint32_t id = ids.virtual_servers.acquire(server.name, sizes.virtual_servers);

		if (!id)
			return no_room("virtual server", sizes.virtual_servers);
		auto rule = rules.find(server.persistence);
		const hf_rule_type type = rule == rules.end() ? HF_RULE_NONE : rule->second->type;
		image.virtual_servers[id] =
			encode(server, ids.pools.find(server.pool), ids.rules.find(server.persistence), type);
		if (has_sources(server.forwarding)) {
			// Virtual servers with the same addresses share them.
			auto [run, fresh] = sources.emplace(server.source_addresses, image.sources.size());

			image.virtual_servers[id].first_source = run->second;
			for (const Address &address : server.source_addresses) {
				if (fresh)
					image.sources.push_back(encode_source(address));
			}
		}
		if (writes(type))
			add_cookies(image, *pools.at(server.pool), *rule->second, ids);
		if (type == HF_RULE_RDP_COOKIE)
			add_endpoints(image, *pools.at(server.pool), ids);
		// What a member begins goes out as with dnat: there is nobody of the other family whom it could address.
		if (type == HF_RULE_SIP_CALL_ID && server.protocol == HF_PROTOCOL_UDP &&
		    !changes_family(server.forwarding))
			add_member_services(image, *pools.at(server.pool), server, id, ids);
		image.addresses[address_filter_slot(server.address)] |= HF_ADDRESS_VIRTUAL;
		image.services[bytes_of(encode_service_key(server.address, 0, hf_protocol{}))] = 0;
		if (server.first_port == server.last_port)
			image.services[bytes_of(
				encode_service_key(server.address, server.first_port, server.protocol))] = id;
		else
			ranges[{server.address, server.protocol}].push_back({server.first_port, server.last_port, id});
	}
	for (auto &[where, list] : ranges) {
		std::sort(list.begin(), list.end(),
			  [](const hf_port_range &a, const hf_port_range &b) { return a.first < b.first; });
		if (list.size() > 1U << HF_PORT_RANGE_STEPS)
			return Error(fmt::format("{} {}: {} port ranges; at most {} for one address and protocol",
						 where.first.text(), word(where.second), list.size(),
						 1U << HF_PORT_RANGE_STEPS));
		image.ranges.push_back({where.first, where.second, std::move(list)});
	}
	return image;
}

Result<Image> make_pool_image(const Config &config, const std::vector<Pool> &pools, const TableSizes &sizes, Ids &ids)
{
	const PoolUses uses = uses_of_pools(config);
	Image image;

	for (const Pool &pool : pools) {
		if (auto added = add_pool(image, pool, uses, sizes, ids); !added)
			return added.error();
	}
	return image;
}

} // namespace holdfast
