// JsonScanner: finds a few values in a JSON text (RFC 8259) that comes in pieces, and skips the rest.
//
// It keeps no text and allocates nothing, whatever comes: a key of ours fits a small buffer, a longer
// one is none of ours. Objects and arrays on the way to what is wanted are read by the grammar; what
// is skipped is only followed as far as its end needs (strings, brackets, no byte that JSON has not).
// Where two servers could read the same text in two ways it stops: a key of ours that comes twice, in
// another case or with a NUL in it, a byte order mark, another encoding than UTF-8, something behind
// the value.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <span>
#include <string_view>

namespace glia {

enum class JsonKind : uint8_t { kString, kNumber, kTrue, kFalse, kNull, kObject, kArray };

// A value that is looked for: `key` of an object, or "*" for each element of an array, that is read in
// state `in`. State 1 is the whole text.
struct JsonRule {
  uint8_t in;
  std::string_view key;
  uint8_t what;             // Told to the taker; 0: nothing is.
  uint8_t to = 0;           // The state inside, if it is an object or an array; 0: that is skipped.
  bool spelled_so = false;  // A key that differs in case only is refused: some servers take it too.
};

class JsonTaker {
 public:
  // A value begins; of a string, `offset` is that of the byte after its quote. False refuses it.
  virtual bool begin(uint8_t what, JsonKind kind, uint64_t offset) = 0;
  // More of a string, without its escapes; or a whole number.
  virtual void text(uint8_t what, std::string_view piece) = 0;
  // `offset` of the quote, or of the byte behind the value.
  virtual bool end(uint8_t what, JsonKind kind, uint64_t offset) = 0;

 protected:
  ~JsonTaker() = default;
};

class JsonScanner {
 public:
  static constexpr std::size_t kDeepest = 128;       // Objects and arrays in each other.
  static constexpr std::size_t kLongestKey = 64;     // bytes; of a key that can be one of ours
  static constexpr std::size_t kLongestNumber = 40;  // bytes; a longer one is huge

  // `rules` (at most 64) and `taker` outlive the scanner.
  JsonScanner(std::span<const JsonRule> rules, JsonTaker& taker) : rules_(rules), taker_(taker) {}

  // Takes more of the text; false if it is refused, as fault() says, or was before.
  bool push(std::string_view bytes);
  // No more comes; false if the text is not whole.
  bool finish();
  // The value has ended; only white space may follow.
  bool done() const { return at_ == At::kAfterValue && frames_used_ == 0; }
  // A part of a sentence that lives for ever: "has two keys \"model\""; "" if all is well.
  std::string_view fault() const { return fault_; }

 private:
  enum class At : uint8_t {
    kBeforeValue,
    kBeforeFirstElement,
    kBeforeFirstKey,
    kBeforeKey,
    kInKey,
    kAfterKey,
    kInText,    // A string that is wanted.
    kInString,  // One that is not.
    kInScalar,
    kAfterValue,
    kSkipping,        // An object or array that is not wanted,
    kSkippingString,  // and a string in it.
  };
  struct Frame {
    uint8_t state = 0, what = 0;
    bool object = false;
    uint64_t seen = 0;  // A bit for each rule whose key was there.
  };
  static constexpr std::size_t kFrames = 8;  // As deep as rules go, and one more.

  // Each takes some bytes from [at, end) and returns where the rest begins; null after fail().
  const char* structure(const char* at, const char* end);
  const char* begin_value(const char* at);
  const char* begin_container(const char* at);
  const char* string(const char* at, const char* end);
  const char* plain_string(const char* at, const char* end);
  const char* scalar(const char* at, const char* end);
  const char* skip(const char* at, const char* end);
  bool escape(char c);
  bool unicode();
  void put(std::string_view piece);
  void put_rune(uint32_t rune);
  bool end_key();
  bool end_scalar(uint64_t offset);
  bool close(char bracket, uint64_t offset);
  const JsonRule* rule_for(uint8_t state, std::string_view key) const;
  bool fail(std::string_view why);
  uint64_t offset(const char* at) const { return base_ + static_cast<uint64_t>(at - begin_); }

  std::span<const JsonRule> rules_;
  JsonTaker& taker_;
  std::string_view fault_;
  const char* begin_ = nullptr;  // Of the piece in push().
  uint64_t base_ = 0;            // Its offset.

  At at_ = At::kBeforeValue;
  uint8_t what_ = 0, to_ = 0;  // Of the value that comes, or is read.
  JsonKind kind_ = JsonKind::kNull;
  std::array<Frame, kFrames> frames_;
  std::size_t frames_used_ = 0;
  std::bitset<kDeepest> skipped_;  // Which of the brackets that are open are '{'.
  std::size_t skipped_depth_ = 0;

  // Inside a string: 0, 1 after a backslash, 2 to 5 before so many digits less one of \uXXXX.
  uint8_t escape_ = 0;
  uint32_t code_ = 0;
  uint32_t high_ = 0;  // The first half of a surrogate pair that waits for its second.
  bool nul_ = false;   // In the key.
  std::array<char, kLongestKey> text_;  // The key, or the number or word.
  std::size_t text_used_ = 0;
  bool text_full_ = false;
};

}  // namespace glia
