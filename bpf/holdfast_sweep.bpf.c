// SPDX-License-Identifier: GPL-2.0
/*
 * The sweeper: programs that userspace runs (BPF_PROG_TEST_RUN) and that walk
 * the tables inside the kernel. Reading a million entries out to userspace alone
 * takes longer than all of this.
 */
#include "packet_skb.h"

#include "embryo.h"

/* What the last walk over the connections found. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct hf_places);
	__uint(max_entries, 16384);
} member_connections_found SEC(".maps");

/* Splices that are to be woken, for the daemon. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32); /* name of the splice */
	__type(value, __u8);
	__uint(max_entries, 4096);
} sleeping_splices SEC(".maps");

struct sweep_walk {
	__u32 now;
	__u32 filter;
	__u32 id;
	__u64 alive;
	__u64 deleted;
};

static __always_inline bool sweep_orphan(__u32 virtual_server, __u32 member_id)
{
	const struct hf_virtual_server *settings = service_settings(virtual_server);
	const struct hf_member *member = member_get(member_id);

	return !settings || !settings->pool || !member || member->state == HF_MEMBER_ABSENT;
}

/* Does the order name this entry, whatever its age? */
static __always_inline bool sweep_named(const struct sweep_walk *walk, __u32 virtual_server, __u32 member)
{
	switch (walk->filter) {
	case HF_SWEEP_ALL:
		return true;
	case HF_SWEEP_ORPHANS:
		return sweep_orphan(virtual_server, member);
	case HF_SWEEP_VIRTUAL_SERVER:
		return virtual_server == walk->id;
	case HF_SWEEP_MEMBER:
		return member == walk->id;
	}
	return false;
}

/* A scope that nothing uses any more has a rule without a type. */
static __always_inline const struct hf_rule *sweep_rule(__u32 scope)
{
	const struct hf_virtual_server *settings;
	__u32 id;

	if (scope & HF_SCOPE_ACROSS) {
		id = (scope & ~HF_SCOPE_ACROSS) >> HF_SCOPE_RULE_SHIFT;
	} else {
		settings = service_settings(scope);
		id = settings ? settings->rule : 0;
	}
	return bpf_map_lookup_elem(&rules, &id);
}

/* Does the order name this session, whatever its age? */
static __always_inline bool sweep_session_named(const struct sweep_walk *walk, const struct hf_session_key *key,
						const struct hf_session *session)
{
	const struct hf_virtual_server *settings;
	const struct hf_rule *rule;
	__u32 scope = key->scope;
	__u32 id = walk->id;

	if (walk->filter == HF_SWEEP_ORPHANS && scope & HF_SCOPE_ACROSS) {
		const struct hf_member *member = member_get(session->member);

		return !member || member->state == HF_MEMBER_ABSENT || member->pool != (scope & HF_SCOPE_POOL_MASK);
	}
	if (walk->filter == HF_SWEEP_VIRTUAL_SERVER) {
		settings = service_settings(id);
		rule = sweep_rule(id);
		if (settings && rule)
			return scope == session_scope(settings, id, rule);
	}
	return sweep_named(walk, scope, session->member);
}

static __always_inline __u32 sweep_session_timeout(__u32 scope)
{
	const struct hf_rule *rule = sweep_rule(scope);

	return rule ? rule->timeout : 0;
}

static __always_inline __u32 sweep_created(const struct hf_connection *connection)
{
	const struct hf_splice *splice;

	if (!(connection->flags & HF_CONNECTION_SPLICED))
		return connection->created;
	splice = splice_get(connection->splice);
	return splice ? splice->connecting_since : 0;
}

/* A place that is taken. The daemon compares what is found with member_connections. */
static __always_inline void sweep_count(const struct sweep_walk *walk, const struct hf_connection *connection)
{
	__u32 id = connection->member;
	struct hf_places *found;

	/* Of the walks that are under way at one time, only one counts. */
	if (walk->filter != HF_SWEEP_EXPIRED || !connection_holds_place(connection))
		return;
	found = bpf_map_lookup_elem(&member_connections_found, &id);
	if (found && sweep_created(connection) >= walk->now)
		found->young++;
	else if (found)
		found->sure++;
}

/* Removes an entry. Its place is given back by whoever removes it. */
static __always_inline void sweep_remove(void *map, const struct hf_flow_key *key,
					 const struct hf_connection *connection)
{
	bool held = connection_holds_place(connection);
	__u32 member = connection->member;

	if (!bpf_map_delete_elem(map, key) && held)
		member_give_place_back(member);
}

