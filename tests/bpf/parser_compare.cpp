// SPDX-License-Identifier: GPL-2.0
#include "bpf/parser_compare.h"

#include <algorithm>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <random>

#include "datapath/encode.h"
#include "datapath/map.h"
#include "parser_batch.skel.h"
#include "support/testbed.h"

namespace holdfast::test
{
namespace
{

// The layout of struct message in bpf/persist/parser.h.
struct Slot {
	uint32_t available, length, resume;
	uint8_t begun, answer, pad[2];
	uint32_t places[24];
	uint32_t head;
	uint8_t framing, method;
	uint16_t status;
	uint64_t body, wanted, wanted_mask;
	uint64_t digest[4];
	hf_keys keys;
	uint32_t cookie_count;
	struct {
		uint32_t at, length, date;
	} cookies[HF_KEYS];
	uint32_t edit_count;
	struct {
		uint32_t at;
		uint16_t removed;
		uint8_t open, pad;
	} edits[HF_EDITS];
	uint8_t address[16];
	uint16_t port, pad2[3];
	uint8_t bytes[3 * HF_MESSAGE_BYTES + 16];
};

constexpr uint32_t batch = 256;
constexpr DigestKey hash_key = {0x1122334455667788, 0x99aabbccddeeff00};

struct Found {
	uint32_t outcome;
	bool answer;
	hf_keys keys;
	Address address;
	uint16_t port;
	std::vector<MemberCookie> cookies;
	HttpHead head;
};

// The edits of a head, as a connection collects them from its segments: those that are
// settled, and those that are not.
struct Edits {
	std::map<size_t, size_t> settled, open;

	// `here`: bytes of the head, of which `before` had been there when it was last parsed.
	void add(const Slot &slot, size_t before, bool answers)
	{
		std::map<size_t, size_t> still;

		for (uint32_t i = 0; i < slot.edit_count; i++) {
			const size_t at = slot.edits[i].at, end = at + slot.edits[i].removed;

			if (slot.edits[i].open)
				still[at] = slot.edits[i].removed;
			else if (end + answers > before)
				settled[at] = slot.edits[i].removed;
		}
		open = still;
	}
};

// A stream on its way: what has been parsed, and where the next segments end.
struct Progress {
	std::vector<size_t> ends;
	size_t next = 0, parsed = 0, base = 0;
	size_t piece = 1;
	std::optional<Found> found;
	size_t seen = 0; // bytes that were here when it was last parsed
	Edits edits;
};

std::vector<MemberCookie> member_cookies(const Slot &slot)
{
	std::vector<MemberCookie> all;

	for (uint32_t i = 0; slot.length == HF_PARSER_COOKIE && i < slot.cookie_count; i++)
		all.push_back({std::string(reinterpret_cast<const char *>(slot.bytes) + slot.cookies[i].at,
					   slot.cookies[i].length),
			       slot.cookies[i].date});
	return all;
}

class Parser
{
public:
	Parser(const Rule &rule, Transport transport) : rule_(rule), transport_(transport)
	{
		bpf_map *map = nullptr;

		collect_libbpf_messages();
		bpf_ = parser_batch_bpf__open();
		bpf_->rodata->answers = transport == Transport::answers;
		bpf_object__for_each_map(map, bpf_->obj)
		{
			const std::string name = bpf_map__name(map);

			// The data path's tables are not needed, but for the secret.
			if (!bpf_map__is_internal(map) && name != "slots" && name != "parser_rule" &&
			    name != "installation")
				bpf_map__set_autocreate(map, false);
		}
		if (parser_batch_bpf__load(bpf_))
			throw std::runtime_error(take_libbpf_messages());
		const uint32_t zero = 0;
		const hf_rule value = encode(rule);
		hf_installation installation{};

		std::copy(digest_key.begin(), digest_key.end(), installation.digest_key);
		std::copy(hash_key.begin(), hash_key.end(), installation.hash_key);
		bpf_map_update_elem(bpf_map__fd(bpf_->maps.installation), &zero, &installation, BPF_ANY);
		bpf_map_update_elem(bpf_map__fd(bpf_->maps.parser_rule), &zero, &value, BPF_ANY);
		auto mapped = MappedArray<Slot>::map(bpf_map__fd(bpf_->maps.slots), batch, "slots");
		slots_ = std::move(*mapped);
	}
	~Parser() { parser_batch_bpf__destroy(bpf_); }
	Parser(const Parser &) = delete;
	Parser &operator=(const Parser &) = delete;

