// SPDX-License-Identifier: GPL-2.0
// Between the model's values and the data path's: the only place in userspace
// that knows about byte order.
#pragma once

#include <set>
#include <string>

#include "holdfast/abi.h"
#include "model/model.h"

namespace holdfast
{

inline uint16_t to_network(uint16_t port)
{
	return __builtin_bswap16(port);
}

inline uint16_t from_network(uint16_t port)
{
	return __builtin_bswap16(port);
}

hf_service_key encode_service_key(const Address &address, uint16_t port, hf_protocol protocol);
// `type` is that of the rule.
hf_virtual_server encode(const VirtualServer &server, uint32_t pool, uint32_t rule, hf_rule_type type);
// enum hf_stage: the programs that a configuration's packets reach.
std::set<uint32_t> needed_stages(const Config &config);
hf_rule encode(const Rule &rule);
hf_pool encode(const Pool &pool);
hf_early_limits encode(const EarlyData &early);
hf_cookie_key encode_cookie(uint32_t pool, const std::string &name);
// What a rule writes for the member that cookies call `name`.
hf_cookie_text encode_cookie_text(const Rule &rule, const std::string &name);
hf_endpoint_key encode_endpoint(uint32_t pool, const Address &address, uint16_t port);
hf_source_address encode_source(const Address &address);
hf_member encode(const Member &member, uint32_t pool, bool reset_on_down);
hf_member_state encode(MemberStatus status);

// The slot of hf_address_filter that an address falls into: the four 32-bit words
// of its 16 bytes, each as a little-endian number, xored, times 0x9e3779b1; the
// upper 16 bits of the lower 32 of that. The data path computes the same.
uint16_t address_filter_slot(const Address &address);

// The key of the stateless hashes: the first 16 bytes of SHA-256 of the seed.
void encode_hash_seed(const std::string &seed, __u64 key[2]);

// "source:port -> destination:port" and the like.
std::string endpoint_text(const Address &address, uint16_t port);

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "big-endian machines need another encoding");

} // namespace holdfast
