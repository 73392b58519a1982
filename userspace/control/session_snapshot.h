// SPDX-License-Identifier: GPL-2.0
// All sessions in one file, by names, so that they outlive the maps: a restart of the
// host, or a new layout of the tables.
//
//   "holdfast sessions 1\n"
//   time                        64-bit seconds since 1970
//   fingerprint of the secret   8 bytes
//   scopes, members             32-bit number of them; each a 16-bit length and the text:
//                               "virtual-server NAME" or "rule RULE POOL"; "POOL/NAME"
//   sessions                    64-bit number of them; each 37 bytes, see the code
//   SHA-256 of all that
//
// Numbers are little-endian.
#pragma once

#include <string>

#include "control/controller.h"

namespace holdfast
{

struct RestoreReport {
	uint64_t restored = 0;
	uint64_t expired = 0;
	uint64_t unknown = 0; // of what is not configured any more, or keys under another secret
	uint64_t failed = 0;  // the kernel did not take them
};

// Walks the whole table: for a thread that nobody waits for.
Result<std::string> pack_sessions(const Snapshot &snapshot);
// Sessions are as old and as idle as they would be had nothing happened since. One that is there already stays.
Result<RestoreReport> unpack_sessions(const Snapshot &snapshot, const std::string &bytes);

} // namespace holdfast
