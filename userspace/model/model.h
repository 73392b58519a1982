// SPDX-License-Identifier: GPL-2.0
// What a user configures, as plain values. The config layer makes them from a
// file and guarantees: names are unique in their kind, references resolve,
// numbers are in range. Times are seconds.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "holdfast/abi.h"
#include "model/address.h"
#include "model/health_check.h"
#include "model/radius.h"

namespace holdfast
{

enum class InterfaceMode { automatic, xdp, xdp_generic, tc };

struct Interface {
	std::string name;
	InterfaceMode mode = InterfaceMode::automatic;

	bool operator==(const Interface &) const = default;
};

// Entries of the maps whose size is configured.
struct TableSizes {
	uint32_t sessions = 1000000;
	uint32_t connections = 2000000; // entries: a connection takes two
	uint32_t virtual_servers = 16384;
	uint32_t members = 16384;
	uint32_t selection = 8388608; // slots; a pool that is chosen from by hash takes 65537
	uint32_t splices = 524288;    // connections whose stream is read, or whose SYN is answered here

	bool operator==(const TableSizes &) const = default;
};

// `down` is never configured: it is what health checks make of the first two.
enum class MemberStatus { enabled, draining, disabled, down };

struct Member {
	std::string name;
	Address address;
	uint16_t port = 0; // 0: the port that the client used
	uint32_t weight = 1;
	MemberStatus status = MemberStatus::enabled;
	uint32_t connection_limit = 0;      // 0: none
	uint32_t connection_rate_limit = 0; // a second; 0: none
	uint32_t recover = 0;               // seconds after it has come back, before it gets anybody new
	uint32_t warm_up = 0;               // and seconds after that, in which it gets warm_rate a second
	uint32_t warm_rate = HF_WARM_RATE_DEFAULT;
	bool backup = false; // only for when no other member is usable
	std::string cookie;  // what cookies call it
	bool fast = false;   // never configured: of its pool, health checks find it among the fastest

	bool operator==(const Member &) const = default;
};

// What clients are offered in the members' name; learnt from their SYN-ACKs where
// nothing is said.
struct TcpOptions {
	bool sack = true;
	bool timestamps = true;
	bool window_scale = true;

	bool operator==(const TcpOptions &) const = default;
};

struct Pool {
	std::string name;
	std::vector<Member> members;
	std::vector<std::string> health_checks;
	bool any_check = false; // one that passes is enough: health_relation or
	std::optional<TcpOptions> member_tcp_options;
	bool reset_on_down = false;

	bool operator==(const Pool &) const = default;
};

enum class Iso8583Framing { length16, ascii4 };
enum class Iso8583Encoding { binary, ascii };

// The cookies that a passive-cookie rule looks for: of any known framework, of one, or the keyword's.
enum class SessionKeyword { automatic, phpsessid, jsessionid, cfid_cftoken, asp_net, custom };

struct Rule {
	std::string name;
	hf_rule_type type = HF_RULE_SOURCE_ADDRESS;
	uint32_t timeout = HF_SESSION_TIMEOUT_DEFAULT; // types that keep a table
	uint8_t ipv4_mask_bits = 32;                   // source-address
	uint8_t ipv6_mask_bits = 128;
	bool match_across = false;              // source-address, radius-attribute, passive-cookie
	bool override_connection_limit = false; // radius-attribute
	hf_relation relation = HF_RELATION_AND; // of the keys: radius-attribute, iso8583-bitmap
	std::vector<RadiusAttribute> attributes;
	std::string keyword;                                        // of the HTTP rules
	SessionKeyword session_keyword = SessionKeyword::automatic; // passive-cookie
	std::vector<uint8_t> fields;                                // iso8583-bitmap
	hf_relation bitmap_relation = HF_RELATION_OR;               // iso8583-bitmap: when there is a key
	Iso8583Framing framing = Iso8583Framing::length16;
	Iso8583Encoding encoding = Iso8583Encoding::binary;
	std::string cookie_attributes; // insert-cookie: what follows the value, as in "; path=/; Secure"

	bool operator==(const Rule &) const = default;
};

struct VirtualServer {
	std::string name;
	Address address;
	uint16_t first_port = 0;
	uint16_t last_port = 0;
	hf_protocol protocol = HF_PROTOCOL_TCP;
	hf_forwarding forwarding = HF_FORWARDING_DNAT;
	hf_method method = HF_METHOD_ROUND_ROBIN;
	std::string pool;
	std::string persistence; // empty: none
	uint32_t idle_timeout = HF_TCP_IDLE_TIMEOUT_DEFAULT;
	bool syn_protection = false;
	bool server_first = false;
	uint32_t server_first_wait = HF_SERVER_FIRST_WAIT_DEFAULT;
	uint8_t proxy_protocol = 0; // its version; 0: none
	bool x_forwarded_for = false;
	bool own_addresses = true;             // the host has its addresses, where a network of its own has them
	std::vector<Address> source_addresses; // what members see as clients: has_sources()
	uint16_t lowest_source_port = HF_SOURCE_PORT_LOWEST;
	uint16_t highest_source_port = 65535;
	uint32_t new_sessions_per_second = 0; // 0: any number

	bool operator==(const VirtualServer &) const = default;
};

// What clients may send before their connection has a member.
struct EarlyData {
	uint32_t max_head = HF_EARLY_HEAD_MAX;
	uint32_t max_bytes_per_client = HF_EARLY_CLIENT_BYTES_DEFAULT;
	uint32_t timeout = HF_EARLY_TIMEOUT_DEFAULT;

