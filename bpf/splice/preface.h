/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a member gets in front of the client's stream: who the client is, by the PROXY
 * protocol (haproxy.org, proxy-protocol.txt, 2.1 and 2.2). Its sequence numbers are those
 * in front of the client's first byte, so that the client's own need no translation.
 */
#pragma once

#include "splice.h"

/* Version 1, IPv6: "PROXY TCP6", two addresses, two ports, and what is between them; with a 0 behind. */
#define PREFACE_LONGEST 108

/* "\r\n\r\n\0\r\nQUIT\n", as it lies in memory. */
#define PREFACE_SIGNATURE 0x510a0d000a0d0a0dULL
#define PREFACE_SIGNATURE_END 0x0a544955U

/* Of the stream that the member gets, the first byte's number. */
static __always_inline __u32 preface_first(const struct hf_splice *splice)
{
	return splice->client_first - splice->preface;
}

static __always_inline __u32 preface_binary(__u8 *to, const struct hf_flow_key *client, bool ipv4)
{
	__u32 at = 16, length = ipv4 ? 4 : 16;

	*(__u64 *)to = PREFACE_SIGNATURE;
	*(__u32 *)(to + 8) = PREFACE_SIGNATURE_END;
	to[12] = 0x21; /* version 2, PROXY */
	to[13] = ipv4 ? 0x11 : 0x21;
	*(__be16 *)(to + 14) = bpf_htons(2 * length + 4);
	if (ipv4) {
		__builtin_memcpy(to + at, client->source + 12, 4);
		__builtin_memcpy(to + at + 4, client->destination + 12, 4);
	} else {
		__builtin_memcpy(to + at, client->source, 16);
		__builtin_memcpy(to + at + 16, client->destination, 16);
	}
	at += 2 * length;
	*(__be16 *)(to + at) = client->source_port;
	*(__be16 *)(to + at + 2) = client->destination_port;
	return at + 4;
}

static __always_inline __u32 preface_text(__u8 *to, const struct hf_flow_key *client, bool ipv4)
{
	__u64 values[] = {(__u64)(client->source + (ipv4 ? 12 : 0)), (__u64)(client->destination + (ipv4 ? 12 : 0)),
			  bpf_ntohs(client->source_port), bpf_ntohs(client->destination_port)};
	static const char format_ipv4[] = "PROXY TCP4 %pI4 %pI4 %u %u\r\n",
			  format_ipv6[] = "PROXY TCP6 %pI6 %pI6 %u %u\r\n";
	long length = ipv4 ? bpf_snprintf((char *)to, PREFACE_LONGEST, format_ipv4, values, sizeof(values))
			   : bpf_snprintf((char *)to, PREFACE_LONGEST, format_ipv6, values, sizeof(values));

	/* With the 0 behind. */
	return length > 1 && length <= PREFACE_LONGEST ? length - 1 : 0;
}

/* The message becomes the preface. Returns its length. */
static __noinline __u32 preface_make(struct message *message, const struct hf_splice *splice)
{
	bool ipv4 = address_is_mapped(splice->client.source);
	const struct hf_virtual_server *settings = service_settings(splice->virtual_server);
	__u32 version = settings ? settings->proxy_protocol : 0, length;

	/* One that was announced stays what it is, whatever is configured by now. Its length tells which it is. */
	if (splice->preface)
		version = splice->preface == (ipv4 ? 28 : 52) ? 2 : 1;
	if (!version)
		return 0;
	length = version == 1 ? preface_text(message->bytes, &splice->client, ipv4)
			      : preface_binary(message->bytes, &splice->client, ipv4);
	__builtin_memset(message->bytes + below(length, 128), 0, MESSAGE_SLACK);
	return length;
}
