// SPDX-License-Identifier: GPL-2.0
// One packet through a second instance of the data path's own program. It decides by the
// live settings; what it writes goes into maps of its own, which begin as copies of the live
// ones as far as the packet's decision looks at them, and vanish with the trial. Nothing is sent.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "datapath/frame.h"
#include "datapath/programs.h"

namespace holdfast
{

struct TrialOutcome {
	bool forwarded = false;        // towards a member
	bool dropped = false;          // if neither: answered by the load balancer, or the host's
	uint32_t member = 0;           // that was chosen, also if nothing could be sent to it; 0: none
	std::vector<uint32_t> reasons; // of enum hf_reason, that were counted
};

class Trial
{
public:
	// `stages`: of enum hf_stage, those that the packet may need. Takes as long as the verifier does.
	static Result<std::unique_ptr<Trial>> load(const Maps &live, const std::set<uint32_t> &stages);

	void copy_session(const hf_session_key &key) const;
	void copy_connection(const hf_flow_key &key) const;

	// A frame that comes in by `interface`, of the flow; `members`: who may be chosen.
	Result<TrialOutcome> run(const hf_flow_key &flow, const Bytes &segment, int interface,
				 const std::vector<uint32_t> &members) const;

private:
	explicit Trial(const Maps &live) : live_(live) {}

	Result<void> copy_array(const char *name) const;
	uint32_t member_of(const hf_flow_key &flow, const std::vector<uint32_t> &members) const;

	const Maps &live_;
	std::unique_ptr<Programs> programs_;
};

} // namespace holdfast
