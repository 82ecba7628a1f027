// EventStream: cuts a stream of server-sent events (HTML standard, section 9.2) into events, in pieces of
// any size. It keeps nothing but the beginning of a field's name and of the event's.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

namespace glia {

class EventTaker {
 public:
  // More of the event's data; lines of it are joined by '\n'.
  virtual void event_data(std::string_view piece) = 0;
  // An event that has data has ended: it is the bytes [begin, end) of the stream. `name` is that of its
  // field "event", "" without one.
  virtual void event_end(std::string_view name, uint64_t begin, uint64_t end) = 0;

 protected:
  ~EventTaker() = default;
};

class EventStream {
 public:
  static constexpr std::size_t kLongestName = 32;  // bytes; a longer name is cut

  // `taker` outlives the stream.
  explicit EventStream(EventTaker& taker) : taker_(taker) {}
  void push(std::string_view bytes);
  // The stream ends. The standard drops an event that no empty line ended; clients of models take it.
  void finish();

 private:
  enum class At : uint8_t {
    kLineBegin,
    kFieldName,
    kValueBegin,  // Behind the colon, where one space does not count.
    kData,
    kName,
    kPassed,  // A comment, or a field that is nothing to us.
  };
  const char* take(const char* at, const char* end);
  void begin_value();
  // `offset` of the byte behind the line, or behind the event.
  void line_end(uint64_t offset);
  void end_event(uint64_t offset);

  EventTaker& taker_;
  uint64_t offset_ = 0;       // Of the bytes that come next.
  uint64_t event_begin_ = 0;  // Of the event that is read.
  At at_ = At::kLineBegin;
  At value_ = At::kPassed;  // What stands behind the colon.
  bool after_cr_ = false;   // A line feed that follows belongs to it.
  bool has_data_ = false;
  std::array<char, 8> field_;  // Its name; none of ours is longer than "event".
  std::size_t field_used_ = 0;
  std::array<char, kLongestName> name_;
  std::size_t name_used_ = 0;
};

}  // namespace glia
