// SPDX-License-Identifier: GPL-2.0
// What has to survive a restart and is not in the maps: the configuration that
// was applied last, the operator's overrides, the numbers of names. One daemon
// at a time: the directory is locked.
#pragma once

#include <optional>
#include <string>

#include "model/model.h"
#include "persist/message.h"
#include "reconcile/ids.h"
#include "util/fd.h"
#include "util/result.h"

namespace holdfast
{

class StateDirectory
{
public:
	// Creates the directory if need be, and locks it.
	static Result<StateDirectory> open(const std::string &path);

	std::optional<std::string> applied() const;
	Result<MemberOverrides> overrides() const;
	Result<Ids> ids() const;
	// The secret of the sessions' keys: made at the first start, mode 0600. One that
	// was lost is taken from `pinned`, the maps of the running installation.
	Result<DigestKey> digest_key(const std::optional<hf_installation> &pinned) const;

	Result<void> save_applied(const std::string &yaml) const;
	Result<void> save_overrides(const MemberOverrides &overrides) const;
	Result<void> save_ids(const Ids &ids) const;

	const std::string &path() const { return path_; }

private:
	std::string path_;
	Fd lock_;
};

// Locks a directory or file for this process; the error names who has it.
Result<Fd> lock_path(const std::string &path, bool directory);

} // namespace holdfast
