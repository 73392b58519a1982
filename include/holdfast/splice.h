/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The state of spliced connections: what their two directions share, early data,
 * SYN cookies. Conventions: abi.h.
 */
#ifndef HOLDFAST_SPLICE_H
#define HOLDFAST_SPLICE_H

#include "state.h"

/* A splice's name: its slot in `splices`, and how often that has been used, in the bits above. */
#define HF_SPLICE_SLOT 0x000fffffU
#define HF_SPLICE_GENERATION 0xfff00000U
#define HF_SPLICE_GENERATION_STEP 0x00100000U

enum hf_splice_state {
	HF_SPLICE_FREE = 0,
	HF_SPLICE_COLLECTING = 1,
	HF_SPLICE_CONNECTING = 2,
	HF_SPLICE_BOUND = 3,
};

enum {
	HF_SPLICE_TIMESTAMPS = 1, /* the client sends them */
	HF_SPLICE_SACK = 2,
	HF_SPLICE_SCALE = 4,         /* both sides of the client's half scale their windows */
	HF_SPLICE_UNSCALE = 8,       /* the member does not scale: the client's windows are made plain */
	HF_SPLICE_CLIENT_FIN = 16,   /* behind the early data */
	HF_SPLICE_ACKNOWLEDGED = 32, /* the client was told that early data has arrived: it is ours to deliver */
	HF_SPLICE_WHOLE = 64,        /* the parser reads from the first byte: it keeps nothing of earlier segments */
	HF_SPLICE_PREFACE = 128      /* the member has not acknowledged its preface */
};

/* How far one direction of a connection has been read: HTTP messages, or a hello. */
enum hf_reader_state {
	HF_READER_OFF = 0,  /* nothing is read (any more) */
	HF_READER_HEAD = 1, /* a message begins at `head`; what is here of it so far is kept (early_data) */
	HF_READER_BODY = 2, /* `left` bytes to the next message */
	HF_READER_REST = 3, /* a response that ends with its connection */
	/* chunked (RFC 9112, 7.1): the byte that comes next */
	HF_READER_SIZE,
	HF_READER_EXTENSION,
	HF_READER_SIZE_LF,
	HF_READER_DATA, /* `left` bytes of it */
	HF_READER_DATA_CR,
	HF_READER_DATA_LF,
	HF_READER_TRAILER,
	HF_READER_TRAILER_LINE,
	HF_READER_TRAILER_LF,
	HF_READER_LAST_LF,
	HF_READER_BROKEN, /* of a walk: nobody knows where the next message begins */
};

struct hf_reader {
	__u64 left;
	__u32 next;   /* sequence number of the first byte that has not been read */
	__u32 head;   /* of the first byte of the message whose head is read */
	__u32 parsed; /* bytes of that which hold no end of a head */
	__u8 state;
	__u8 digits; /* of a chunk's size so far */
	__u16 pad;
	__u32 busy; /* a CPU is moving it */
	__u32 pad2;
};
HF_SIZE(hf_reader, 32);

/*
 * splices: by slot, what both directions of a spliced connection share. Sequence
 * numbers are in host order. The client's numbers go to the member as they are;
 * the member's are shifted by a constant, because the client was given ours in
 * the SYN cookie, before there was a member (RFC 9293 with a hole in the middle).
 */
struct hf_splice {
	struct hf_flow_key client; /* the forward flow */
	__u32 id;                  /* its present name */
	__u32 state;               /* enum hf_splice_state */
	__u32 busy;                /* somebody is working on what is not bound */
	__u32 begun;               /* when the client had proved its address; seconds */
	__u32 wake;                /* nothing came for too long: the next packet, which the daemon makes, goes on */
	__u32 connecting_since;
	__u32 member;
	__u16 virtual_server;
	__u16 flags;
	/* towards the client */
	__u32 client_first;     /* sequence number of the first byte that the member is to get */
	__u32 client_next;      /* behind the last byte that is stored */
	__u32 server_first;     /* what the client acknowledges before it got anything from the member */
	__u32 client_timestamp; /* its latest */
	__u32 timestamp_sent;   /* the highest that it got */
	__u32 flow_label;       /* first word of its IPv6 header, in network order */
	__u16 client_window;    /* as in its last packet */
	__u16 client_mss;
	__u8 client_scale;
	__u8 member_scale;
	__u16 member_mss;
	/* towards the member */
	__u32 member_first;        /* sequence number of its first byte */
	__u32 shift;               /* what is added to its numbers for the client */
	__u32 member_acknowledged; /* its latest acknowledgement, while there is early data */
	__u32 member_timestamp;    /* of its SYN-ACK */
	__u32 timestamp_shift;
	/* early data */
	__u32 acknowledged; /* with HF_SPLICE_ACKNOWLEDGED: what the client was told */
	__u32 parsed;       /* bytes that the parser needs no more */
	__u16 piece;        /* bytes of a full piece */
	__u16 pieces;       /* that are stored */
	__u32 charged;      /* to the client's share; bytes */
	__u32 replayed_at;  /* milliseconds, nearly */
	__u16 segments;     /* that brought early data */
	__u16 strays;       /* segments of a member that talks about something else */
	__u16 rebinds;      /* after the first binding */
	__u8 tries;         /* SYNs to this member */
	__u8 refused;       /* members that did not accept */
	/* what each direction has said; HTTP: */
	struct hf_reader requests; /* numbers of the client */
	struct hf_reader answers;  /* numbers of the member */
	__u16 requested;           /* requests whose heads were read; they wrap */
	__u16 answered;            /* final responses, likewise */
	__u32 methods;             /* enum http_method of the last 16 requests, two bits each, by their number */
	__u32 held_since;          /* a request waits for its member since; seconds; 0: none does */
	__u32 read_since;          /* an unfinished head is there since */
	__u32 asked_since;         /* the member was sent its first SYN then; seconds */
	__u16 preface;             /* bytes that the member gets in front of client_first: who the client is */
	__u16 unmarked;            /* of the last 16 requests, by their number: the response is to get a cookie */
	__u8 key[16];              /* HF_SERVER_WATCHES: of the first message; zeros: it had none */
	/* What edits have made of the streams: without those that are in `edits`, by direction. */
	__u32 request_shift; /* what is added to the client's numbers for the member; `shift` has its own */
	__u8 edited[2];      /* entries of the list, by enum hf_direction */
	__u16 pad;
};
HF_SIZE(hf_splice, 264);

