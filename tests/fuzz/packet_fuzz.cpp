// SPDX-License-Identifier: GPL-2.0
// Any packets, one after another, through the data path of one hook, in the kernel: a
// verdict that the hook knows; what passes is untouched; of what had right lengths and
// checksums, what is sent has them, too. The programs give libFuzzer no coverage of
// their own: their counters of reasons, verdicts and kinds of entries stand in for it.
//
// An input is a list of records: how the packet is run (fuzz_records.h), its length in
// two bytes, and its bytes.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <fmt/format.h>
#include <iostream>
#include <random>

#include "fuzz/fuzz_records.h"
#include "holdfast/reasons.h"
#include "support/testbed.h"

#ifndef HOLDFAST_FUZZ_HOOK
#error "which hook's program?"
#endif

namespace
{

using namespace holdfast;
using namespace holdfast::test;

constexpr Hook hook = Hook::HOLDFAST_FUZZ_HOOK;
constexpr size_t most_records = 12;
// BPF_PROG_TEST_RUN takes no less and no more: of TC, a network header has to be there, and all in one page.
constexpr size_t shortest = hook == Hook::xdp ? 14 : 54, longest = hook == Hook::xdp ? 8192 : 3500;

constexpr size_t verdicts = 8, states = 16;
__attribute__((section("__libfuzzer_extra_counters"))) uint8_t seen[HF_REASON_COUNT + verdicts + states];

using Reasons = std::array<uint64_t, HF_REASON_COUNT>;

Reasons reasons(const Testbed &bed)
{
	Reasons now{};

	for (size_t i = 0; i < now.size(); i++)
		now[i] = bed.reason(static_cast<hf_reason>(i));
	return now;
}

[[noreturn]] void fail(const std::string &what, const Bytes &packet, const Outcome &outcome)
{
	std::cerr << what << ", verdict " << outcome.verdict << '\n' << describe(packet) << '\n';
	if (!outcome.packet.empty())
		std::cerr << describe(outcome.packet) << '\n';
	std::abort();
}

// Returns what an answer to it would acknowledge; 0: nothing was sent that has a number.
uint32_t run(Testbed &bed, const Bytes &packet)
{
	const bool right = is_right(packet);
	const Outcome outcome = bed.run(hook, packet);

	seen[HF_REASON_COUNT + std::min<size_t>(outcome.verdict, verdicts - 1)]++;
	if (passed(hook, outcome)) {
		if (outcome.packet != packet)
			fail("a packet that passes is changed", packet, outcome);
	} else if (sent(hook, outcome)) {
		if (right && !is_right(outcome.packet) && !(hook == Hook::tc && is_rest(outcome.packet)))
			fail("a packet that was right is sent wrong", packet, outcome);
	} else if (!dropped(hook, outcome)) {
		fail("an unknown verdict", packet, outcome);
	}
	return sent(hook, outcome) ? number_behind(outcome.packet) : 0;
}

} // namespace

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

// Records stay records: one of them is changed, repeated, left out, or takes another's place.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
	std::minstd_rand random(seed);
	auto records = read_records(data, size, most_records);

	if (records.empty() || random() % 16 == 0)
		return LLVMFuzzerMutate(data, size, most);
	const size_t at = random() % records.size(), other = random() % records.size();
	Record &record = records[at];
	switch (random() % 8) {
	case 0:
		records.insert(records.begin() + static_cast<std::ptrdiff_t>(other), Record(record));
		break;
	case 1:
		records.erase(records.begin() + static_cast<std::ptrdiff_t>(at));
		break;
	case 2:
		std::swap(records[at], records[other]);
		break;
	case 3:
		record.how ^= static_cast<uint8_t>(1U << random() % 2);
		break;
	default: {
		const size_t length = record.packet.size();

		record.packet.resize(length + 64);
		record.packet.resize(LLVMFuzzerMutate(record.packet.data(), length, length + 64));
		if (random() % 4)
			record.how |= record_repaired;
		break;
	}
	}
	const Bytes bytes = write_records(records);
	if (bytes.size() > most)
		return size;
	std::copy(bytes.begin(), bytes.end(), data);
	return bytes.size();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static Testbed bed(fuzz_config());
	const Reasons before = reasons(bed);
	uint32_t number = 0;

	bed.clear();
	for (Record &record : read_records(data, size, most_records)) {
		if (record.how & record_acknowledges)
			acknowledge(record.packet, number);
		if (record.how & record_repaired)
			repair(record.packet);
		if (record.packet.size() < shortest || record.packet.size() > longest)
			continue;
		if (const uint32_t behind = run(bed, record.packet))
			number = behind;
	}
	const Reasons after = reasons(bed);
	for (size_t i = 0; i < after.size(); i++)
		seen[i] = static_cast<uint8_t>(std::min<uint64_t>(after[i] - before[i], 255));
	const auto walked = bed.maps->connections.each([](const hf_flow_key &, const hf_connection &connection) {
		seen[HF_REASON_COUNT + verdicts + connection.state]++;
		return true;
	});
	if (!walked)
		std::abort();
	return 0;
}
