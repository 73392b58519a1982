// SPDX-License-Identifier: GPL-2.0
#include "cli/tone.h"

#include <cstdlib>
#include <fmt/color.h>
#include <fmt/format.h>
#include <unistd.h>

namespace holdfast
{

namespace
{

bool is_coloured()
{
	const char *none = std::getenv("NO_COLOR"), *terminal = std::getenv("TERM");

	return ::isatty(STDOUT_FILENO) && !(none && *none) && terminal && std::string(terminal) != "dumb";
}

fmt::text_style style(Tone tone)
{
	switch (tone) {
	case Tone::good:
		return fg(fmt::terminal_color::green);
	case Tone::bad:
		return fg(fmt::terminal_color::red);
	case Tone::warning:
		return fg(fmt::terminal_color::yellow);
	case Tone::strong:
		return fmt::emphasis::bold;
	case Tone::plain:
		break;
	}
	return {};
}

} // namespace

std::string paint(const std::string &text, Tone tone)
{
	static const bool coloured = is_coloured();

	return coloured && tone != Tone::plain ? fmt::format(style(tone), "{}", text) : text;
}

Tone tone_of(const std::string &state)
{
	const std::string word = state.substr(0, state.find(' '));

	if (word == "up")
		return Tone::good;
	if (word == "down" || word == "drop" || word == "error")
		return Tone::bad;
	if (word == "draining" || word == "disabled" || word == "maintain" || word == "fallback")
		return Tone::warning;
	return Tone::plain;
}

} // namespace holdfast
