// WireScanner: finds a few fields in a protobuf message whose bytes come in pieces, and skips the rest.
// Source: protobuf.dev/programming-guides/encoding.
//
// It keeps no bytes and allocates nothing. A field of ours that comes twice is refused: protobuf takes
// the last, a reader that stops at the first would not.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace glia {

// A field that is looked for in messages of state `in`; state 1 is the whole message.
struct WireRule {
  uint8_t in;
  uint32_t field;
  enum class Kind : uint8_t { kNumber, kText, kMessage, kNumbers } kind;  // kNumbers: also packed
  uint8_t what;
  uint8_t to = 0;         // kMessage: the state inside.
  bool repeated = false;  // May come again.
};

// Where a field with a length stands, all counted from the start of the message.
struct WirePlace {
  uint64_t tag_at = 0;     // Its first byte.
  uint64_t length_at = 0;  // Of the varint before its content,
  uint64_t at = 0;         // of the content,
  uint64_t size = 0;       // and its size.
};

class WireTaker {
 public:
  virtual void number(uint8_t what, uint64_t value) = 0;
  virtual void begin(uint8_t what, const WirePlace& place) = 0;
  virtual void text(uint8_t what, std::string_view piece) = 0;
  // False refuses it.
  virtual bool end(uint8_t what) = 0;

 protected:
  ~WireTaker() = default;
};

class WireScanner {
 public:
  // `rules` (at most 64) and `taker` outlive the scanner. `size`: of the whole message.
  WireScanner(std::span<const WireRule> rules, WireTaker& taker, uint64_t size)
      : rules_(rules), taker_(taker) {
    frames_[0] = {.state = 1, .end = size};
  }
  // Takes more of the message, never beyond its end; false if it is refused, or was before.
  bool push(std::string_view bytes);
  bool done() const { return offset_ == frames_[0].end && fault_.empty(); }
  uint64_t left() const { return frames_[0].end - offset_; }
  uint64_t size() const { return frames_[0].end; }
  std::string_view fault() const { return fault_; }

 private:
  enum class At : uint8_t { kTag, kNumber, kLength, kText, kPacked, kSkip };
  struct Frame {
    uint8_t state = 0, what = 0;
    uint64_t end = 0;   // Offset.
    uint64_t seen = 0;  // A bit for each rule whose field was there.
  };
  static constexpr std::size_t kFrames = 6;  // As deep as rules go, and one more.

  const char* take(const char* at, const char* end);
  bool varint(char byte);
  bool took_varint();
  bool begin_field();
  bool begin_content();
  bool close_frames();
  const WireRule* rule_for(uint64_t field);
  bool fail(std::string_view why);

  std::span<const WireRule> rules_;
  WireTaker& taker_;
  std::string_view fault_;
  uint64_t offset_ = 0;
  At at_ = At::kTag;
  std::array<Frame, kFrames> frames_;
  std::size_t depth_ = 0;  // Of the frame that is read.
  const WireRule* rule_ = nullptr;
  WirePlace place_;
  uint64_t field_end_ = 0;  // Of what is skipped, or of a text.
  uint64_t value_ = 0;      // A varint that is read.
  unsigned shift_ = 0;
};

}  // namespace glia
