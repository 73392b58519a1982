// SPDX-License-Identifier: GPL-2.0
// What can be derived from a command line's description: completion for shells, and the
// manual page.
#pragma once

#include <string>

namespace CLI
{
class App;
}

namespace holdfast
{

std::string bash_completion(const CLI::App &app, const std::string &program);
std::string zsh_completion(const CLI::App &app, const std::string &program);
// In the macros of man(7).
std::string manual_page(const CLI::App &app, const std::string &program, int section);

} // namespace holdfast
