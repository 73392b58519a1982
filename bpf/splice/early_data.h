/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Early data: what a client sends before there is a member to have it. It is kept
 * as one stream, cut into pieces of equal length (the last may be shorter), and its
 * checksum is verified when it comes in: what is corrupt must neither be parsed nor
 * take the place of what is right, because the first byte that is stored counts.
 * It goes away when the member has acknowledged all of it.
 */
#pragma once

#include "../task.h"
#include "../tcp.h"
#include "splice.h"

/* The sum of a run of bytes behind which there are zeros. Global: verified once. */
__noinline __u32 early_sum(const struct message *message, __u32 at, __u32 length)
{
	__u32 sum = 0;

	if (!message)
		return 0;
	for (int i = 0; i < 2 * HF_MESSAGE_BYTES / 512; i++) {
		if (length < 512)
			break;
		sum = bpf_csum_diff(NULL, 0, (__be32 *)(message->bytes + below(at, 2 * HF_MESSAGE_BYTES)), 512, sum);
		at += 512;
		length -= 512;
	}
	if (length)
		sum = bpf_csum_diff(NULL, 0, (__be32 *)(message->bytes + below(at, 2 * HF_MESSAGE_BYTES)),
				    below(length + 3, 1024) & 0x3fc, sum);
	return csum_fold(sum);
}

/*
 * There are three runs of pieces: the early data (0), and what is there of a request's
 * and a response's unfinished head (HF_EARLY_*). Those of a client are charged to it.
 */
static __always_inline __u32 early_piece_length(const struct hf_splice *splice, __u32 run)
{
	return run ? HF_PIECE_BYTES : splice->piece;
}

/* Copies a stored piece to `at`. False: it is not there. */
static __noinline bool early_load_piece(struct message *message, __u32 id, __u32 number, __u32 at)
{
	struct hf_early_key key = {.splice = id, .number = number};
	const struct hf_early_piece *piece = bpf_map_lookup_elem(&early_data, &key);

	return piece && !bpf_probe_read_kernel(message->bytes + below(at, HF_MESSAGE_BYTES), sizeof(*piece), piece);
}

/* Stores a piece from `at`; a `fresh` one is charged to the client's share. */
static __noinline bool early_store_piece(const struct message *message, struct hf_splice *splice, __u32 number,
					 __u32 at, bool fresh)
{
	struct hf_early_key key = {.splice = splice->id, .number = number};
	bool charge = fresh && !(number & HF_EARLY_ANSWER);

	if (charge && !share_take(&splice->client, HF_PIECE_BYTES)) {
		reason_count(HF_REASON_early_client_full);
		return false;
	}
	if (fresh &&
	    !bpf_map_update_elem(&early_data, &key, message->bytes + below(at, HF_MESSAGE_BYTES), BPF_NOEXIST)) {
		early_pieces_add(1);
		if (charge)
			__sync_fetch_and_add(&splice->charged, HF_PIECE_BYTES);
	} else {
		/* It is there already. */
		if (charge)
			share_give_back(&splice->client, HF_PIECE_BYTES);
		if (bpf_map_update_elem(&early_data, &key, message->bytes + below(at, HF_MESSAGE_BYTES), BPF_EXIST)) {
			reason_count(HF_REASON_early_full);
			return false;
		}
	}
	if (fresh && number < HF_EARLY_REQUEST)
		splice->pieces = number + 1;
	return true;
}

/* Where the pieces begin that the parser still needs. */
static __always_inline __u32 early_base(const struct hf_splice *splice)
{
	if (splice->flags & HF_SPLICE_WHOLE)
		return 0;
	return splice->piece ? splice->parsed / splice->piece * splice->piece : 0;
}

/* Copies bytes of the early data, from `offset` in the stream on, to `at`. -1: they are not there. Global: verified once. */
__noinline int early_copy(struct message *message, __u32 id, __u32 offset, __u32 at, __u32 size)
{
	__u32 slot = id & HF_SPLICE_SLOT, length;
	const struct hf_splice *splice = bpf_map_lookup_elem(&splices, &slot);
	const struct hf_early_piece *piece;
	struct hf_early_key key = {.splice = id};

	if (!message || !splice)
		return -1;
	length = splice->piece;
	if (!length)
		return 0;
	for (__u32 i = 0; i < SPLICE_MOST_PIECES && size; i++) {
		__u32 within = offset % length, part = length - within;

		if (part > size)
			part = size;
		key.number = offset / length;
		piece = bpf_map_lookup_elem(&early_data, &key);
		if (!piece || bpf_probe_read_kernel(message->bytes + below(at, 2 * HF_MESSAGE_BYTES), below(part, 2048),
						    piece->bytes + within))
			return -1;
		offset += part;
		at += part;
		size -= part;
	}
	return 0;
}

