/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sources: the addresses and ports that members see where both ends are translated. A
 * source is free towards a member if there is no entry for its replies: that entry is
 * made before anything else, and only if there is none, so that no two connections
 * ever have one tuple. One that is over keeps it until it is swept.
 */
#pragma once

#include "../connection.h"
#include "../task.h"

#define SOURCE_ATTEMPTS 32

/* Makes the entry of the replies. False: the tuple has one. */
static __always_inline bool source_claim(const struct hf_flow_key *reply, const struct hf_embryonic_connection *embryo,
					 bool proved)
{
	if (!proved) {
		if (bpf_map_update_elem(&embryonic_connections, reply, embryo, BPF_NOEXIST))
			return false;
		if (!bpf_map_lookup_elem(&connections, reply))
			return true;
		bpf_map_delete_elem(&embryonic_connections, reply);
		return false;
	}
	if (bpf_map_update_elem(&connections, reply, &embryo->connection, BPF_NOEXIST))
		return false;
	if (!bpf_map_lookup_elem(&embryonic_connections, reply) &&
	    !bpf_map_update_elem(&other_ends, reply, &embryo->other_end, BPF_ANY))
		return true;
	bpf_map_delete_elem(&connections, reply);
	return false;
}

/* What an earlier connection has left of a tuple, or of the client's flow, is nobody's: an embryo's ends are its own. */
static __noinline void source_clear(const struct hf_flow_key *flow, const struct hf_connection *forward,
				    const struct hf_flow_key *reply)
{
	struct hf_flow_key key = *reply;

	bpf_map_delete_elem(&other_ends, &key);
	other_end_key(&key, flow, forward->member);
	bpf_map_delete_elem(&other_ends, &key);
}

struct source_search {
	struct task *task;
	const struct hf_virtual_server *settings;
	__be16 client_port;
	__u32 place;
	bool proved;
	bool found;
};

/* An attempt. The client's own port first: then other ones, at random. */
static long source_try(__u32 attempt, struct source_search *search)
{
	const struct hf_virtual_server *settings = search->settings;
	struct hf_flow_key *reply = &search->task->reply;
	__u32 port = bpf_ntohs(search->client_port);
	__u32 index = settings->first_source + (search->place + attempt) % settings->sources;
	const struct hf_source_address *source = bpf_map_lookup_elem(&source_addresses, &index);

	if (!source)
		return 1;
	if (attempt || port < settings->lowest_port || port > settings->highest_port)
		port = settings->lowest_port +
		       bpf_get_prandom_u32() % ((__u32)settings->highest_port - settings->lowest_port + 1);
	__builtin_memcpy(reply->destination, source->address, 16);
	reply->destination_port = bpf_htons(port);
	search->found = source_claim(reply, &search->task->embryo, search->proved);
	return search->found ? 1 : 0;
}

/*
 * Takes a source for a client's connection with its member: task->own_end. The entry of
 * the replies is made: an embryo's, or, where the client has `proved` its address, a
 * connection's. 0 if it is done. Global: verified once.
 */
__noinline int source_take(const struct hf_flow_key *flow, const struct hf_connection *forward, bool proved)
{
	struct source_search search = {.task = task_get(), .place = bpf_get_prandom_u32(), .proved = proved};
	struct hf_embryonic_connection *embryo;
	struct task *task = search.task;

	if (!flow || !forward || !task)
		return -1;
	search.settings = service_settings(forward->virtual_server);
	if (!search.settings || !search.settings->sources)
		return -1;
	search.client_port = flow->source_port;
	embryo = &task->embryo;
	__builtin_memset(embryo, 0, sizeof(*embryo));
	connection_partner(&embryo->connection, flow, forward);
	__builtin_memcpy(embryo->other_end.address, flow->source, 16);
	embryo->other_end.port = flow->source_port;
	embryo->other_end.made = clock_now();
	task->reply = *flow;
	__builtin_memcpy(task->reply.source, forward->address, 16);
	task->reply.source_port = forward->port;
	bpf_loop(SOURCE_ATTEMPTS, source_try, &search, 0);
	if (search.found && !proved)
		source_clear(flow, forward, &task->reply);
	__builtin_memcpy(task->own_end.address, task->reply.destination, 16);
	task->own_end.port = task->reply.destination_port;
	return search.found ? 0 : -1;
}

/* Likewise, for a connection that has taken its place with the member. */
static __always_inline int source_take_for(const struct hf_flow_key *flow, struct hf_connection *connection,
					   bool proved)
{
	if (!source_take(flow, connection, proved))
		return CONTINUE;
	if (connection->flags & HF_CONNECTION_COUNTED)
		member_give_place_back(connection->member);
	connection->flags &= ~HF_CONNECTION_COUNTED;
	return drop(HF_REASON_ports_exhausted);
}
