// SPDX-License-Identifier: GPL-2.0
#include "util/file.h"

#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/stat.h>

#include "util/fd.h"

namespace holdfast
{

Result<std::string> read_file(const std::string &path)
{
	Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
	std::string content;
	char buffer[65536];

	if (!fd)
		return Error::system(path, errno);
	for (;;) {
		ssize_t count = ::read(fd.get(), buffer, sizeof(buffer));

		if (count < 0)
			return Error::system(path, errno);
		if (count == 0)
			return content;
		content.append(buffer, static_cast<size_t>(count));
	}
}

Result<void> write_file(const std::string &path, const std::string &content, unsigned mode)
{
	const std::string temporary = path + ".new";
	Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
	size_t written = 0;

	if (!fd)
		return Error::system(temporary, errno);
	while (written < content.size()) {
		ssize_t count = ::write(fd.get(), content.data() + written, content.size() - written);

		if (count < 0)
			return Error::system(temporary, errno);
		written += static_cast<size_t>(count);
	}
	if (::fsync(fd.get()))
		return Error::system(temporary, errno);
	if (::rename(temporary.c_str(), path.c_str()))
		return Error::system(path, errno);
	return {};
}

Result<void> make_directory(const std::string &path, unsigned mode)
{
	std::error_code error;
	const bool existed = std::filesystem::exists(path, error);

	std::filesystem::create_directories(path, error);
	if (error)
		return Error(path + ": " + error.message());
	if (!existed && ::chmod(path.c_str(), mode))
		return Error::system(path, errno);
	return {};
}

} // namespace holdfast
