// SPDX-License-Identifier: GPL-2.0
// Where a test runs: either family, on every hook.
#pragma once

#include <algorithm>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <string>

namespace holdfast::test
{

struct Place {
	bool ipv4;
	std::string hook;
};

inline const Place all_places[] = {{true, "xdp"},  {true, "tc"},  {true, "xdp-generic"},
				   {false, "xdp"}, {false, "tc"}, {false, "xdp-generic"}};

inline std::string place_name(const testing::TestParamInfo<Place> &test)
{
	std::string name = fmt::format("{}_{}", test.param.ipv4 ? "ipv4" : "ipv6", test.param.hook);

	std::replace(name.begin(), name.end(), '-', '_');
	return name;
}

} // namespace holdfast::test
