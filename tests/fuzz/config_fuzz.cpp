// SPDX-License-Identifier: GPL-2.0
// Any bytes through the configuration's parser: a model or errors, never a crash;
// a model's image can be computed; every error has its place in the text.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "config/config.h"
#include "reconcile/image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const std::string text(reinterpret_cast<const char *>(data), size);
	const holdfast::ConfigResult result = holdfast::parse_config(text);

	if (const auto *errors = std::get_if<holdfast::ConfigErrors>(&result)) {
		const auto lines =
			std::count(text.begin(), text.end(), '\n') + std::count(text.begin(), text.end(), '\r') + 2;

		if (errors->empty())
			std::abort();
		for (const holdfast::ConfigError &error : *errors) {
			if (error.message.empty() || error.line < 0 || error.line > lines)
				std::abort();
		}
		return 0;
	}
	holdfast::Ids ids;
	const auto &config = std::get<holdfast::Config>(result);
	(void)holdfast::make_image(config, config.tables, ids);
	return 0;
}
