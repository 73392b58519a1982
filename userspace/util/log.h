// SPDX-License-Identifier: GPL-2.0
// One line a message on stderr, with the priority prefix that journald reads
// when stderr goes there (sd-daemon(3)). No line holds a session's key, a cookie or a part
// of a message.
//
//   error    something that should work does not, and needs a person
//   warning  it works, but not as well as configured
//   info     what an operator wants to find later: started, adopted, applied
#pragma once

#include <fmt/format.h>
#include <string>

namespace holdfast
{

enum class LogLevel { error = 3, warning = 4, info = 6 };

void log_line(LogLevel level, const std::string &text);
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