	// Both parsers over up to a batch of messages. Returns how many had keys.
	int compare(const std::vector<Sample> &samples, std::mt19937_64 &random)
	{
		std::vector<Progress> progress;
		int with_keys = 0;

		for (const Sample &sample : samples)
			progress.push_back(plan(sample, random));
		for (bool going = true; going;) {
			for (uint32_t i = 0; i < samples.size(); i++)
				fill(samples[i], progress[i], *slots_.live(i));
			run(static_cast<uint32_t>(samples.size()));
			going = false;
			for (uint32_t i = 0; i < samples.size(); i++)
				going = !step(progress[i], *slots_.live(i)) || going;
		}
		for (uint32_t i = 0; i < samples.size(); i++)
			with_keys += compare(samples[i], *progress[i].found, progress[i].edits);
		return with_keys;
	}

private:
	size_t limit() const { return transport_ == Transport::datagram ? HF_DATAGRAM_BYTES : HF_MESSAGE_BYTES; }

	// Of the request that a response answers.
	static HttpMethod method(const Sample &sample) { return static_cast<HttpMethod>(sample.bytes.size() % 3); }

	Progress plan(const Sample &sample, std::mt19937_64 &random) const
	{
		const size_t size = std::min(sample.bytes.size(), limit());
		Progress progress;

		progress.piece = HF_PIECE_SHORTEST + random() % (HF_PIECE_LONGEST - HF_PIECE_SHORTEST);
		// Heads and hellos are always there from the beginning.
		if (reads_http(rule_.type) || learns(rule_.type))
			progress.piece = 2 * HF_MESSAGE_BYTES;
		for (uint64_t cuts = transport_ == Transport::datagram ? 0 : random() % 6; cuts && size; cuts--)
			progress.ends.push_back(random() % 4 ? random() % size : random() % std::min<size_t>(size, 32));
		progress.ends.push_back(size);
		std::sort(progress.ends.begin(), progress.ends.end());
		return progress;
	}

	static void fill(const Sample &sample, Progress &progress, Slot &slot)
	{
		if (progress.found)
			return;
		const size_t end = progress.ends[progress.next], last = progress.ends.back();

		progress.base = progress.parsed / progress.piece * progress.piece;
		slot.available = static_cast<uint32_t>(end - progress.base);
		// What is yet to come is not known, but that there is something.
		slot.length =
			static_cast<uint32_t>(end < last ? end - progress.base + 1 : sample.length - progress.base);
		slot.resume = static_cast<uint32_t>(progress.parsed - progress.base);
		slot.begun = progress.parsed > 0;
		slot.answer = 0;
		slot.method = static_cast<uint8_t>(method(sample));
		slot.keys = {};
		slot.edit_count = 0;
		std::memcpy(slot.bytes, sample.bytes.data() + progress.base, slot.available);
		// Behind the zeros lies what an earlier message left.
		std::memset(slot.bytes + slot.available, 0, 16);
	}

	void run(uint32_t count) const
	{
		LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &count, .ctx_size_in = sizeof(count));

		if (bpf_prog_test_run_opts(bpf_program__fd(bpf_->progs.parse_batch), &options) || options.retval)
			throw std::runtime_error("running the parsers");
	}

