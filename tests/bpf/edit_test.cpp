// SPDX-License-Identifier: GPL-2.0
// Streams in which the data path changes something: cut into segments at random, sent
// again in other segments, acknowledged at any place. The receiver's stream, put together
// from what is sent, is compared with a plain edit of the sender's.
#include <random>
#include <regex>

#include "bpf/parser_compare.h"
#include "bpf/splice_fixture.h"

namespace holdfast::test
{
namespace
{

std::string replaced(std::string text, const std::string &from, const std::string &to)
{
	for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
		text.replace(at, from.size(), to);
	return text;
}

// A stream that is on its way: `wanted` is what its receiver is to get.
struct Way {
	std::string stream, wanted;
	uint32_t sender = 0, receiver = 0; // numbers of the first byte, on either side
	size_t acknowledged = 0, sent = 0; // of the stream
	std::string got;
	std::vector<bool> have;

	size_t whole() const { return static_cast<size_t>(std::find(have.begin(), have.end(), false) - have.begin()); }

	// What the receiver has must be the same each time that it comes.
	void take(uint32_t sequence, const std::string &payload)
	{
		const auto at = static_cast<int32_t>(sequence - receiver);

		for (size_t i = 0; i < payload.size(); i++) {
			const int64_t place = at + static_cast<int64_t>(i);

			/* What was acknowledged long ago may be anywhere in front. */
			if (place < static_cast<int64_t>(whole()))
				continue;
			const auto index = static_cast<size_t>(place);
			if (have.size() <= index) {
				have.resize(index + 1, false);
				got.resize(index + 1, '?');
			}
			if (have[index]) {
				EXPECT_EQ(got[index], payload[i]) << "at " << index << " of " << got;
			}
			have[index] = true;
			got[index] = payload[i];
		}
	}
};

class Edited : public SpliceTest
{
protected:
	// From hook to hook, as the kernel takes it.
	Outcome through(Testbed &bed, const Bytes &packet) const
	{
		Outcome outcome = bed.run(hook(), packet);
		Hook last = hook();

		if (hook() == Hook::xdp && passed(Hook::xdp, outcome)) {
			EXPECT_EQ(outcome.packet, packet) << "XDP changed what it passed on";
			outcome = bed.run(Hook::tc, packet);
			last = Hook::tc;
		}
		if (!sent(last, outcome)) {
			outcome.packet.clear();
			return outcome;
		}
		EXPECT_EQ(check_packet(outcome.packet), "") << describe(outcome.packet);
		return outcome;
	}

	std::string rule_of(const std::string &type, const std::string &more = "") const
	{
		return fmt::format("  - {{name: by-cookie, type: {}, keyword: sid{}}}\n", type, more);
	}

	// A connection that is bound by `first`; the member gets `wanted`.
	void begin(Testbed &bed, const std::string &first, const std::string &wanted)
	{
		const uint32_t cookie = ask(bed);

		admit(bed, cookie);
		const Outcome connecting =
			open(bed, from_client(ack | psh, client_isn + 1, cookie + 1, stamps(client_clock + 2, 0)) /
					  Payload(first));
		ASSERT_TRUE(sent(Hook::tc, connecting));
		member_ = addressee(connecting);
		const Outcome bound = open(
			bed, from_member(member_, syn | ack, member_isn, client_isn + 1,
					 words({0x020405b4, 0x0402080a, member_clock, client_clock + 2, 0x01030307})));
		ASSERT_TRUE(sent(Hook::tc, bound));
		EXPECT_EQ(look(bound.packet).payload, wanted);
		EXPECT_EQ(look(bound.packet).sequence, client_isn + 1);
		requests_ = {.sender = client_isn + 1, .receiver = client_isn + 1};
		answers_ = {.sender = member_isn + 1, .receiver = cookie + 1};
		requests_.stream = first;
		requests_.wanted = wanted;
		requests_.sent = first.size();
		requests_.take(client_isn + 1, look(bound.packet).payload);
	}

