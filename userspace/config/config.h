// SPDX-License-Identifier: GPL-2.0
// The configuration file: YAML, or JSON, which is YAML too. The result is a
// model whose guarantees hold (see model/model.h), or every error there is.
#pragma once

#include <string>
#include <variant>

#include "config/errors.h"
#include "model/model.h"

namespace holdfast
{

using ConfigResult = std::variant<Config, ConfigErrors>;

ConfigResult parse_config(const std::string &text);

} // namespace holdfast
