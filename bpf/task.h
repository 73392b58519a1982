/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a packet's programs hand on to each other, where several share the work by
 * tail calls: a place in memory for each CPU, that nobody else uses before the
 * packet has left. What the rare paths begin is kept here, too: of a map's memory
 * the verifier knows nothing, so that the paths are one to it where they come
 * together.
 */
#pragma once

#include "persist/parser.h"
#include "service.h"

/* A network header that is being made. */
struct network_header {
	union {
		struct iphdr ipv4;
		struct ipv6hdr ipv6;
	};
	struct {
		__u8 next;
		__u8 reserved;
		__be16 offset;
		__be32 id;
	} fragment; /* behind IPv6's */
	__u8 pad[16];
};

/* What the stage `emit` sends. */
enum emit_source {
	EMIT_SEGMENT, /* the packet's own payload */
	EMIT_EARLY    /* what the client sent before it had its member */
};

struct task {
	struct hf_connection connection;       /* that the packet will be translated with */
	struct hf_other_end own_end;           /* of ours, that it has just been given */
	struct hf_embryonic_connection embryo; /* that is being made */
	struct hf_flow_key reply;              /* of a connection that is being made */
	struct network_header header;
	struct packet packet;
	__u32 virtual_server;
	__u32 stage; /* enum hf_stage: what follows */
	__u32 next;  /* what follows the parser */
	int outcome; /* enum hf_parser_outcome */
	/* of a datagram */
	__u32 bound;       /* the member of the forward entry; 0: there is none, the sender may not be real */
	bool newly_proved; /* this datagram shows that its sender is real */
	bool from_member;  /* nothing is decided: the member's own keys are recorded */
	bool reply_seen;   /* in this second the reply entry of `bound` was there */
	/* of a bound stream's segment that is read (splice/follow.h) */
	bool reading;    /* the segment's first look is done */
	bool loaded;     /* its payload is the message */
	bool beyond;     /* the member that is wanted may be full */
	__u16 requested; /* as they will be */
	__u16 answered;
	__u32 methods;
	struct hf_reader reader; /* as it will be */
	__u32 read_next;         /* as it was */
	__u32 sequence;          /* of the payload */
	__u32 at;                /* bytes of the payload that have been read */
	__u32 stored;            /* bytes of the head in earlier segments */
	__u32 looks;             /* programs that have read in it */
	__u32 wanted;            /* the member of the request */
	__u32 splice;            /* of an opening: its name; this packet's programs have its lock */
	/* of a connection whose member has refused it, or says nothing */
	bool refused;
	struct hf_connection left; /* the entry of the member that has it no more */
	/* of what is changed */
	bool tunnel;           /* what follows is no HTTP, and the member has said so */
	bool optional;         /* the stream may as well stay as it is */
	bool marked;           /* the request has a cookie of its member, that need not be renewed */
	__u16 unmarked;        /* as it will be */
	__u8 source;           /* enum emit_source */
	__u32 limit;           /* bytes of the segment that go on; the rest comes again */
	__u32 emit_from;       /* with EMIT_EARLY: what the member has acknowledged; 0: nothing */
	struct hf_edits edits; /* found in this segment; when it is sent, all that there are */
};

/* Private to each hook's programs: not shared, not pinned. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct task);
	__uint(max_entries, 1);
} tasks SEC(".maps");

/* Likewise, an entry for each CPU: more than a per-CPU map may hold. The loader sets the number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct message);
	__uint(max_entries, 1);
} messages SEC(".maps");

static __always_inline struct task *task_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&tasks, &zero);
}

static __always_inline struct message *message_get(void)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&messages, &cpu);
}

static __always_inline const struct hf_rule *task_rule(const struct task *task)
{
	const struct hf_virtual_server *settings = service_settings(task->virtual_server);
	__u32 id = settings ? settings->rule : 0;

	return bpf_map_lookup_elem(&rules, &id);
}
