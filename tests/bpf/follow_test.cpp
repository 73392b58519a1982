// SPDX-License-Identifier: GPL-2.0
// The followers of requests and responses, in the kernel, against a plain one: over
// streams of messages, whole and mutated, cut into segments at random.
#include <random>

#include "bpf/parser_compare.h"
#include "bpf/splice_fixture.h"
#include "persist/message.h"

namespace holdfast::test
{
namespace
{

// Where a direction stands behind all that it has said.
struct Stand {
	uint8_t state = HF_READER_HEAD;
	uint64_t left = 0;
	size_t head = 0; // HEAD: where the message begins
	unsigned messages = 0;

	bool operator==(const Stand &) const = default;
};

std::ostream &operator<<(std::ostream &out, const Stand &stand)
{
	return out << "state " << int(stand.state) << ", left " << stand.left << ", head at " << stand.head << ", "
		   << stand.messages << " messages";
}

// The parts of a chunked body, a byte at a time. False: it breaks the rules.
bool step_chunk(Stand &stand, unsigned &digits, char c)
{
	auto expect = [&](char wanted, uint8_t next) {
		stand.state = next;
		return c == wanted;
	};

	switch (stand.state) {
	case HF_READER_SIZE:
		if (std::isxdigit(static_cast<unsigned char>(c))) {
			stand.left = stand.left * 16 + std::stoul(std::string(1, c), nullptr, 16);
			return ++digits <= 15;
		}
		if (!digits)
			return false;
		if (c == ';' || c == ' ' || c == '\t') {
			stand.state = HF_READER_EXTENSION;
			return true;
		}
		return expect('\r', HF_READER_SIZE_LF);
	case HF_READER_EXTENSION:
		if (c == '\r')
			stand.state = HF_READER_SIZE_LF;
		return c != '\n';
	case HF_READER_SIZE_LF:
		return expect('\n', stand.left ? HF_READER_DATA : HF_READER_TRAILER);
	case HF_READER_DATA:
		if (--stand.left == 0)
			stand.state = HF_READER_DATA_CR;
		return true;
	case HF_READER_DATA_CR:
		return expect('\r', HF_READER_DATA_LF);
	case HF_READER_DATA_LF:
		digits = 0;
		return expect('\n', HF_READER_SIZE);
	case HF_READER_TRAILER:
		stand.state = c == '\r' ? HF_READER_LAST_LF : HF_READER_TRAILER_LINE;
		return c != '\n';
	case HF_READER_TRAILER_LINE:
		if (c == '\r')
			stand.state = HF_READER_TRAILER_LF;
		return c != '\n';
	case HF_READER_TRAILER_LF:
		return expect('\n', HF_READER_TRAILER);
	case HF_READER_LAST_LF:
		return expect('\n', HF_READER_HEAD);
	default:
		return false;
	}
}

Stand follow_plainly(const std::string &stream, const Rule &rule, bool answers)
{
	Stand stand;
	size_t at = 0;
	unsigned digits = 0;
	auto off = [&] { return Stand{.state = HF_READER_OFF, .messages = stand.messages}; };

	while (at < stream.size()) {
		if (stand.state == HF_READER_HEAD) {
			const std::string_view rest = std::string_view(stream).substr(at);
			const MessageKeys read =
				answers ? read_http_answer(rest, rest.size() + 1, HttpMethod::other, rule, {})
					: read_http(rest, rest.size() + 1, rule, {});

			stand.head = at;
			if (read.outcome == HF_PARSER_MORE)
				return stand;
			if (!read.head.size)
				return off();
			stand.messages += read.head.framing != HttpFraming::interim;
			at += read.head.size;
			switch (read.head.framing) {
			case HttpFraming::length:
				stand.left = read.head.body;
				stand.state = stand.left ? HF_READER_BODY : HF_READER_HEAD;
				break;
			case HttpFraming::chunked:
				digits = 0;
				stand.left = 0;
				stand.state = HF_READER_SIZE;
				break;
			case HttpFraming::interim:
				break;
			case HttpFraming::until_close:
				stand.state = HF_READER_REST;
				return stand;
			default:
				return off();
			}
		} else if (stand.state == HF_READER_BODY) {
			const size_t size = std::min<size_t>(stream.size() - at, stand.left);

			at += size;
			stand.left -= size;
			if (!stand.left)
				stand.state = HF_READER_HEAD;
		} else if (!step_chunk(stand, digits, stream[at++])) {
			return off();
		}
		if (stand.state == HF_READER_HEAD)
			stand.head = at;
	}
	return stand;
}

std::string chunks(std::mt19937_64 &random)
{
	std::string body;

	for (uint64_t i = random() % 4; i; i--) {
		const size_t size = random() % 3 ? random() % 40 + 1 : random() % 2000 + 1;

		body += fmt::format("{:x}{}\r\n", size, random() % 3 ? "" : ";x=y") + std::string(size, 'd') + "\r\n";
	}
	return body + "0\r\n" + (random() % 3 ? "" : "T: 1\r\n") + "\r\n";
}

std::string message(std::mt19937_64 &random, bool answer)
{
	static const char *const firsts[] = {"GET /a?x=1 HTTP/1.1", "POST / HTTP/1.1", "PUT /b HTTP/1.1",
					     "GET / HTTP/1.0"};
	static const char *const lines[] = {"HTTP/1.1 200 OK",       "HTTP/1.1 404 Not Found",  "HTTP/1.1 200 OK",
					    "HTTP/1.1 100 Continue", "HTTP/1.1 204 No Content", "HTTP/1.1 304"};
	std::string head = answer ? lines[random() % std::size(lines)] : firsts[random() % std::size(firsts)];
	const uint64_t kind = random() % 8;
	std::string body;

	head += "\r\nHost: h\r\nCookie: sid=abc\r\n";
	if (random() % 4 == 0)
		head += "X-Pad: " + std::string(random() % 3000, 'p') + "\r\n";
	if (head.find(" 100 ") != std::string::npos || head.find(" 204 ") != std::string::npos ||
	    head.find(" 304") != std::string::npos)
		return head + "\r\n";
	if (kind < 3 || (answer && kind < 5)) {
		body = std::string(random() % 3 ? random() % 30 : random() % 4000, 'b');
		head += fmt::format("Content-Length: {}\r\n", body.size());
	} else if (kind < 6) {
		head += "Transfer-Encoding: chunked\r\n";
		body = chunks(random);
	}
	// What looks like a message, in a body.
	if (body.size() > 60 && random() % 2)
		body.replace(5, 40, "\r\n\r\nGET / HTTP/1.1\r\nCookie: sid=x\r\n\r\n\r\n");
	return head + "\r\n" + body;
}

void spoil(std::string &stream, std::mt19937_64 &random)
{
	static const std::string spice[] = {"\r\n", "\n", "\r", "0",       "Content-Length: 3\r\n",
					    ";",    "f",  " ",  "\r\n\r\n"};

	for (uint64_t changes = random() % 3; changes && !stream.empty(); changes--) {
		const size_t place = random() % stream.size();

		switch (random() % 4) {
		case 0:
			stream[place] = static_cast<char>(random());
			break;
		case 1:
			stream.insert(place, spice[random() % std::size(spice)]);
			break;
		case 2:
			stream.erase(place, 1 + random() % 3);
			break;
		default:
			stream.resize(place);
		}
	}
}

class Follower : public SpliceTest
{
protected:
	// On TC a segment goes straight there; what XDP leaves alone follows.
	void feed(Testbed &bed, const Bytes &packet) const
	{
		if (hook() == Hook::tc || passed(Hook::xdp, bed.run(Hook::xdp, packet)))
			bed.run(Hook::tc, packet);
	}

