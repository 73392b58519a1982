// SPDX-License-Identifier: GPL-2.0
// Small files: read whole, written so that a crash leaves the old or the new one.
#pragma once

#include <string>

#include "util/result.h"

namespace holdfast
{

Result<std::string> read_file(const std::string &path);

// Writes a temporary file beside `path`, syncs it and renames it into place.
Result<void> write_file(const std::string &path, const std::string &content, unsigned mode = 0600);

// Creates `path` and its parents; an existing directory is no error.
Result<void> make_directory(const std::string &path, unsigned mode = 0700);

} // namespace holdfast
