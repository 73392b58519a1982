// SPDX-License-Identifier: GPL-2.0
#include "util/log.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "util/log_format.h"

namespace holdfast
{

namespace
{

using Clock = std::chrono::steady_clock;

constexpr auto quiet_time = std::chrono::seconds(10);
constexpr size_t most_remembered = 1000;

std::atomic<LogFormat> format = LogFormat::text;

std::string utc_now()
{
	const std::time_t now = std::time(nullptr);
	std::tm utc{};
	char text[32];

	::gmtime_r(&now, &utc);
	return {text, std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc)};
}

// RFC 8259, 7.
std::string json_escaped(const std::string &text)
{
	std::string escaped;

	for (const char c : text) {
		if (c == '"' || c == '\\')
			escaped += std::string("\\") + c;
		else if (static_cast<unsigned char>(c) < 0x20)
			escaped += fmt::format("\\u{:04x}", c);
		else
			escaped += c;
	}
	return escaped;
}

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

void set_log_format(LogFormat wanted)
{
	format = wanted;
}

void log_line(LogLevel level, const std::string &text)
{
	static const bool to_journal = std::getenv("JOURNAL_STREAM") != nullptr;
	const char *word = level == LogLevel::error ? "error" : level == LogLevel::warning ? "warning" : "info";

	if (format == LogFormat::json)
		fmt::print(stderr, "{{\"time\": \"{}\", \"level\": \"{}\", \"message\": \"{}\"}}\n", utc_now(), word,
			   json_escaped(text));
	else if (to_journal)
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
