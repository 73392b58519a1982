// SPDX-License-Identifier: GPL-2.0
#include "util/log.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

namespace holdfast
{

namespace
{

using Clock = std::chrono::steady_clock;

constexpr auto quiet_time = std::chrono::seconds(10);
constexpr size_t most_remembered = 1000;

struct Repeated {
	Clock::time_point written;
	uint64_t suppressed = 0;
};

// How often the line was suppressed since it was last written; nothing: it is to be suppressed now.
std::optional<uint64_t> count_repeated(const std::string &text)
{
	static std::mutex mutex;
	static std::map<std::string, Repeated> lines;
	const std::lock_guard lock(mutex);
	const auto now = Clock::now();

	if (lines.size() >= most_remembered)
		lines.clear();
	const auto [line, fresh] = lines.try_emplace(text, Repeated{now, 0});
	if (fresh)
		return 0;
	if (now - line->second.written < quiet_time) {
		line->second.suppressed++;
		return std::nullopt;
	}
	line->second.written = now;
	return std::exchange(line->second.suppressed, 0);
}

} // namespace

void log_line(LogLevel level, const std::string &text)
{
	static const bool to_journal = std::getenv("JOURNAL_STREAM") != nullptr;
	const char *word = level == LogLevel::error ? "error" : level == LogLevel::warning ? "warning" : "info";

	if (to_journal)
		fmt::print(stderr, "<{}>{}\n", static_cast<int>(level), text);
	else
		fmt::print(stderr, "holdfastd: {}: {}\n", word, text);
}

void log_at_will(LogLevel level, const std::string &text)
{
	if (const auto repeated = count_repeated(text))
		log_line(level, *repeated ? fmt::format("{} (and {} times before)", text, *repeated) : text);
}

} // namespace holdfast
