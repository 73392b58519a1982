// SPDX-License-Identifier: GPL-2.0
#include "reconcile/selection.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "holdfast/siphash.h"

namespace holdfast
{

namespace
{

// Weights divided by what they have in common.
std::vector<uint32_t> reduced_weights(const std::vector<Candidate> &candidates)
{
	std::vector<uint32_t> weights;
	uint32_t common = 0;

	for (const Candidate &candidate : candidates)
		common = std::gcd(common, candidate.weight);
	for (const Candidate &candidate : candidates)
		weights.push_back(common ? candidate.weight / common : 0);
	return weights;
}

uint64_t name_hash(const std::string &name, uint64_t which)
{
	const __u64 key[2] = {0x486f6c6466617374ULL, which};
	std::vector<__u64> words(name.size() / 8 + 1);

	std::memcpy(words.data(), name.data(), name.size());
	return hf_siphash(key, words.data(), static_cast<uint32_t>(words.size()));
}

} // namespace

std::vector<uint32_t> make_rotation(const std::vector<Candidate> &candidates)
{
	const std::vector<uint32_t> weights = reduced_weights(candidates);
	const int64_t total = std::accumulate(weights.begin(), weights.end(), int64_t{0});
	std::vector<int64_t> current(candidates.size());
	std::vector<uint32_t> turns;

	turns.reserve(static_cast<size_t>(total));
	for (int64_t turn = 0; turn < total; turn++) {
		size_t best = 0;

		for (size_t i = 0; i < candidates.size(); i++) {
			current[i] += weights[i];
			if (current[i] > current[best])
				best = i;
		}
		current[best] -= total;
		turns.push_back(candidates[best].id);
	}
	return turns;
}

std::vector<uint32_t> make_maglev(std::vector<Candidate> candidates)
{
	struct Preference {
		uint64_t offset, skip, next;
		double credit;
	};

	if (candidates.empty())
		return {};
	std::sort(candidates.begin(), candidates.end(),
		  [](const Candidate &a, const Candidate &b) { return a.name < b.name; });
	const std::vector<uint32_t> weights = reduced_weights(candidates);
	const uint32_t heaviest = *std::max_element(weights.begin(), weights.end());
	constexpr uint32_t size = maglev_size;
	constexpr uint32_t empty = 0;
	std::vector<uint32_t> table(size, empty);
	std::vector<Preference> preferences;
	uint32_t filled = 0;

	for (const Candidate &candidate : candidates)
		preferences.push_back(
			{name_hash(candidate.name, 1) % size, name_hash(candidate.name, 2) % (size - 1) + 1, 0, 0});
	// In each round a member takes as many turns as its weight is of the heaviest's.
	while (filled < size) {
		for (size_t i = 0; i < candidates.size() && filled < size; i++) {
			Preference &preference = preferences[i];

			preference.credit += static_cast<double>(weights[i]) / heaviest;
			if (preference.credit < 1.0)
				continue;
			preference.credit -= 1.0;
			uint64_t slot = 0;
			do {
				slot = (preference.offset + preference.next++ * preference.skip) % size;
			} while (table[slot] != empty);
			table[slot] = candidates[i].id;
			filled++;
		}
	}
	return table;
}

} // namespace holdfast
