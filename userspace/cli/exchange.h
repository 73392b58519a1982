// SPDX-License-Identifier: GPL-2.0
// Commands that take what the daemon has applied, change it, and have it applied again.
#pragma once

#include <string>
#include <vector>

namespace holdfast
{

struct ExchangeOptions {
	std::string socket;
	bool as_json = false, dry_run = false;
};

int import_txt_file(const ExchangeOptions &options, const std::string &file, const std::string &address);
// To `file`, or to standard output. Only of this virtual address, if one is given.
int export_txt_file(const ExchangeOptions &options, const std::string &file, const std::string &address);
// `settings` as KEY=VALUE, in the configuration's words.
int clone_rule(const ExchangeOptions &options, const std::string &from, const std::string &to,
	       const std::vector<std::string> &settings);
// Has a configuration applied, unless another one than `revision` (if given) is by now. Says what changes.
int apply_text(const ExchangeOptions &options, const std::string &text, const std::string &file,
	       const std::string &revision = {});

// Has the daemon apply its own file again. Says what changes.
int reload(const ExchangeOptions &options);

} // namespace holdfast
