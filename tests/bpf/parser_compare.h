// SPDX-License-Identifier: GPL-2.0
// The data path's parsers against the plain ones of userspace/persist: for real
// messages, for hostile ones, and for very many mutations of both, the same
// outcome and the same keys.
#pragma once

#include <string>
#include <vector>

#include "model/model.h"

namespace holdfast::test
{

struct Sample {
	std::string bytes;
	size_t length; // of the whole message; of a stream: more than there is, unless it has ended
};

Sample whole(const std::string &bytes);

// Messages of real programs, and any that the two parsers have once disagreed
// about: each a file in tests/corpus.
std::vector<Sample> corpus(const std::string &protocol);

// How many mutations a test tries: HOLDFAST_PARSER_MUTATIONS for more.
size_t mutations();

// Datagrams are parsed once. Streams are cut into segments at random, and parsed again
// with each of them, as the data path does.
enum class Transport { datagram, stream, answers };

void compare_parsers(const Rule &rule, const std::vector<Sample> &seeds, Transport transport);

} // namespace holdfast::test
