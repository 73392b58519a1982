// SPDX-License-Identifier: GPL-2.0
/* The data path on XDP: the entry point, nothing else. */
#include "packet_xdp.h"

#include "datapath.h"

/* "frags": also on interfaces with jumbo frames, whose packets are in pieces. */
SEC("xdp.frags")
int holdfast_xdp(struct xdp_md *context)
{
	return datapath(context);
}

char LICENSE[] SEC("license") = "GPL";
