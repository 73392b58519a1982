/* SPDX-License-Identifier: GPL-2.0 */
/* Which virtual server a packet is for. */
#pragma once

#include "parse.h"

/* The range that holds `port`, in a sorted run of `count` from `first`. Global: verified once. */
__noinline __u32 service_search_ranges(__u32 first, __u32 count, __u16 port)
{
	for (int step = 0; step <= HF_PORT_RANGE_STEPS && count; step++) {
		__u32 middle = first + count / 2;
		const struct hf_port_range *range = bpf_map_lookup_elem(&port_ranges, &middle);

		if (!range)
			return 0;
		if (port < range->first) {
			count /= 2;
		} else if (port > range->last) {
			count -= count / 2 + 1;
			first = middle + 1;
		} else {
			return range->virtual_server;
		}
	}
	return 0;
}

/* The id of the virtual server of an address and a port, 0 if there is none. */
static __always_inline __u32 service_find(const __u8 *address, __be16 port, __u8 protocol)
{
	struct hf_service_key key = {.port = port, .protocol = protocol};
	const struct hf_service *service;

	__builtin_memcpy(key.address, address, sizeof(key.address));
	service = bpf_map_lookup_elem(&virtual_servers, &key);
	if (service)
		return service->virtual_server;
	key.port = 0;
	service = bpf_map_lookup_elem(&virtual_servers, &key);
	if (!service)
		return 0;
	return service_search_ranges(service->first_range, service->ranges, bpf_ntohs(port));
}

static __always_inline const struct hf_virtual_server *service_settings(__u32 virtual_server)
{
	return bpf_map_lookup_elem(&virtual_server_settings, &virtual_server);
}

/* Does the virtual server's rule go by what messages say? Others go by addresses, or there is none. */
static __always_inline bool service_reads(const struct hf_virtual_server *settings)
{
	__u32 id = settings->rule;
	const struct hf_rule *rule = bpf_map_lookup_elem(&rules, &id);

	return settings->parser && rule && rule->type > HF_RULE_SOURCE_ADDRESS_PORT_HASH;
}
