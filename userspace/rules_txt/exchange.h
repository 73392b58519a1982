// SPDX-License-Identifier: GPL-2.0
// TXT rules into a configuration, and out of it. A rule is a virtual server, a pool and
// a health check of the name PROTOCOL-PORT, and a persistence rule
// PROTOCOL-PORT-persistence.
#pragma once

#include "config/document.h"
#include "rules_txt/lines.h"

namespace holdfast
{

// All or nothing: if it returns problems, the document is not to be used.
std::vector<TxtProblem> import_txt(const TxtRules &rules, const Address &address, ConfigDocument &document);

// `left_out` says what the format cannot express.
TxtRules export_txt(const Config &config, std::vector<std::string> &left_out);

} // namespace holdfast
