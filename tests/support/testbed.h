// SPDX-License-Identifier: GPL-2.0
// The data path in a process of its own: private maps, programs that are run by
// BPF_PROG_TEST_RUN and attached to nothing, and a network namespace whose routes
// and neighbours are the test's.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "datapath/programs.h"
#include "model/model.h"
#include "persist/message.h"
#include "reconcile/ids.h"
#include "support/packet.h"

namespace holdfast::test
{

enum class Hook { xdp, tc };

struct Outcome {
	uint32_t verdict = 0;
	Bytes packet;
};

// Moves this process into a network namespace of its own, once. Interface "wire"
// is up there; 192.0.2.0/24, 10.0.0.0/8, 2001:db8::/32 and fd00::/16 are routed
// through it by neighbours that never change (gateway_mac).
void enter_private_namespace();
inline const std::string gateway_mac = "02:00:00:00:00:aa";
inline const std::string wire_mac = "02:00:00:00:00:bb";
int wire_index();

void run_command(const std::string &command);

// The secret of the sessions' keys, here no secret.
inline const DigestKey digest_key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};

class Testbed
{
public:
	explicit Testbed(const std::string &yaml, const ProgramOptions &options = {});
	~Testbed();
	Testbed(const Testbed &) = delete;
	Testbed &operator=(const Testbed &) = delete;

	// Makes the maps hold another configuration; what is gone is swept.
	void apply(const std::string &yaml);
	void override_member(const std::string &pool, const std::string &name, MemberStatus status);
	// What health checks would have found.
	void set_health(const Health &health);

	// Forgets all connections and sessions.
	void clear();

	Outcome run(Hook hook, const Bytes &packet) const;
	// `repeat` runs of the same buffer; returns the kernel's mean in nanoseconds.
	uint32_t time(int program, const Bytes &packet, uint32_t repeat) const;

	uint64_t reason(hf_reason reason) const { return maps->reasons.sum(reason); }
	uint32_t member_id(const std::string &pool, const std::string &name) const;
	uint32_t server_id(const std::string &name) const;

	std::unique_ptr<Maps> maps;
	std::unique_ptr<Programs> programs;
	Ids ids;

private:
	void write(const Config &config);
	void write_pools(const std::set<std::string> &names);
	void reset();

	Config config_;
	MemberOverrides overrides_;
	Health health_;
	ProgramOptions options_;
};

constexpr uint32_t xdp_drop = 1, xdp_pass = 2, xdp_tx = 3, xdp_redirect = 4;
constexpr uint32_t tc_ok = 0, tc_shot = 2, tc_redirect = 7;

// In words of either hook.
bool passed(Hook hook, const Outcome &outcome);
bool dropped(Hook hook, const Outcome &outcome);
bool sent(Hook hook, const Outcome &outcome);

} // namespace holdfast::test
