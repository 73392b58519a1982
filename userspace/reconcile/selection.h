// SPDX-License-Identifier: GPL-2.0
// The tables from which the data path chooses members.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace holdfast
{

struct Candidate {
	std::string name; // unique in the pool: decides the place in the hash table
	uint32_t id;      // what the table holds
	uint32_t weight;
};

// Smooth weighted round robin, laid out: each member has a share of the turns
// that is exactly its weight's, and its turns are spread as evenly as they can
// be (the method that nginx uses). The order of the candidates breaks ties.
std::vector<uint32_t> make_rotation(const std::vector<Candidate> &candidates);

// Maglev (Eisenbud et al., NSDI 2016, section 3.4): each member's share of the
// slots is its weight's, to within a percent or so; removing one moves its own
// slots and few others. The result depends on names and weights, not on order or
// ids. The size is the same for every pool: were it to grow with the pool, every
// key would move when a member is added.
constexpr uint32_t maglev_size = 65537;
std::vector<uint32_t> make_maglev(std::vector<Candidate> candidates);

} // namespace holdfast
