// SPDX-License-Identifier: GPL-2.0
// The state of the installation in Prometheus' text format (version 0.0.4).
#pragma once

#include <string>

#include "control/views.h"

namespace holdfast
{

std::string metrics_text(const Views &views);

} // namespace holdfast
