// SPDX-License-Identifier: GPL-2.0
#include "cli/outcome.h"

#include <fmt/format.h>

#include "config/errors.h"

namespace holdfast
{

using nlohmann::json;

void complain(const std::string &text)
{
	fmt::print(stderr, "holdfast: {}\n", text);
}

int check_reply(const Reply &reply, const std::string &given)
{
	if (!reply.reached) {
		complain(fmt::format("no daemon answers: {}", reply.problem));
		return no_daemon;
	}
	if (reply.status == 200 && !reply.body.is_discarded())
		return done;
	if (!reply.body.is_object() || !reply.body.contains("errors")) {
		complain(fmt::format("the daemon answered {}", reply.status));
		return failed;
	}
	const std::string file = reply.body.value("file", given);
	for (const json &error : reply.body["errors"]) {
		const ConfigError one{error.value("line", 0), error.value("column", 0), error.value("path", ""),
				      error.value("message", "")};

		if (file.empty())
			complain(one.path.empty() ? one.message : one.path + ": " + one.message);
		else
			fmt::print(stderr, "{}\n", one.text(file));
	}
	return failed;
}

} // namespace holdfast
