// Arena: memory that is given out piece by piece and taken back all at once.
//
// Each exchange has one, for headers and whatever else lives exactly as long as it. Counted, because
// an upstream call may outlive the moment its downstream stream ends; used by one thread.
#pragma once

#include <cstddef>
#include <cstring>
#include <new>
#include <span>
#include <string_view>
#include <utility>

namespace glia {

class Arena {
 public:
  // An arena with a count of one.
  static Arena* create();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  void* allocate(std::size_t bytes, std::size_t alignment = alignof(std::max_align_t)) {
    const std::size_t start = (used_ + alignment - 1) & ~(alignment - 1);
    if (start + bytes <= room_) [[likely]] {
      used_ = start + bytes;
      return block_ + start;
    }
    return allocate_slow(bytes, alignment);
  }
  // A copy of `text` that lives as long as the arena.
  std::string_view copy(std::string_view text) {
    if (text.empty()) return {};
    auto* to = static_cast<char*>(allocate(text.size(), 1));
    std::memcpy(to, text.data(), text.size());
    return {to, text.size()};
  }
  // Uninitialised room for `count` trivially destructible values.
  template <class T>
  std::span<T> array(std::size_t count) {
    return {static_cast<T*>(allocate(count * sizeof(T), alignof(T))), count};
  }

  // Bytes given out so far, for limits and tests.
  std::size_t bytes_used() const { return spilled_ + used_; }

  void retain() { ++count_; }
  void release();

 private:
  Arena() = default;
  ~Arena();
  void* allocate_slow(std::size_t bytes, std::size_t alignment);

  struct Spill;
  char* block_ = nullptr;
  std::size_t room_ = 0;
  std::size_t used_ = 0;
  std::size_t spilled_ = 0;
  Spill* spills_ = nullptr;
  std::size_t count_ = 1;
};

// A counted reference to an Arena.
class ArenaRef {
 public:
  static ArenaRef create() { return ArenaRef(Arena::create()); }
  ArenaRef() = default;
  ArenaRef(const ArenaRef& other) : arena_(other.arena_) {
    if (arena_ != nullptr) arena_->retain();
  }
  ArenaRef(ArenaRef&& other) noexcept : arena_(std::exchange(other.arena_, nullptr)) {}
  ArenaRef& operator=(ArenaRef other) noexcept {
    std::swap(arena_, other.arena_);
    return *this;
  }
  ~ArenaRef() {
    if (arena_ != nullptr) arena_->release();
  }
  Arena& operator*() const { return *arena_; }
  Arena* operator->() const { return arena_; }
  explicit operator bool() const { return arena_ != nullptr; }

 private:
  explicit ArenaRef(Arena* arena) : arena_(arena) {}
  Arena* arena_ = nullptr;
};

}  // namespace glia
