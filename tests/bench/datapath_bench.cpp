// SPDX-License-Identifier: GPL-2.0
// Nanoseconds a packet, by BPF_PROG_TEST_RUN: what the program itself costs, with
// the packet restored before each run and the cost of doing so subtracted. The
// least of the runs says what the code costs, the median what the machine adds.
#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <bit>
#include <bpf/libbpf.h>
#include <CLI/CLI.hpp>
#include <cstring>
#include <ctime>
#include <fmt/format.h>
#include <iostream>
#include <nlohmann/json.hpp>

#include "bench_wrapper.skel.h"
#include "support/testbed.h"

namespace holdfast::test
{
namespace
{

constexpr uint32_t flow_counts[] = {1, 4096, 524288};
constexpr int rounds = 9;

constexpr uint32_t sessions_least = 1048576;

const char *const config = R"(
version: 1
tables: {sessions: SESSIONS, connections: 2097152}
pools:
  - {name: web4, members: [{name: rs1, address: 10.0.2.11, port: 8080}]}
  - {name: web6, members: [{name: rs1, address: "fd00::11", port: 8080}]}
  - {name: near4, members: [{name: rs1, address: 10.0.2.11}]}
  - {name: near6, members: [{name: rs1, address: "fd00::11"}]}
persistence:
  - {name: by-address, type: source-address, timeout: 86400}
  - {name: by-call, type: sip-call-id, timeout: 86400}
  - {name: by-hash, type: cookie-hash, keyword: sid}
  - {name: by-cookie, type: persistent-cookie, keyword: sid, timeout: 86400}
  - {name: by-user, type: radius-attribute, timeout: 86400, attributes: [{type: User-Name}, {type: Calling-Station-Id}]}
  - {name: by-either, type: radius-attribute, timeout: 86400, relation: or,
     attributes: [{type: User-Name}, {type: Calling-Station-Id}]}
virtual_servers:
  - {name: v4, address: 192.0.2.10, port: 80, protocol: tcp, forwarding: dnat, pool: web4, persistence: by-address}
  - {name: v6, address: "2001:db8::10", port: 80, protocol: tcp, forwarding: dnat, pool: web6, persistence: by-address}
  - {name: sip4, address: 192.0.2.10, port: 5060, protocol: udp, forwarding: dnat, pool: web4, persistence: by-call}
  - {name: sip6, address: "2001:db8::10", port: 5060, protocol: udp, forwarding: dnat, pool: web6, persistence: by-call}
  - {name: and4, address: 192.0.2.10, port: 1812, protocol: udp, forwarding: dnat, pool: web4, persistence: by-user}
  - {name: and6, address: "2001:db8::10", port: 1812, protocol: udp, forwarding: dnat, pool: web6, persistence: by-user}
  - {name: or4, address: 192.0.2.10, port: 1813, protocol: udp, forwarding: dnat, pool: web4, persistence: by-either}
  - {name: splice4, address: 192.0.2.10, port: 8000, protocol: tcp, forwarding: dnat, pool: web4, syn_protection: true}
  - {name: splice6, address: "2001:db8::10", port: 8000, protocol: tcp, forwarding: dnat, pool: web6, syn_protection: true}
  - {name: hash4, address: 192.0.2.10, port: 8001, protocol: tcp, forwarding: dnat, pool: web4, persistence: by-hash}
  - {name: hash6, address: "2001:db8::10", port: 8001, protocol: tcp, forwarding: dnat, pool: web6, persistence: by-hash}
  - {name: learn4, address: 192.0.2.10, port: 8002, protocol: tcp, forwarding: dnat, pool: web4, persistence: by-cookie}
  - {name: learn6, address: "2001:db8::10", port: 8002, protocol: tcp, forwarding: dnat, pool: web6, persistence: by-cookie}
  - {name: full4, address: 192.0.2.10, port: 8003, protocol: tcp, forwarding: fullnat, pool: web4,
     source_addresses: [10.0.9.1]}
  - {name: full6, address: "2001:db8::10", port: 8003, protocol: tcp, forwarding: fullnat, pool: web6,
     source_addresses: ["fd00::9:1"]}
  - {name: nat46, address: 192.0.2.10, port: 8005, protocol: tcp, forwarding: nat46, pool: web6,
     source_addresses: ["fd00::9:1"]}
  - {name: nat64, address: "2001:db8::10", port: 8005, protocol: tcp, forwarding: nat64, pool: web4,
     source_addresses: [10.0.9.1]}
  - {name: direct4, address: 192.0.2.10, port: 8004, protocol: tcp, forwarding: direct, pool: near4}
  - {name: direct6, address: "2001:db8::10", port: 8004, protocol: tcp, forwarding: direct, pool: near6}
  - {name: or6, address: "2001:db8::10", port: 1813, protocol: udp, forwarding: dnat, pool: web6, persistence: by-either}
)";

// 800 bytes, with the Call-ID after 400 of them, as a phone and two proxies write it.
std::string sip_invite()
{
	std::string text = "INVITE sip:bob@biloxi.example.com SIP/2.0\r\n"
			   "Via: SIP/2.0/UDP bigbox3.site3.atlanta.example.com;branch=z9hG4bK77ef4c2312983.1\r\n"
			   "Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bKnashds8;received=192.0.2.1\r\n"
			   "Max-Forwards: 69\r\n"
			   "To: Bob <sip:bob@biloxi.example.com>\r\n"
			   "From: Alice <sip:alice@atlanta.example.com>;tag=1928301774\r\n";

	text += "User-Agent: " + std::string(400 - text.size() - 14, 'u') + "\r\n";
	text += "Call-ID: a84b4c76e66710@pc33.atlanta.example.com\r\n"
		"CSeq: 314159 INVITE\r\nContact: <sip:alice@pc33.atlanta.example.com>\r\n"
		"Content-Type: application/sdp\r\nContent-Length: 142\r\n\r\n";
	return text + std::string(800 - text.size(), 's');
}

std::string attribute(int type, const std::string &value)
{
	return std::string{static_cast<char>(type), static_cast<char>(value.size() + 2)} + value;
}

// 200 bytes: an Access-Request with the attributes of a wireless controller.
std::string radius_request()
{
	std::string text = attribute(1, "alice@example.com") + attribute(4, {10, 0, 0, 1}) +
			   attribute(5, {0, 0, 0, 7}) + attribute(61, {0, 0, 0, 19}) +
			   attribute(30, "00-10-A4-23-19-C0:office") + attribute(31, "00-10-A4-23-19-C1") +
			   attribute(80, std::string(16, 'm'));

	text += attribute(32, std::string(200 - 20 - text.size() - 2, 'n'));
	return std::string("\1\7\0\310", 4) + std::string(16, 'a') + text;
}

struct Case {
	std::string name, hook, family, direction, egress;
	uint32_t flows;
	double least, median;
};

class Bench
{
public:
	explicit Bench(uint32_t sessions) : bed_(with_sessions(sessions))
	{
		wrapper_ = bench_wrapper_bpf__open();
		if (!wrapper_ || bpf_map__reuse_fd(wrapper_->maps.splices, bed_.maps->splices.fd()) ||
		    bench_wrapper_bpf__load(wrapper_))
			throw std::runtime_error("loading the wrapper: " + take_libbpf_messages());
	}
	~Bench() { bench_wrapper_bpf__destroy(wrapper_); }
	Bench(const Bench &) = delete;
	Bench &operator=(const Bench &) = delete;

