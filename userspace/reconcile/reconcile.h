// SPDX-License-Identifier: GPL-2.0
// Makes the maps hold an image. What is there is read from the maps themselves,
// so the same code serves the first start, a change, and a restart after a crash
// in the middle of a change.
//
// The order of writes is such that no packet meets a half-made object: what is
// referred to exists before it is referred to, and goes after that.
#pragma once

#include <cstdint>
#include <set>

#include "datapath/maps.h"
#include "reconcile/image.h"

namespace holdfast {

struct ReconcileReport {
	uint64_t writes = 0;
	uint64_t sessions_dropped = 0;
	uint64_t connections_dropped = 0;
};

// `retired_servers` and `retired_members`: numbers of objects that the image no
// longer has; their sessions and connections are removed.
Result<ReconcileReport> reconcile(Maps &maps, const Image &image, const std::set<uint32_t> &retired_servers,
				  const std::set<uint32_t> &retired_members);

} // namespace holdfast