	Bytes segment(bool answer, const std::string &payload, size_t at, uint8_t flags = ack) const
	{
		const auto sequence = static_cast<uint32_t>(at);

		if (answer)
			return from_member(member_, flags, answers_.sender + sequence,
					   requests_.receiver + static_cast<uint32_t>(requests_.whole()),
					   stamps(member_clock + 2, client_clock)) /
			       Payload(payload);
		return from_client(flags, requests_.sender + sequence,
				   answers_.receiver + static_cast<uint32_t>(answers_.whole()),
				   stamps(client_clock + 3, 0)) /
		       Payload(payload);
	}

	// Bytes of one side's stream leave, and what the other side gets of them is taken.
	void send(Testbed &bed, bool answer, size_t from, size_t to)
	{
		Way &way = answer ? answers_ : requests_;
		const Outcome outcome = through(bed, segment(answer, way.stream.substr(from, to - from), from));

		if (outcome.packet.empty())
			return;
		const Seen seen = look(outcome.packet);
		if (seen.payload.empty()) {
			// The receiver is only asked what it has: with a number that it has already got.
			EXPECT_LE(seen.sequence + 1 - way.receiver, way.whole());
			acknowledge(bed, answer, way.whole());
		}
		way.take(seen.sequence, seen.payload);
	}

	// The receiver acknowledges so much of what it has.
	void acknowledge(Testbed &bed, bool answer, size_t count)
	{
		Way &way = answer ? answers_ : requests_;
		const auto number = way.receiver + static_cast<uint32_t>(count);
		const Outcome outcome = through(
			bed, answer ? from_client(ack, requests_.sender + static_cast<uint32_t>(requests_.sent), number,
						  stamps(client_clock + 3, 0))
				    : from_member(member_, ack, answers_.sender + static_cast<uint32_t>(answers_.sent),
						  number, stamps(member_clock + 2, client_clock)));

		ASSERT_FALSE(outcome.packet.empty());
		const size_t told = look(outcome.packet).acknowledgement - way.sender;
		EXPECT_LE(told, way.sent) << count << " of " << way.got;
		if (count == way.whole()) {
			EXPECT_GE(told, way.acknowledged) << count << " of " << way.got;
		}
		way.acknowledged = std::max(way.acknowledged, std::min(told, way.sent));
	}

	// All of the stream arrives, by and by.
	void deliver(Testbed &bed, bool answer, std::mt19937_64 &random, size_t longest)
	{
		Way &way = answer ? answers_ : requests_;

		for (int step = 0; step < 20000; step++) {
			const size_t size = 1 + random() % longest;

			if (way.sent < way.stream.size() && random() % 4) {
				const size_t from = way.sent;

				way.sent = std::min(way.stream.size(), from + size);
				// Some get lost behind, and come again in another shape.
				send(bed, answer, from, way.sent);
			} else if (way.acknowledged < way.sent) {
				const size_t from = way.acknowledged + random() % (way.sent - way.acknowledged);

				send(bed, answer, random() % 2 ? way.acknowledged : from,
				     std::min(way.sent, from + size));
			}
			if (random() % 2)
				acknowledge(bed, answer, way.whole() - random() % std::min<size_t>(way.whole() + 1, 9));
			if (way.sent == way.stream.size() && way.whole() == way.wanted.size() && !(random() % 3)) {
				acknowledge(bed, answer, way.whole());
				break;
			}
			if (testing::Test::HasFatalFailure() || HasNonfatalFailure())
				break;
		}
		EXPECT_EQ(way.acknowledged, way.stream.size());
		EXPECT_EQ(way.got, way.wanted);
	}

	// One side says more, which the other is to get as `wanted`.
	void say(Testbed &bed, bool answer, const std::string &text, const std::string &wanted, std::mt19937_64 &random,
		 size_t longest = 300)
	{
		Way &way = answer ? answers_ : requests_;

		way.stream += text;
		way.wanted += wanted;
		deliver(bed, answer, random, longest);
	}

	static size_t lists(const Testbed &bed)
	{
		size_t entries = 0;

		EXPECT_TRUE(bed.maps->edits.each([&](const hf_edits_key &, const hf_edits &) {
			entries++;
			return true;
		}));
		return entries;
	}

