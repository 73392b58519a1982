// SPDX-License-Identifier: GPL-2.0
// Nanoseconds a packet, by BPF_PROG_TEST_RUN: what the program itself costs, with
// the packet restored before each run and the cost of doing so subtracted. The
// least of the runs says what the code costs, the median what the machine adds.
#include <algorithm>
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

const char *const config = R"(
version: 1
tables: {sessions: 1048576, connections: 2097152}
pools:
  - {name: web4, members: [{name: rs1, address: 10.0.2.11, port: 8080}]}
  - {name: web6, members: [{name: rs1, address: "fd00::11", port: 8080}]}
persistence:
  - {name: by-address, type: source-address, timeout: 86400}
virtual_servers:
  - {name: v4, address: 192.0.2.10, port: 80, protocol: tcp, forwarding: dnat, pool: web4, persistence: by-address}
  - {name: v6, address: "2001:db8::10", port: 80, protocol: tcp, forwarding: dnat, pool: web6, persistence: by-address}
)";

struct Case {
	std::string name, hook, family, direction, egress;
	uint32_t flows;
	double least, median;
};

class Bench
{
public:
	Bench() : bed_(config)
	{
		wrapper_ = bench_wrapper_bpf__open_and_load();
		if (!wrapper_)
			throw std::runtime_error("loading the wrapper: " + take_libbpf_messages());
	}
	~Bench() { bench_wrapper_bpf__destroy(wrapper_); }
	Bench(const Bench &) = delete;
	Bench &operator=(const Bench &) = delete;

	std::vector<Case> run(bool quick, const std::string &only);
	double sweep_milliseconds(uint32_t &sessions);

private:
	struct Shape {
		Bytes packet;
		uint32_t flows;
		bool reply = false, fresh_port = false;
	};

	Bytes frame(bool ipv4, bool reply, uint8_t flags, uint32_t acknowledgement) const;
	void plan(const Shape &shape, bool ipv4);
	void target(bool nothing);
	double once(Hook hook, const Shape &shape, uint32_t repeat);
	Case measure(const std::string &name, Hook hook, bool ipv4, const Shape &shape, bool redirect);
	void establish(bool ipv4, uint32_t flows);
	void one_armed(bool yes);

	Testbed bed_;
	bench_wrapper_bpf *wrapper_ = nullptr;
};

Bytes Bench::frame(bool ipv4, bool reply, uint8_t flags, uint32_t acknowledgement) const
{
	const uint16_t client = 40000;
	Tcp tcp{.sequence = 7, .acknowledgement = acknowledgement, .flags = flags};

	tcp.source = reply ? 8080 : client;
	tcp.destination = reply ? client : 80;
	if (ipv4)
		return Ethernet{} /
		       Ipv4{.source = reply ? "10.0.2.11" : "10.16.0.0",
			    .destination = reply ? "10.16.0.0" : "192.0.2.10"} /
		       tcp / Payload(64);
	return Ethernet{} /
	       Ipv6{.source = reply ? "fd00::11" : "fd00:1::", .destination = reply ? "fd00:1::" : "2001:db8::10"} /
	       tcp / Payload(64);
}

