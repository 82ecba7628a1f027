#include "proxy/model/wire_scanner.h"

#include <algorithm>

namespace glia {
namespace {

enum WireType : uint8_t { kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5 };

}  // namespace

bool WireScanner::fail(std::string_view why) {
  if (fault_.empty()) fault_ = why;
  return false;
}

bool WireScanner::push(std::string_view bytes) {
  if (!fault_.empty()) return false;
  if (bytes.size() > left()) return fail("is longer than it says");
  const char* at = bytes.data();
  const char* const end = at + bytes.size();
  while (at != end) {
    const char* const next = take(at, end);
    if (!fault_.empty()) return false;
    offset_ += static_cast<uint64_t>(next - at);
    at = next;
    if (!close_frames()) return false;
  }
  return true;
}

const char* WireScanner::take(const char* at, const char* end) {
  switch (at_) {
    case At::kText:
    case At::kSkip: {
      const uint64_t size = std::min(static_cast<uint64_t>(end - at), field_end_ - offset_);
      if (at_ == At::kText) taker_.text(rule_->what, {at, static_cast<std::size_t>(size)});
      return at + size;
    }
    case At::kTag:
      if (shift_ == 0) place_.tag_at = offset_;
      break;
    default: break;
  }
  varint(*at);
  return at + 1;
}

// At most ten bytes; what does not fit in 64 bits is cut off, as protobuf does.
bool WireScanner::varint(char byte) {
  const auto bits = static_cast<uint8_t>(byte);
  if (shift_ < 64) value_ |= static_cast<uint64_t>(bits & 0x7F) << shift_;
  shift_ += 7;
  if ((bits & 0x80) != 0) return shift_ < 70 || fail("is no protobuf: a number of over ten bytes");
  const bool good = took_varint();
  value_ = 0;
  shift_ = 0;
  return good;
}

bool WireScanner::took_varint() {
  switch (at_) {
    case At::kTag: return begin_field();
    case At::kNumber: at_ = At::kTag; [[fallthrough]];
    case At::kPacked:
      if (rule_ != nullptr) taker_.number(rule_->what, value_);
      return true;
    default: return begin_content();
  }
}

const WireRule* WireScanner::rule_for(uint64_t field) {
  for (const WireRule& rule : rules_) {
    if (rule.in == frames_[depth_].state && rule.field == field) return &rule;
  }
  return nullptr;
}

bool WireScanner::begin_field() {
  const uint64_t field = value_ >> 3;
  const auto type = static_cast<uint8_t>(value_ & 7);
  if (field == 0 || value_ > UINT32_MAX) return fail("is no protobuf: a field without a number");
  rule_ = rule_for(field);
  using enum WireRule::Kind;
  const auto skip = [&](uint64_t bytes) {
    at_ = At::kSkip;
    field_end_ = offset_ + 1 + bytes;
    return field_end_ <= frames_[depth_].end || fail("is no protobuf: a field beyond its message");
  };
  switch (type) {
    case kVarint:
      // Of another type than ours it is an unknown field, which readers skip.
      if (rule_ != nullptr && rule_->kind != kNumber && rule_->kind != kNumbers) rule_ = nullptr;
      at_ = At::kNumber;
      break;
    case kLengthDelimited:
      if (rule_ != nullptr && rule_->kind == kNumber) rule_ = nullptr;
      at_ = At::kLength;
      place_.length_at = offset_ + 1;
      break;
    case kFixed64: return skip(8);
    case kFixed32: return skip(4);
    default: return fail("is no protobuf: a group, or a wire type that there is none of");
  }
  if (rule_ == nullptr || rule_->repeated) return true;
  const uint64_t bit = uint64_t{1} << (rule_ - rules_.data());
  if ((frames_[depth_].seen & bit) != 0) {
    return fail("has a field twice, and servers differ in which they read");
  }
  frames_[depth_].seen |= bit;
  return true;
}

// The length of a field is known.
bool WireScanner::begin_content() {
  place_.at = offset_ + 1;
  place_.size = value_;
  const uint64_t room = frames_[depth_].end - place_.at;
  if (place_.at > frames_[depth_].end || place_.size > room) {
    return fail("is no protobuf: a field beyond its message");
  }
  field_end_ = place_.at + place_.size;
  using enum WireRule::Kind;
  if (rule_ == nullptr || (rule_->kind == kMessage && depth_ + 1 == kFrames)) {
    rule_ = nullptr;
    at_ = At::kSkip;
    return true;
  }
  taker_.begin(rule_->what, place_);
  if (rule_->kind == kText) {
    at_ = At::kText;
    return true;
  }
  // Packed numbers are followed like a message whose end must fall between two of them.
  frames_[++depth_] = {.state = rule_->to, .what = rule_->what, .end = field_end_};
  at_ = rule_->kind == kMessage ? At::kTag : At::kPacked;
  return true;
}

// Ends what ends at this offset.
bool WireScanner::close_frames() {
  if ((at_ == At::kText || at_ == At::kSkip) && offset_ == field_end_) {
    const bool text = at_ == At::kText;
    at_ = At::kTag;
    if (text && !taker_.end(rule_->what)) return fail("has a value of the wrong kind");
  }
  while (offset_ == frames_[depth_].end) {
    if ((at_ != At::kTag && at_ != At::kPacked) || shift_ != 0) {
      return fail("is no protobuf: a field beyond its message");
    }
    if (depth_ == 0) return true;
    at_ = At::kTag;
    if (!taker_.end(frames_[depth_--].what)) return fail("has a value of the wrong kind");
  }
  return true;
}

}  // namespace glia
