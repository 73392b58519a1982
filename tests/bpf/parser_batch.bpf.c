// SPDX-License-Identifier: GPL-2.0
/* Runs a parser over many messages at once, for the differential tests. */
#include "persist/http.h"
#include "persist/iso8583_bitmap.h"
#include "persist/radius_attribute.h"
#include "persist/rdp_cookie.h"
#include "persist/sip_call_id.h"
#include "persist/ssl_session_id.h"

#define BATCH 256

/* What members send, not clients. */
const volatile bool answers;

/* struct message as it is; the outcome comes back in `length`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct message);
	__uint(max_entries, BATCH);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct hf_rule);
	__uint(max_entries, 1);
} parser_rule SEC(".maps");

static __always_inline int parse(struct message *message, const struct hf_rule *rule)
{
	switch (rule->type) {
	case HF_RULE_SIP_CALL_ID:
		return sip_call_id_parse(message, rule);
	case HF_RULE_RADIUS_ATTRIBUTE:
		return radius_attribute_parse(message, rule);
	case HF_RULE_RDP_COOKIE:
		return rdp_cookie_parse(message, rule);
	case HF_RULE_ISO8583_BITMAP:
		return iso8583_bitmap_parse(message, rule);
	case HF_RULE_SSL_SESSION_ID:
		return answers ? ssl_session_id_answer_parse(message, rule) : ssl_session_id_parse(message, rule);
	default:
		return answers ? http_answer_parse(message, rule) : http_parse(message, rule);
	}
}

static long parse_one(__u32 index, void *context)
{
	struct message *message = bpf_map_lookup_elem(&slots, &index);
	__u32 zero = 0;
	const struct hf_rule *rule = bpf_map_lookup_elem(&parser_rule, &zero);

	if (!message || !rule)
		return 1;
	message->length = parse(message, rule);
	return 0;
}

SEC("syscall")
int parse_batch(__u32 *count)
{
	return bpf_loop(*count, parse_one, NULL, 0) != *count;
}

char LICENSE[] SEC("license") = "GPL";