static long sweep_session(void *map, const struct hf_session_key *key, struct hf_session *session,
			  struct sweep_walk *walk)
{
	__u32 seen = session->last_seen;
	__u32 timeout = sweep_session_timeout(key->scope);
	__u32 kept = timeout ? gaps_remembered() : 0;
	bool alive = session_alive(session, timeout, walk->now);
	bool dead = sweep_session_named(walk, key, session) ||
		    !session_alive(session, kept > timeout ? kept : timeout, walk->now);

	/* Claim it first: a session that is revived at this moment is left alone. */
	if (dead && __sync_val_compare_and_swap(&session->last_seen, seen, HF_SESSION_DEAD) == seen) {
		if (walk->filter == HF_SWEEP_EXPIRED)
			event_of_session(HF_EVENT_SESSION_EXPIRED, key, session->member, 0, 0);
		bpf_map_delete_elem(map, key);
		/* One that is only remembered was over before. */
		walk->deleted += alive || walk->filter == HF_SWEEP_EXPIRED;
	} else {
		walk->alive += alive;
	}
	return 0;
}

static long sweep_embryonic_session(void *map, const struct hf_session_key *key, struct hf_session *session,
				    struct sweep_walk *walk)
{
	__u32 timeout = session_embryonic_timeout(key, sweep_session_timeout(key->scope));

	if (sweep_session_named(walk, key, session) || !session_alive(session, timeout, walk->now))
		bpf_map_delete_elem(map, key);
	return 0;
}

static __always_inline bool sweep_connection_named(const struct sweep_walk *walk,
						   const struct hf_connection *connection)
{
	const struct hf_virtual_server *settings;

	/* One that is waiting for its member has none yet. */
	if (walk->filter == HF_SWEEP_ORPHANS && connection->state == HF_CONNECTION_COLLECTING) {
		settings = service_settings(connection->virtual_server);
		return !settings || !settings->pool;
	}
	return sweep_named(walk, connection->virtual_server, connection->member);
}

static long sweep_connection(void *map, const struct hf_flow_key *key, struct hf_connection *connection,
			     struct sweep_walk *walk)
{
	if (sweep_connection_named(walk, connection) || connection_expired(connection, walk->now)) {
		if (connection->flags & HF_CONNECTION_SPLICED) {
			connection_count_timeout(connection);
			splice_end(connection->splice);
		}
		sweep_remove(map, key, connection);
		walk->deleted++;
	} else {
		sweep_count(walk, connection);
		if (!(connection->flags & HF_CONNECTION_REPLY))
			walk->alive++;
	}
	return 0;
}

static long sweep_embryonic_connection(void *map, const struct hf_flow_key *key, struct hf_embryonic_connection *embryo,
				       struct sweep_walk *walk)
{
	if (sweep_named(walk, embryo->connection.virtual_server, embryo->connection.member) ||
	    !embryo_alive(embryo, walk->now)) {
		sweep_remove(map, key, &embryo->connection);
	} else {
		sweep_count(walk, &embryo->connection);
	}
	return 0;
}

/* The other end of a connection that is gone, or of one that has left this member. */
static long sweep_other_end(void *map, const struct hf_flow_key *marked, struct hf_other_end *end,
			    struct sweep_walk *walk)
{
	__u32 member = marked->pad[0] | marked->pad[1] << 8 | marked->pad[2] << 16;
	const struct hf_connection *connection;
	struct hf_flow_key key = *marked;

	/* It is recorded before its connection is. */
	if (walk->filter != HF_SWEEP_ALL && (__u16)(walk->now - end->made) < 2)
		return 0;
	flow_mark_member(&key, 0);
	connection = bpf_map_lookup_elem(&connections, &key);
	if (!connection ||
	    (member && connection->member != member && !(connection->flags & HF_CONNECTION_PER_DATAGRAM)))
		bpf_map_delete_elem(map, marked);
	return 0;
}

/* A head that does not end is not waited for, and not kept. */
static __always_inline void sweep_unfinished_head(struct hf_splice *splice, __u32 now)
{
	__u32 zero = 0;
	const struct hf_early_limits *limits = bpf_map_lookup_elem(&early_limits, &zero);

	if (!limits || splice->requests.state != HF_READER_HEAD || splice->requests.next == splice->requests.head ||
	    (__s32)(now - splice->read_since) <= (__s32)limits->timeout || !splice_try_lock(splice))
		return;
	reason_count(HF_REASON_stream_unframed);
	reader_give_up(splice);
	splice->busy = 0;
}

