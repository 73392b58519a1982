// SPDX-License-Identifier: GPL-2.0
// Keys of sessions: their digests, and how a user's value becomes one.
#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "model/radius.h"
#include "persist/message.h"

namespace holdfast
{
namespace
{

// Bytes 00 01 ... 0f, as the published vectors have it.
const DigestKey key = {0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};

std::string text(const SessionKey &bytes)
{
	return hex({reinterpret_cast<const char *>(bytes.data()), bytes.size()});
}

// 00 01 02 ...
std::string counted(size_t length)
{
	std::string bytes;

	for (size_t i = 0; i < length; i++)
		bytes += static_cast<char>(i);
	return bytes;
}

std::string openssl_siphash128(const std::string &bytes)
{
	EVP_MAC *algorithm = EVP_MAC_fetch(nullptr, "SIPHASH", nullptr);
	EVP_MAC_CTX *context = EVP_MAC_CTX_new(algorithm);
	size_t size = 16, written = 0;
	const OSSL_PARAM settings[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
				       OSSL_PARAM_construct_end()};
	std::string result(16, '\0');
	auto *to = reinterpret_cast<unsigned char *>(result.data());

	EXPECT_EQ(EVP_MAC_init(context, reinterpret_cast<const unsigned char *>(key.data()), sizeof(key), settings), 1);
	EXPECT_EQ(EVP_MAC_update(context, reinterpret_cast<const unsigned char *>(bytes.data()), bytes.size()), 1);
	EXPECT_EQ(EVP_MAC_final(context, to, &written, result.size()), 1);
	EXPECT_EQ(written, result.size());
	EVP_MAC_CTX_free(context);
	EVP_MAC_free(algorithm);
	return hex(result);
}

// Of the reference implementation's table for 128 bits.
TEST(Digest, IsSipHash128)
{
	EXPECT_EQ(text(digest("", key)), "a3817f04ba25a8e66df67214c7550293");
	EXPECT_EQ(text(digest(counted(1), key)), "da87c1d86b99af44347659119b22fc45");
	EXPECT_EQ(text(digest(counted(2), key)), "8177228da4a45dc7fca38bdef60affe4");
}

TEST(Digest, AgreesWithOpenssl)
{
	for (size_t length = 0; length <= 300; length++)
		EXPECT_EQ(text(digest(counted(length), key)), openssl_siphash128(counted(length))) << length;
}

Rule radius(hf_relation relation, std::vector<RadiusAttribute> attributes)
{
	Rule rule{.name = "radius", .type = HF_RULE_RADIUS_ATTRIBUTE};

	rule.relation = relation;
	rule.attributes = std::move(attributes);
	return rule;
}

// A request that has the attributes' bytes.
MessageKeys of_packet(const std::string &attributes, const Rule &rule)
{
	std::string packet = {1, 7, 0, static_cast<char>(20 + attributes.size())};

	packet += std::string(16, 'a') + attributes;
	return read_message(packet, packet.size(), rule, {key, key});
}

TEST(KeysOfValues, AreThoseOfMessages)
{
	const Rule sip{.name = "sip", .type = HF_RULE_SIP_CALL_ID};
	const std::string call = "BYE sip:x SIP/2.0\r\nCALL-ID :\r\n a@b \r\n\r\n";
	const MessageKeys sip_keys = read_message(call, call.size(), sip, {key, key});

	ASSERT_EQ(sip_keys.keys.size(), 1U);
	EXPECT_EQ(*keys_of_values({"a@b"}, sip, key), sip_keys.keys);
	EXPECT_NE(*keys_of_values({"A@b"}, sip, key), sip_keys.keys) << "a Call-ID's letters count";

	const std::string user = "\x01\x07"
				 "alice",
			  address = std::string("\x04\x06\x0a\0\0\1", 6);
	const Rule both = radius(HF_RELATION_AND, {{1}, {4}});
	EXPECT_EQ(*keys_of_values({"alice", "10.0.0.1"}, both, key), of_packet(address + user, both).keys);
	EXPECT_FALSE(keys_of_values({"alice"}, both, key)) << "two attributes make the key";

	const Rule either = radius(HF_RELATION_OR, {{1}, {4}});
	const MessageKeys found = of_packet(user + address, either);
	ASSERT_EQ(found.keys.size(), 2U);
	const auto named = *keys_of_values({"alice"}, either, key);
	EXPECT_NE(std::find(named.begin(), named.end(), found.keys[0]), named.end());
	EXPECT_EQ(std::find(named.begin(), named.end(), found.keys[1]), named.end());
}

TEST(RadiusReadable, ComesBackAsTheSameValue)
{
	const RadiusAttribute user{1}, address{4}, port{5}, part{26, 9, 1}, whole{26};

	EXPECT_EQ(radius_readable(user, "alice"), "alice");
	EXPECT_EQ(radius_readable(address, {"\x0a\0\0\1", 4}), "10.0.0.1");
	EXPECT_EQ(radius_readable(port, {"\0\0\1\2", 4}), "258");
	EXPECT_EQ(radius_readable(user, "\x1b[2J"), "0x1b5b324a") << "nothing that a terminal would obey";
	EXPECT_EQ(radius_readable(user, "0x41"), "0x30783431");
	for (const RadiusAttribute &attribute : {user, address, port, part, whole}) {
		for (const std::string value : {"abcd", "\x80\x01\xff\x7f", "0x41", "    "})
			EXPECT_EQ(radius_value(attribute, radius_readable(attribute, value)), value);
	}
	EXPECT_EQ(printable("a\tb\xff"), "a\\x09b\\xff");
}

TEST(KeysOfValues, WithoutOneSecretTellNothingOfAnothers)
{
	const Rule sip{.name = "sip", .type = HF_RULE_SIP_CALL_ID};

	EXPECT_NE(*keys_of_values({"a@b"}, sip, key), *keys_of_values({"a@b"}, sip, {1, 2}));
}

TEST(Masked, CutsToTheRulesNetwork)
{
	const Rule rule{.name = "net", .type = HF_RULE_SOURCE_ADDRESS, .ipv4_mask_bits = 20, .ipv6_mask_bits = 44};

	EXPECT_EQ(masked(*Address::parse("192.0.47.255"), rule).text(), "192.0.32.0");
	EXPECT_EQ(masked(*Address::parse("2001:db8:ffff::1"), rule).text(), "2001:db8:fff0::");
}

// RFC 2865's and RFC 2866's names of the types that a rule can be given by name.
TEST(RadiusTypes, HaveTheirNamesAndLengths)
{
	EXPECT_EQ(radius_number("User-Name"), 1U);
	EXPECT_EQ(radius_number("Framed-IP-Address"), 8U);
	EXPECT_EQ(radius_number("Acct-Session-Id"), 44U);
	EXPECT_EQ(radius_number("Nothing"), std::nullopt);
	EXPECT_EQ(radius_type(4).shortest, 4);
	EXPECT_EQ(radius_type(4).longest, 4);
	EXPECT_EQ(radius_type(1).shortest, 1);
	EXPECT_EQ(radius_type(1).longest, 253);
}

} // namespace
} // namespace holdfast
