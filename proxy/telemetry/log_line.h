// LogLine: gathers one line of an access log on the stack and appends it to the buffer in a piece or
// two. Half the cost of a line was the growing of the string.
#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "proxy/base/text.h"
#include "proxy/telemetry/access_log.h"

namespace glia {

class LogLine {
 public:
  // `out` outlives the line and is complete when the line is destroyed.
  explicit LogLine(std::string& out) : out_(out) {}
  LogLine(const LogLine&) = delete;
  LogLine& operator=(const LogLine&) = delete;
  ~LogLine() { flush(); }

  // Inlined, so that a literal is copied with a few moves instead of a call.
  [[gnu::always_inline]] void put(std::string_view text) {
    if (text.empty()) return;  // Nothing may be null.
    if (text.size() > room_.size() - used_) [[unlikely]] {
      flush();
      if (text.size() > room_.size()) {
        out_ += text;
        return;
      }
    }
    std::memcpy(room_.data() + used_, text.data(), text.size());
    used_ += text.size();
  }
  void put(int64_t number) {
    if (room_.size() - used_ < kLongestNumber) flush();
    char* const at = room_.data() + used_;
    used_ += static_cast<std::size_t>(std::to_chars(at, at + kLongestNumber, number).ptr - at);
  }
  void put_escaped(std::string_view text) {
    if (text.size() > kLongestLogValue) [[unlikely]] {
      put_escaped(text.substr(0, kLongestLogValue));
      put("...");
      return;
    }
    const std::size_t plain = json_plain_prefix(text);
    put(text.substr(0, plain));
    if (plain == text.size()) [[likely]]
      return;
    flush();
    append_json_escaped(out_, text.substr(plain));
  }
  // `key` is `,"name":"`, as it stands in the line.
  [[gnu::always_inline]] void field(std::string_view key, std::string_view value) {
    put(key);
    put_escaped(value);
    put("\"");
  }
  [[gnu::always_inline]] void known_field(std::string_view key, std::string_view value) {
    if (!value.empty()) field(key, value);
  }
  // `key` is `,"name":`.
  void field(std::string_view key, int64_t value) {
    put(key);
    put(value);
  }

 private:
  static constexpr std::size_t kLongestNumber = 20;  // bytes of an int64_t
  void flush() {
    out_.append(room_.data(), used_);
    used_ = 0;
  }

  std::string& out_;
  std::size_t used_ = 0;
  std::array<char, 2048> room_;
};

}  // namespace glia
