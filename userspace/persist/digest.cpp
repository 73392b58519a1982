// SPDX-License-Identifier: GPL-2.0
#include <cstring>

#include "holdfast/siphash.h"
#include "persist/message.h"

namespace holdfast
{

SessionKey digest(std::string_view bytes, const DigestKey &key)
{
	const __u64 secret[2] = {key[0], key[1]};
	hf_siphash_state state{};
	__u64 word = 0, result[2];
	SessionKey session_key;
	size_t done = 0;

	hf_siphash128_begin(&state, secret);
	for (; bytes.size() - done >= sizeof(word); done += sizeof(word)) {
		std::memcpy(&word, bytes.data() + done, sizeof(word));
		hf_siphash_word(&state, word);
	}
	word = 0;
	if (done < bytes.size())
		std::memcpy(&word, bytes.data() + done, bytes.size() - done);
	hf_siphash128_end(&state, word, static_cast<__u32>(bytes.size()), result);
	std::memcpy(session_key.data(), result, sizeof(result));
	return session_key;
}

} // namespace holdfast
