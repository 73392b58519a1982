// SPDX-License-Identifier: GPL-2.0
// One line a message on stderr; where that is the journal's stream, an entry of its own with a
// priority (systemd.journal-fields(7)). No line holds a session's key, a cookie or a part of a
// message.
//
//   error    something that should work does not, and needs a person
//   warning  it works, but not as well as configured
//   info     what an operator wants to find later: started, adopted, applied
#pragma once

#include <fmt/format.h>
#include <string>
#include <utility>
#include <vector>

namespace holdfast
{

enum class LogLevel { error = 3, warning = 4, info = 6 };

// What a line is about, for machines: {"member", "web/rs1"}. Names are of lower-case letters and underscores; in the
// journal they are HOLDFAST_MEMBER and so on, as text nothing: the message says it too.
using LogFields = std::vector<std::pair<std::string, std::string>>;

void log_line(LogLevel level, const std::string &text, const LogFields &fields = {});
// The last line before an exit, an error: on stderr in any case, as the journal may not find out any more whose entry
// another would be.
void log_last(const std::string &text);
// Of what clients can cause at will: a line that is repeated within ten seconds is counted instead, and the count
// written with its next one.
void log_at_will(LogLevel level, const std::string &text);

template <typename... Arguments> void log_error(fmt::format_string<Arguments...> format, Arguments &&...arguments)
{
	log_line(LogLevel::error, fmt::format(format, std::forward<Arguments>(arguments)...));
}

template <typename... Arguments> void log_warning(fmt::format_string<Arguments...> format, Arguments &&...arguments)
{
	log_line(LogLevel::warning, fmt::format(format, std::forward<Arguments>(arguments)...));
}

template <typename... Arguments> void log_info(fmt::format_string<Arguments...> format, Arguments &&...arguments)
{
	log_line(LogLevel::info, fmt::format(format, std::forward<Arguments>(arguments)...));
}

} // namespace holdfast
