// SPDX-License-Identifier: GPL-2.0
// The data path has no timer that could send. Where a connection is being opened and
// its client has nothing to repeat (a protocol in which the server speaks first, or a
// SYN to a member that was lost), the daemon is the timer: once a second it puts in
// what the client would repeat, an acknowledgement.
#pragma once

#include "datapath/maps.h"

namespace holdfast
{

// For every splice that the last sweep found asleep; `interface` is any that is attached.
void wake_splices(Maps &maps, int interface);

} // namespace holdfast