enum hf_direction { HF_REQUESTS = 0, HF_ANSWERS = 1 };

/*
 * A place where a stream is changed: bytes go, others come. Sequence numbers are its
 * sender's. The text is put in front of the byte at + removed; while an edit is open,
 * nobody has seen that, and more may be removed.
 */
struct hf_edit {
	__u32 at;
	__u16 removed;
	__u16 put;    /* bytes of the text that count; 0 while it is open */
	__u16 length; /* of the text; of an open edit: what is put where nothing more becomes known */
	__u8 open;
	__u8 seen; /* in the segment that is being read */
	__u8 text[HF_EDIT_BYTES];
};
HF_SIZE(hf_edit, 12 + HF_EDIT_BYTES);

/* edits: by a splice's name and direction: what its receiver has not acknowledged, by place. */
struct hf_edits_key {
	__u32 splice;
	__u32 direction; /* enum hf_direction: of the stream */
};
HF_SIZE(hf_edits_key, 8);

struct hf_edits {
	struct hf_edits_key owner; /* the entry may be another's by now; splice 0: nobody's */
	__u32 busy;                /* the CPU that works on it, and one */
	__u32 count;
	__u32 sent;      /* the sender's number behind what has been sent on */
	__u8 client[16]; /* in whose share it is */
	struct hf_edit list[HF_EDITS];
};
HF_SIZE(hf_edits, 36 + HF_EDITS * (12 + HF_EDIT_BYTES));

/*
 * free_splices_ends: one entry. The free slots are a ring, the array free_splices:
 * taken at `head`, given back at `tail`; both only grow, and are places modulo `size`.
 * A slot of 0 is not written yet. (A queue map would do, but for Linux 6.1, whose
 * syscall programs, the sweeper, may not use one.)
 */
struct hf_free_splices {
	__u64 head;
	__u64 tail;
	__u32 size;
	__u32 pad;
};
HF_SIZE(hf_free_splices, 24);

/*
 * early_data: what a client has sent before there was a member: pieces of the stream,
 * from its first byte. And what is there of an unfinished head: HF_EARLY_*, in the
 * number's upper bits.
 */
struct hf_early_key {
	__u32 splice;
	__u32 number;
};

enum { HF_EARLY_REQUEST = 0x10000, HF_EARLY_ANSWER = 0x20000 };
HF_SIZE(hf_early_key, 8);

struct hf_early_piece {
	__u8 bytes[HF_PIECE_BYTES];
};
HF_SIZE(hf_early_piece, HF_PIECE_BYTES);

/* early_shares: the address of a client; IPv6: the first 64 bits of it. */
struct hf_share_key {
	__u64 address[2];
};
HF_SIZE(hf_share_key, 16);

/* syn_cookie_keys: one entry. The key of a span is chosen by a bit of its number (bpf/splice/syn_cookie.h). */
struct hf_syn_cookie_keys {
	__u64 keys[2][2];
};
HF_SIZE(hf_syn_cookie_keys, 32);

/* early_limits: one entry. */
struct hf_early_limits {
	__u32 max_head;             /* bytes of a stream that are looked at */
	__u32 max_bytes_per_client; /* early data of one address (IPv6: of its first 64 bits) */
	__u32 timeout;              /* seconds until the member has to be known */
};
HF_SIZE(hf_early_limits, 12);

#endif
