// SPDX-License-Identifier: GPL-2.0
// Colours, on a terminal only: not where output goes to a file or a pipe, nor where NO_COLOR
// is set (no-color.org) or the terminal is a dumb one. Nothing is said by colour alone.
#pragma once

#include <string>

namespace holdfast
{

enum class Tone { plain, good, bad, warning, strong };

std::string paint(const std::string &text, Tone tone);

// Of a word that stands for a state: "up", "down (damped)", "drop".
Tone tone_of(const std::string &state);

} // namespace holdfast
