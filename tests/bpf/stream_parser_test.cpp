// SPDX-License-Identifier: GPL-2.0
#include <algorithm>
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

// Bodies, and what makes them unclear.
const std::vector<std::string> framings = {"Content-Length: 5\r\n",
					   "content-length:0\r\n",
					   "Content-Length: 18446744073709551615\r\n",
					   "Content-Length: 999999999999999999\r\n",
					   "Content-Length: 5\r\nContent-Length: 5\r\n",
					   "Content-Length: 5, 5\r\n",
					   "Content-Length: +5\r\n",
					   "Content-Length: \r\n",
					   "Content-Length : 5\r\n",
					   "Content-Length\r\n",
					   "Content-Lengths: 5\r\n",
					   "Transfer-Encoding: chunked\r\n",
					   "transfer-encoding:\tCHUNKED \r\n",
					   "Transfer-Encoding: gzip, chunked\r\n",
					   "Transfer-Encoding: xchunked\r\n",
					   "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
					   "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
					   "Transfer-Encoding\r\n: chunked\r\n",
					   "X: a\rContent-Length: 5\r\n",
					   "X: a\nContent-Length: 5\n",
					   "X: a\r\n Content-Length: 5\r\n",
					   ""};

std::vector<Sample> cookie_samples()
{
	std::vector<Sample> samples = http_samples();

	for (const char *headers :
	     {"Cookie: PHPSESSID=p1; JSESSIONID=j1; CFID=c1; CFTOKEN=t1; ASP.NET_SessionId=a1\r\n",
	      "Cookie: CFID=12345678; CFTOKEN=t1\r\n", "Cookie: CFTOKEN=t1; CFID=1\r\n", "Cookie: CFID=only\r\n",
	      "Cookie: CFTOKEN=only\r\n", "Cookie: PHPSESSID=; PHPSESSID=second\r\n",
	      "Cookie: PHPSESSID=first\r\nCookie: PHPSESSID=second; JSESSIONID=\"q\"\r\n",
	      "Cookie: XPHPSESSID=no; phpsessid=no; PHPSESSIDX=no; JSESSIONID\r\n", "Cookie: JSESSIONID=cookie\r\n"}) {
		samples.push_back(whole(head(headers)));
		samples.push_back(whole(head(headers, "GET /a;jsessionid=path?x=1 HTTP/1.1")));
		samples.push_back(whole(head(headers, "POST /a;b=1;jsessionid=;jsessionid=x/y;z#f HTTP/1.0")));
	}
	for (int i = 0; i < 20; i++) {
		for (const char *name : {"PHPSESSID", "JSESSIONID", "ASP.NET_SessionId", "sid"})
			samples.push_back(whole(head(fmt::format("Cookie: a=b; {}=value{}; c=d\r\n", name, i))));
		samples.push_back(whole(head(fmt::format("Cookie: CFTOKEN=t{}; CFID={}\r\n", i,
							 std::string(static_cast<size_t>(i) + 1, 'i')))));
	}
	for (const std::string &framing : framings) {
		samples.push_back(whole(head("Cookie: sid=1; PHPSESSID=2\r\n" + framing)));
		samples.push_back(whole(head(framing, "HEAD /?uid=1 HTTP/1.0")));
		samples.push_back(whole(head(framing, "CONNECT h:1 HTTP/1.1")));
	}
	return samples;
}

