// SPDX-License-Identifier: GPL-2.0
// The data path's programs, loaded over a set of maps.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>

#include "datapath/maps.h"

namespace holdfast
{

struct ProgramOptions {
	// See hairpin_by_redirect in bpf/config.h.
	bool hairpin_by_redirect = false;
	// Without, TC's alone.
	bool xdp = true;
	// Those of enum hf_stage that are needed; none given: all. What is not loaded need not be verified.
	std::optional<std::set<uint32_t>> stages;
	// For trial.h: what the programs write is in small maps of their own.
	bool trial = false;
};

class Programs
{
public:
	static Result<std::unique_ptr<Programs>> load(const Maps &maps, const ProgramOptions &options);
	~Programs();
	Programs(const Programs &) = delete;
	Programs &operator=(const Programs &) = delete;

	// Descriptors that live as long as this object.
	int xdp() const; // -1: it is not loaded
	int tc() const;
	const ProgramOptions &options() const { return options_; }
	// The map that TC's programs use under this name; -1: none.
	int tc_map(const char *name) const;
	// Is all there that such options ask for?
	bool serve(const ProgramOptions &wanted) const;

	// The programs that the two above reach by tail call, kept by pins in `directory`.
	// Pin before attaching; unpin those of earlier loads when nothing runs them.
	Result<void> pin_stages(const std::string &directory) const;
	void unpin_other_stages(const std::string &directory) const;

private:
	struct Skeletons;

	Programs() = default;

	std::unique_ptr<Skeletons> skeletons_;
	ProgramOptions options_;
};

} // namespace holdfast
