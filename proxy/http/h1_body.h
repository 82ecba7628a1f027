// Takes the body of an HTTP/1.1 message out of the bytes of its connection (RFC 9112 sections 6,
// 7).
//
// Data is handed on as slices of the block it was read into. Chunk lines are read byte by byte and
// strictly: hexadecimal digits, an optional short extension that is dropped, CR LF.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "proxy/base/bytes.h"
#include "proxy/http/gather_queue.h"
#include "proxy/http/h1_parser.h"

namespace glia {

class H1BodyDecoder {
 public:
  enum class State : uint8_t { kMore, kEnd, kError };

  // `limits` outlives the decoder.
  explicit H1BodyDecoder(const HttpLimits& limits) : trailer_parser_(limits) {}

  // The next message; its trailers go into `arena`.
  void begin(const H1Framing& framing, ArenaRef arena);
  // Takes what belongs to the message off the front of `input`; its data goes to `out`.
  State decode(Slice& input, GatherQueue& out);
  // The peer ended its side: kEnd if that is how this message ends, else kError.
  State end_of_input();

  bool ended() const { return stage_ == Stage::kEnd; }
  // Bytes still to come, if the message announced them.
  std::optional<uint64_t> left() const;
  // Is that much of a body worth a pipe?
  static constexpr bool is_large(uint64_t left) { return left >= 2 * kSeenAtLeast; }
  // Bytes of the body that may pass unseen, of one that is large and announced its length. The last
  // ones never may: decode() alone ends a message.
  std::size_t pipeable() const {
    return stage_ == Stage::kData && !chunked_ && is_large(left_) ? left_ - kSeenAtLeast : 0;
  }
  void piped(std::size_t bytes) { left_ -= bytes; }
  // After kError: a sentence that lives for ever.
  std::string_view reason() const { return reason_; }
  // After kEnd: the trailers that may be passed on, if there were any.
  std::optional<Headers> take_trailers();

  static constexpr int kLongestSize = 16;              // hexadecimal digits of a chunk size
  static constexpr int kLongestExtension = 256;        // bytes a chunk
  static constexpr uint64_t kSeenAtLeast = 32 * 1024;  // bytes at the end of a large body

 private:
  enum class Stage : uint8_t {
    kData,  // left_ bytes of the body, or of the chunk
    kUntilClose,
    kSize,  // Digits of a chunk size.
    kExtension,
    kSizeLf,
    kDataCr,  // After a chunk's data.
    kDataLf,
    kTrailers,
    kEnd,
    kError,
  };

  void fail(std::string_view reason) {
    stage_ = Stage::kError;
    reason_ = reason;
  }
  void take_data(Slice& input, GatherQueue& out);
  void take_byte(char c);
  void size_byte(char c);
  void size_complete();
  void take_trailer_bytes(Slice& input);

  H1TrailerParser trailer_parser_;
  ArenaRef arena_;
  std::optional<Headers> trailers_;
  std::string_view reason_;
  uint64_t left_ = 0;
  int digits_ = 0;
  int extension_ = 0;
  bool chunked_ = false;
  Stage stage_ = Stage::kEnd;
};

}  // namespace glia