	bool operator==(const EarlyData &) const = default;
};

// What outlives the host's restart.
struct StateSettings {
	std::string directory;     // empty: the daemon's --state-dir
	bool snapshot = false;     // of the sessions
	std::string snapshot_file; // empty: in the state directory
	uint32_t snapshot_interval = HF_SNAPSHOT_INTERVAL_DEFAULT;

	bool operator==(const StateSettings &) const = default;
};

// Where the read-only listener is: ADDRESS:PORT, [ADDRESS]:PORT; empty: nowhere.
struct MetricsSettings {
	std::string listen = "127.0.0.1:9420";
	bool given = false; // else it is no error that it cannot be had
	// May sessions and connections, which name clients, be seen there? Nothing: by who asks on this host itself.
	std::optional<bool> clients;

	bool operator==(const MetricsSettings &) const = default;
};

// What `holdfast advise` is told from: for so many seconds sessions are kept although they have expired. 0: nothing is
// counted.
struct AdviceSettings {
	uint32_t remember = 0;

	bool operator==(const AdviceSettings &) const = default;
};

struct Config {
	std::vector<Interface> interfaces;
	TableSizes tables;
	EarlyData early_data;
	StateSettings state;
	MetricsSettings metrics;
	AdviceSettings advice;
	std::string hash_seed;
	std::vector<HealthCheck> health_checks;
	std::vector<Pool> pools;
	std::vector<Rule> rules; // predefined ones first
	std::vector<VirtualServer> virtual_servers;

	bool operator==(const Config &) const = default;
};

// What an operator said about one member, over what the file says of it. Kept
// until `member reset`.
struct MemberOverride {
	bool has_status = false;
	MemberStatus status = MemberStatus::enabled;
	uint32_t weight = 0; // 0: as configured

	bool operator==(const MemberOverride &) const = default;
};

// By "POOL/NAME".
using MemberOverrides = std::map<std::string, MemberOverride>;

std::string member_key(const std::string &pool, const std::string &member);

// A pool, or all of them, with the overrides of the members that it has.
Pool with_overrides(Pool pool, const MemberOverrides &overrides);
Config with_overrides(Config config, const MemberOverrides &overrides);

// What health checks found of a pool's members, by their names.
struct PoolHealth {
	std::set<std::string> down, fast;

	bool operator==(const PoolHealth &) const = default;
};

// By pool; pools of which there is nothing to say are left out.
using Health = std::map<std::string, PoolHealth>;

// Members that are down are so unless they are disabled anyway.
Pool with_health(Pool pool, const Health &health);
Config with_health(Config config, const Health &health);

// The rules that are always there (their names begin with LB_PERSIS_).
const std::vector<Rule> &predefined_rules();

// The words of the configuration for the values above.
const char *word(InterfaceMode mode);
const char *word(MemberStatus status);
const char *word(hf_rule_type type);
const char *word(hf_method method);
const char *word(hf_protocol protocol);
const char *word(hf_forwarding forwarding);
const char *word(Iso8583Framing framing);
const char *word(Iso8583Encoding encoding);
const char *word(SessionKeyword keyword);

// Everything that this version knows, in the order of the documentation. What
// a test has to cover is derived from these.
const std::vector<hf_rule_type> &rule_types();
const std::vector<hf_forwarding> &forwardings();
const std::vector<hf_method> &methods();

// All rule types that keep a table; of the others, those that are hashes, and those
// that write what they need to know into the client's cookie.
bool keeps_table(hf_rule_type type);
bool is_hash(hf_rule_type type);
bool writes(hf_rule_type type);

// Rule types that read messages: of datagrams, each decided by itself, or the first
// one of a TCP stream.
bool reads_datagrams(hf_rule_type type);
bool reads_streams(hf_rule_type type);
// Of the latter, those that read the heads of HTTP messages, each request of a connection.
bool reads_http(hf_rule_type type);
// Those that learn from what members send.
bool learns(hf_rule_type type);
// HF_COOKIE_*: the cookies of known frameworks that a rule looks for.
uint8_t known_cookies(const Rule &rule);
// May a virtual server of this protocol have such a rule? And do its packets' bytes matter?
bool serves(hf_rule_type type, hf_protocol protocol);
bool reads(hf_rule_type type, hf_protocol protocol);
// Can a virtual server of this protocol have such a rule in this mode? What a stream's rule reads has to pass here
// both ways.
bool can_forward(hf_forwarding forwarding, hf_rule_type type, hf_protocol protocol);
// Does such a virtual server answer SYNs itself, and make connections of its own to members?
bool splices(const VirtualServer &server, hf_rule_type type);
// Does it put addresses of its own in place of its clients'?
bool has_sources(hf_forwarding forwarding);
// Are its members of the other family than its clients? And may these be of this one?
bool changes_family(hf_forwarding forwarding);
bool serves_family(hf_forwarding forwarding, bool ipv4);
bool has_ipv4_members(const VirtualServer &server);
// Are the heads of its connections' requests and responses read?
bool follows(const VirtualServer &server, hf_rule_type type);
// Do answers interleave on its connections, so that these stay with their first message's member?
bool watches(const VirtualServer &server, hf_rule_type type);

} // namespace holdfast
