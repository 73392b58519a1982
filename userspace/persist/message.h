// SPDX-License-Identifier: GPL-2.0
// What the data path's parsers (bpf/persist) do, written plainly: for commands
// that have to name a session by its readable value or explain a decision, and as
// the other half of the differential tests. Both must agree for any bytes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/abi.h"
#include "model/model.h"
#include "util/hex.h"
#include "util/result.h"

namespace holdfast
{

// The installation's secret, as hf_installation has it.
using DigestKey = std::array<uint64_t, 2>;
using SessionKey = std::array<uint8_t, 16>;

// SipHash-2-4-128 of any bytes.
SessionKey digest(std::string_view bytes, const DigestKey &key);

// How messages are digested: session keys under the installation's secret, keys of
// stateless hashes so that all machines agree.
struct DigestKeys {
	DigestKey secret{};
	DigestKey hash{};
};

// As bpf/persist/http_head.h has it.
enum class HttpFraming : uint8_t { unframed, length, chunked, until_close, interim, tunnel };
enum class HttpMethod : uint8_t { other, head, connect };

struct HttpHead {
	size_t size = 0; // 0: not all of it is here
	HttpFraming framing = HttpFraming::unframed;
	HttpMethod method = HttpMethod::other; // of a request
	uint64_t body = 0;                     // with HttpFraming::length
};

// A place in a head that a rule changes: where, and how many bytes go.
struct HeadEdit {
	size_t at = 0;
	size_t removed = 0;

	bool operator==(const HeadEdit &) const = default;
};

// A cookie that names a member, and its date, if it has one.
struct MemberCookie {
	std::string name;
	uint32_t date = 0;

	bool operator==(const MemberCookie &) const = default;
};

struct MessageKeys {
	hf_parser_outcome outcome = HF_PARSER_NONE;
	bool answer = false;               // an answer to a request of the other side
	std::vector<SessionKey> keys;      // in the order of the configuration
	std::vector<std::string> readable; // of each key: the values that it was made of
	Address address;                   // with HF_PARSER_MEMBER
	uint16_t port = 0;
	std::vector<MemberCookie> cookies; // with HF_PARSER_COOKIE; at most HF_KEYS
	std::vector<HeadEdit> edits;       // of a head that is all here, by place; at most HF_EDITS
	HttpHead head;                     // of a message of a stream whose head is all here
};

// `bytes`: what is there of a message of `length` bytes; at most HF_MESSAGE_BYTES
// of them are looked at.
MessageKeys read_message(std::string_view bytes, size_t length, const Rule &rule, const DigestKeys &keys);

MessageKeys read_sip(std::string_view bytes, size_t length, const DigestKey &key);
MessageKeys read_radius(std::string_view bytes, size_t length, const Rule &rule, const DigestKey &key);
MessageKeys read_http(std::string_view bytes, size_t length, const Rule &rule, const DigestKeys &keys);
MessageKeys read_ssl(std::string_view bytes, size_t length, const DigestKey &key);

// What members send: a response to a request of `method`, whose Set-Cookie may have keys; a ServerHello.
MessageKeys read_http_answer(std::string_view bytes, size_t length, HttpMethod method, const Rule &rule,
			     const DigestKeys &keys);
MessageKeys read_ssl_answer(std::string_view bytes, size_t length, const DigestKey &key);

// The date in a cookie: five characters, of 30 bits.
std::optional<uint32_t> cookie_date(std::string_view text);

// A Content-Length's value, without white space around it: at most 18 digits.
std::optional<uint64_t> content_length(std::string_view value);

// What is digested for CFID and CFTOKEN.
std::string cfid_digest_input(std::string_view cfid, std::string_view cftoken);
MessageKeys read_rdp(std::string_view bytes, size_t length, const DigestKey &key);
MessageKeys read_iso8583(std::string_view bytes, size_t length, const Rule &rule, const DigestKey &key);

// The keys that sessions of the rule may have for values as a user writes them:
// one value for each attribute where all together are the key.
Result<std::vector<SessionKey>> keys_of_values(const std::vector<std::string> &values, const Rule &rule,
					       const DigestKey &key);

// The kind of sessions that a rule makes.
hf_session_kind session_kind(hf_rule_type type);

// RADIUS: what is digested for one attribute.
std::string radius_digest_input(const RadiusAttribute &attribute, std::string_view value);

// ISO 8583: likewise, for one data element.
std::string iso8583_digest_input(uint8_t field, std::string_view value);

// An address cut to a source-address rule's mask.
Address masked(const Address &address, const Rule &rule);

} // namespace holdfast
