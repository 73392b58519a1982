// SPDX-License-Identifier: GPL-2.0
#define SD_JOURNAL_SUPPRESS_LOCATION // it would be this file, always
#include "util/log.h"

#include <algorithm>
#include <atomic>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>
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

// sd_journal_print(3): JOURNAL_STREAM names what systemd has opened; stderr may be another by now.
bool is_journal(int descriptor)
{
	const char *named = std::getenv("JOURNAL_STREAM");
	struct stat file{};

	return named && ::fstat(descriptor, &file) == 0 && named == fmt::format("{}:{}", file.st_dev, file.st_ino);
}

bool send_to_journal(LogLevel level, const std::string &text, const LogFields &fields)
{
	std::vector<std::string> entry = {"MESSAGE=" + text, fmt::format("PRIORITY={}", static_cast<int>(level)),
					  "SYSLOG_IDENTIFIER=holdfastd"};
	std::vector<iovec> parts;

	for (const auto &[name, value] : fields) {
		std::string upper = "HOLDFAST_" + name;

		std::transform(upper.begin(), upper.end(), upper.begin(),
			       [](unsigned char c) { return std::toupper(c); });
		entry.push_back(fmt::format("{}={}", upper, value));
	}
	for (std::string &one : entry)
		parts.push_back({one.data(), one.size()});
	return ::sd_journal_sendv(parts.data(), static_cast<int>(parts.size())) >= 0;
}

std::string json_line(const char *level, const std::string &text, const LogFields &fields)
{
	nlohmann::ordered_json line = {{"time", utc_now()}, {"level", level}, {"message", text}};

	for (const auto &[name, value] : fields)
		line[name] = value;
	return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
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

void log_line(LogLevel level, const std::string &text, const LogFields &fields)
{
	static const bool to_journal = is_journal(STDERR_FILENO);
	const char *word = level == LogLevel::error ? "error" : level == LogLevel::warning ? "warning" : "info";

	if (format == LogFormat::json)
		fmt::print(stderr, "{}\n", json_line(word, text, fields));
	else if (!to_journal || !send_to_journal(level, text, fields))
		fmt::print(stderr, "holdfastd: {}: {}\n", word, text);
}

void log_last(const std::string &text)
{
	if (format == LogFormat::text && is_journal(STDERR_FILENO))
		fmt::print(stderr, "<{}>{}\n", static_cast<int>(LogLevel::error), text);
	else
		log_line(LogLevel::error, text);
}

void log_at_will(LogLevel level, const std::string &text)
{
	if (const auto repeated = count_repeated(text))
		log_line(level, *repeated ? fmt::format("{} (and {} times before)", text, *repeated) : text);
}

} // namespace holdfast