std::vector<Sample> answer_samples()
{
	std::vector<Sample> samples;

	for (int i = 0; i < 300; i++) {
		for (const char *name : {"PHPSESSID", "JSESSIONID", "ASP.NET_SessionId", "sid"})
			samples.push_back(
				whole(fmt::format("HTTP/1.1 200 OK\r\nServer: x\r\nSet-Cookie: {}=value{}; Path=/\r\n"
						  "Content-Length: 4\r\n\r\nbody",
						  name, i)));
		samples.push_back(whole(
			fmt::format("HTTP/1.1 200 OK\r\nSet-Cookie: CFID=c{}\r\nSet-Cookie: CFTOKEN={}; Path=/\r\n\r\n",
				    i, std::string(static_cast<size_t>(i % 60) + 1, 't'))));
	}

	for (const char *line :
	     {"HTTP/1.1 200 OK", "HTTP/1.0 200 OK", "HTTP/1.1 204 No Content", "HTTP/1.1 304 Not Modified",
	      "HTTP/1.1 100 Continue", "HTTP/1.1 101 Switching Protocols", "HTTP/1.1 404", "HTTP/2.0 200 OK",
	      "HTTP/1.1 20 OK", "HTTP/1.1  200", "garbage", ""}) {
		for (const std::string &framing : framings) {
			for (const char *cookies :
			     {"", "Set-Cookie: sid=learnt; Path=/\r\n", "set-cookie:sid=\"q\"\r\n",
			      "Set-Cookie: other=1\r\nSet-Cookie: sid=2; HttpOnly\r\nSet-Cookie: JSESSIONID=j; "
			      "Path=/\r\n",
			      "Set-Cookie: CFID=1\r\nSet-Cookie: CFTOKEN=2\r\nSet-Cookie: PHPSESSID=; sid=no\r\n",
			      "Set-Cookie2: sid=no\r\nX: sid=no\r\nSet-Cookie: xsid=no\r\n"}) {
				const std::string whole_one =
					std::string(line) + "\r\nServer: x\r\n" + cookies + framing + "\r\n";

				samples.push_back(whole(whole_one));
				samples.push_back(whole(whole_one + "body\r\nSet-Cookie: sid=body\r\n\r\n"));
				samples.push_back({whole_one.substr(0, whole_one.size() - 1), whole_one.size()});
			}
		}
	}
	for (const size_t size : {7UL, 8UL, 511UL, 512UL, 513UL, 4096UL, 31000UL, 33000UL})
		samples.push_back(whole("HTTP/1.1 200 OK\r\nX: " + std::string(size, 'x') +
					"\r\nSet-Cookie: sid=behind\r\nContent-Length: 3\r\n\r\n"));
	return samples;
}

Rule passive_rule(SessionKeyword keyword)
{
	Rule rule = http_rule(HF_RULE_PASSIVE_COOKIE, keyword == SessionKeyword::custom ? "sid" : "");

	rule.session_keyword = keyword;
	return rule;
}

TEST(StreamParserAgrees, PersistentCookie)
{
	compare_parsers(http_rule(HF_RULE_PERSISTENT_COOKIE, "sid"), cookie_samples(), Transport::stream);
}

TEST(StreamParserAgrees, SetCookie)
{
	compare_parsers(http_rule(HF_RULE_PERSISTENT_COOKIE, "sid"), answer_samples(), Transport::answers);
}

