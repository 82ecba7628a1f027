// RESP, the protocol of Redis: commands as they are written, replies as they are read. As much of version
// 2 as a client that runs scripts needs (redis.io, "Redis serialization protocol specification").
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace glia {

struct RespValue {
  enum class Kind : uint8_t { kNothing, kNumber, kText, kError, kList };
  Kind kind = Kind::kNothing;
  int64_t number = 0;
  std::string text;  // Of a text or an error.
  std::vector<RespValue> list;
};

std::string resp_command(std::span<const std::string> words);

// Cuts what a server says into replies.
class RespReader {
 public:
  static constexpr std::size_t kLongest = 64 * 1024;  // bytes of a reply
  static constexpr std::size_t kMostElements = 1024;  // of a list
  static constexpr int kDeepest = 4;                  // lists in each other

  void push(std::string_view bytes) { bytes_ += bytes; }
  // The next whole reply; nothing if more has to come, or broken().
  std::optional<RespValue> next();
  // What came is no reply, or one beyond the limits; nothing behind it can be read.
  bool broken() const { return broken_; }
  void clear();

 private:
  std::optional<std::string_view> line(std::size_t& at);
  bool value(std::size_t& at, int depth, RespValue& into);
  bool text(std::size_t& at, int64_t size, RespValue& into);
  bool list(std::size_t& at, int64_t size, int depth, RespValue& into);
  bool fail() { return broken_ = true, false; }

  std::string bytes_;
  bool broken_ = false;
};

}  // namespace glia