	int member_ = 0;
	Way requests_, answers_;
};

INSTANTIATE_TEST_SUITE_P(Datapath, Edited, testing::ValuesIn(all_places), place_name);

const std::string plain_request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

// Responses, each with "%" where the member's own value is.
const std::vector<std::string> responses = {
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: sid=%; Path=/\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nSet-Cookie: other=sid=x; Path=/\r\nset-cookie:sid=%\r\nTransfer-Encoding: chunked\r\n\r\n"
	"5\r\nhello\r\n0\r\n\r\n",
	"HTTP/1.1 302 Found\r\nServer: x\r\nSet-Cookie: a=b\r\nSet-Cookie: sid=%;Secure\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 204 No Content\r\nSet-Cookie: sid=%\r\n\r\n",
	"HTTP/1.1 200 OK\r\nX-Not: Set-Cookie: sid=%no\r\nSet-Cookie: sid=%; Path=/a\r\nSet-Cookie: sid=%; Path=/b\r\n"
	"Content-Length: 22\r\n\r\nSet-Cookie: sid=body\r\n",
	"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n404"};

// What becomes of one of them, where a value is put in place of the members', or in front of it.
std::string edited_response(const std::string &response, const std::string &own, const std::string &value)
{
	return replaced(replaced(response, "%no", own + "no"), "%", value);
}

TEST_P(Edited, ValuesAreReplaced)
{
	std::mt19937_64 random(20261128);

	for (const size_t longest : {1UL, 3UL, 40UL, 700UL}) {
		Testbed bed(config(web, rule_of("rewrite-cookie")));
		begin(bed, plain_request, plain_request);
		for (int round = 0; round < 12 && !HasFailure(); round++) {
			const std::string own = std::string(random() % 3 ? 1 + random() % 8 : 1 + random() % 300, 'v');
			const std::string &text = responses[random() % responses.size()];

			say(bed, true, edited_response(text, own, own),
			    edited_response(text, own, fmt::format("rs{}", member_)), random, longest);
			EXPECT_EQ(lists(bed), 0U) << "everything is acknowledged";
			say(bed, false, plain_request, plain_request, random, longest + 20);
		}
		EXPECT_EQ(bed.reason(HF_REASON_edit_held), 0U);
	}
}

TEST_P(Edited, ValuesGetAPrefixWhichIsTakenOffAgain)
{
	std::mt19937_64 random(20261129);

	for (const size_t longest : {1UL, 3UL, 40UL, 700UL}) {
		Testbed bed(config(web, rule_of("embedded-cookie")));
		const std::string request = "GET /a HTTP/1.1\r\nHost: h\r\nCookie: x=rs9~y; sid=%666; z=~\r\n\r\n";

		begin(bed, replaced(request, "%", "rs2~"), replaced(request, "%", ""));
		EXPECT_EQ(member_, 2);
		for (int round = 0; round < 12 && !HasFailure(); round++) {
			const std::string own = std::string(1 + random() % 20, 'v'), prefix = "rs2~";
			const std::string &text = responses[random() % responses.size()];

			say(bed, true, edited_response(text, own, own), edited_response(text, own, prefix + own),
			    random, longest);
			EXPECT_EQ(lists(bed), 0U);
			const std::vector<std::string> values = {"rs2~", "\"rs2~", "", "rs2-and-more-of-a-value",
								 "rs2~rs2~"};
			const std::string &value = values[random() % values.size()];
			const size_t at = value.find("rs2~");
			say(bed, false, replaced(request, "%", value),
			    replaced(request, "%", at == std::string::npos ? value : std::string(value).erase(at, 4)),
			    random, longest);
			EXPECT_EQ(lists(bed), 0U);
		}
	}
}

TEST_P(Edited, CookiesAreInserted)
{
	std::mt19937_64 random(20261130);
	const std::regex cookie("Set-Cookie: sid=rs([123])\\|([A-Za-z0-9+/]{5}); path=/; HttpOnly; SameSite=Lax\r\n");

	for (const size_t longest : {1UL, 3UL, 40UL, 700UL}) {
		Testbed bed(config(web, rule_of("insert-cookie", ", timeout: 600, httponly: true, samesite: lax")));
		begin(bed, plain_request, plain_request);
		for (int round = 0; round < 12 && !HasFailure(); round++) {
			const std::string &text = responses[random() % responses.size()];
			const size_t line = text.find('\n') + 1, from = answers_.got.size();
			const std::string form = "Set-Cookie: sid=rs1|AAAAA; path=/; HttpOnly; SameSite=Lax\r\n";

			// The date is not known before it is there; everything else is.
			answers_.stream += "HTTP/1.1 100 Continue\r\n\r\n" + text;
			answers_.wanted +=
				"HTTP/1.1 100 Continue\r\n\r\n" + text.substr(0, line) + form + text.substr(line);
			for (int step = 0;
			     step < 20000 && answers_.acknowledged < answers_.stream.size() && !HasFailure(); step++) {
				const size_t begun = answers_.sent;

				answers_.sent = std::min(answers_.stream.size(), begun + 1 + random() % longest);
				if (begun < answers_.sent)
					send(bed, true, begun, answers_.sent);
				send(bed, true, answers_.acknowledged, answers_.sent);
				acknowledge(bed, true,
					    answers_.whole() - random() % std::min<size_t>(answers_.whole() + 1, 90));
			}
			std::smatch match;
			const std::string got = answers_.got.substr(from);
			ASSERT_TRUE(std::regex_search(got, match, cookie)) << got;
			EXPECT_EQ(match[1], std::to_string(member_));
			const int64_t date =
				int64_t{*cookie_date(match[2].str())} * HF_COOKIE_DATE_SECONDS - ::time(nullptr);
			EXPECT_NEAR(static_cast<double>(date), 600, 8);
			EXPECT_EQ(got.substr(0, static_cast<size_t>(match.position())) + form + match.suffix().str(),
				  answers_.wanted.substr(from));
			answers_.wanted = answers_.got;
			EXPECT_EQ(lists(bed), 0U);
			say(bed, false, plain_request, plain_request, random, longest + 20);
		}
		EXPECT_GE(bed.reason(HF_REASON_cookie_written), 12U);
	}
}

std::string cookie_request(const std::string &value)
{
	return "GET / HTTP/1.1\r\nHost: h\r\nCookie: sid=" + value + "\r\n\r\n";
}

std::string date_text(int64_t ahead)
{
	const char *digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const auto date = static_cast<uint32_t>((::time(nullptr) + ahead) / HF_COOKIE_DATE_SECONDS);
	std::string text;

	for (int shift = 24; shift >= 0; shift -= 6)
		text += digits[date >> shift & 63];
	return text;
}

// Of a cookie that is there, everything is checked; and one that is good for long is not given again.
TEST_P(Edited, CookiesThatAreInsertedAreChecked)
{
	const std::string text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
	struct Case {
		std::string value;
		int member; // 0: the method's choice
		bool written;
		unsigned stale;
	};
	const std::vector<Case> cases = {{"rs3|" + date_text(590), 3, false, 0},
					 {"rs3|" + date_text(310), 3, false, 0},
					 {"rs3|" + date_text(280), 3, true, 0},
					 {"rs3|" + date_text(8), 3, true, 0},
					 {"rs3|" + date_text(3600), 3, true, 0},
					 {"rs3|" + date_text(-8), 0, true, 1},
					 {"rs3|AAAAA", 0, true, 1},
					 {"rs4|" + date_text(500), 0, true, 1},
					 {"rs3|" + date_text(500) + "A", 0, true, 0},
					 {"rs3|" + date_text(500).substr(1), 0, true, 0},
					 {"rs3", 0, true, 0},
					 {"|" + date_text(500), 0, true, 0},
					 {"rs3|----A", 0, true, 0},
					 {"RS3|" + date_text(500), 0, true, 1},
					 {std::string(64, 'r') + "|" + date_text(500), 0, true, 0}};

	for (const Case &one : cases) {
		Testbed bed(config(web, rule_of("insert-cookie", ", timeout: 600")));

		begin(bed, cookie_request(one.value), cookie_request(one.value));
		if (one.member) {
			EXPECT_EQ(member_, one.member) << one.value;
		}
		answers_.stream = text;
		answers_.sent = text.size();
		send(bed, true, 0, text.size());
		EXPECT_EQ(answers_.got.find("Set-Cookie: sid=rs" + std::to_string(member_) + "|") != std::string::npos,
			  one.written)
			<< one.value << ": " << answers_.got;
		EXPECT_EQ(bed.reason(HF_REASON_cookie_stale), one.stale) << one.value;
		EXPECT_EQ(bed.reason(HF_REASON_cookie_written), one.written ? 1U : 0U);
		// XDP does it in place.
		EXPECT_EQ(bed.reason(HF_REASON_stream_edited), one.written && hook() == Hook::tc ? 1U : 0U);
	}
}

// Of two with the name, the first that names a member counts.
TEST_P(Edited, AStaleCookieBesideAGoodOneDoesNotMatter)
{
	for (const std::string &value :
	     {"rs1|" + date_text(-50) + "; sid=rs3|" + date_text(590),
	      "rs7|" + date_text(590) + "; sid=bad; sid=rs3|" + date_text(590) + "; sid=rs1|" + date_text(590)}) {
		Testbed bed(config(web, rule_of("insert-cookie", ", timeout: 600")));

		begin(bed, cookie_request(value), cookie_request(value));
		EXPECT_EQ(member_, 3) << value;
		EXPECT_EQ(bed.reason(HF_REASON_cookie_stale), 0U);
	}
}

// On a connection whose member takes nobody new, a request without a cookie goes elsewhere.
TEST_P(Edited, NobodyNewOnAMemberThatIsDrained)
{
	Testbed bed(config(web, rule_of("insert-cookie", ", timeout: 600")));

	begin(bed, plain_request, plain_request);
	answers_.stream = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
	answers_.sent = answers_.stream.size();
	send(bed, true, 0, answers_.sent);
	acknowledge(bed, true, answers_.whole());
	bed.override_member("web", fmt::format("rs{}", member_), MemberStatus::draining);
	// Its own client stays.
	const std::string own = cookie_request(fmt::format("rs{}|", member_) + date_text(590));
	requests_.stream += own;
	EXPECT_EQ(addressee(through(bed, segment(false, own, requests_.sent))), member_);
	requests_.sent += own.size();
	requests_.take(requests_.receiver + static_cast<uint32_t>(requests_.whole()), own);
	const std::string answer = answers_.stream;
	answers_.stream += answer;
	send(bed, true, answers_.sent, answers_.stream.size());
	answers_.sent = answers_.stream.size();
	acknowledge(bed, true, answers_.whole());
	const Outcome moved = through(bed, segment(false, plain_request, requests_.sent));
	ASSERT_FALSE(moved.packet.empty());
	EXPECT_EQ(look(moved.packet).flags, syn);
	EXPECT_NE(addressee(moved), member_);
	EXPECT_EQ(bed.reason(HF_REASON_request_moved), 1U);
}

// The cookie names a member that takes nobody any more: another one is chosen, and named.
TEST_P(Edited, ACookieOfAMemberThatIsGoneIsReplaced)
{
	Testbed bed(config(web, rule_of("insert-cookie", ", timeout: 600")));
	const std::string value = cookie_request("rs3|" + date_text(590));

	bed.override_member("web", "rs3", MemberStatus::disabled);
	begin(bed, value, value);
	EXPECT_NE(member_, 3);
	answers_.stream = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
	answers_.sent = answers_.stream.size();
	send(bed, true, 0, answers_.sent);
	EXPECT_NE(answers_.got.find(fmt::format("Set-Cookie: sid=rs{}|", member_)), std::string::npos) << answers_.got;
}

// Requests get a header, the first and every other one, as the last of their lines.
TEST_P(Edited, RequestsNameTheirClient)
{
	std::mt19937_64 random(20261201);
	const std::string full = ipv4() ? client() : "2001:0db8:000c:0000:0000:0000:0000:0001";

	for (const std::string &more : {std::string(""), std::string(", persistence: by-cookie")}) {
		for (const size_t longest : {1UL, 3UL, 40UL, 700UL}) {
			Testbed bed(config("port: 80, protocol: tcp, x_forwarded_for: true" + more, rule));
			const std::string head = "POST / HTTP/1.1\r\nX-Forwarded-For: 1.2.3.4\r\nContent-Length: 9\r\n";
			const std::string body = "\r\n123\r\n\r\n89", text = head + body;
			const std::string wanted = head + "X-Forwarded-For: " + full + "\r\n" + body;

			begin(bed, text, wanted);
			for (int round = 0; round < 12 && !HasFailure(); round++) {
				const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

				say(bed, true, answer, answer, random, longest + 20);
				say(bed, false, text, wanted, random, longest);
				EXPECT_EQ(lists(bed), 0U);
			}
		}
	}
}

// What cannot be given its header does not reach a member at all: nobody is lied to.
TEST_P(Edited, WhatCannotNameItsClientIsRefused)
{
	const std::string forged = "X-Forwarded-For: 1.2.3.4\r\n";
	const std::string two_lengths =
		"GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n" + forged + "\r\n";

	for (const std::string &text :
	     {"GARBAGE\r\n" + forged + "\r\n", "CONNECT h:1 HTTP/1.1\r\n" + forged + "\r\n", two_lengths}) {
		Testbed bed(config("port: 80, protocol: tcp, x_forwarded_for: true"));
		const uint32_t cookie = ask(bed);

		admit(bed, cookie);
		const Outcome refused =
			open(bed, from_client(ack | psh, client_isn + 1, cookie + 1, stamps(client_clock + 2, 0)) /
					  Payload(text));
		ASSERT_TRUE(sent(Hook::tc, refused)) << text;
		EXPECT_TRUE(look(refused.packet).flags & rst) << text;
		EXPECT_EQ(bed.reason(HF_REASON_request_unread), 1U) << text;
		EXPECT_EQ(count(bed), 0U);
	}
	// Later on the connection, too.
	for (const std::string &text : {"GARBAGE\r\n" + forged + "\r\n", two_lengths}) {
		Testbed bed(config("port: 80, protocol: tcp, x_forwarded_for: true"));
		const std::string full = ipv4() ? client() : "2001:0db8:000c:0000:0000:0000:0000:0001";

		begin(bed, plain_request,
		      replaced(plain_request, "h\r\n\r\n", "h\r\nX-Forwarded-For: " + full + "\r\n\r\n"));
		requests_.stream += text;
		const Outcome refused = through(bed, segment(false, text, requests_.sent));
		ASSERT_FALSE(refused.packet.empty());
		EXPECT_TRUE(look(refused.packet).flags & rst) << text;
		EXPECT_EQ(bed.reason(HF_REASON_request_unread), 1U) << text;
	}
}

// More prefixes than can be taken off: the request is held, and so is all that follows.
TEST_P(Edited, MorePrefixesThanThereIsRoomForAreHeld)
{
	Testbed bed(config(web, rule_of("embedded-cookie")));
	std::string text = "GET / HTTP/1.1\r\nCookie: sid=rs1~a";

	begin(bed, replaced(plain_request, "h\r\n", "h\r\nCookie: sid=rs1~x\r\n"),
	      replaced(plain_request, "h\r\n", "h\r\nCookie: sid=x\r\n"));
	for (int i = 0; i < HF_EDITS; i++)
		text += "; sid=rs1~b";
	EXPECT_TRUE(through(bed, segment(false, text + "\r\n\r\n", requests_.sent)).packet.empty());
	EXPECT_EQ(bed.reason(HF_REASON_edit_held), 1U);
}

// The member is offered an MSS that leaves room for the text; one that does not care is cut.
TEST_P(Edited, SegmentsGrowNoLongerThanTheWay)
{
	Testbed bed(config(web, rule_of("insert-cookie", ", timeout: 600")));
	const uint32_t cookie = ask(bed);
	const std::string text = "Set-Cookie: sid=rs1|AAAAA; path=/\r\n",
			  head = "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n";

	admit(bed, cookie);
	const Outcome connecting =
		open(bed, from_client(ack | psh, client_isn + 1, cookie + 1, stamps(client_clock + 2, 0)) /
				  Payload(plain_request));
	const Seen offered = look(connecting.packet);
	ASSERT_EQ(offered.options.at(0), 2) << "the MSS is the first option";
	EXPECT_EQ(offered.options.at(2) << 8 | offered.options.at(3),
		  (ipv4() ? 1460 : 1440) - static_cast<int>(text.size()));
	member_ = addressee(connecting);
	open(bed, from_member(member_, syn | ack, member_isn, client_isn + 1,
			      words({0x020405b4, 0x0402080a, member_clock, client_clock + 2, 0x01030307})));
	requests_ = {.sender = client_isn + 1, .receiver = client_isn + 1};
	answers_ = {.sender = member_isn + 1, .receiver = cookie + 1};
	// Of several segments the last one is seen here: it has what was too much for the others.
	for (const size_t size : {1428UL - 20 * !ipv4(), 1448UL - 20 * !ipv4()}) {
		const size_t longest = ipv4() ? 1448 : 1428;
		const std::string payload = head + std::string(size - head.size() - 1, 'b') + "e";
		const Outcome outcome = through(bed, segment(true, payload, 0));
		const size_t all = size + text.size(), last = all % longest ? all % longest : longest;

		ASSERT_FALSE(outcome.packet.empty()) << size;
		const Seen seen = look(outcome.packet);
		EXPECT_EQ(seen.payload.size(), last) << size;
		EXPECT_EQ(seen.payload.back(), 'e') << size;
		EXPECT_EQ(seen.sequence, answers_.receiver + all - last) << size;
	}
	// A router further on takes less: so the member is told, and what is put in heeds it, too.
	const Icmp told{uint8_t(ipv4() ? 3 : 2), uint8_t(ipv4() ? 4 : 0), 1300};
	const Bytes quoted = tcp(vip(), 80, client(), 40000, ack, answers_.receiver, client_isn + 1);
	Payload quote(0);
	quote.bytes.assign(quoted.begin() + 14, quoted.end());
	ASSERT_TRUE(sent(hook(), run(bed, ip(ipv4() ? "10.0.7.1" : "fd00::7:1", vip()) / told / quote)));
	const size_t size = ipv4() ? 1248 : 1228;
	const Outcome outcome = through(bed, segment(true, head + std::string(size - head.size() - 1, 'b') + "e", 0));
	ASSERT_FALSE(outcome.packet.empty());
	EXPECT_EQ(look(outcome.packet).payload.size(), text.size());
	EXPECT_EQ(look(outcome.packet).payload.back(), 'e');
}

// Numbers go round: what has long been acknowledged is no reason to take the next for old.
TEST_P(Edited, ConnectionsOfManyGigabytesGoOn)
{
	Testbed bed(config(web, rule));
	int number = 0;
	const uint32_t cookie = bind(bed, number), end = client_isn + 1 + static_cast<uint32_t>(request.size());

	for (uint64_t sent_bytes = 1; sent_bytes < 20ULL << 30; sent_bytes += 1U << 28) {
		const auto at = static_cast<uint32_t>(sent_bytes);
		const Outcome up = run(bed, from_client(ack, end + at, cookie + 1 + at, stamps(client_clock + 3, 0)));
		ASSERT_TRUE(sent(hook(), up)) << sent_bytes;
		ASSERT_EQ(look(up.packet).acknowledgement, member_isn + 1 + at) << sent_bytes;
		const Outcome down = run(bed, from_member(number, ack, member_isn + 1 + at, end + at,
							  stamps(member_clock + 2, client_clock)));
		ASSERT_TRUE(sent(hook(), down)) << sent_bytes;
		ASSERT_EQ(look(down.packet).acknowledgement, end + at) << sent_bytes;
	}
}

} // namespace
} // namespace holdfast::test