// Cookies that name members, in heads of all kinds; several, cut off, nearly so.
std::vector<Sample> member_cookie_samples()
{
	const std::string long_name(63, 'n');
	std::vector<Sample> samples = cookie_samples();

	for (int i = 0; i < 200; i++)
		samples.push_back(
			whole(fmt::format("GET /{} HTTP/1.1\r\nHost: x\r\nCookie: a=b; sid={}; c=d\r\n\r\n", i,
					  i % 3 == 0   ? fmt::format("rs{}|U6iFN", i)
					  : i % 3 == 1 ? fmt::format("rs{}", i)
						       : fmt::format("rs{}~value{}", i, i))));
	for (const std::string &value : {std::string("rs1|U6iFN"),
					 std::string("rs1|U6iF"),
					 std::string("rs1|U6iFNN"),
					 std::string("rs1|U6i-N"),
					 std::string("|U6iFN"),
					 std::string("rs1||6iFN"),
					 std::string("rs1|U6iFN "),
					 std::string("\"rs1|+/09z\""),
					 std::string("rs1"),
					 std::string("r s1"),
					 std::string("rs1~666"),
					 std::string("\"rs1~666\""),
					 std::string("~666"),
					 std::string("rs1~"),
					 std::string("rs1~a~b"),
					 std::string("r%1~666"),
					 long_name,
					 long_name + "n",
					 long_name + "~x",
					 long_name + "n~x",
					 long_name + "|AAAAA",
					 std::string(),
					 std::string("\""),
					 std::string("\"\"")}) {
		for (const char *head :
		     {"Cookie: sid=%; x=y\r\n", "cookie:a=b;sid=%\r\n", "Cookie: sid=%;sid=rs9~9\r\n",
		      "Cookie: sid=rs9|AAAAA\r\nX: y\r\nCookie: sid=%\r\n",
		      "Cookie: sid=%\r\nCookie: sid=%; sid=%\r\nContent-Length: 4\r\n"}) {
			std::string lines = head;

			for (size_t at = lines.find('%'); at != std::string::npos;
			     at = lines.find('%', at + value.size()))
				lines.replace(at, 1, value);
			samples.push_back(whole("GET / HTTP/1.1\r\nHost: x\r\n" + lines + "\r\n"));
			samples.push_back(whole("POST /x?y HTTP/1.1\n" + lines + "\n"));
		}
	}
	return samples;
}

std::vector<Sample> member_answer_samples()
{
	std::vector<Sample> samples = answer_samples();

	for (const std::string &value :
	     {std::string("666"), std::string("\"666\""), std::string(" 666"), std::string("\"\""), std::string("\""),
	      std::string(), std::string("a b"), std::string("666 "), std::string(5000, 'v'), std::string("a=b"),
	      std::string("a\tb"), std::string("\"a;b\"")}) {
		for (const char *head :
		     {"Set-Cookie: sid=%; Path=/\r\n", "set-cookie:sid=%\r\n", "Set-Cookie: a=b; sid=%\r\n",
		      "Set-Cookie: sid=%\r\nSet-Cookie: x=y\r\nSet-Cookie: sid=%;Secure\r\n", "Set-Cookie: sid=%\n",
		      "Set-Cookie: sidx=%\r\nSet-Cookie: sid =%\r\nSet-Cookie:   sid=%;\r\n"}) {
			std::string lines = head;

			for (size_t at = lines.find('%'); at != std::string::npos;
			     at = lines.find('%', at + value.size()))
				lines.replace(at, 1, value);
			samples.push_back(
				whole("HTTP/1.1 200 OK\r\nServer: x\r\n" + lines + "Content-Length: 3\r\n\r\nabc"));
			samples.push_back(whole("HTTP/1.1 302 Found\r\n" + lines + "\r\n"));
		}
	}
	return samples;
}

class MemberCookies : public testing::TestWithParam<hf_rule_type>
{
};

INSTANTIATE_TEST_SUITE_P(StreamParserAgrees, MemberCookies,
			 testing::Values(HF_RULE_INSERT_COOKIE, HF_RULE_REWRITE_COOKIE, HF_RULE_EMBEDDED_COOKIE),
			 [](const auto &one) {
				 std::string name = word(one.param);

				 name.erase(std::remove(name.begin(), name.end(), '-'), name.end());
				 return name;
			 });

TEST_P(MemberCookies, OfRequests)
{
	compare_parsers(http_rule(GetParam(), "sid"), member_cookie_samples(), Transport::stream);
}

TEST(StreamParserAgrees, SetCookieRewritten)
{
	compare_parsers(http_rule(HF_RULE_REWRITE_COOKIE, "sid"), member_answer_samples(), Transport::answers);
}

TEST(StreamParserAgrees, SetCookieEmbedded)
{
	compare_parsers(http_rule(HF_RULE_EMBEDDED_COOKIE, "sid"), member_answer_samples(), Transport::answers);
}

