// SPDX-License-Identifier: GPL-2.0
#include "model/iso8583.h"

namespace holdfast
{

const std::set<uint8_t> &iso8583_key_fields()
{
	static const std::set<uint8_t> fields = {2,  3,  7,  11, 12, 18, 19, 20, 21, 22, 23, 24, 32, 33, 37,
						 40, 41, 42, 52, 67, 68, 69, 73, 74, 75, 76, 77, 78, 79, 80};

	return fields;
}

std::string iso8583_key_fields_text()
{
	std::string text;

	for (const uint8_t field : iso8583_key_fields())
		text += (text.empty() ? "" : " ") + std::to_string(field);
	return text;
}

} // namespace holdfast