/*
 * A slot whose entries the LRU has evicted is given back. One whose client, or whose
 * member, has been silent for too long is to be woken: the daemon does that.
 */
static long sweep_splice(void *map, const __u32 *slot, struct hf_splice *splice, struct sweep_walk *walk)
{
	const struct hf_virtual_server *settings;
	const struct hf_connection *entry;
	struct hf_flow_key key;
	__u32 id = splice->id;
	__u8 nothing = 0;
	__u32 since;

	if (splice->state == HF_SPLICE_FREE)
		return 0;
	key = splice->client;
	entry = bpf_map_lookup_elem(&connections, &key);
	if (!entry || !(entry->flags & HF_CONNECTION_SPLICED) || entry->splice != id) {
		if ((__s32)(walk->now - splice->begun) > 1)
			splice_end(id);
		return 0;
	}
	if (walk->filter != HF_SWEEP_EXPIRED)
		return 0;
	if (splice->state == HF_SPLICE_BOUND) {
		sweep_unfinished_head(splice, walk->now);
		return 0;
	}
	settings = service_settings(splice->virtual_server);
	if (!settings)
		return 0;
	since = walk->now - (splice->state == HF_SPLICE_COLLECTING ? splice->begun : splice->connecting_since);
	if (splice->state == HF_SPLICE_COLLECTING &&
	    (since < settings->server_first_wait || splice->client_next != splice->client_first))
		return 0;
	if (splice->state == HF_SPLICE_CONNECTING && since < 1)
		return 0;
	splice->wake = 1;
	bpf_map_update_elem(&sleeping_splices, &id, &nothing, BPF_ANY);
	return 0;
}

/* Early data that its splice has left behind. */
static long sweep_early_data(void *map, const struct hf_early_key *key, void *piece, struct sweep_walk *walk)
{
	if (!splice_get(key->splice) && !bpf_map_delete_elem(map, key))
		early_pieces_add(-1);
	return 0;
}

/* Likewise, what was changed in its streams. */
static long sweep_edits(void *map, const struct hf_edits_key *key, struct hf_edits *list, struct sweep_walk *walk)
{
	struct hf_flow_key client = {};

	if (splice_get(key->splice))
		return 0;
	__builtin_memcpy(client.source, list->client, sizeof(client.source));
	if (!bpf_map_delete_elem(map, key))
		share_give_back(&client, HF_EDITED_BYTES);
	return 0;
}

static __always_inline void sweep_begin(struct sweep_walk *walk, const struct hf_sweep *order)
{
	walk->now = clock_now();
	walk->filter = order->filter;
	walk->id = order->id;
}

SEC("syscall")
int sweep_sessions(struct hf_sweep *order)
{
	struct sweep_walk walk = {};

	sweep_begin(&walk, order);
	/* What could still become a session goes first. */
	bpf_for_each_map_elem(&embryonic_sessions, sweep_embryonic_session, &walk, 0);
	bpf_for_each_map_elem(&sessions, sweep_session, &walk, 0);
	order->alive = walk.alive;
	order->deleted = walk.deleted;
	return 0;
}

SEC("syscall")
int sweep_connections(struct hf_sweep *order)
{
	struct sweep_walk walk = {};

	sweep_begin(&walk, order);
	bpf_for_each_map_elem(&embryonic_connections, sweep_embryonic_connection, &walk, 0);
	bpf_for_each_map_elem(&connections, sweep_connection, &walk, 0);
	bpf_for_each_map_elem(&other_ends, sweep_other_end, &walk, 0);
	bpf_for_each_map_elem(&splices, sweep_splice, &walk, 0);
	bpf_for_each_map_elem(&early_data, sweep_early_data, &walk, 0);
	bpf_for_each_map_elem(&edits, sweep_edits, &walk, 0);
	order->alive = walk.alive;
	order->deleted = walk.deleted;
	return 0;
}

/* What the daemon puts in (BPF_F_TEST_XDP_LIVE_FRAMES) goes to the interface's TC program. */
SEC("xdp.frags")
int inject(struct xdp_md *context)
{
	return XDP_PASS;
}

/* What time the data path thinks it is. */
SEC("syscall")
int read_clock(__u32 *now)
{
	*now = clock_now();
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
