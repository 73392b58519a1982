// SPDX-License-Identifier: GPL-2.0
#include "control/state_directory.h"

#include <cinttypes>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <sys/random.h>

#include "util/file.h"
#include "util/log.h"

namespace holdfast
{

Result<Fd> lock_path(const std::string &path, bool directory)
{
	Fd fd(::open(path.c_str(), directory ? O_RDONLY | O_DIRECTORY | O_CLOEXEC : O_RDWR | O_CREAT | O_CLOEXEC,
		     0600));

	if (!fd)
		return Error::system(path, errno);
	if (::flock(fd.get(), LOCK_EX | LOCK_NB))
		return errno == EWOULDBLOCK ? Error(fmt::format("{}: another holdfastd uses it", path))
					    : Error::system(path, errno);
	return fd;
}

Result<StateDirectory> StateDirectory::open(const std::string &path)
{
	StateDirectory state;

	if (auto made = make_directory(path); !made)
		return made.error();
	auto lock = lock_path(path + "/lock", false);
	if (!lock)
		return lock.error();
	state.path_ = path;
	state.lock_ = std::move(*lock);
	return state;
}

std::optional<std::string> StateDirectory::applied() const
{
	auto text = read_file(path_ + "/applied.yaml");

	return text ? std::optional(*text) : std::nullopt;
}

Result<MemberOverrides> StateDirectory::overrides() const
{
	const std::string path = path_ + "/overrides.json";
	MemberOverrides overrides;

	if (!std::filesystem::exists(path))
		return overrides;
	auto text = read_file(path);
	if (!text)
		return text.error();
	try {
		const nlohmann::json json = nlohmann::json::parse(*text);

		for (const auto &[key, value] : json.items()) {
			MemberOverride &one = overrides[key];

			one.weight = value.value("weight", 0U);
			const std::string status = value.value("status", "");
			for (const MemberStatus known :
			     {MemberStatus::enabled, MemberStatus::draining, MemberStatus::disabled}) {
				if (status == word(known)) {
					one.has_status = true;
					one.status = known;
				}
			}
		}
	} catch (const nlohmann::json::exception &exception) {
		return Error(fmt::format("{}: {}", path, exception.what()));
	}
	return overrides;
}

Result<Ids> StateDirectory::ids() const
{
	const std::string path = path_ + "/ids.json";

	if (!std::filesystem::exists(path))
		return Ids{};
	auto text = read_file(path);
	if (!text)
		return text.error();
	auto ids = Ids::load(*text);
	if (!ids)
		return ids.error().in(path);
	return ids;
}

Result<DigestKey> StateDirectory::digest_key(const std::optional<hf_installation> &pinned) const
{
	const std::string path = path_ + "/secret";
	DigestKey key{};

	if (std::filesystem::exists(path)) {
		auto text = read_file(path);

		if (!text)
			return text.error();
		if (text->ends_with('\n'))
			text->pop_back();
		if (text->size() != 32 || !bytes_of_hex(*text) ||
		    std::sscanf(text->c_str(), "%16" SCNx64 "%16" SCNx64, &key[0], &key[1]) != 2)
			return Error(fmt::format("{}: is not 32 hexadecimal digits; remove the file: the secret of the "
						 "maps that are there is taken, or, without maps, a new one made",
						 path));
		return key;
	}
	if (pinned && (pinned->digest_key[0] || pinned->digest_key[1]))
		key = {pinned->digest_key[0], pinned->digest_key[1]};
	else if (::getrandom(key.data(), sizeof(key), 0) != sizeof(key))
		return Error::system("random numbers", errno);
	if (auto saved = write_file(path, fmt::format("{:016x}{:016x}\n", key[0], key[1])); !saved)
		return saved.error();
	return key;
}

Result<void> StateDirectory::save_applied(const std::string &yaml) const
{
	return write_file(path_ + "/applied.yaml", yaml);
}

Result<void> StateDirectory::save_overrides(const MemberOverrides &overrides) const
{
	nlohmann::json json = nlohmann::json::object();

	for (const auto &[key, value] : overrides) {
		nlohmann::json one = nlohmann::json::object();

		if (value.has_status)
			one["status"] = word(value.status);
		if (value.weight)
			one["weight"] = value.weight;
		json[key] = one;
	}
	return write_file(path_ + "/overrides.json", json.dump(1) + "\n");
}

Result<void> StateDirectory::save_ids(const Ids &ids) const
{
	return write_file(path_ + "/ids.json", ids.save());
}

} // namespace holdfast
