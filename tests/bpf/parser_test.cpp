// SPDX-License-Identifier: GPL-2.0
// The data path's parsers against the plain ones of userspace/persist: for real
// messages, for hostile ones, and for very many mutations of both, the same
// outcome and the same keys.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
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
	uint32_t places[8];
	uint64_t digest[4];
	hf_keys keys;
	uint8_t address[16];
	uint16_t port, pad2[3];
	uint8_t bytes[2 * HF_MESSAGE_BYTES + HF_PIECE_BYTES + 16];
};

constexpr uint32_t batch = 256;

struct Sample {
	std::string bytes;
	size_t length; // of the whole message
};

Sample whole(const std::string &bytes)
{
	return {bytes, bytes.size()};
}

class Parser
{
public:
	explicit Parser(const Rule &rule) : rule_(rule)
	{
		bpf_map *map = nullptr;

		collect_libbpf_messages();
		bpf_ = parser_batch_bpf__open();
		bpf_object__for_each_map(map, bpf_->obj)
		{
			const std::string name = bpf_map__name(map);

			// The data path's tables are not needed, but for the secret.
			if (name != "messages" && name != "parser_rule" && name != "installation")
				bpf_map__set_autocreate(map, false);
		}
		if (parser_batch_bpf__load(bpf_))
			throw std::runtime_error(take_libbpf_messages());
		const uint32_t zero = 0;
		const hf_rule value = encode(rule);
		hf_installation installation{};

		std::copy(digest_key.begin(), digest_key.end(), installation.digest_key);
		bpf_map_update_elem(bpf_map__fd(bpf_->maps.installation), &zero, &installation, BPF_ANY);
		bpf_map_update_elem(bpf_map__fd(bpf_->maps.parser_rule), &zero, &value, BPF_ANY);
		auto mapped = MappedArray<Slot>::map(bpf_map__fd(bpf_->maps.messages), batch, "messages");
		slots_ = std::move(*mapped);
	}
	~Parser() { parser_batch_bpf__destroy(bpf_); }
	Parser(const Parser &) = delete;
	Parser &operator=(const Parser &) = delete;

	// Both parsers over up to a batch of messages. Returns how many had keys.
	int compare(const std::vector<Sample> &samples)
	{
		auto count = static_cast<uint32_t>(samples.size());
		int with_keys = 0;

		for (uint32_t i = 0; i < count; i++) {
			const size_t size = std::min<size_t>(samples[i].bytes.size(), HF_DATAGRAM_BYTES);
			Slot *slot = slots_.live(i);

			slot->available = static_cast<uint32_t>(size);
			slot->length = static_cast<uint32_t>(samples[i].length);
			slot->answer = 0;
			slot->keys = {};
			std::memcpy(slot->bytes, samples[i].bytes.data(), size);
			// Behind the zeros lies what an earlier message left.
			std::memset(slot->bytes + size, 0, 16);
		}
		LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &count, .ctx_size_in = sizeof(count));
		if (bpf_prog_test_run_opts(bpf_program__fd(bpf_->progs.parse_batch), &options) || options.retval)
			throw std::runtime_error("running the parsers");
		for (uint32_t i = 0; i < count; i++)
			with_keys += compare(samples[i], *slots_.live(i));
		return with_keys;
	}

	MessageKeys expected(const Sample &sample) const
	{
		return read_message(std::string_view(sample.bytes).substr(0, HF_DATAGRAM_BYTES), sample.length, rule_,
				    {digest_key, digest_key});
	}

