// SPDX-License-Identifier: GPL-2.0
/* The data path on TC ingress: the entry point, nothing else. */
#include "packet_skb.h"

#include "datapath.h"

SEC("tc")
int holdfast_tc(struct __sk_buff *context)
{
	return datapath(context);
}

char LICENSE[] SEC("license") = "GPL";
