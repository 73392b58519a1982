// SPDX-License-Identifier: GPL-2.0
// Result<T>: a value, or the reason why there is none. Shaped like C++23's
// std::expected<T, Error>.
//
//   Result<Fd> open_map(const std::string &path);
//
//   auto fd = open_map(path);
//   if (!fd)
//       return fd.error().in("adopting the pinned maps");
//   use(*fd);
//
// What a caller can do something about is a Result; what nobody can (a broken
// invariant) is an exception.
#pragma once

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace holdfast
{

class Error
{
public:
	explicit Error(std::string message) : message_(std::move(message)) {}

	// `what` failed with the errno value `number`.
	static Error system(const std::string &what, int number) { return Error(what + ": " + std::strerror(number)); }

	const std::string &message() const { return message_; }

	// The same error with what was being done in front.
	Error in(const std::string &context) const { return Error(context + ": " + message_); }

private:
	std::string message_;
};

template <typename T> class [[nodiscard]] Result
{
public:
	// Both implicit, so that `return value;` and `return error;` read as they mean.
	Result(T value) : state_(std::move(value)) {}
	Result(Error error) : state_(std::move(error)) {}

	explicit operator bool() const { return std::holds_alternative<T>(state_); }
	T &operator*() & { return std::get<T>(state_); }
	const T &operator*() const & { return std::get<T>(state_); }
	T &&operator*() && { return std::get<T>(std::move(state_)); }
	T *operator->() { return &std::get<T>(state_); }
	const T *operator->() const { return &std::get<T>(state_); }
	const Error &error() const { return std::get<Error>(state_); }

private:
	std::variant<T, Error> state_;
};

template <> class [[nodiscard]] Result<void>
{
public:
	Result() = default;
	Result(Error error) : error_(std::move(error)) {}

	explicit operator bool() const { return !error_; }
	const Error &error() const { return *error_; }

private:
	std::optional<Error> error_;
};

} // namespace holdfast
