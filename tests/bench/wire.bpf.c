// SPDX-License-Identifier: GPL-2.0
// "wire", for http_bench: a bare XDP redirect hop. Every IPv4 TCP packet goes on to
// the other interface with new MAC addresses, and nothing else is looked at. The
// bench compiles it with CLIENTS and SERVERS, the numbers of the balancer's two
// interfaces; the MAC addresses are those of scripts/lab.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>

#include <bpf/bpf_helpers.h>
/* Keep this order: bpf_endian.h uses what bpf_helpers.h brings. */
#include <bpf/bpf_endian.h>

static const __u8 to_server[2 * ETH_ALEN] = {2, 0, 0, 0, 2, 0x11, 2, 0, 0, 0, 2, 0xfe};
static const __u8 to_client[2 * ETH_ALEN] = {2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 0xfe};

SEC("xdp")
int wire(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct iphdr *ip = (void *)(eth + 1);
	if ((void *)(ip + 1) > (void *)(long)ctx->data_end)
		return XDP_PASS;
	if (eth->h_proto != bpf_htons(ETH_P_IP) || ip->protocol != IPPROTO_TCP)
		return XDP_PASS;
	int from_client = ctx->ingress_ifindex == CLIENTS;
	__builtin_memcpy(eth, from_client ? to_server : to_client, 2 * ETH_ALEN);
	return bpf_redirect(from_client ? SERVERS : CLIENTS, 0);
}

char LICENSE[] SEC("license") = "GPL";