void Bench::plan(const Shape &shape, bool ipv4)
{
	struct {
		uint8_t headers[80];
		uint32_t flow_mask, address_offset, port_offset, fresh_port;
	} plan{};
	const uint32_t zero = 0;
	const uint64_t start = 0;

	std::memcpy(plan.headers, shape.packet.data(), sizeof(plan.headers));
	plan.flow_mask = shape.flows - 1;
	if (ipv4) {
		plan.address_offset = 14 + (shape.reply ? 16 : 12);
		plan.port_offset = 14 + 20 + (shape.reply ? 2 : 0);
	} else {
		plan.address_offset = 14 + (shape.reply ? 36 : 20);
		plan.port_offset = 14 + 40 + (shape.reply ? 2 : 0);
	}
	plan.fresh_port = shape.fresh_port;
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

// All flows established, by the packets that establish them.
void Bench::establish(bool ipv4, uint32_t flows)
{
	constexpr uint32_t chunk = 16384; // the embryonic table holds no more at a time
	const struct {
		bool reply;
		uint8_t flags;
		uint32_t acknowledgement;
	} steps[] = {{false, syn, 0}, {true, syn | ack, 8}, {false, ack, 8}};

	bed_.clear();
	target(false);
	for (uint32_t done = 0; done < flows; done += chunk) {
		for (const auto &step : steps) {
			const Shape shape{frame(ipv4, step.reply, step.flags, step.acknowledgement), flows, step.reply};
			const uint32_t zero = 0;
			const uint64_t start = done;

			plan(shape, ipv4);
			bpf_map_update_elem(bpf_map__fd(wrapper_->maps.bench_turn), &zero, &start, BPF_ANY);
			once(Hook::xdp, shape, std::min(chunk, flows));
		}
	}
	// The replies' next hop is found with the first of them.
	const Shape first{frame(ipv4, true, ack, 8), flows, true};
	plan(first, ipv4);
	once(Hook::xdp, first, flows);
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
		plan(shape, ipv4);
		target(true);
		double wrapper = once(hook, shape, repeat);
		wrapper = std::min(wrapper, once(hook, shape, repeat));
		plan(shape, ipv4);
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
		if (!only.empty() && only != name)
			return;
		one_armed(!redirect);
		cases.push_back(measure(name, hook, ipv4, shape, redirect));
	};

	for (const bool ipv4 : {true, false}) {
		for (const uint32_t flows : flow_counts) {
			if (quick && flows > 4096)
				continue;
			const Shape data{frame(ipv4, false, ack, 8), flows},
				reply{frame(ipv4, true, ack, 8), flows, true};
			Shape known{frame(ipv4, false, syn, 0), flows};
			Shape nobody{frame(ipv4, false, ack, 8), flows};

			known.fresh_port = true;
			nobody.packet[ipv4 ? 14 + 16 : 14 + 24 + 1] ^= 0x11; // another destination
			establish(ipv4, flows);
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
		// Every SYN is another client's.
		Shape fresh{frame(ipv4, false, syn, 0), quick ? 1U << 16 : 1U << 22};
		fresh.packet[ipv4 ? 14 + 12 : 14 + 8 + 3] ^= 0x40; // none that has a session
		for (const Hook hook : {Hook::xdp, Hook::tc})
			add("new-client", hook, ipv4, fresh);
	}
	return cases;
}

double Bench::sweep_milliseconds(uint32_t &sessions)
{
	constexpr uint32_t wanted = 1000000, batch = 10000;
	std::vector<hf_session_key> keys(batch);
	std::vector<hf_session> values(batch);
	double least = 1e9;

	for (int round = 0; round < 3; round++) {
		bed_.clear();
		for (uint32_t done = 0; done < wanted; done += batch) {
			uint32_t count = batch;

			for (uint32_t i = 0; i < batch; i++) {
				const uint32_t client = done + i;

				keys[i] = {};
				keys[i].scope = bed_.server_id("v4");
				keys[i].kind = HF_SESSION_ADDRESS;
				std::memcpy(keys[i].key + 12, &client, sizeof(client));
				values[i] = {bed_.member_id("web4", "rs1"), 0, bed_.maps->now(), 1};
			}
			bpf_map_update_batch(bed_.maps->sessions.fd(), keys.data(), values.data(), &count, nullptr);
		}
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

int run(int argc, char **argv)
{
	CLI::App app{"ns a packet through the data path, by BPF_PROG_TEST_RUN"};
	bool json = false, quick = false;
	std::string only;
	nlohmann::json out;

	app.add_flag("--json", json, "machine-readable output");
	app.add_flag("--quick", quick, "without half a million flows");
	app.add_option("--only", only, "the case of this name and no other");
	CLI11_PARSE(app, argc, argv);
	Bench bench;
	const std::vector<Case> cases = bench.run(quick, only);
	uint32_t sessions = 0;
	const double sweep = bench.sweep_milliseconds(sessions);

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
		out["sweep"] = {{"sessions", sessions}, {"cpu_ms", sweep}};
		fmt::print("{}\n", out.dump(1));
		return 0;
	}
	fmt::print("{:<22}{:<6}{:<6}{:<9}{:<10}{:>8}{:>9}{:>9}\n", "case", "hook", "", "", "out by", "flows", "min ns",
		   "median");
	for (const Case &one : cases)
		fmt::print("{:<22}{:<6}{:<6}{:<9}{:<10}{:>8}{:>9.0f}{:>9.0f}\n", one.name, one.hook, one.family,
			   one.direction, one.egress, one.flows, one.least, one.median);
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
