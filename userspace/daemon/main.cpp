// SPDX-License-Identifier: GPL-2.0
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "daemon/service.h"
#include "documents/documents.h"
#include "util/log.h"
#include "util/log_format.h"

int main(int argc, char **argv)
{
	CLI::App app{"holdfastd: loads the data path into the kernel, keeps it configured, answers `holdfast`.\n"
		     "Stopping it leaves the data path running; --detach removes it."};
	holdfast::ServiceOptions options;
	std::string format = "text";
	bool detach = false, manual = false;

	app.set_version_flag("--version", "holdfastd " HOLDFAST_VERSION);
	app.add_option("--config", options.config, "configuration file")->capture_default_str();
	app.add_option("--socket", options.socket, "control socket")->capture_default_str();
	app.add_option("--pin-dir", options.pin_directory, "where maps and links are pinned")->capture_default_str();
	app.add_option("--state-dir", options.state_directory,
		       "what outlives a restart (default: the configuration's state.directory, or " +
			       holdfast::default_state_directory + ")");
	app.add_option("--log-format", format, "text, or a JSON object a line")
		->check(CLI::IsMember({"text", "json"}))
		->capture_default_str();
	app.add_flag("--detach", detach, "remove programs, links and pins, and exit");
	app.add_flag("--manual", manual, "print the manual page, for man(1), and exit");
	try {
		app.parse(argc, argv);
	} catch (const CLI::ParseError &error) {
		return app.exit(error) ? 2 : 0;
	}
	if (format == "json")
		holdfast::set_log_format(holdfast::LogFormat::json);
	if (manual) {
		fmt::print("{}", holdfast::manual_page(app, "holdfastd", 8));
		return 0;
	}
	try {
		const auto done = detach ? holdfast::detach_service(options) : holdfast::run_service(options);
		if (done)
			return 0;
		holdfast::log_last(done.error().message());
	} catch (const std::exception &exception) {
		holdfast::log_last(exception.what());
	}
	return 1;
}
