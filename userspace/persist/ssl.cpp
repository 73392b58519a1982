// SPDX-License-Identifier: GPL-2.0
#include "persist/message.h"

#include <algorithm>

namespace holdfast
{

namespace
{

constexpr size_t record_header = 5, id_at = record_header + 4 + 2 + 32, longest_id = 32, longest_record = 16384;
constexpr size_t supported_versions = 43, tls_1_3 = 0x0304, most_extensions = 64;

class Hello
{
public:
	Hello(std::string_view bytes, size_t length)
		: bytes_(bytes.substr(0, HF_MESSAGE_BYTES)),
		  more_(bytes_.size() < length ? HF_PARSER_MORE : HF_PARSER_MALFORMED)
	{
	}

	size_t byte(size_t at) const { return at < bytes_.size() ? static_cast<uint8_t>(bytes_[at]) : 0; }
	size_t word(size_t at) const { return byte(at) << 8 | byte(at + 1); }
	size_t length() const { return byte(record_header + 1) << 16 | word(record_header + 2); }
	size_t end() const { return record_header + 4 + length(); }
	size_t size() const { return bytes_.size(); }
	hf_parser_outcome more() const { return more_; }
	std::string_view id() const { return bytes_.substr(id_at + 1, byte(id_at)); }

	// HF_PARSER_KEYS: a hello of this type with a session id.
	hf_parser_outcome read(size_t type) const
	{
		if (bytes_.empty())
			return more_;
		if (byte(0) & 0x80 && type == 1)
			return size() < 3 ? more_ : byte(2) == 1 ? HF_PARSER_NONE : HF_PARSER_MALFORMED;
		if (byte(0) != 22)
			return HF_PARSER_MALFORMED;
		if (size() < record_header + 4)
			return more_;
		if (byte(1) != 3 || byte(record_header) != type || word(3) > longest_record || word(3) < 4 + length() ||
		    length() < 35)
			return HF_PARSER_MALFORMED;
		if (size() <= id_at)
			return more_;
		if (byte(id_at) > longest_id || length() < 35 + byte(id_at))
			return HF_PARSER_MALFORMED;
		if (!byte(id_at))
			return HF_PARSER_NONE;
		return size() < id_at + 1 + byte(id_at) ? more_ : HF_PARSER_KEYS;
	}

private:
	std::string_view bytes_;
	hf_parser_outcome more_;
};

MessageKeys found(const Hello &hello, hf_parser_outcome outcome, const DigestKey &key)
{
	MessageKeys keys;

	keys.outcome = outcome;
	if (outcome == HF_PARSER_KEYS) {
		keys.keys.push_back(digest(hello.id(), key));
		keys.readable.push_back(hex(hello.id()));
	}
	return keys;
}

} // namespace

MessageKeys read_ssl(std::string_view bytes, size_t length, const DigestKey &key)
{
	const Hello hello(bytes, length);

	return found(hello, hello.read(1), key);
}

MessageKeys read_ssl_answer(std::string_view bytes, size_t length, const DigestKey &key)
{
	const Hello hello(bytes, length);
	hf_parser_outcome outcome = hello.read(2);

	if (outcome != HF_PARSER_KEYS)
		return found(hello, outcome, key);
	if (hello.size() < hello.end())
		return found(hello, hello.more(), key);
	size_t at = id_at + 1 + hello.byte(id_at) + 2 + 1 + 2;
	for (size_t i = 0; i < most_extensions && at + 4 <= hello.end(); i++) {
		if (hello.word(at) == supported_versions) {
			if (hello.word(at + 4) == tls_1_3)
				outcome = HF_PARSER_NONE;
			break;
		}
		at += 4 + hello.word(at + 2);
	}
	return found(hello, outcome, key);
}

} // namespace holdfast
