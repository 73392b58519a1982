// SPDX-License-Identifier: GPL-2.0
// Messages of the protocols that rules read.
#pragma once

#include <string>

#include "model/model.h"

namespace holdfast::test
{

// What a rule of this type needs beside its name, for the messages below.
std::string rule_settings(hf_rule_type type);

// The first message of a stream, with a key that stands for `number`, as the rule's protocol
// has it; `size`: bytes behind it that belong to it, where the protocol has such.
std::string first_message(hf_rule_type type, int number, size_t size = 0);

// An RDP client's connection request with this cookie line ("mstshash=..." or "msts=...").
std::string rdp_request(const std::string &cookie);

// The routing token of a member: address and port as little-endian numbers, in decimal (spec of the cookie: MS-RDPBCGR, 2.2.1.1).
std::string rdp_token(const std::string &ipv4, unsigned port);

} // namespace holdfast::test