private:
	bool compare(const Sample &sample, const Slot &slot) const
	{
		const MessageKeys plain = expected(sample);
		bool equal = static_cast<int>(slot.length) == plain.outcome && slot.keys.count == plain.keys.size();

		for (size_t i = 0; equal && i < plain.keys.size(); i++)
			equal = std::memcmp(slot.keys.keys[i], plain.keys[i].data(), 16) == 0;
		if (rule_.type == HF_RULE_SIP_CALL_ID)
			equal = equal && slot.answer == plain.answer;
		EXPECT_TRUE(equal) << "data path: outcome " << slot.length << ", " << int(slot.keys.count)
				   << " keys; plain: outcome " << plain.outcome << ", " << plain.keys.size()
				   << " keys; " << sample.length << " bytes, of which are here: " << hex(sample.bytes);
		return plain.outcome == HF_PARSER_KEYS;
	}

	Rule rule_;
	parser_batch_bpf *bpf_ = nullptr;
	MappedArray<Slot> slots_;
};

Rule sip_rule()
{
	return {.name = "sip", .type = HF_RULE_SIP_CALL_ID};
}

Rule radius_rule(hf_relation relation, std::vector<RadiusAttribute> attributes)
{
	Rule rule{.name = "radius", .type = HF_RULE_RADIUS_ATTRIBUTE};

	rule.relation = relation;
	rule.attributes = std::move(attributes);
	return rule;
}

std::string sip_message(const std::string &headers, const std::string &first = "INVITE sip:bob@example.com SIP/2.0")
{
	return first +
	       "\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776\r\nMax-Forwards: 70\r\n"
	       "To: Bob <sip:bob@example.com>\r\nFrom: Alice <sip:alice@example.com>;tag=19283\r\n" +
	       headers + "CSeq: 314159 INVITE\r\nContact: <sip:alice@192.0.2.1>\r\nContent-Length: 0\r\n\r\n";
}

std::string attribute(int type, const std::string &value, int length = -1)
{
	return std::string(1, static_cast<char>(type)) +
	       static_cast<char>(length < 0 ? static_cast<int>(value.size()) + 2 : length) + value;
}

std::string vendor(uint32_t id, const std::string &parts)
{
	std::string value;

	for (int shift = 24; shift >= 0; shift -= 8)
		value += static_cast<char>(id >> shift);
	return attribute(26, value + parts);
}

std::string radius_packet(const std::string &attributes, int code = 1, int length = -1)
{
	const size_t size = length < 0 ? 20 + attributes.size() : static_cast<size_t>(length);

	return std::string(1, static_cast<char>(code)) + '\x07' + static_cast<char>(size >> 8) +
	       static_cast<char>(size) + std::string(16, 'a') + attributes;
}

// Messages of real programs, and any that the two parsers have once disagreed
// about: each a file in tests/corpus.
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

