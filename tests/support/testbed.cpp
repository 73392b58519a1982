// SPDX-License-Identifier: GPL-2.0
#include "support/testbed.h"

#include <algorithm>
#include <bpf/bpf.h>
#include <cstdlib>
#include <fmt/format.h>
#include <net/if.h>
#include <sched.h>
#include <stdexcept>

#include "config/config.h"
#include "datapath/encode.h"
#include "reconcile/image.h"
#include "reconcile/reconcile.h"

namespace holdfast::test
{

namespace
{

// The next hops that the tests' routes lead to: index 1 in both hash and array.
constexpr uint32_t gateway_index = 1;

void expect(const Result<void> &result)
{
	if (!result)
		throw std::runtime_error(result.error().message());
}

template <typename T> T expect(Result<T> result)
{
	if (!result)
		throw std::runtime_error(result.error().message());
	return std::move(*result);
}

void fill_mac(unsigned char *to, const std::string &text)
{
	unsigned b[6] = {};

	std::sscanf(text.c_str(), "%x:%x:%x:%x:%x:%x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]);
	for (int i = 0; i < 6; i++)
		to[i] = static_cast<unsigned char>(b[i]);
}

// Maps and programs of tests that are over. Loading takes half a second, most of
// it in the verifier: the next test takes them over, emptied.
struct Kernel {
	bool hairpin_by_redirect;
	TableSizes tables;
	std::unique_ptr<Maps> maps;
	std::unique_ptr<Programs> programs;
};

std::vector<Kernel> &spare_kernels()
{
	static std::vector<Kernel> kernels;

	return kernels;
}

Config parse(const std::string &yaml)
{
	auto result = parse_config(yaml);

	if (auto *errors = std::get_if<ConfigErrors>(&result))
		throw std::runtime_error(errors->front().text("test"));
	return std::get<Config>(result);
}

} // namespace

void run_command(const std::string &command)
{
	if (std::system(command.c_str()) != 0)
		throw std::runtime_error("failed: " + command);
}

void enter_private_namespace()
{
	static bool entered = false;

	if (entered)
		return;
	if (unshare(CLONE_NEWNET))
		throw std::runtime_error("unshare: are you root?");
	entered = true;
	run_command("sysctl -qw net.ipv4.conf.all.forwarding=1 net.ipv6.conf.all.forwarding=1 "
		    "net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0");
	run_command("ip link set lo up");
	run_command("ip link add wire address " + wire_mac + " type veth peer name far");
	run_command("ip link set far up && ip link set wire up");
	run_command("ip addr add 172.16.0.1/24 dev wire && ip -6 addr add fc00::1/64 dev wire nodad");
	run_command("ip neigh add 172.16.0.2 lladdr " + gateway_mac + " dev wire nud permanent");
	run_command("ip -6 neigh add fc00::2 lladdr " + gateway_mac + " dev wire nud permanent");
	for (const char *net : {"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "10.0.0.0/8"})
		run_command(fmt::format("ip route add {} via 172.16.0.2", net));
	for (const char *net : {"2001:db8::/32", "fd00::/16"})
		run_command(fmt::format("ip -6 route add {} via fc00::2", net));
}

int wire_index()
{
	return static_cast<int>(if_nametoindex("wire"));
}

Testbed::Testbed(const std::string &yaml, const ProgramOptions &options) : options_(options)
{
	auto &spare = spare_kernels();

	enter_private_namespace();
	config_ = parse(yaml);
	auto found = std::find_if(spare.begin(), spare.end(), [&](const Kernel &kernel) {
		return kernel.hairpin_by_redirect == options.hairpin_by_redirect && kernel.tables == config_.tables;
	});
	if (found != spare.end()) {
		maps = std::move(found->maps);
		programs = std::move(found->programs);
		spare.erase(found);
	} else {
		maps = expect(Maps::open("", config_.tables));
		programs = expect(Programs::load(*maps, options));
	}
	reset();
	write(config_);
}

Testbed::~Testbed()
{
	spare_kernels().push_back({options_.hairpin_by_redirect, config_.tables, std::move(maps), std::move(programs)});
}

void Testbed::reset()
{
	hf_next_hop gateway{};
	hf_next_hop_key key{};
	std::vector<hf_next_hop_key> known;

	clear();
	maps->gaps_wanted.set(0, 0);
	for (uint32_t reason = 0; reason < HF_REASON_COUNT; reason++)
		maps->reasons.clear(reason);
	for (uint32_t id = 1; id < 16; id++) {
		maps->virtual_server_counters.clear(id);
		maps->member_counters.clear(id);
		maps->member_connections.set(id, 0);
		expect(maps->member_rates.set(id, 0));
		maps->members.set(id, {});
		maps->next_hops.set(id, {});
		// What was learnt from the members of an earlier test.
		maps->pools.live(id)->mss = 0;
		maps->pools.live(id)->tcp_lacking = 0;
	}
	expect(maps->next_hop_index.each([&](const hf_next_hop_key &one, const uint32_t &) {
		known.push_back(one);
		return true;
	}));
	for (const hf_next_hop_key &one : known)
		maps->next_hop_index.erase(one);

	fill_mac(gateway.destination_mac, gateway_mac);
	fill_mac(gateway.source_mac, wire_mac);
	gateway.interface = static_cast<uint32_t>(wire_index());
	gateway.mtu = 1500;
	gateway.flags = HF_NEXT_HOP_XDP;
	maps->next_hops.set(gateway_index, gateway);
	key.interface = gateway.interface;
	fill_mac(key.mac, gateway_mac);
	expect(maps->next_hop_index.set(key, gateway_index));
}

void Testbed::apply(const std::string &yaml)
{
	config_ = parse(yaml);
	overrides_.clear();
	health_.clear();
	write(config_);
}

void Testbed::override_member(const std::string &pool, const std::string &name, MemberStatus status)
{
	overrides_[member_key(pool, name)] = {true, status, 0};
	write_pools({pool});
}

void Testbed::set_health(const Health &health)
{
	std::set<std::string> pools;

	for (const Health &one : {health_, health}) {
		for (const auto &[pool, found] : one)
			pools.insert(pool);
	}
	health_ = health;
	write_pools(pools);
}

// As the daemon does it: these pools alone. After that everything is as a whole image has it.
void Testbed::write_pools(const std::set<std::string> &names)
{
	const Config config = with_health(with_overrides(config_, overrides_), health_);
	std::vector<Pool> changed;

	for (const Pool &pool : config.pools) {
		if (names.contains(pool.name))
			changed.push_back(pool);
	}
	expect(reconcile_pool(*maps, expect(make_pool_image(config_, changed, maps->tables(), ids))));
	auto image = expect(make_image(config, maps->tables(), ids));
	std::copy(digest_key.begin(), digest_key.end(), image.digest_key);
	if (expect(reconcile(*maps, image)).writes)
		throw std::runtime_error("a change of members changes more than their pools");
}

void Testbed::write(const Config &config)
{
	std::set<std::string> servers, members;
	auto image = expect(make_image(config, maps->tables(), ids));

	for (const VirtualServer &server : config.virtual_servers)
		servers.insert(server.name);
	for (const Pool &pool : config.pools) {
		for (const Member &member : pool.members)
			members.insert(member_key(pool.name, member.name));
	}
	std::copy(digest_key.begin(), digest_key.end(), image.digest_key);
	auto report = expect(reconcile(*maps, image));
	ids.virtual_servers.retire(servers);
	ids.members.retire(members);
	expect(drop_orphans(*maps, report));
	for (const auto &[id, member] : image.members) {
		maps->members.live(id)->next_hop = gateway_index;
		maps->members.live(id)->flags &= static_cast<uint8_t>(~HF_MEMBER_ROUTED);
		maps->members.live(id)->route_generation = static_cast<uint16_t>(maps->routes.get(0).generation);
	}
}

namespace
{

template <typename Key, typename Value> void forget(const HashMap<Key, Value> &map)
{
	std::vector<Key> keys;

	expect(map.each([&](const Key &key, const Value &) {
		keys.push_back(key);
		return true;
	}));
	for (const Key &key : keys)
		map.erase(key);
}

} // namespace

void Testbed::clear()
{
	expect(maps->sweep_connections(HF_SWEEP_ALL));
	expect(maps->sweep_sessions(HF_SWEEP_ALL));
	forget(maps->embryonic_keys);
	forget(maps->fragments);
}

Outcome Testbed::run(Hook hook, const Bytes &packet) const
{
	Outcome outcome;
	LIBBPF_OPTS(bpf_test_run_opts, options);

	outcome.packet.resize(packet.size() + 2048);
	options.data_in = packet.data();
	options.data_size_in = static_cast<uint32_t>(packet.size());
	options.data_out = outcome.packet.data();
	options.data_size_out = static_cast<uint32_t>(outcome.packet.size());
	options.repeat = 1;
	if (const int failed = bpf_prog_test_run_opts(hook == Hook::xdp ? programs->xdp() : programs->tc(), &options))
		throw std::runtime_error(fmt::format("BPF_PROG_TEST_RUN: {}", std::strerror(-failed)));
	outcome.packet.resize(options.data_size_out);
	outcome.verdict = options.retval;
	return outcome;
}

uint32_t Testbed::time(int program, const Bytes &packet, uint32_t repeat) const
{
	LIBBPF_OPTS(bpf_test_run_opts, options);

	options.data_in = packet.data();
	options.data_size_in = static_cast<uint32_t>(packet.size());
	options.repeat = static_cast<int>(repeat);
	if (const int failed = bpf_prog_test_run_opts(program, &options))
		throw std::runtime_error(fmt::format("BPF_PROG_TEST_RUN: {}", std::strerror(-failed)));
	return options.duration;
}

uint32_t Testbed::member_id(const std::string &pool, const std::string &name) const
{
	return ids.members.find(member_key(pool, name));
}

uint32_t Testbed::server_id(const std::string &name) const
{
	return ids.virtual_servers.find(name);
}

bool passed(Hook hook, const Outcome &outcome)
{
	return outcome.verdict == (hook == Hook::xdp ? xdp_pass : tc_ok);
}

bool dropped(Hook hook, const Outcome &outcome)
{
	return outcome.verdict == (hook == Hook::xdp ? xdp_drop : tc_shot);
}

bool sent(Hook hook, const Outcome &outcome)
{
	return hook == Hook::xdp ? outcome.verdict == xdp_tx || outcome.verdict == xdp_redirect
				 : outcome.verdict == tc_redirect;
}

} // namespace holdfast::test