	// True if the stream's outcome is known. The parser has left it in `length`.
	bool step(Progress &progress, Slot &slot) const
	{
		if (progress.found)
			return true;
		progress.edits.add(slot, progress.seen, transport_ == Transport::answers);
		progress.seen = progress.base + slot.available;
		if (slot.length == HF_PARSER_MORE && ++progress.next < progress.ends.size()) {
			progress.parsed = progress.base + slot.resume;
			return false;
		}
		progress.found = {slot.length,
				  slot.answer != 0,
				  slot.keys,
				  Address(slot.address),
				  from_network(slot.port),
				  member_cookies(slot),
				  {slot.head, static_cast<HttpFraming>(slot.framing),
				   static_cast<HttpMethod>(slot.method), slot.body}};
		return true;
	}

	bool compare(const Sample &sample, const Found &found, const Edits &edits) const
	{
		const std::string_view here = std::string_view(sample.bytes).substr(0, limit());
		const MessageKeys plain =
			transport_ != Transport::answers
				? read_message(here, sample.length, rule_, {digest_key, hash_key})
			: reads_http(rule_.type)
				? read_http_answer(here, sample.length, method(sample), rule_, {digest_key, hash_key})
				: read_ssl_answer(here, sample.length, digest_key);
		bool equal = static_cast<int>(found.outcome) == plain.outcome && found.keys.count == plain.keys.size();

		for (size_t i = 0; equal && i < plain.keys.size(); i++)
			equal = std::memcmp(found.keys.keys[i], plain.keys[i].data(), 16) == 0;
		if (rule_.type == HF_RULE_SIP_CALL_ID)
			equal = equal && found.answer == plain.answer;
		if (plain.outcome == HF_PARSER_MEMBER)
			equal = equal && found.address == plain.address && found.port == plain.port;
		if (plain.outcome == HF_PARSER_COOKIE)
			equal = equal && found.cookies == plain.cookies;
		if (plain.head.size && edits.settled.size() + plain.edits.size() < 2 * HF_EDITS) {
			std::map<size_t, size_t> wanted;

			for (const HeadEdit &edit : plain.edits)
				wanted[edit.at] = edit.removed;
			equal = equal && edits.settled == wanted && edits.open.empty();
		}
		if (plain.head.size) {
			equal = equal && found.head.size == plain.head.size && found.head.framing == plain.head.framing;
			equal = equal &&
				(plain.head.framing != HttpFraming::length || found.head.body == plain.head.body);
			if (transport_ == Transport::stream && reads_http(rule_.type))
				equal = equal && found.head.method == plain.head.method;
		}
		EXPECT_TRUE(equal) << "data path: outcome " << found.outcome << ", " << int(found.keys.count)
				   << " keys; plain: outcome " << plain.outcome << ", " << plain.keys.size()
				   << " keys; " << sample.length << " bytes, of which are here: " << hex(sample.bytes);
		return plain.outcome == HF_PARSER_KEYS || plain.outcome == HF_PARSER_MEMBER ||
		       plain.outcome == HF_PARSER_COOKIE || !plain.edits.empty();
	}

