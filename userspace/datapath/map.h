// SPDX-License-Identifier: GPL-2.0
// Typed views of BPF maps. They do not own the map's descriptor: Maps does.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <bpf/bpf.h>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#include "util/result.h"

namespace holdfast
{

// A hash map (of any kind).
template <typename Key, typename Value> class HashMap
{
public:
	HashMap() = default;
	HashMap(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}

	std::optional<Value> find(const Key &key) const
	{
		Value value{};

		if (bpf_map_lookup_elem(fd_, &key, &value))
			return std::nullopt;
		return value;
	}

	Result<void> set(const Key &key, const Value &value) const
	{
		if (bpf_map_update_elem(fd_, &key, &value, BPF_ANY))
			return Error::system("map " + name_ + ": update", errno);
		return {};
	}

	// Leaves what is there.
	Result<void> add(const Key &key, const Value &value) const
	{
		if (bpf_map_update_elem(fd_, &key, &value, BPF_NOEXIST) && errno != EEXIST)
			return Error::system("map " + name_ + ": update", errno);
		return {};
	}

	bool erase(const Key &key) const { return bpf_map_delete_elem(fd_, &key) == 0; }

	// Visits all entries until `visit` returns false. The map may change meanwhile:
	// an entry that is there all the time is visited once.
	Result<void> each(const std::function<bool(const Key &, const Value &)> &visit) const
	{
		uint32_t size = 4096, in_batch = 0, out_batch = 0;
		std::vector<Key> keys;
		std::vector<Value> values;
		bool first = true;

		for (;;) {
			uint32_t count = size;

			keys.resize(size);
			values.resize(size);
			int failed = bpf_map_lookup_batch(fd_, first ? nullptr : &in_batch, &out_batch, keys.data(),
							  values.data(), &count, nullptr);
			const int number = errno;

			if (failed && number == ENOSPC) {
				size *= 2; // one bucket holds more than that
				continue;
			}
			if (failed && number != ENOENT)
				return Error::system("map " + name_ + ": read", number);
			for (uint32_t i = 0; i < count; i++) {
				if (!visit(keys[i], values[i]))
					return {};
			}
			if (failed)
				return {};
			in_batch = out_batch;
			first = false;
		}
	}

	int fd() const { return fd_; }

private:
	int fd_ = -1;
	std::string name_;
};

// An array map that is mapped into memory: reads and writes cost no system call.
// Values are written in aligned 8- or 4-byte words, so that the data path never
// sees half a word.
template <typename Value> class MappedArray
{
public:
	MappedArray() = default;
	MappedArray(MappedArray &&other) noexcept
		: base_(std::exchange(other.base_, nullptr)), count_(other.count_), length_(other.length_)
	{
	}
	MappedArray &operator=(MappedArray &&other) noexcept
	{
		std::swap(base_, other.base_);
		std::swap(count_, other.count_);
		std::swap(length_, other.length_);
		return *this;
	}
	MappedArray(const MappedArray &) = delete;
	MappedArray &operator=(const MappedArray &) = delete;
	~MappedArray()
	{
		if (base_)
			::munmap(base_, length_);
	}

	static Result<MappedArray> map(int fd, uint32_t count, const std::string &name)
	{
		const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
		MappedArray array;

		array.count_ = count;
		array.length_ = (stride * count + page - 1) / page * page;
		void *base = ::mmap(nullptr, array.length_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (base == MAP_FAILED)
			return Error::system("map " + name + ": mmap", errno);
		array.base_ = static_cast<std::byte *>(base);
		return array;
	}

	uint32_t size() const { return count_; }

	Value get(uint32_t index) const
	{
		Value value;

		std::memcpy(&value, at(index), sizeof(value));
		return value;
	}

	// A field or element that the data path writes, too.
	Value *live(uint32_t index) { return reinterpret_cast<Value *>(at(index)); }

	// Returns whether anything changed.
	bool set(uint32_t index, const Value &value)
	{
		if (std::memcmp(at(index), &value, sizeof(value)) == 0)
			return false;
		if constexpr (alignof(Value) >= 8)
			copy<uint64_t>(at(index), value);
		else if constexpr (sizeof(Value) % 4 == 0)
			copy<uint32_t>(at(index), value);
		else
			std::memcpy(at(index), &value, sizeof(value));
		return true;
	}

private:
	static constexpr size_t stride = (sizeof(Value) + 7) / 8 * 8;

	std::byte *at(uint32_t index) const { return base_ + stride * index; }

	template <typename Word> static void copy(std::byte *to, const Value &value)
	{
		Word words[sizeof(Value) / sizeof(Word)];

		std::memcpy(words, &value, sizeof(value));
		for (size_t i = 0; i < sizeof(Value) / sizeof(Word); i++)
			std::atomic_ref<Word>(reinterpret_cast<Word *>(to)[i])
				.store(words[i], std::memory_order_release);
	}

	std::byte *base_ = nullptr;
	uint32_t count_ = 0;
	size_t length_ = 0;
};

// A per-CPU array, or hash by numbers, whose values are sums of 64-bit counters.
template <typename Value> class CounterArray
{
public:
	CounterArray() = default;
	CounterArray(int fd, int cpus) : fd_(fd), per_cpu_(static_cast<size_t>(cpus)) {}

	// The sum over all CPUs.
	Value sum(uint32_t index) const
	{
		static_assert(sizeof(Value) % sizeof(uint64_t) == 0);
		using Fields = std::array<uint64_t, sizeof(Value) / sizeof(uint64_t)>;
		std::vector<Fields> values(per_cpu_);
		Fields total{};

		if (bpf_map_lookup_elem(fd_, &index, values.data()))
			return {};
		for (const Fields &value : values) {
			for (size_t i = 0; i < total.size(); i++)
				total[i] += value[i];
		}
		return std::bit_cast<Value>(total);
	}

	void clear(uint32_t index) const
	{
		const std::vector<Value> zeros(per_cpu_);

		bpf_map_update_elem(fd_, &index, zeros.data(), BPF_ANY);
	}

	// Of a hash.
	void remove(uint32_t index) const { bpf_map_delete_elem(fd_, &index); }

	std::vector<uint32_t> indices() const
	{
		std::vector<uint32_t> all;
		uint32_t index = 0;

		for (int failed = bpf_map_get_next_key(fd_, nullptr, &index); !failed;
		     failed = bpf_map_get_next_key(fd_, &index, &index))
			all.push_back(index);
		return all;
	}

private:
	int fd_ = -1;
	size_t per_cpu_ = 0;
};

} // namespace holdfast
