// SPDX-License-Identifier: GPL-2.0
#include "util/log.h"

#include <cstdio>
#include <cstdlib>

namespace holdfast
{

void log_line(LogLevel level, const std::string &text)
{
	static const bool to_journal = std::getenv("JOURNAL_STREAM") != nullptr;
	const char *word = level == LogLevel::error ? "error" : level == LogLevel::warning ? "warning" : "info";

	if (to_journal)
		fmt::print(stderr, "<{}>{}\n", static_cast<int>(level), text);
	else
		fmt::print(stderr, "holdfastd: {}: {}\n", word, text);
}

} // namespace holdfast
