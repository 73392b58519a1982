// SPDX-License-Identifier: GPL-2.0
// How log lines look. Set before the first one.
//
//   text  "holdfastd: warning: ..."; to the journal, an entry with fields
//   json  {"time": "2026-01-31T12:00:00Z", "level": "warning", "message": "...", "member": "web/rs1"}, a line each
#pragma once

namespace holdfast
{

enum class LogFormat { text, json };

void set_log_format(LogFormat format);

} // namespace holdfast
