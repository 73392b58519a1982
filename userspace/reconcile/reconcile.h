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

namespace holdfast
{

struct ReconcileReport {
	uint64_t writes = 0;
	uint64_t sessions_dropped = 0;
	uint64_t connections_dropped = 0;
};

// Objects that keep their names, but not their connections: those lead nowhere, or mean something else, when
// the image is written.
struct Moves {
	std::set<uint32_t> members, virtual_servers;
};

// Can the image be written, and whom does it move? Changes nothing.
Result<Moves> check_fit(Maps &maps, const Image &image);

// What cannot be written is found before anything is.
Result<ReconcileReport> reconcile(Maps &maps, const Image &image);

// Likewise, of an image of some pools whose members are the same, and may be in other states and of other weights:
// everything else is as it is.
Result<ReconcileReport> reconcile_pool(Maps &maps, const Image &image);

// Removes the sessions and connections of objects that the maps no longer have.
Result<void> drop_orphans(Maps &maps, ReconcileReport &report);

} // namespace holdfast
