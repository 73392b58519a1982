// SPDX-License-Identifier: GPL-2.0
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "bpf/parser_compare.h"

namespace holdfast::test
{
namespace
{

Rule http_rule(hf_rule_type type, const std::string &keyword)
{
	Rule rule{.name = "http", .type = type};

	rule.keyword = keyword;
	return rule;
}

std::string head(const std::string &headers, const std::string &first = "GET /a?x=1&uid=42&y=2#f HTTP/1.1")
{
	return first + "\r\nHost: shop.example\r\nUser-Agent: test/1.0\r\nAccept: */*\r\n" + headers + "\r\n";
}

std::vector<Sample> http_samples()
{
	std::vector<Sample> samples = corpus("http");
	const std::string with_all = "Cookie: a=1; sid=user42; b=2\r\nX-Key: value 7\r\n";

	for (const char *headers : {"Cookie: sid=abc\r\n",
				    "cookie:sid=abc\r\n",
				    "COOKIE: \t sid=abc \t \r\n",
				    "Cookie: a=1; sid=abc; c=3\r\n",
				    "Cookie: a=1;sid=abc\r\n",
				    "Cookie: xsid=no; sid=abc\r\n",
				    "Cookie: sidx=no; SID=no; sid=abc\r\n",
				    "Cookie: xsid=sid=no\r\n",
				    "Cookie: sid=\r\n",
				    "Cookie: sid=; sid=second\r\n",
				    "Cookie: sid=\"quoted\"\r\n",
				    "Cookie: sid=quoted\r\n",
				    "Cookie: sid=\"\"\r\n",
				    "Cookie: sid=\"\r\n",
				    "Cookie: sid = spaced\r\n",
				    "Cookie: a=1\r\nCookie: sid=other header\r\n",
				    "Cookie:\r\nCookie: x\r\n",
				    "Cookie\r\nCookie : sid=no\r\nCookies: sid=no\r\n",
				    "X-Key: v\r\n",
				    "x-kEY:v\r\n",
				    "X-Key:\r\nX-Key: second\r\n",
				    "X-Key : no\r\n",
				    "X-Keys: no\r\nX-Ke: no\r\n",
				    "X-Key: a  b\tc \r\n",
				    "X-Folded: a\r\n X-Key: no\r\nX-Key: yes\r\n",
				    "X-Key: \xff\x01\x80\r\n",
				    ""}) {
		samples.push_back(whole(head(headers)));
		samples.push_back({head(headers), head(headers).size() + 1});
		samples.push_back(whole(head(headers) + "Cookie: sid=body\r\nX-Key: body\r\n\r\n"));
	}
	for (const char *first : {"GET /?uid=1 HTTP/1.1",
				  "POST http://h/?a=b&uid=2&c HTTP/1.0",
				  "GET /?uid= HTTP/1.1",
				  "GET /?uid=&uid=3 HTTP/1.1",
				  "GET /?xuid=1&uidx=2 HTTP/1.1",
				  "GET /?UID=1 HTTP/1.1",
				  "GET /?uid=%34%32 HTTP/1.1",
				  "GET /#?uid=1 HTTP/1.1",
				  "GET /?a#uid=1 HTTP/1.1",
				  "GET /??uid=1&uid=2 HTTP/1.1",
				  "GET /?a=1?uid=2 HTTP/1.1",
				  "GET /?uid HTTP/1.1",
				  "GET /?uid=a=b HTTP/1.1",
				  "GET / HTTP/2.0",
				  "GET /",
				  "GET",
				  "get / HTTP/1.1",
				  "PRI * HTTP/2.0",
				  "GET  HTTP/1.1",
				  "GET / HTTP/1.x",
				  "G@T / HTTP/1.1",
				  "AVERYLONGMETHODNAMEINDEED / HTTP/1.1",
				  "",
				  "\r\n\r\nGET /?uid=9 HTTP/1.1"})
		samples.push_back(whole(head(with_all, first)));
	for (const size_t size :
	     {7UL, 8UL, 100UL, 511UL, 512UL, 513UL, 4095UL, 4096UL, 4097UL, 9000UL, 31000UL, 33000UL}) {
		samples.push_back(whole(head("Cookie: sid=" + std::string(size, 's') + "\r\n")));
		samples.push_back(whole(head("X-Pad: " + std::string(size, 'p') + "\r\n" + with_all)));
		samples.push_back(whole(head("Cookie: a=" + std::string(size, ';') + " sid=x\r\n" + with_all)));
		samples.push_back(
			whole(head("X-Key: " + std::string(size, ' ') + "x" + std::string(size, ' ') + "\r\n")));
	}
	samples.push_back(whole(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + with_all));
	samples.push_back(whole("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
	samples.push_back(whole(std::string(40, '\n')));
	samples.push_back(whole(""));
	return samples;
}

std::string rdp(const std::string &cookie, const std::string &behind = std::string("\x01\0\x08\0\x03\0\0\0", 8),
		int length = -1)
{
	const size_t size = length < 0 ? 11 + cookie.size() + behind.size() : static_cast<size_t>(length);

	return std::string("\x03\0", 2) + static_cast<char>(size >> 8) + static_cast<char>(size) +
	       static_cast<char>(size - 5) + std::string("\xe0\0\0\0\0\0", 6) + cookie + behind;
}

std::vector<Sample> rdp_samples()
{
	std::vector<Sample> samples = corpus("rdp");

	for (const std::string &cookie : {std::string("Cookie: mstshash=alice\r\n"),
					  std::string("Cookie: mstshash=DOMAIN\\bob\r\n"),
					  std::string("Cookie: mstshash=\r\n"),
					  std::string("Cookie: mstshash=x\r"),
					  std::string("Cookie: mstshash=x\n"),
					  std::string("cookie: mstshash=x\r\n"),
					  std::string("Cookie: msts=16777226.15629.0000\r\n"),
					  std::string("Cookie: msts=3640205228.15629.0000\r\n"),
					  std::string("Cookie: msts=4294967296.1.0000\r\n"),
					  std::string("Cookie: msts=4294967295.65535.0000\r\n"),
					  std::string("Cookie: msts=1.65536.0000\r\n"),
					  std::string("Cookie: msts=1.2.0001\r\n"),
					  std::string("Cookie: msts=1.2.0000x\r\n"),
					  std::string("Cookie: msts=1.2.000\r\n"),
					  std::string("Cookie: msts=.2.0000\r\n"),
					  std::string("Cookie: msts=99999999999999.2.0000\r\n"),
					  std::string("Cookie: msts=1..0000\r\n"),
					  std::string("Cookie: mstshash=a\r\nCookie: msts=1.2.0000\r\n"),
					  std::string("tsv://MS Terminal Services\r\n"),
					  std::string()}) {
		samples.push_back(whole(rdp(cookie)));
		samples.push_back(whole(rdp(cookie, "")));
		samples.push_back({rdp(cookie), 60000});
	}
	for (const int length : {0, 10, 11, 12, 40, 42, 43, 44, 4096, 4097, 65535})
		samples.push_back(whole(rdp("Cookie: mstshash=carol\r\n", "", length)));
	samples.push_back(whole("GET / HTTP/1.1\r\n\r\n"));
	samples.push_back(whole(rdp("Cookie: mstshash=" + std::string(4000, 'u') + "\r\n")));
	return samples;
}

Rule iso8583_rule(std::vector<uint8_t> fields, hf_relation bitmap, hf_relation keyvalue,
		  Iso8583Encoding encoding = Iso8583Encoding::binary, Iso8583Framing framing = Iso8583Framing::length16)
{
	Rule rule{.name = "cards", .type = HF_RULE_ISO8583_BITMAP};

	rule.fields = std::move(fields);
	rule.bitmap_relation = bitmap;
	rule.relation = keyvalue;
	rule.encoding = encoding;
	rule.framing = framing;
	return rule;
}

// `fields`: the numbers and the bytes of what is there, in order.
std::string iso8583(const std::string &type, const std::vector<std::pair<int, std::string>> &fields, const Rule &rule)
{
	std::string bitmap(fields.empty() || fields.back().first <= 64 ? 8 : 16, '\0'), body;

	if (bitmap.size() == 16)
		bitmap[0] = '\x80';
	for (const auto &[number, bytes] : fields) {
		bitmap[static_cast<size_t>(number - 1) / 8] |= static_cast<char>(0x80 >> (number - 1) % 8);
		body += bytes;
	}
	std::string message = type;
	for (const char byte : bitmap)
		message += rule.encoding == Iso8583Encoding::ascii ? fmt::format("{:02X}", static_cast<uint8_t>(byte))
								   : std::string(1, byte);
	message += body;
	if (rule.framing == Iso8583Framing::ascii4)
		return fmt::format("{:04}", message.size()) + message;
	return std::string{static_cast<char>(message.size() >> 8), static_cast<char>(message.size())} + message;
}

std::vector<Sample> iso8583_samples(const Rule &rule)
{
	const bool ascii = rule.encoding == Iso8583Encoding::ascii;
	const std::string pin = ascii ? "0123456789ABCDEF" : "\x01\x23\x45\x67\x89\xab\xcd\xef";
	const std::string card = "164000001234567890", terminal = "TERM0001", merchant = "MERCHANT0000001";
	std::vector<Sample> samples = rule.framing == Iso8583Framing::length16
					      ? corpus(ascii ? "iso8583-ascii" : "iso8583")
					      : std::vector<Sample>();

	for (const char *type : {"0200", "1200", "2200", "0800", "3200", "020x", "GET "}) {
		samples.push_back(whole(iso8583(
			type,
			{{2, card}, {3, "000000"}, {4, "000000001000"}, {11, "000042"}, {41, terminal}, {42, merchant}},
			rule)));
		samples.push_back(whole(iso8583(type, {{3, "000000"}, {11, "000042"}, {41, terminal}}, rule)));
		samples.push_back(whole(iso8583(type, {{2, card}, {52, pin}, {70, "301"}}, rule)));
		samples.push_back(whole(iso8583(type, {{35, "37" + std::string(37, 'z')}, {42, merchant}}, rule)));
		samples.push_back(whole(iso8583(type, {{7, "0102030405"}}, rule)));
		samples.push_back(whole(iso8583(type, {}, rule)));
		samples.push_back(whole(iso8583(type, {{2, "00"}, {41, terminal}, {42, merchant}}, rule)));
		samples.push_back(whole(iso8583(type, {{2, "99123"}}, rule)));
		samples.push_back(whole(iso8583(type, {{2, "x6123"}}, rule)));
		samples.push_back(whole(iso8583(type,
						{{2, card},
						 {42, merchant},
						 {48, "999" + std::string(999, '4')},
						 {60, "900" + std::string(900, '6')},
						 {67, "01"},
						 {128, pin}},
						rule)));
	}
	const std::string whole_one =
		iso8583("0200", {{2, card}, {11, "000042"}, {41, terminal}, {42, merchant}}, rule);
	for (size_t size = 0; size < whole_one.size(); size++)
		samples.push_back({whole_one.substr(0, size), size + size % 2});
	samples.push_back(whole(whole_one + whole_one));
	samples.push_back(whole("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
	return samples;
}

TEST(StreamParserAgrees, HttpHeader)
{
	compare_parsers(http_rule(HF_RULE_HTTP_HEADER_HASH, "X-Key"), http_samples(), Transport::stream);
}

TEST(StreamParserAgrees, HttpRequest)
{
	compare_parsers(http_rule(HF_RULE_HTTP_REQUEST_HASH, "uid"), http_samples(), Transport::stream);
}

TEST(StreamParserAgrees, Cookie)
{
	compare_parsers(http_rule(HF_RULE_COOKIE_HASH, "sid"), http_samples(), Transport::stream);
}

TEST(StreamParserAgrees, AllCookies)
{
	compare_parsers(http_rule(HF_RULE_COOKIE_HASH, ""), http_samples(), Transport::stream);
}

TEST(StreamParserAgrees, LongKeyword)
{
	const std::string name(63, 'k');
	std::vector<Sample> samples = http_samples();

	for (const size_t size : {61UL, 62UL, 63UL, 64UL})
		for (int i = 0; i < 12; i++)
			samples.push_back(
				whole(head("Cookie: " + std::string(size, 'k') + "=v" + std::to_string(i) + "\r\n")));
	compare_parsers(http_rule(HF_RULE_COOKIE_HASH, name), samples, Transport::stream);
}

TEST(StreamParserAgrees, Rdp)
{
	compare_parsers({.name = "rdp", .type = HF_RULE_RDP_COOKIE}, rdp_samples(), Transport::stream);
}

TEST(StreamParserAgrees, Iso8583TogetherOfAny)
{
	const Rule rule = iso8583_rule({2, 41, 42}, HF_RELATION_OR, HF_RELATION_AND);

	compare_parsers(rule, iso8583_samples(rule), Transport::stream);
}

TEST(StreamParserAgrees, Iso8583OfAll)
{
	const Rule rule = iso8583_rule({2, 42}, HF_RELATION_AND, HF_RELATION_AND, Iso8583Encoding::ascii);

	compare_parsers(rule, iso8583_samples(rule), Transport::stream);
}

TEST(StreamParserAgrees, Iso8583EachOfSome)
{
	const Rule rule = iso8583_rule({2, 11, 52, 67}, HF_RELATION_OR, HF_RELATION_OR, Iso8583Encoding::binary,
				       Iso8583Framing::ascii4);

	compare_parsers(rule, iso8583_samples(rule), Transport::stream);
}

} // namespace
} // namespace holdfast::test