	std::vector<Case> run(bool quick, const std::string &only);
	double sweep_milliseconds(uint32_t &sessions);
	// New connections of clients that have a session each, of so many.
	std::vector<Case> known_sessions(uint32_t sessions);

private:
	struct Shape {
		Bytes packet;
		uint32_t flows;
		bool reply = false, fresh_port = false;
		hf_splice splice{}; // as it is before each run; without an id there is none
	};

	static std::string with_sessions(uint32_t sessions)
	{
		std::string yaml = config;

		yaml.replace(yaml.find("SESSIONS"), 8,
			     std::to_string(std::max(sessions + sessions / 4, sessions_least)));
		return yaml;
	}
	void fill_sessions(uint32_t wanted, uint32_t first);
	static Bytes segment(bool ipv4, bool reply, uint8_t flags, uint32_t acknowledgement);
	static Bytes datagram(bool ipv4, bool reply, uint16_t port, const std::string &payload);
	void plan(const Shape &shape);
	void target(bool nothing);
	double once(Hook hook, const Shape &shape, uint32_t repeat);
	Case measure(const std::string &name, Hook hook, bool ipv4, const Shape &shape, bool redirect);
	void establish(const std::array<Shape, 3> &steps);
	static std::array<Shape, 3> stream(bool ipv4, uint32_t flows);
	static std::array<Shape, 3> exchange(bool ipv4, uint32_t flows, uint16_t port, const std::string &payload);
	static Bytes stamped(bool ipv4, bool reply, uint8_t flags, uint32_t sequence, uint32_t acknowledgement,
			     uint32_t stamp, uint32_t echo, uint16_t port = 8000,
			     const std::string &payload = std::string(64, 's'));
	std::array<Shape, 2> splice(bool ipv4);
	std::array<Shape, 3> follow(bool ipv4, uint16_t port, const std::string &answer);
	std::vector<Shape> both_ends(bool ipv4, bool ipv4_members, uint16_t port);
	std::vector<Shape> direct(bool ipv4);
	void one_armed(bool yes);