	Rule rule_;
	Transport transport_;
	parser_batch_bpf *bpf_ = nullptr;
	MappedArray<Slot> slots_;
};

// One small change, or up to eight, of the kinds that parsers trip over.
void mutate(Sample &sample, std::mt19937_64 &random, const std::vector<Sample> &others)
{
	static const std::string spice[] = {"\r\n",
					    "\n",
					    " ",
					    "\t",
					    ":",
					    "Call-ID:",
					    "i:",
					    "\r\n ",
					    "\r",
					    "\x01",
					    std::string(1, '\0'),
					    "\xff",
					    "\x02",
					    "C",
					    "\x1a",
					    "\n\n",
					    "Cookie:",
					    "sid=",
					    ";",
					    "\"",
					    "?",
					    "&",
					    "#",
					    "uid=",
					    "X-Key:",
					    "0",
					    "=",
					    "HTTP/1.1",
					    "Content-Length: 5\r\n",
					    "Transfer-Encoding: chunked\r\n",
					    "Set-Cookie: sid=",
					    "sid=\"",
					    "|U6iFN",
					    "s1~",
					    "JSESSIONID=",
					    ";jsessionid=",
					    "\r\n\r\n"};
	std::string &bytes = sample.bytes;
	const bool cut = sample.length != bytes.size();

	for (uint64_t changes = 1 + random() % 2 * (random() % 8); changes; changes--) {
		const size_t place = bytes.empty() ? 0 : random() % bytes.size();
		const std::string &other = others[random() % others.size()].bytes;

		switch (random() % 8) {
		case 0:
			if (!bytes.empty())
				bytes[place] = static_cast<char>(random());
			break;
		case 1:
			if (!bytes.empty())
				bytes[place] ^= static_cast<char>(1U << random() % 8);
			break;
		case 2:
			bytes.insert(place, spice[random() % std::size(spice)]);
			break;
		case 3:
			bytes.erase(place, 1 + random() % 6);
			break;
		case 4:
			bytes.insert(place, bytes.substr(place, random() % 40));
			break;
		case 5:
			bytes.resize(place);
			break;
		case 6:
			bytes.insert(place, std::string(random() % 80, spice[random() % std::size(spice)][0]));
			break;
		default:
			if (!other.empty())
				bytes.insert(place, other.substr(random() % other.size(), random() % 64));
		}
	}
	bytes.resize(std::min<size_t>(bytes.size(), HF_MESSAGE_BYTES + 100));
	// A RADIUS packet mostly says its true length: otherwise little more of it is read.
	if (bytes.size() > 20 && static_cast<uint8_t>(bytes[0]) <= 12 && random() % 4) {
		bytes[2] = static_cast<char>(bytes.size() >> 8);
		bytes[3] = static_cast<char>(bytes.size());
	}
	sample.length = bytes.size() + (cut ? 1 + random() % 9000 : 0);
}

} // namespace

Sample whole(const std::string &bytes)
{
	return {bytes, bytes.size()};
}

std::vector<Sample> corpus(const std::string &protocol)
{
	std::vector<Sample> samples;

	for (const auto &entry : std::filesystem::directory_iterator(std::string(HOLDFAST_CORPUS) + "/" + protocol)) {
		std::ifstream file(entry.path(), std::ios::binary);

		samples.push_back(whole({std::istreambuf_iterator<char>(file), {}}));
	}
	if (samples.empty())
		throw std::runtime_error("the corpus is empty");
	return samples;
}

size_t mutations()
{
	const char *text = std::getenv("HOLDFAST_PARSER_MUTATIONS");

	return text ? std::strtoul(text, nullptr, 10) : 1000000;
}

void compare_parsers(const Rule &rule, const std::vector<Sample> &seeds, Transport transport)
{
	std::mt19937_64 random(20261121);
	Parser parser(rule, transport);
	size_t with_keys = 0;

	for (size_t i = 0; i < seeds.size(); i += batch)
		with_keys += static_cast<size_t>(
			parser.compare({seeds.begin() + static_cast<ptrdiff_t>(i),
					seeds.begin() + static_cast<ptrdiff_t>(std::min(seeds.size(), i + batch))},
				       random));
	EXPECT_GT(with_keys, 10U);
	with_keys = 0;
	const size_t rounds = mutations() / batch;
	for (size_t round = 0; round < rounds && !testing::Test::HasFailure(); round++) {
		std::vector<Sample> samples;

		for (uint32_t i = 0; i < batch; i++) {
			samples.push_back(seeds[random() % seeds.size()]);
			mutate(samples.back(), random, seeds);
		}
		with_keys += static_cast<size_t>(parser.compare(samples, random));
	}
	// A mutation that always destroys the message would test nothing.
	EXPECT_GT(with_keys, rounds * batch / 100);
	EXPECT_LT(with_keys, rounds * batch);
	fmt::print("{} mutations, {} of them with keys\n", rounds * batch, with_keys);
}

} // namespace holdfast::test
