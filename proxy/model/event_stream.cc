#include "proxy/model/event_stream.h"

#include <algorithm>
#include <cstring>

namespace glia {
namespace {

const char* find(const char* at, const char* end, char c) {
  const void* const found = std::memchr(at, c, static_cast<std::size_t>(end - at));
  return found != nullptr ? static_cast<const char*>(found) : end;
}

// The line feed or carriage return that ends the line in [at, end).
const char* find_line_end(const char* at, const char* end) {
  return find(at, find(at, end, '\n'), '\r');
}

}  // namespace

void EventStream::push(std::string_view bytes) {
  if (bytes.empty()) return;
  const char* const begin = bytes.data();
  const char* const end = begin + bytes.size();
  for (const char* at = begin; at != end;) {
    const uint64_t offset = offset_ + static_cast<uint64_t>(at - begin);
    if (after_cr_) {
      const bool pair = *at == '\n';
      at += pair ? 1 : 0;
      line_end(offset + (pair ? 1 : 0));
    } else if (*at == '\r') {
      after_cr_ = true;
      ++at;
    } else if (*at == '\n') {
      line_end(offset + 1);
      ++at;
    } else {
      at = take(at, end);
    }
  }
  offset_ += bytes.size();
}

void EventStream::finish() {
  if (after_cr_ || at_ != At::kLineBegin) line_end(offset_);
  if (has_data_) end_event(offset_);
}

// Part of a line: *at ends none.
const char* EventStream::take(const char* at, const char* end) {
  switch (at_) {
    case At::kLineBegin:
      field_used_ = 0;
      at_ = At::kFieldName;
      return at;
    case At::kFieldName:
      if (*at == ':') {
        begin_value();
      } else if (field_used_ == field_.size()) {
        at_ = At::kPassed;
      } else {
        field_[field_used_++] = *at;
      }
      return at + 1;
    case At::kValueBegin: at_ = value_; return *at == ' ' ? at + 1 : at;
    default: break;
  }
  const char* const stop = find_line_end(at, end);
  const std::string_view piece(at, static_cast<std::size_t>(stop - at));
  if (at_ == At::kData) taker_.event_data(piece);
  if (at_ == At::kName) {
    const std::string_view kept = piece.substr(0, kLongestName - name_used_);
    std::ranges::copy(kept, name_.begin() + static_cast<std::ptrdiff_t>(name_used_));
    name_used_ += kept.size();
  }
  return stop;
}

void EventStream::begin_value() {
  const std::string_view field(field_.data(), field_used_);
  at_ = At::kValueBegin;
  value_ = field == "data" ? At::kData : field == "event" ? At::kName : At::kPassed;
  if (value_ == At::kName) name_used_ = 0;
  if (value_ == At::kData && std::exchange(has_data_, true)) taker_.event_data("\n");
}

void EventStream::line_end(uint64_t offset) {
  after_cr_ = false;
  if (at_ == At::kLineBegin) return end_event(offset);
  if (at_ == At::kFieldName) begin_value();  // Without a colon: its value is empty.
  at_ = At::kLineBegin;
}

void EventStream::end_event(uint64_t offset) {
  if (has_data_) taker_.event_end({name_.data(), name_used_}, event_begin_, offset);
  has_data_ = false;
  name_used_ = 0;
  event_begin_ = offset;
}

}  // namespace glia