	Testbed bed_;
	bench_wrapper_bpf *wrapper_ = nullptr;
};

constexpr uint16_t client_port = 40000, member_port = 8080;

Ipv4 between_ipv4(bool reply)
{
	return {.source = reply ? "10.0.2.11" : "10.16.0.0", .destination = reply ? "10.16.0.0" : "192.0.2.10"};
}

Ipv6 between_ipv6(bool reply)
{
	return {.source = reply ? "fd00::11" : "fd00:1::", .destination = reply ? "fd00:1::" : "2001:db8::10"};
}

Bytes Bench::segment(bool ipv4, bool reply, uint8_t flags, uint32_t acknowledgement)
{
	Tcp tcp{.sequence = 7, .acknowledgement = acknowledgement, .flags = flags};

	tcp.source = reply ? member_port : client_port;
	tcp.destination = reply ? client_port : 80;
	if (ipv4)
		return Ethernet{} / between_ipv4(reply) / tcp / Payload(64);
	return Ethernet{} / between_ipv6(reply) / tcp / Payload(64);
}

Bytes Bench::datagram(bool ipv4, bool reply, uint16_t port, const std::string &payload)
{
	const Udp udp{.source = reply ? member_port : client_port, .destination = reply ? client_port : port};

	if (ipv4)
		return Ethernet{} / between_ipv4(reply) / udp / Payload(payload);
	return Ethernet{} / between_ipv6(reply) / udp / Payload(payload);
}

void Bench::plan(const Shape &shape)
{
	struct {
		uint8_t headers[88];
		uint32_t flow_mask, address_offset, port_offset, fresh_port, length;
		hf_splice splice;
	} plan{};
	const uint32_t zero = 0;
	const uint64_t start = 0;

	std::memcpy(plan.headers, shape.packet.data(), sizeof(plan.headers));
	plan.flow_mask = shape.flows - 1;
	if (shape.packet[12] == 0x08) {
		plan.address_offset = 14 + (shape.reply ? 16 : 12);
		plan.port_offset = 14 + 20 + (shape.reply ? 2 : 0);
	} else {
		plan.address_offset = 14 + (shape.reply ? 36 : 20);
		plan.port_offset = 14 + 40 + (shape.reply ? 2 : 0);
	}
	plan.fresh_port = shape.fresh_port;
	plan.length = static_cast<uint32_t>(shape.packet.size());
	plan.splice = shape.splice;
	bpf_map_update_elem(bpf_map__fd(wrapper_->maps.bench_plan), &zero, &plan, BPF_ANY);
	bpf_map_update_elem(bpf_map__fd(wrapper_->maps.bench_turn), &zero, &start, BPF_ANY);
}

void Bench::target(bool nothing)
{
	const uint32_t zero = 0;
	const int xdp = nothing ? bpf_program__fd(wrapper_->progs.bench_xdp_nothing) : bed_.programs->xdp();
	const int tc = nothing ? bpf_program__fd(wrapper_->progs.bench_tc_nothing) : bed_.programs->tc();

	if (bpf_map_update_elem(bpf_map__fd(wrapper_->maps.bench_xdp_target), &zero, &xdp, BPF_ANY) ||
	    bpf_map_update_elem(bpf_map__fd(wrapper_->maps.bench_tc_target), &zero, &tc, BPF_ANY))
		throw std::runtime_error(fmt::format("tail call target: {}", std::strerror(errno)));
}

double Bench::once(Hook hook, const Shape &shape, uint32_t repeat)
{
	const int program = bpf_program__fd(hook == Hook::xdp ? wrapper_->progs.bench_xdp : wrapper_->progs.bench_tc);

	return bed_.time(program, shape.packet, repeat);
}

std::array<Bench::Shape, 3> Bench::stream(bool ipv4, uint32_t flows)
{
	return {{{segment(ipv4, false, syn, 0), flows},
		 {segment(ipv4, true, syn | ack, 8), flows, true},
		 {segment(ipv4, false, ack, 8), flows}}};
}

std::array<Bench::Shape, 3> Bench::exchange(bool ipv4, uint32_t flows, uint16_t port, const std::string &payload)
{
	const Shape question{datagram(ipv4, false, port, payload), flows};

	return {{question, {datagram(ipv4, true, port, payload), flows, true}, question}};
}

// A segment with timestamps.
Bytes Bench::stamped(bool ipv4, bool reply, uint8_t flags, uint32_t sequence, uint32_t acknowledgement, uint32_t stamp,
		     uint32_t echo, uint16_t port, const std::string &payload)
{
	Tcp tcp{.sequence = sequence, .acknowledgement = acknowledgement, .flags = flags, .options = {1, 1, 8, 10}};

	tcp.source = reply ? member_port : client_port;
	tcp.destination = reply ? client_port : port;
	for (const uint32_t word : {stamp, echo}) {
		for (int shift = 24; shift >= 0; shift -= 8)
			tcp.options.push_back(static_cast<uint8_t>(word >> shift));
	}
	if (ipv4)
		return Ethernet{} / between_ipv4(reply) / tcp / Payload(payload);
	return Ethernet{} / between_ipv6(reply) / tcp / Payload(payload);
}

// One bound splice; its packets in both directions.
std::array<Bench::Shape, 2> Bench::splice(bool ipv4)
{
	const size_t at = ipv4 ? 34 : 54;

	bed_.clear();
	const Outcome answer = bed_.run(Hook::tc, stamped(ipv4, false, syn, 100, 0, 1, 0));
	uint32_t cookie = 0;
	for (size_t i = 0; i < 4; i++)
		cookie = cookie << 8 | answer.packet.at(at + 4 + i);
	bed_.run(Hook::tc, stamped(ipv4, false, ack, 101, cookie + 1, 2, 1));
	bed_.run(Hook::tc, stamped(ipv4, true, syn | ack, 700, 101, 50, 2));
	if (!sent(Hook::xdp, bed_.run(Hook::xdp, stamped(ipv4, true, ack, 701, 101, 51, 2))))
		throw std::runtime_error("the splice is not bound");
	return {{{stamped(ipv4, false, ack, 165, cookie + 1, 3, 1), 1},
		 {stamped(ipv4, true, ack, 701, 165, 52, 3), 1, true}}};
}

// A response's head of 500 bytes.
std::string response_head(const std::string &more)
{
	std::string head = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 28 Nov 2026 06:00:00 GMT\r\n"
			   "Content-Type: text/html; charset=utf-8\r\nContent-Length: 612\r\n"
			   "Last-Modified: Sat, 28 Nov 2026 05:00:00 GMT\r\nConnection: keep-alive\r\n"
			   "ETag: \"692941d0-264\"\r\nCache-Control: max-age=0\r\n" +
			   more;

	return head + "X-Trace: " + std::string(500 - head.size() - 9 - 4, 't') + "\r\n\r\n";
}

// A keep-alive connection, bound, whose first exchange is over: a request that stays, a
// response's head, and a segment of its body.
std::array<Bench::Shape, 3> Bench::follow(bool ipv4, uint16_t port, const std::string &answer)
{
	const std::string request = "GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: bench/1.0\r\n"
				    "Accept: */*\r\nCookie: theme=dark; sid=0123456789abcdef\r\n\r\n";
	const std::string empty = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	const size_t at = ipv4 ? 34 : 54;
	uint32_t cookie = 0, client = 101, member = 701;

	auto step = [&](Hook hook, const Bytes &packet) {
		const Outcome outcome = bed_.run(hook, packet);
		if (!sent(hook, outcome))
			throw std::runtime_error(fmt::format("port {}: the exchange ends early", port));
		return outcome;
	};
	auto state = [&] {
		for (uint32_t slot = 1;; slot++) {
			const auto splice = bed_.maps->splices.find(slot);
			if (!splice || splice->state == HF_SPLICE_BOUND)
				return splice.value();
		}
	};
	bed_.clear();
	const Outcome first = step(Hook::tc, stamped(ipv4, false, syn, 100, 0, 1, 0, port, ""));
	for (size_t i = 0; i < 4; i++)
		cookie = cookie << 8 | first.packet.at(at + 4 + i);
	bed_.run(Hook::tc, stamped(ipv4, false, ack, 101, cookie + 1, 2, 1, port, ""));
	step(Hook::tc, stamped(ipv4, false, ack, 101, cookie + 1, 2, 1, port, request));
	client += static_cast<uint32_t>(request.size());
	step(Hook::tc, stamped(ipv4, true, syn | ack, 700, 101, 50, 2, port, ""));
	step(Hook::xdp, stamped(ipv4, true, ack, member, client, 51, 2, port, empty));
	member += static_cast<uint32_t>(empty.size());
	const uint32_t given = cookie + 1 + static_cast<uint32_t>(empty.size());

	Shape asks{stamped(ipv4, false, ack, client, given, 3, 51, port, request), 1, false, false, state()};
	step(Hook::xdp, asks.packet);
	client += static_cast<uint32_t>(request.size());
	Shape answers{stamped(ipv4, true, ack, member, client, 52, 3, port, answer), 1, true, false, state()};
	step(Hook::xdp, answers.packet);
	if (state().answered != 2 || state().answers.state != HF_READER_BODY)
		throw std::runtime_error("the response's head was not read");
	member += static_cast<uint32_t>(answer.size());
	Shape body{stamped(ipv4, true, ack, member, client, 52, 3, port, std::string(500, 'b')), 1, true, false,
		   state()};
	return {asks, answers, body};
}

// A connection of each of the other modes, established: its packets, as far as they pass here.
std::vector<Bench::Shape> Bench::both_ends(bool ipv4, bool ipv4_members, uint16_t port)
{
	auto packet = [&](bool reply, uint8_t flags, uint32_t acknowledgement) -> Bytes {
		Tcp tcp{.sequence = 7, .acknowledgement = acknowledgement, .flags = flags};

		tcp.source = reply ? member_port : client_port;
		tcp.destination = reply ? client_port : port; // the client's is kept
		if (reply ? ipv4_members : ipv4) {
			Ipv4 ip = between_ipv4(reply);

			ip.destination = reply ? "10.0.9.1" : ip.destination;
			return Ethernet{} / ip / tcp / Payload(64);
		}
		Ipv6 ip = between_ipv6(reply);
		ip.destination = reply ? "fd00::9:1" : ip.destination;
		return Ethernet{} / ip / tcp / Payload(64);
	};

	bed_.clear();
	for (const Bytes &step : {packet(false, syn, 0), packet(true, syn | ack, 8), packet(false, ack, 8)}) {
		if (!sent(Hook::xdp, bed_.run(Hook::xdp, step)))
			throw std::runtime_error(fmt::format("port {}: the handshake ends early", port));
	}
	return {{packet(false, ack, 8), 1}, {packet(true, ack, 8), 1, true}};
}

std::vector<Bench::Shape> Bench::direct(bool ipv4)
{
	auto packet = [&](uint8_t flags) -> Bytes {
		const Tcp tcp{.source = client_port,
			      .destination = 8004,
			      .sequence = 7,
			      .acknowledgement = 8,
			      .flags = flags};

		if (ipv4)
			return Ethernet{} / between_ipv4(false) / tcp / Payload(64);
		return Ethernet{} / between_ipv6(false) / tcp / Payload(64);
	};

	bed_.clear();
	for (const uint8_t flags : {syn, ack}) {
		if (!sent(Hook::xdp, bed_.run(Hook::xdp, packet(flags))))
			throw std::runtime_error("direct: the handshake ends early");
	}
	return {{packet(ack), 1}};
}

// All flows established, by the packets that establish them.
void Bench::establish(const std::array<Shape, 3> &steps)
{
	constexpr uint32_t chunk = 16384; // the embryonic table holds no more at a time
	const uint32_t flows = steps[0].flows;

	bed_.clear();
	target(false);
	for (uint32_t done = 0; done < flows; done += chunk) {
		for (const Shape &step : steps) {
			const uint32_t zero = 0;
			const uint64_t start = done;

			plan(step);
			bpf_map_update_elem(bpf_map__fd(wrapper_->maps.bench_turn), &zero, &start, BPF_ANY);
			once(Hook::xdp, step, std::min(chunk, flows));
		}
	}
	// The replies' next hop is found with the first of them.
	plan(steps[1]);
	once(Hook::xdp, steps[1], flows);
	auto counted = bed_.maps->sweep_connections(HF_SWEEP_EXPIRED);
	if (!counted || counted->alive != flows)
		throw std::runtime_error(
			fmt::format("{} of {} flows established", counted ? counted->alive : 0, flows));
}

void Bench::one_armed(bool yes)
{
	// TEST_RUN's packets come in by the loopback interface of this namespace.
	bed_.maps->next_hops.live(1)->interface = yes ? 1 : static_cast<uint32_t>(wire_index());
}

Case Bench::measure(const std::string &name, Hook hook, bool ipv4, const Shape &shape, bool redirect)
{
	const uint32_t repeat = std::max<uint32_t>(shape.flows, 262144);
	std::vector<double> samples;

	for (int round = 0; round < rounds; round++) {
		plan(shape);
		target(true);
		double wrapper = once(hook, shape, repeat);
		wrapper = std::min(wrapper, once(hook, shape, repeat));
		plan(shape);
		if (shape.fresh_port || shape.flows > (1U << 20)) {
			// Every round meets tables of the same age.
			const uint32_t zero = 0;
			const uint64_t start = static_cast<uint64_t>(round) * repeat;

			bpf_map_update_elem(bpf_map__fd(wrapper_->maps.bench_turn), &zero, &start, BPF_ANY);
		}
		target(false);
		samples.push_back(std::max(0.0, once(hook, shape, repeat) - wrapper));
	}
	std::sort(samples.begin(), samples.end());
	return {name,
		hook == Hook::xdp ? "xdp" : "tc",
		ipv4 ? "ipv4" : "ipv6",
		shape.reply ? "reply" : "forward",
		redirect || hook == Hook::tc ? "redirect" : "tx",
		shape.flows,
		samples.front(),
		samples[rounds / 2]};
}

std::vector<Case> Bench::run(bool quick, const std::string &only)
{
	std::vector<Case> cases;
	auto add = [&](const std::string &name, Hook hook, bool ipv4, const Shape &shape, bool redirect = false) {
		if (!name.starts_with(only))
			return;
		one_armed(!redirect);
		cases.push_back(measure(name, hook, ipv4, shape, redirect));
	};

	for (const bool ipv4 : {true, false}) {
		for (const uint32_t flows : flow_counts) {
			if (quick && flows > 4096)
				continue;
			const Shape data{segment(ipv4, false, ack, 8), flows},
				reply{segment(ipv4, true, ack, 8), flows, true};
			Shape known{segment(ipv4, false, syn, 0), flows};
			Shape nobody{segment(ipv4, false, ack, 8), flows};

			known.fresh_port = true;
			nobody.packet[ipv4 ? 14 + 16 : 14 + 24 + 1] ^= 0x11; // another destination
			establish(stream(ipv4, flows));
			for (const Hook hook : {Hook::xdp, Hook::tc}) {
				add("established", hook, ipv4, data);
				add("established", hook, ipv4, reply);
				if (hook == Hook::xdp) {
					add("established-redirect", hook, ipv4, data, true);
					add("established-redirect", hook, ipv4, reply, true);
				}
				add("nobody", hook, ipv4, nobody);
				add("new-known-session", hook, ipv4, known);
			}
		}
		const auto same_family = both_ends(ipv4, ipv4, 8003);
		for (const Hook hook : {Hook::xdp, Hook::tc}) {
			for (const Shape &shape : same_family)
				add("fullnat", hook, ipv4, shape);
		}
		// On TC, a packet could not be made again what it was. (Making it so is a part of the figure.)
		for (const Shape &shape : both_ends(ipv4, !ipv4, 8005))
			add(ipv4 ? "nat46" : "nat64", Hook::xdp, ipv4, shape);
		const auto link_only = direct(ipv4);
		for (const Hook hook : {Hook::xdp, Hook::tc})
			add("direct", hook, ipv4, link_only[0]);
		const auto spliced = splice(ipv4);
		for (const Hook hook : {Hook::xdp, Hook::tc}) {
			for (const Shape &shape : spliced)
				add("spliced", hook, ipv4, shape);
		}
		const struct {
			const char *name;
			uint16_t port;
			std::string answer;
		} followers[] = {{"hash", 8001, response_head("")},
				 {"learnt", 8002, response_head("Set-Cookie: sid=0123456789abcdef; Path=/\r\n")}};
		for (const auto &follower : followers) {
			const auto shapes = follow(ipv4, follower.port, follower.answer);
			for (const Hook hook : {Hook::xdp, Hook::tc}) {
				add(fmt::format("{}-request", follower.name), hook, ipv4, shapes[0]);
				add(fmt::format("{}-response", follower.name), hook, ipv4, shapes[1]);
				add(fmt::format("{}-body", follower.name), hook, ipv4, shapes[2]);
			}
		}
		const struct {
			const char *name;
			uint16_t port;
			std::string payload;
			uint32_t sessions;
		} messages[] = {{"sip-call-id", 5060, sip_invite(), 1},
				{"radius-and", 1812, radius_request(), 1},
				{"radius-or", 1813, radius_request(), 2}};
		for (const auto &message : messages) {
			for (const uint32_t flows : {1U, 4096U}) {
				const auto steps = exchange(ipv4, flows, message.port, message.payload);

				establish(steps);
				// What is measured must find its session.
				auto counted = bed_.maps->sweep_sessions(HF_SWEEP_EXPIRED);
				if (!counted || counted->alive != message.sessions)
					throw std::runtime_error(fmt::format("{}: {} sessions", message.name,
									     counted ? counted->alive : 0));
				for (const Hook hook : {Hook::xdp, Hook::tc})
					add(message.name, hook, ipv4, steps[0]);
			}
		}
		// Every SYN is another client's.
		Shape fresh{segment(ipv4, false, syn, 0), quick ? 1U << 16 : 1U << 22};
		fresh.packet[ipv4 ? 14 + 12 : 14 + 8 + 3] ^= 0x40; // none that has a session
		for (const Hook hook : {Hook::xdp, Hook::tc})
			add("new-client", hook, ipv4, fresh);
	}
	return cases;
}

// Sessions of clients with the addresses from `first` on.
void Bench::fill_sessions(uint32_t wanted, uint32_t first)
{
	constexpr uint32_t batch = 10000;
	std::vector<hf_session_key> keys(batch);
	std::vector<hf_session> values(batch);

	for (uint32_t done = 0; done < wanted; done += batch) {
		uint32_t count = std::min(batch, wanted - done);

		for (uint32_t i = 0; i < count; i++) {
			const uint32_t client = htonl(first + done + i);

			keys[i] = {};
			keys[i].scope = bed_.server_id("v4");
			keys[i].kind = HF_SESSION_ADDRESS;
			keys[i].key[10] = keys[i].key[11] = 0xff;
			std::memcpy(keys[i].key + 12, &client, sizeof(client));
			values[i] = {bed_.member_id("web4", "rs1"), 0, bed_.maps->now(), 1};
		}
		if (bpf_map_update_batch(bed_.maps->sessions.fd(), keys.data(), values.data(), &count, nullptr))
			throw std::runtime_error(fmt::format("sessions: {}", std::strerror(errno)));
	}
}

double Bench::sweep_milliseconds(uint32_t &sessions)
{
	constexpr uint32_t wanted = 1000000;
	double least = 1e9;

	for (int round = 0; round < 3; round++) {
		bed_.clear();
		fill_sessions(wanted, 0);
		timespec before{}, after{};
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
		auto swept = bed_.maps->sweep_sessions(HF_SWEEP_EXPIRED);
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
		sessions = swept ? static_cast<uint32_t>(swept->alive) : 0;
		least = std::min(least, static_cast<double>(after.tv_sec - before.tv_sec) * 1e3 +
						static_cast<double>(after.tv_nsec - before.tv_nsec) / 1e6);
	}
	return least;
}

std::vector<Case> Bench::known_sessions(uint32_t sessions)
{
	Shape known{segment(true, false, syn, 0), std::min(std::bit_floor(sessions), 1U << 20)};
	std::vector<Case> cases;

	// Their connections are closed by nobody: each SYN is another port's.
	known.fresh_port = true;
	bed_.clear();
	fill_sessions(sessions, 10U << 24 | 16U << 16);
	one_armed(true);
	for (const Hook hook : {Hook::xdp, Hook::tc})
		cases.push_back(measure(fmt::format("of {} sessions", sessions), hook, true, known, false));
	// All of them are there still, and no other ones.
	const auto counted = bed_.maps->sweep_sessions(HF_SWEEP_EXPIRED);
	if (!counted || counted->alive != sessions)
		throw std::runtime_error(
			fmt::format("{} of {} sessions are there", counted ? counted->alive : 0, sessions));
	return cases;
}

int run(int argc, char **argv)
{
	CLI::App app{"ns a packet through the data path, by BPF_PROG_TEST_RUN"};
	bool json = false, quick = false;
	std::string only;
	uint32_t many = 0;
	nlohmann::json out;

	app.add_flag("--json", json, "machine-readable output");
	app.add_flag("--quick", quick, "without half a million flows");
	app.add_option("--only", only, "the cases whose name begins like this and no others (\"sweep\" is one)");
	app.add_option("--sessions", many, "nothing but SYNs of clients that have a session each, of so many")
		->check(CLI::Range(1U, 67108864U));
	CLI11_PARSE(app, argc, argv);
	Bench bench(many);
	const std::vector<Case> cases = many ? bench.known_sessions(many) : bench.run(quick, only);
	uint32_t sessions = 0;
	const bool sweeps = !many && std::string("sweep").starts_with(only);
	const double sweep = sweeps ? bench.sweep_milliseconds(sessions) : 0;

	if (json) {
		for (const Case &one : cases)
			out["cases"].push_back({{"name", one.name},
						{"hook", one.hook},
						{"family", one.family},
						{"direction", one.direction},
						{"egress", one.egress},
						{"flows", one.flows},
						{"min_ns", one.least},
						{"median_ns", one.median}});
		if (sweeps)
			out["sweep"] = {{"sessions", sessions}, {"cpu_ms", sweep}};
		fmt::print("{}\n", out.dump(1));
		return 0;
	}
	fmt::print("{:<22}{:<6}{:<6}{:<9}{:<10}{:>8}{:>9}{:>9}\n", "case", "hook", "", "", "out by", "flows", "min ns",
		   "median");
	for (const Case &one : cases)
		fmt::print("{:<22}{:<6}{:<6}{:<9}{:<10}{:>8}{:>9.0f}{:>9.0f}\n", one.name, one.hook, one.family,
			   one.direction, one.egress, one.flows, one.least, one.median);
	if (sweeps)
		fmt::print("sweep of {} live sessions: {:.0f} ms of CPU\n", sessions, sweep);
	fmt::print("memory of a session: {} B of key and value\n", sizeof(hf_session_key) + sizeof(hf_session));
	return 0;
}

} // namespace
} // namespace holdfast::test

int main(int argc, char **argv)
{
	try {
		return holdfast::test::run(argc, argv);
	} catch (const std::exception &exception) {
		std::cerr << exception.what() << '\n';
		return 1;
	}
}
