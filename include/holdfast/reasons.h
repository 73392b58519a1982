/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Why a packet was dropped, or did not go the straight way. This one list makes
 * the enum of the data path, the names that commands and metrics print, and the
 * table in docs/operations.md.
 *
 * REASON(name, kind, documentation)
 *   kind  drop      the packet ended here
 *         reject    the packet ended here and its sender was told (TCP RST, ICMP error)
 *         fallback  the packet went on, by a slower or a second-best way
 */
#ifndef HOLDFAST_REASONS_H
#define HOLDFAST_REASONS_H

#define HF_REASONS(REASON)                                                                                             \
	REASON(malformed, drop, "a packet for a virtual address whose headers are truncated or contradict each other") \
	REASON(fragment_early, drop,                                                                                   \
	       "an IP fragment for a virtual address that came before, or without, its first one")                     \
	REASON(routing_header, drop, "an IPv6 routing header with segments left, for a virtual address")               \
	REASON(hop_limit, reject, "TTL or hop limit would reach zero")                                                 \
	REASON(too_big, reject, "the packet is larger than the MTU of its next hop")                                   \
	REASON(no_route, drop, "no route leads to the next hop")                                                       \
	REASON(table_full, drop, "a connection could not be recorded: the kernel had no free entry")                   \
	REASON(tuple_in_use, drop,                                                                                     \
	       "the client's address and port already talk to that member through another virtual server")             \
	REASON(ports_exhausted, drop,                                                                                  \
	       "no free port of the virtual server's source addresses was found towards the member")                   \
	REASON(not_on_link, drop, "with forwarding direct: a router leads to the member, which would send it back")    \
	REASON(member_full, drop,                                                                                      \
	       "another connection took the member's last place, or its last one of this second, at the same moment; " \
	       "the client's next try is decided anew")                                                                \
	REASON(stage_missing, drop, "a program of the data path was not there: an upgrade was interrupted")            \
	REASON(state_missing, drop, "a map of the data path had no entry where there always is one")                   \
	REASON(packet_resize, drop, "the kernel could not make room for, or remove, a VLAN tag or a network header")   \
	REASON(checksum_missing, drop, "nat46: a fragment of a UDP datagram without a checksum, which IPv6 demands")   \
	REASON(fragment_untranslated, drop, "nat64: a fragment with options behind its fragment header")               \
	REASON(icmp_untranslated, drop, "nat46, nat64: an ICMP error that the other family has not")                   \
	REASON(rejected_reset, drop, "a RST that belongs to no connection")                                            \
	REASON(not_yet_open, drop, "data or a wrong acknowledgement before the handshake was complete")                \
	REASON(cookie_invalid, drop,                                                                                   \
	       "an acknowledgement that fits no SYN cookie of ours, but might be a part of a handshake")               \
	REASON(opening_busy, drop, "two packets of a connection that is being opened met: the sender repeats its own") \
	REASON(opening_full, drop, "all slots for spliced connections are taken (tables.splices)")                     \
	REASON(early_full, drop, "the table of early data is full")                                                    \
	REASON(early_client_full, drop, "the client holds as much early data as one may (early_data)")                 \
	REASON(early_out_of_order, drop, "early data behind a gap: the client sends it again")                         \
	REASON(early_repeated, drop, "early data that is already stored: what came first counts")                      \
	REASON(early_beyond, drop, "data behind the longest head, before its connection was bound")                    \
	REASON(early_corrupt, drop, "early data with a wrong TCP checksum")                                            \
	REASON(opening_stray, drop, "a segment that has no place in a connection's opening")                           \
	REASON(early_timeout, drop, "an opening whose first message did not come in time (early_data.timeout)")        \
	REASON(connecting_timeout, drop, "an opening whose member did not answer")                                     \
	REASON(neighbour_unknown, drop,                                                                                \
	       "a member's neighbour was not known: early data for it, or, with forwarding direct, any packet")        \
	REASON(splice_half, drop, "a member's segment, when the other half of its spliced connection is gone")         \
	REASON(splice_stray, drop, "a segment that acknowledges what its connection has not got")                      \
	REASON(stream_gap, drop,                                                                                       \
	       "a segment behind a gap, where a message may begin: the sender repeats what is missing")                \
	REASON(request_held, drop,                                                                                     \
	       "a request for another member, before all earlier ones are answered: it comes again")                   \
	REASON(edit_held, drop,                                                                                        \
	       "a segment in which a stream is to be changed, before earlier changes are acknowledged: it comes "      \
	       "again")                                                                                                \
	REASON(request_unread, reject,                                                                                 \
	       "with x_forwarded_for: what cannot be read as requests does not reach the member without that header")  \
	REASON(no_usable_member, reject, "no member of the pool may take the packet")                                  \
	REASON(no_connection, reject, "a TCP segment in mid-stream that neither a session nor a hash can place")       \
	REASON(splice_lost, reject, "one half of a spliced connection, whose state is gone")                           \
	REASON(member_left, reject, "a segment of a member whose connection another member has by now")                \
	REASON(member_down, reject, "a segment of a connection whose member is down, in a pool with on_down: reset")   \
	REASON(member_refused, reject, "the member refused a spliced connection")                                      \
	REASON(connection_rebuilt, fallback, "a connection was found again through its session or hash")               \
	REASON(connection_healed, fallback, "one direction of a connection had been evicted and was made again")       \
	REASON(connection_expired, fallback, "a packet came after its connection's idle timeout: decided anew")        \
	REASON(session_moved, fallback, "the session's member takes no traffic any more: another one was chosen")      \
	REASON(session_expired, fallback, "the session was older than its timeout: decided anew")                      \
	REASON(session_over_limit, fallback,                                                                           \
	       "the session's member is full, and the rule overrides the session: another one was chosen")             \
	REASON(session_rate, fallback,                                                                                 \
	       "the virtual server had new_sessions_per_second already: the client was served, and not recorded")      \
	REASON(event_lost, fallback, "nobody read events fast enough: one was not told")                               \
	REASON(key_absent, fallback,                                                                                   \
	       "a message without the rule's key: its connection or the balancing method decided")                     \
	REASON(key_malformed, fallback, "likewise, because the message breaks its protocol's rules")                   \
	REASON(key_out_of_reach, fallback,                                                                             \
	       "likewise, because the key is not in the first 4,096 bytes, or not in the first IP fragment")           \
	REASON(key_scan_limit, fallback, "likewise, because looking for the key took more steps than are allowed")     \
	REASON(not_http1, fallback, "likewise, because the client does not speak HTTP/1 in the clear")                 \
	REASON(head_over_limit, fallback, "likewise, because the head is longer than early_data.max_head")             \
	REASON(server_first, fallback, "likewise, because the client sent nothing for server_first_wait")              \
	REASON(member_in_other_talk, fallback,                                                                         \
	       "the member already talks to the client's address and port, about something else: the client was "      \
	       "asked")                                                                                                \
	REASON(connecting_again, fallback, "a SYN to a member was repeated")                                           \
	REASON(replayed_again, fallback, "early data was sent to its member once more")                                \
	REASON(request_moved, fallback, "a request on a bound connection belonged to another member: it was moved")    \
	REASON(request_given_up, fallback,                                                                             \
	       "a request for another member went to its connection's: it had waited for too long")                    \
	REASON(stream_unframed, fallback,                                                                              \
	       "a message whose end is not clear: its connection stays with its member from there on")                 \
	REASON(stream_tunnel, fallback, "likewise, because it has become a tunnel (101, CONNECT)")                     \
	REASON(key_of_another, fallback, "a SIP or ISO 8583 message of another key than its connection's first")       \
	REASON(key_learnt, fallback, "a key was learnt from what a member sent")                                       \
	REASON(cookie_stale, fallback, "a cookie that names a member had expired, or named none that could be had")    \
	REASON(cookie_written, fallback, "a response was given a cookie that names its member")                        \
	REASON(cookie_skipped, fallback, "likewise, but it was not: there was no room for what is changed")            \
	REASON(stream_edited, fallback, "a segment was changed, and left in segments of our own")                      \
	REASON(stream_withheld, fallback,                                                                              \
	       "nothing was left of a segment: its receiver was asked for an acknowledgement")                         \
	REASON(member_replaced, fallback, "a member did not accept a spliced connection: another one was asked")       \
	REASON(echo_answered, fallback, "a ping to a virtual address was answered")                                    \
	REASON(icmp_translated, fallback, "an ICMP error about a connection's packet went to whom it concerns")        \
	REASON(fragmented, fallback, "an IPv4 packet that nat46 or nat64 makes too long was cut")                      \
	REASON(backup_chosen, fallback, "no other member was usable: a backup was chosen")                             \
	REASON(hash_second_choice, fallback, "the member that the hash names is not usable: another one was taken")    \
	REASON(next_hop_fib, fallback, "the next hop was not in the mirror: the routing table was asked")              \
	REASON(next_hop_stack, fallback,                                                                               \
	       "XDP left the packet to TC: its next hop is not resolved, or not reachable by XDP")                     \
	REASON(next_hop_neighbour, fallback, "TC let the kernel resolve the neighbour")                                \
	REASON(next_hop_changed, fallback, "a connection follows a changed route or neighbour")

#define HF_REASON_ENUM(name, kind, documentation) HF_REASON_##name,
enum hf_reason { HF_REASONS(HF_REASON_ENUM) HF_REASON_COUNT };
#undef HF_REASON_ENUM

#endif
