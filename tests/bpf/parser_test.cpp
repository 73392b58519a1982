// SPDX-License-Identifier: GPL-2.0
#include <gtest/gtest.h>

#include "bpf/parser_compare.h"

namespace holdfast::test
{
namespace
{

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

TEST(ParserAgrees, SipCallId)
{
	compare_parsers(sip_rule(), sip_samples(), Transport::datagram);
}

TEST(ParserAgrees, SipCallIdInAStream)
{
	compare_parsers(sip_rule(), sip_samples(), Transport::stream);
}

TEST(ParserAgrees, RadiusAnd)
{
	compare_parsers(radius_rule(HF_RELATION_AND, {{1}, {26, 9, 1}}), radius_samples(), Transport::datagram);
}

TEST(ParserAgrees, RadiusOneAttribute)
{
	compare_parsers(radius_rule(HF_RELATION_AND, {{1}}), radius_samples(), Transport::datagram);
}

TEST(ParserAgrees, RadiusOr)
{
	compare_parsers(radius_rule(HF_RELATION_OR, {{44}, {26, 9, 1}, {31}, {4}}), radius_samples(),
			Transport::datagram);
}

TEST(ParserAgrees, RadiusWholeVendorAttribute)
{
	compare_parsers(radius_rule(HF_RELATION_OR, {{26}, {60}, {36}, {1}}), radius_samples(), Transport::datagram);
}

} // namespace
} // namespace holdfast::test
