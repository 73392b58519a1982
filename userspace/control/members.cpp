// SPDX-License-Identifier: GPL-2.0
// What operators and health checks make of members, over what the configuration says.
#include <algorithm>
#include <fmt/format.h>

#include "control/controller.h"
#include "reconcile/image.h"
#include "reconcile/reconcile.h"
#include "util/log.h"

namespace holdfast
{

namespace
{

// Members that are down in `to` alone.
std::vector<std::string> fallen(const Health &from, const Health &to)
{
	std::vector<std::string> members;

	for (const auto &[pool, found] : to) {
		auto before = from.find(pool);

		for (const std::string &member : found.down) {
			if (before == from.end() || !before->second.down.contains(member))
				members.push_back(member_key(pool, member));
		}
	}
	return members;
}

} // namespace

Result<Member> Controller::override_member(const std::string &pool, const std::string &member,
					   const std::function<void(MemberOverride &)> &change)
{
	const std::string key = member_key(pool, member);
	MemberOverrides overrides = overrides_;
	const auto found = std::find_if(config_.pools.begin(), config_.pools.end(),
					[&](const Pool &one) { return one.name == pool; });
	auto find_member = [&](const Pool &one) {
		return std::find_if(one.members.begin(), one.members.end(),
				    [&](const Member &of_pool) { return of_pool.name == member; });
	};

	if (found == config_.pools.end() || find_member(*found) == found->members.end())
		return Error(fmt::format("there is no member {}", key));
	change(overrides[key]);
	if (overrides[key] == MemberOverride{})
		overrides.erase(key);
	if (auto written = write_overrides(*found, overrides); !written)
		return written.error();
	const Pool changed = with_overrides(*found, overrides_);
	return *find_member(changed);
}

// What a restart goes on from is saved first: where that fails, nothing has changed.
Result<void> Controller::write_overrides(const Pool &pool, const MemberOverrides &overrides)
{
	const MemberOverrides before = overrides_;

	if (auto saved = state_.save_overrides(overrides); !saved)
		return saved;
	overrides_ = overrides;
	auto done = write_pools({effective(pool)});
	if (done) {
		// Who may be the fastest depends on it.
		const bool compared = std::any_of(config_.virtual_servers.begin(), config_.virtual_servers.end(),
						  [&](const VirtualServer &server) {
							  return server.method == HF_METHOD_FASTEST_RESPONSE &&
								 server.pool == pool.name;
						  });
		if (compared && applied_call_)
			applied_call_();
		return done;
	}
	overrides_ = before;
	if (auto saved = state_.save_overrides(overrides_); !saved)
		return saved;
	return done;
}

// Nothing but these pools depends on what changed.
Result<void> Controller::write_pools(const std::vector<Pool> &pools)
{
	if (!consistent_) {
		auto written = write(effective(), [] { return Result<void>(); });
		return written ? Result<void>() : written.error();
	}
	auto image = make_pool_image(config_, pools, maps_->tables(), ids_);
	if (!image)
		return image.error();
	auto written = reconcile_pool(*maps_, *image);
	return written ? Result<void>() : written.error();
}

// What checks found before the daemon stopped holds until they find something else.
Health Controller::health_from_maps() const
{
	Health health;

	for (const Pool &pool : config_.pools) {
		for (const Member &member : pool.members) {
			const uint32_t id = ids_.members.find(member_key(pool.name, member.name));

			if (id && !pool.health_checks.empty() && maps_->members.get(id).state == HF_MEMBER_DOWN)
				health[pool.name].down.insert(member.name);
		}
	}
	return health;
}

void Controller::set_health(Health health)
{
	wanted_health_ = std::move(health);
	write_health();
}

void Controller::write_health()
{
	const Health before = health_;
	std::vector<Pool> changed;

	if (wanted_health_ == health_)
		return;
	health_ = wanted_health_;
	for (const Pool &pool : config_.pools) {
		const auto old = before.find(pool.name);
		const auto now = health_.find(pool.name);

		if ((old == before.end() ? PoolHealth() : old->second) !=
		    (now == health_.end() ? PoolHealth() : now->second))
			changed.push_back(effective(pool));
	}
	if (changed.empty())
		return;
	// Whatever becomes of the tables: who is down gets nobody any more.
	for (const std::string &member : fallen(before, health_))
		maps_->mark_down(ids_.members.find(member));
	if (auto written = write_pools(changed); !written) {
		health_ = before;
		log_error("what health checks found could not be written, and is tried again: {}",
			  written.error().message());
		return;
	}
	for (const bool up : {false, true}) {
		for (const std::string &member : up ? fallen(health_, before) : fallen(before, health_)) {
			if (turned_call_)
				turned_call_(member, up);
		}
	}
}

} // namespace holdfast