/* Bytes from `base` on, of `stored`, to the message's beginning. Global: verified once. */
__noinline int early_load(struct message *message, __u32 id, __u32 run, __u32 base, __u32 stored)
{
	__u32 slot = id & HF_SPLICE_SLOT, piece, number;
	const struct hf_splice *splice = bpf_map_lookup_elem(&splices, &slot);

	if (!message || !splice)
		return -1;
	piece = early_piece_length(splice, run);
	if (!piece)
		return -1;
	number = base / piece;
	for (__u32 i = 0; i < SPLICE_MOST_PIECES; i++) {
		__u32 at = i * piece;

		if ((__s32)(stored - base - at) <= 0)
			break;
		if (!early_load_piece(message, id, run + number + i, at))
			return -1;
	}
	return 0;
}

/* The message is this CPU's: Linux 6.1 takes no map's value from memory that it knows only as an argument. */
__noinline int early_store(__u32 id, __u32 run, __u32 base, __u32 from, __u32 to)
{
	__u32 slot = id & HF_SPLICE_SLOT, piece, number;
	struct hf_splice *splice = bpf_map_lookup_elem(&splices, &slot);
	const struct message *message = message_get();

	if (!message || !splice)
		return -1;
	piece = early_piece_length(splice, run);
	if (!piece)
		return -1;
	number = from / piece;
	for (__u32 i = 0; i < SPLICE_MOST_PIECES; i++) {
		__u32 at = (number + i) * piece;

		if ((__s32)(to - at) <= 0)
			break;
		/* Of the first piece there may be a part already. */
		if (!early_store_piece(message, splice, run + number + i, at - base, (__s32)(at - from) >= 0))
			return -1;
	}
	return 0;
}

/* Does the segment's checksum agree with it? Its payload lies at `at`. The packet's own checksum is spoilt. */
static __always_inline bool early_checksum_is_right(hook_context *context, const struct packet *packet,
						    const struct tcp_seen *seen, const struct message *message,
						    __u32 at)
{
	/* Left to hardware: the segment comes from this host, or was checked when it was put together with others. */
	if (packet_checksum_is_partial(context, packet->transport + offsetof(struct tcphdr, check)))
		return true;
	return csum_fold(tcp_sum(packet, seen) + early_sum(message, at, packet->payload_length)) == 0xffff;
}

/* The zeros behind `length` bytes at `at`. */
static __always_inline void early_end(struct message *message, __u32 at, __u32 length)
{
	__builtin_memset(message->bytes + (below(at, HF_MESSAGE_BYTES) + below(length - 1, HF_MESSAGE_BYTES) + 1), 0,
			 MESSAGE_SLACK);
}

/*
 * Takes what is new in a segment. `skip` bytes of it are stored already, and `most`
 * are wanted. The message becomes what the parser has to read: from early_base() to
 * the end of what is stored. Returns the number of bytes that were new, or -1 if
 * none could be taken: the reason is counted.
 */
static __noinline int early_take(hook_context *context, const struct packet *packet, struct hf_splice *splice,
				 __u32 skip, __u32 most)
{
	__u32 base = early_base(splice), stored = splice->client_next - splice->client_first;
	struct tcp_workplace *workplace = tcp_workplace_get();
	__u32 at = stored - base, size = packet->payload_length, offset, fresh;
	struct message *message = message_get();
	const struct tcp_seen *seen;

	if (!workplace || !message)
		return -1;
	seen = &workplace->seen;
	offset = packet->transport + seen->length;
	if (size > HF_MESSAGE_BYTES)
		size = HF_MESSAGE_BYTES;
	if (!size || skip >= size || at >= HF_MESSAGE_BYTES) {
		reason_count(HF_REASON_early_beyond);
		return -1;
	}
	/* Whole pieces are copied: what lies behind the last one's bytes is written over. */
	if (at && early_load(message, splice->id, 0, base, stored)) {
		reason_count(HF_REASON_early_full);
		return -1;
	}
	if (packet_load(context, offset, message->bytes + below(at, HF_MESSAGE_BYTES),
			below(size - 1, HF_MESSAGE_BYTES) + 1)) {
		reason_count(HF_REASON_malformed);
		return -1;
	}
	early_end(message, at, size);
	if (!early_checksum_is_right(context, packet, seen, message, at)) {
		reason_count(HF_REASON_early_corrupt);
		return -1;
	}
	fresh = size - skip;
	if (fresh > most)
		fresh = most;
	if (skip && packet_load(context, offset + skip, message->bytes + below(at, HF_MESSAGE_BYTES),
				below(fresh - 1, HF_MESSAGE_BYTES) + 1)) {
		reason_count(HF_REASON_malformed);
		return -1;
	}
	early_end(message, at, fresh);
	return fresh;
}