std::vector<Sample> sip_samples()
{
	std::vector<Sample> samples = corpus("sip");

	for (const char *header : {"Call-ID: a84b4c76e66710@pc33.example.com\r\n",
				   "i: a84b4c76e66710\r\n",
				   "I:x\r\n",
				   "CALL-id\t : x@y\r\n",
				   "call-id:\r\n  folded@y\r\n",
				   "Call-ID:\n\tfolded\n",
				   "Call-ID: \r\n",
				   "Call-ID:\r\n",
				   "Call-ID\r\n",
				   "Call-ID : a b c\r\n",
				   "Call-IDx: no\r\n",
				   "Call-I: no\r\n",
				   "ii: no\r\n",
				   "i\r\n",
				   "Call-ID: a\x01z\r\n",
				   "Call-ID: \xff\xfe\x80@y\r\n",
				   "Content-Length: 3\r\nCall-ID: late\r\n",
				   "\r\nCall-ID: in the body\r\n",
				   "\nCall-ID: in the body\r\n",
				   "Subject: Call-ID: no\r\n",
				   "Subject: x\r\n Call-ID: no\r\nCall-ID: yes\r\n",
				   "Call-ID: one\r\nCall-ID: two\r\n",
				   ""})
		samples.push_back(whole(sip_message(header)));
	for (const size_t size : {1UL, 7UL, 8UL, 9UL, 255UL, 256UL, 2000UL, 3900UL, 5000UL})
		samples.push_back(whole(sip_message("Call-ID: " + std::string(size, 'x') + "\r\n")));
	for (const size_t size : {30UL, 31UL, 32UL, 33UL, 200UL}) {
		samples.push_back(whole(sip_message("Call-ID" + std::string(size, ' ') + ": x\r\n")));
		samples.push_back(whole(sip_message("Call-ID:" + std::string(size, ' ') + "x\r\n")));
	}
	for (size_t size = 3700; size < 4100; size += 7)
		samples.push_back(whole(sip_message("Subject: " + std::string(size, 's') + "\r\nCall-ID: after\r\n")));
	std::string lines;
	for (int i = 0; i < 1300; i++)
		lines += i % 2 ? "C\n" : "a\n";
	samples.push_back(whole(sip_message(lines + "Call-ID: behind many lines\r\n")));
	samples.push_back(whole(sip_message("Call-ID: answer@y\r\n", "SIP/2.0 200 OK")));
	samples.push_back(whole("\r\n\r\n" + sip_message("Call-ID: answer@y\r\n", "sip/2.0 200 OK")));
	samples.push_back(whole("\r\n\r\n"));
	samples.push_back(whole(std::string(40, '\n')));
	samples.push_back(whole(""));
	samples.push_back(whole(std::string("\0\1\0\0\x21\x12\xa4\x42", 8)));
	// Cut at every place: by the end of the datagram, and by the end of its first fragment.
	const std::string message = sip_message("Call-ID:\r\n cut@here.example\r\n");
	for (size_t size = 0; size <= message.size(); size++) {
		samples.push_back({message.substr(0, size), size});
		samples.push_back({message.substr(0, size), message.size() + 1});
	}
	return samples;
}

std::vector<Sample> radius_samples()
{
	const std::string user = attribute(1, "alice"), session = attribute(44, "0123456789abcdef");
	const std::string station = attribute(31, "00-10-A4-23-19-C0"), address = attribute(4, {10, 0, 0, 1});
	const std::string pair = vendor(9, attribute(1, "ip:addr-pool=x"));
	std::vector<Sample> samples = corpus("radius");

	for (const int code : {0, 1, 2, 4, 5, 12, 40})
		samples.push_back(whole(radius_packet(user + session + address, code)));
	for (const std::string &attributes : {std::string(),
					      user,
					      session + user,
					      user + attribute(1, "bob"),
					      attribute(1, "", 2),
					      attribute(1, "", 0),
					      attribute(1, "", 1),
					      attribute(1, "abc", 200),
					      attribute(4, "abc"),
					      attribute(4, "abcde"),
					      user + "\x01",
					      pair + user,
					      vendor(9, attribute(2, "other") + attribute(1, "second")),
					      vendor(10, attribute(1, "not ours")),
					      vendor(9, attribute(1, "", 2)),
					      vendor(9, attribute(1, "x", 0)),
					      vendor(9, attribute(1, "x", 9)),
					      vendor(9, ""),
					      attribute(26, "abc"),
					      attribute(26, "abcd"),
					      attribute(0, "zero") + user,
					      attribute(1, std::string(253, '\xff')) + station,
					      user + session + station + pair + address,
					      attribute(36, std::string(32, 'g')) + attribute(60, "abcd") + user})
		samples.push_back(whole(radius_packet(attributes)));
	std::string many, parts;
	for (int i = 0; i < 300; i++)
		many += attribute(33, "ab");
	for (int i = 0; i < 40; i++)
		parts += attribute(2, "ab");
	samples.push_back(whole(radius_packet(many + user)));
	samples.push_back(whole(radius_packet(many.substr(0, 4 * 250) + user)));
	samples.push_back(whole(radius_packet(many.substr(0, 4 * 254) + user + session)));
	samples.push_back(whole(radius_packet(vendor(9, parts + attribute(1, "late")) + user)));
	for (const int length : {0, 19, 20, 21, 26, 27, 28, 4096, 4097, 65535})
		samples.push_back(whole(radius_packet(user, 1, length)));
	samples.push_back(whole(radius_packet(user) + "padding behind the packet"));
	const std::string packet = radius_packet(user + pair + session + station + address, 4);
	for (size_t size = 0; size <= packet.size(); size++) {
		samples.push_back({packet.substr(0, size), size});
		samples.push_back({packet.substr(0, size), 65536});
	}
	return samples;
}

