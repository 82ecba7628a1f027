#include "proxy/http/h1_body.h"

#include <algorithm>

#include "proxy/http/syntax.h"

namespace glia {
namespace {

constexpr uint64_t kLargestChunk = INT64_MAX;  // bytes

}  // namespace

void H1BodyDecoder::begin(const H1Framing& framing, ArenaRef arena) {
  trailers_.reset();
  left_ = framing.length;
  digits_ = extension_ = 0;
  chunked_ = framing.kind == H1Framing::Kind::kChunked;
  // Only chunked messages have trailers. The arena of any other would be kept until the next
  // message comes, which are 4 KiB for each idle connection.
  arena_ = chunked_ ? std::move(arena) : ArenaRef();
  switch (framing.kind) {
    case H1Framing::Kind::kNone: stage_ = Stage::kEnd; break;
    case H1Framing::Kind::kLength: stage_ = left_ == 0 ? Stage::kEnd : Stage::kData; break;
    case H1Framing::Kind::kChunked:
      left_ = 0;
      stage_ = Stage::kSize;
      break;
    case H1Framing::Kind::kUntilClose: stage_ = Stage::kUntilClose; break;
  }
}

H1BodyDecoder::State H1BodyDecoder::decode(Slice& input, GatherQueue& out) {
  while (!input.empty() && stage_ < Stage::kEnd) {
    if (stage_ <= Stage::kUntilClose) {
      take_data(input, out);
    } else if (stage_ == Stage::kTrailers) {
      take_trailer_bytes(input);
    } else {
      const char c = input.data()[0];
      input.drop_front(1);
      take_byte(c);
    }
  }
  if (stage_ == Stage::kError) return State::kError;
  return stage_ == Stage::kEnd ? State::kEnd : State::kMore;
}

H1BodyDecoder::State H1BodyDecoder::end_of_input() {
  if (stage_ == Stage::kUntilClose) stage_ = Stage::kEnd;
  if (stage_ == Stage::kEnd) return State::kEnd;
  fail("the connection ended before the body did");
  return State::kError;
}

std::optional<uint64_t> H1BodyDecoder::left() const {
  if (stage_ == Stage::kEnd) return 0;
  if (stage_ == Stage::kData && !chunked_) return left_;
  return {};
}

std::optional<Headers> H1BodyDecoder::take_trailers() {
  arena_ = {};
  if (!trailers_ || trailers_->empty()) return {};
  return std::exchange(trailers_, std::nullopt);
}

void H1BodyDecoder::take_data(Slice& input, GatherQueue& out) {
  if (stage_ == Stage::kUntilClose) return out.append(std::exchange(input, {}));
  const auto size = static_cast<std::size_t>(std::min<uint64_t>(left_, input.size()));
  left_ -= size;
  out.append(size == input.size() ? std::exchange(input, {}) : input.take_front(size));
  if (left_ == 0) stage_ = chunked_ ? Stage::kDataCr : Stage::kEnd;
}

void H1BodyDecoder::take_byte(char c) {
  switch (stage_) {
    case Stage::kSize: return size_byte(c);
    case Stage::kExtension:
      if (c == '\r') {
        stage_ = Stage::kSizeLf;
      } else if (find_control(&c, &c + 1) == &c) {
        fail("a chunk extension holds a control byte");
      } else if (++extension_ > kLongestExtension) {
        fail("a chunk extension is longer than 256 bytes");
      }
      return;
    case Stage::kSizeLf:
      return c == '\n' ? size_complete() : fail("a chunk size does not end with CR LF");
    case Stage::kDataCr:
      if (c != '\r') return fail("the data of a chunk does not end with CR LF");
      stage_ = Stage::kDataLf;
      return;
    default:
      if (c != '\n') return fail("the data of a chunk does not end with CR LF");
      stage_ = Stage::kSize;
      digits_ = extension_ = 0;
  }
}

void H1BodyDecoder::size_byte(char c) {
  const int value = hex_value(c);
  if (value >= 0) {
    if (++digits_ > kLongestSize) return fail("a chunk size has more than 16 digits");
    left_ = left_ * 16 + static_cast<uint64_t>(value);
    return;
  }
  if (digits_ == 0 || (c != '\r' && c != ';')) return fail("a chunk size is not hexadecimal");
  if (left_ > kLargestChunk) return fail("a chunk size is above 2^63");
  stage_ = c == ';' ? Stage::kExtension : Stage::kSizeLf;
}

void H1BodyDecoder::size_complete() {
  if (left_ > 0) {
    stage_ = Stage::kData;
    return;
  }
  trailers_.emplace(arena_);
  trailer_parser_.begin(*trailers_);
  stage_ = Stage::kTrailers;
}

void H1BodyDecoder::take_trailer_bytes(Slice& input) {
  std::string_view view = input.view();
  const H1HeadParser::State state = trailer_parser_.feed(view);
  input.drop_front(input.size() - view.size());
  if (state == H1HeadParser::State::kRefused) return fail(trailer_parser_.refusal().reason);
  if (state == H1HeadParser::State::kDone) stage_ = Stage::kEnd;
}

}  // namespace glia
