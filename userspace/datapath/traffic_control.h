// SPDX-License-Identifier: GPL-2.0
// What libbpf does not tell about TC.
#pragma once

namespace holdfast
{

// Has the clsact qdisc of this interface any filter, of anyone?
bool traffic_control_in_use(int interface_index);

} // namespace holdfast