// One small change, or up to eight, of the kinds that parsers trip over.
void mutate(Sample &sample, std::mt19937_64 &random, const std::vector<Sample> &others)
{
	static const std::string spice[] = {
		"\r\n", "\n",   " ", "\t",   ":",   "Call-ID:", "i:", "\r\n ", "\r", "\x01", std::string(1, '\0'),
		"\xff", "\x02", "C", "\x1a", "\n\n"};
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
	bytes.resize(std::min<size_t>(bytes.size(), 2 * HF_MESSAGE_BYTES));
	// A RADIUS packet mostly says its true length: otherwise little more of it is read.
	if (bytes.size() > 20 && static_cast<uint8_t>(bytes[0]) <= 12 && random() % 4) {
		bytes[2] = static_cast<char>(bytes.size() >> 8);
		bytes[3] = static_cast<char>(bytes.size());
	}
	sample.length = bytes.size() + (cut ? 1 + random() % 9000 : 0);
}

// How many mutations a test tries: HOLDFAST_PARSER_MUTATIONS for more.
size_t mutations()
{
	const char *text = std::getenv("HOLDFAST_PARSER_MUTATIONS");

	return text ? std::strtoul(text, nullptr, 10) : 1000000;
}

void compare_all(const Rule &rule, const std::vector<Sample> &seeds)
{
	std::mt19937_64 random(20261121);
	Parser parser(rule);
	size_t with_keys = 0;

	for (size_t i = 0; i < seeds.size(); i += batch)
		with_keys += static_cast<size_t>(
			parser.compare({seeds.begin() + static_cast<ptrdiff_t>(i),
					seeds.begin() + static_cast<ptrdiff_t>(std::min(seeds.size(), i + batch))}));
	EXPECT_GT(with_keys, 10U);
	with_keys = 0;
	const size_t rounds = mutations() / batch;
	for (size_t round = 0; round < rounds && !testing::Test::HasFailure(); round++) {
		std::vector<Sample> samples;

		for (uint32_t i = 0; i < batch; i++) {
			samples.push_back(seeds[random() % seeds.size()]);
			mutate(samples.back(), random, seeds);
		}
		with_keys += static_cast<size_t>(parser.compare(samples));
	}
	// A mutation that always destroys the message would test nothing.
	EXPECT_GT(with_keys, rounds * batch / 100);
	EXPECT_LT(with_keys, rounds * batch);
	fmt::print("{} mutations, {} of them with keys\n", rounds * batch, with_keys);
}

TEST(ParserAgrees, SipCallId)
{
	compare_all(sip_rule(), sip_samples());
}

TEST(ParserAgrees, RadiusAnd)
{
	compare_all(radius_rule(HF_RELATION_AND, {{1}, {26, 9, 1}}), radius_samples());
}

TEST(ParserAgrees, RadiusOneAttribute)
{
	compare_all(radius_rule(HF_RELATION_AND, {{1}}), radius_samples());
}

TEST(ParserAgrees, RadiusOr)
{
	compare_all(radius_rule(HF_RELATION_OR, {{44}, {26, 9, 1}, {31}, {4}}), radius_samples());
}

TEST(ParserAgrees, RadiusWholeVendorAttribute)
{
	compare_all(radius_rule(HF_RELATION_OR, {{26}, {60}, {36}, {1}}), radius_samples());
}

} // namespace
} // namespace holdfast::test