	static std::string counted(const Testbed &bed)
	{
		std::string text;

#define REASON_TEXT(name, kind, meaning)                                                                               \
	if (const uint64_t count = bed.reason(HF_REASON_##name))                                                       \
		text += fmt::format("{} {}, ", #name, count);
		HF_REASONS(REASON_TEXT)
#undef REASON_TEXT
		return text;
	}

	static uint32_t slot_of(const Testbed &bed)
	{
		uint32_t slot = 0;

		EXPECT_TRUE(bed.maps->connections.each([&](const hf_flow_key &, const hf_connection &connection) {
			slot = connection.splice & HF_SPLICE_SLOT;
			return false;
		}));
		return slot;
	}

	void follow(bool answers) const
	{
		const Rule by_cookie{.name = "by-cookie", .type = HF_RULE_COOKIE_HASH, .keyword = "sid"};
		std::mt19937_64 random(20261128);
		Testbed bed(config(web, rule, 1));
		int number = 0;
		const uint32_t cookie = bind(bed, number), slot = slot_of(bed);
		const uint32_t base = answers ? member_isn + 1 : client_isn + 1 + static_cast<uint32_t>(request.size());
		const uint32_t other = answers ? client_isn + 1 + static_cast<uint32_t>(request.size()) : cookie + 1;
		unsigned off = 0, whole_ones = 0;
		uint32_t sequence = base;

		if (!answers)
			run(bed,
			    from_member(number, ack, member_isn + 1, base, stamps(member_clock + 1, client_clock)));
		for (size_t round = 0; round < mutations() / 100 && !HasFailure(); round++) {
			std::string stream;

			for (uint64_t i = 1 + random() % 4; i; i--)
				stream += message(random, answers);
			spoil(stream, random);
			hf_splice splice = *bed.maps->splices.find(slot);
			splice.requests = splice.answers = {};
			hf_reader &reader = answers ? splice.answers : splice.requests;
			reader.state = HF_READER_HEAD;
			reader.next = reader.head = sequence;
			splice.requested = answers ? 12 : 0;
			splice.answered = 0;
			splice.methods = 0;
			ASSERT_TRUE(bed.maps->splices.set(slot, splice));
			for (size_t at = 0; at < stream.size();) {
				const size_t size =
					std::min<size_t>(stream.size() - at, 1 + random() % (random() % 3 ? 1400 : 20));
				const Payload part(stream.substr(at, size));
				const auto where = sequence + static_cast<uint32_t>(at);

				if (answers)
					feed(bed, from_member(number, ack, where, other,
							      stamps(member_clock + 2, client_clock)) /
							  part);
				else
					feed(bed, from_client(ack, where, other, stamps(client_clock + 3, 0)) / part);
				at += size;
			}
			const hf_splice after = *bed.maps->splices.find(slot);
			const hf_reader &found = answers ? after.answers : after.requests;
			Stand stand{.state = found.state, .messages = answers ? after.answered : after.requested};
			if (found.state == HF_READER_HEAD)
				stand.head = found.head - sequence;
			if (found.state != HF_READER_OFF && found.state != HF_READER_REST)
				stand.left = found.left;
			Stand plain = follow_plainly(stream, by_cookie, answers);
			if (plain.state != HF_READER_HEAD)
				plain.head = 0;
			/* How many there were before it all became unclear does not matter. */
			if (plain.state == HF_READER_OFF || plain.state == HF_READER_REST)
				plain.messages = stand.messages;
			EXPECT_EQ(stand, plain) << "round " << round << ": " << counted(bed) << hex(stream);
			off += plain.state == HF_READER_OFF;
			whole_ones += plain.state == HF_READER_HEAD && plain.head == stream.size();
			sequence += static_cast<uint32_t>(stream.size());
			// What is kept of an unfinished head goes when that is finished.
			for (const char *end : {"\r\n\r\n", "\x01 \x01\r\n\r\n"}) {
				const hf_reader last = answers ? bed.maps->splices.find(slot)->answers
							       : bed.maps->splices.find(slot)->requests;
				if (last.state != HF_READER_HEAD || last.head == last.next)
					break;
				feed(bed, answers ? from_member(number, ack, sequence, other,
								stamps(member_clock + 2, client_clock)) /
							    Payload(std::string(end))
						  : from_client(ack, sequence, other, stamps(client_clock + 3, 0)) /
							    Payload(std::string(end)));
				sequence += static_cast<uint32_t>(std::string(end).size());
			}
			ASSERT_EQ(pieces(bed), 0U) << "left over in round " << round << ": " << hex(stream);
		}
		EXPECT_GT(off, mutations() / 10000);
		EXPECT_GT(whole_ones, mutations() / 10000);
	}
};

INSTANTIATE_TEST_SUITE_P(Datapath, Follower, testing::ValuesIn(all_places), place_name);

TEST_P(Follower, AgreesOnRequests)
{
	follow(false);
}

TEST_P(Follower, AgreesOnResponses)
{
	follow(true);
}

} // namespace
} // namespace holdfast::test
