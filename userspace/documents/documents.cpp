// SPDX-License-Identifier: GPL-2.0
#include "documents/documents.h"

#include <algorithm>
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <functional>

namespace holdfast
{

namespace
{

// Each command with the words that lead to it: "show sessions".
void each_command(const CLI::App &app, const std::string &path,
		  const std::function<void(const CLI::App &, const std::string &)> &visit)
{
	visit(app, path);
	for (const CLI::App *command : app.get_subcommands([](const CLI::App *) { return true; }))
		each_command(*command, path + (path.empty() ? "" : " ") + command->get_name(), visit);
}

// Subcommands and options, as they are typed.
std::vector<std::string> words_of(const CLI::App &app)
{
	std::vector<std::string> words;

	for (const CLI::App *command : app.get_subcommands([](const CLI::App *) { return true; }))
		words.push_back(command->get_name());
	for (const CLI::Option *option : app.get_options()) {
		for (const std::string &name : option->get_lnames())
			words.push_back("--" + name);
	}
	return words;
}

bool takes_file(const CLI::App &app)
{
	const auto options = app.get_options();

	return std::any_of(options.begin(), options.end(), [](const CLI::Option *option) {
		return option->get_name(true).find("FILE") != std::string::npos ||
		       option->get_name(false, true).find("FILE") != std::string::npos;
	});
}

// Of troff: '-' is a hyphen, '\' begins an escape, '.' and ''' at the beginning of a line a request.
std::string troff(const std::string &text)
{
	std::string escaped;

	for (const char c : text) {
		if (c == '\\')
			escaped += "\\e";
		else if (c == '-')
			escaped += "\\-";
		else if ((c == '.' || c == '\'') && (escaped.empty() || escaped.back() == '\n'))
			escaped += std::string("\\&") + c;
		else
			escaped += c;
	}
	return escaped;
}

std::string manual_options(const CLI::App &app)
{
	std::string text;

	for (const CLI::Option *option : app.get_options()) {
		const std::string name =
			option->get_positional() ? option->get_name(true) : option->get_name(false, true);

		text += fmt::format(".TP\n.B {}\n{}\n", troff(name),
				    troff(option->get_description().empty() ? "see above" : option->get_description()));
	}
	return text;
}

} // namespace

std::string bash_completion(const CLI::App &app, const std::string &program)
{
	const std::string function = "_" + program;
	std::string text = fmt::format("# bash completion for {0}\n{1}() {{\n"
				       "  local typed= word i\n"
				       "  COMPREPLY=()\n"
				       "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
				       "    word=${{COMP_WORDS[i]}}\n"
				       "    [[ $word == -* ]] || typed+=${{typed:+ }}$word\n"
				       "  done\n"
				       "  case $typed in\n",
				       program, function);
	std::string cases;

	// The longest first: what follows a command is completed by it, too.
	std::vector<std::pair<std::string, std::string>> all;
	each_command(app, "", [&](const CLI::App &command, const std::string &path) {
		std::string reply = fmt::format("COMPREPLY=($(compgen -W '{}' -- \"${{COMP_WORDS[COMP_CWORD]}}\"))",
						fmt::join(words_of(command), " "));

		if (takes_file(command))
			reply += "; COMPREPLY+=($(compgen -f -- \"${COMP_WORDS[COMP_CWORD]}\"))";
		all.emplace_back(path, reply);
	});
	std::sort(all.begin(), all.end(), [](const auto &a, const auto &b) { return a.first.size() > b.first.size(); });
	for (const auto &[path, reply] : all)
		cases += path.empty() ? fmt::format("    *) {} ;;\n", reply)
				      : fmt::format("    '{}' | '{} '*) {} ;;\n", path, path, reply);
	return text + cases + fmt::format("  esac\n}}\ncomplete -F {} {}\n", function, program);
}

std::string zsh_completion(const CLI::App &app, const std::string &program)
{
	// zsh runs bash's completions as they are.
	return fmt::format("#compdef {}\nautoload -U +X bashcompinit && bashcompinit\n", program) +
	       bash_completion(app, program);
}

std::string manual_page(const CLI::App &app, const std::string &program, int section)
{
	std::string upper = program, text;

	std::transform(upper.begin(), upper.end(), upper.begin(), [](unsigned char c) { return std::toupper(c); });
	text = fmt::format(".TH {} {} \"\" \"Holdfast {}\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n.B {}\n[options]{}\n",
			   upper, section, HOLDFAST_VERSION, program,
			   troff(app.get_description().substr(app.get_description().find(": ") + 2)), program,
			   app.get_subcommands([](const CLI::App *) { return true; }).empty() ? "" : " command");
	each_command(app, "", [&](const CLI::App &command, const std::string &path) {
		if (path.empty())
			text += ".SH OPTIONS\n" + manual_options(command) +
				(app.get_subcommands([](const CLI::App *) { return true; }).empty() ? ""
												    : ".SH COMMANDS\n");
		else if (command.get_subcommands([](const CLI::App *) { return true; }).empty())
			text += fmt::format(".SS {} {}\n{}\n{}", program, troff(path), troff(command.get_description()),
					    manual_options(command));
	});
	return text + ".SH EXIT STATUS\n0 done; 1 refused or failed; 2 wrong usage; 3 no daemon answers.\n";
}

} // namespace holdfast