class PassiveCookies : public testing::TestWithParam<SessionKeyword>
{
};

INSTANTIATE_TEST_SUITE_P(StreamParserAgrees, PassiveCookies,
			 testing::Values(SessionKeyword::automatic, SessionKeyword::phpsessid,
					 SessionKeyword::jsessionid, SessionKeyword::cfid_cftoken,
					 SessionKeyword::asp_net, SessionKeyword::custom),
			 [](const testing::TestParamInfo<SessionKeyword> &test) {
				 std::string name = word(test.param);

				 std::replace_if(
					 name.begin(), name.end(), [](char c) { return c == '+' || c == '.'; }, '_');
				 return name;
			 });

TEST_P(PassiveCookies, OfRequests)
{
	compare_parsers(passive_rule(GetParam()), cookie_samples(), Transport::stream);
}

TEST_P(PassiveCookies, OfResponses)
{
	compare_parsers(passive_rule(GetParam()), answer_samples(), Transport::answers);
}

// A hello of this type, with a session id; `versions`: the supported_versions extension, if not 0.
std::string tls_hello(uint8_t type, const std::string &id, unsigned versions, size_t behind = 0)
{
	std::string body = std::string("\x03\x03", 2) + std::string(32, 'r') + static_cast<char>(id.size()) + id;
	std::string extensions = std::string("\x00\x17\x00\x00", 4);

	body += type == 1 ? std::string("\x00\x02\x13\x01\x01\x00", 6) : std::string("\x13\x01\x00", 3);
	if (versions)
		extensions += std::string("\x00\x2b\x00\x02", 4) + static_cast<char>(versions >> 8) +
			      static_cast<char>(versions);
	extensions += std::string("\x00\x10\x00", 3) + static_cast<char>(behind) + std::string(behind, 'e');
	body += std::string{static_cast<char>(extensions.size() >> 8), static_cast<char>(extensions.size())} +
		extensions;
	const size_t size = body.size();
	std::string message =
		std::string{static_cast<char>(type), 0, static_cast<char>(size >> 8), static_cast<char>(size)} + body;
	return std::string("\x16\x03\x01", 3) + static_cast<char>(message.size() >> 8) +
	       static_cast<char>(message.size()) + message;
}

std::vector<Sample> tls_samples(uint8_t type)
{
	std::vector<Sample> samples;

	for (const size_t size : {0UL, 1UL, 7UL, 8UL, 16UL, 31UL, 32UL, 33UL}) {
		for (const unsigned versions : {0U, 0x0303U, 0x0304U}) {
			const std::string hello = tls_hello(type, std::string(size, 'i'), versions, size);

			samples.push_back(whole(hello));
			samples.push_back(whole(hello + hello));
			samples.push_back({hello.substr(0, hello.size() / 2), hello.size()});
			samples.push_back({hello.substr(0, 50), 50});
		}
	}
	samples.push_back(whole(tls_hello(static_cast<uint8_t>(3 - type), "other", 0)));
	samples.push_back(whole(std::string("\x80\x2e\x01\x00\x02\x00\x15", 7)));
	samples.push_back(whole(std::string("\x80\x2e\x02\x00\x02\x00\x15", 7)));
	samples.push_back(whole("GET / HTTP/1.1\r\n\r\n"));
	samples.push_back(whole(std::string("\x15\x03\x01\x00\x02\x02\x28", 7)));
	samples.push_back(whole(""));
	return samples;
}

TEST(StreamParserAgrees, TlsClientHello)
{
	compare_parsers({.name = "tls", .type = HF_RULE_SSL_SESSION_ID}, tls_samples(1), Transport::stream);
}

TEST(StreamParserAgrees, TlsServerHello)
{
	compare_parsers({.name = "tls", .type = HF_RULE_SSL_SESSION_ID}, tls_samples(2), Transport::answers);
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
