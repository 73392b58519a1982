// SPDX-License-Identifier: GPL-2.0
// The settings of a health check: which type has which, and their ranges.
#pragma once

#include "config/object_reader.h"
#include "model/health_check.h"

namespace holdfast
{

// All but the name.
HealthCheck read_health_check(ObjectReader &reader);

} // namespace holdfast
