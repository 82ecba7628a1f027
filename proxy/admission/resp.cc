#include "proxy/admission/resp.h"

#include <charconv>

#include "proxy/base/text.h"

namespace glia {
namespace {

std::optional<int64_t> number_of(std::string_view text) {
  int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [read, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || read != end) return {};
  return number;
}

}  // namespace

std::string resp_command(std::span<const std::string> words) {
  std::string command = cat("*", words.size(), "\r\n");
  for (const std::string& word : words) command += cat("$", word.size(), "\r\n", word, "\r\n");
  return command;
}

void RespReader::clear() {
  bytes_.clear();
  broken_ = false;
}

std::optional<RespValue> RespReader::next() {
  if (broken_ || bytes_.empty()) return {};
  std::size_t at = 0;
  RespValue found;
  if (!value(at, 1, found)) {
    if (bytes_.size() > kLongest) broken_ = true;
    return {};
  }
  bytes_.erase(0, at);
  return found;
}

// Up to the line's end, behind which `at` is then.
std::optional<std::string_view> RespReader::line(std::size_t& at) {
  const std::size_t end = bytes_.find("\r\n", at);
  if (end == bytes_.npos) return {};
  const std::string_view found(bytes_.data() + at, end - at);
  at = end + 2;
  return found;
}

// False if it is not whole, or broken.
bool RespReader::value(std::size_t& at, int depth, RespValue& into) {
  if (at >= bytes_.size()) return false;
  const char type = bytes_[at];
  if (std::string_view("+-:$*").find(type) == std::string_view::npos) return fail();
  ++at;
  const auto rest = line(at);
  if (!rest) return false;
  if (type == '+' || type == '-') {
    into.kind = type == '+' ? RespValue::Kind::kText : RespValue::Kind::kError;
    into.text = *rest;
    return true;
  }
  const auto number = number_of(*rest);
  if (!number) return fail();
  if (type == ':') {
    into.kind = RespValue::Kind::kNumber;
    into.number = *number;
    return true;
  }
  if (*number == -1) return true;  // Nothing.
  if (*number < 0) return fail();
  return type == '$' ? text(at, *number, into) : list(at, *number, depth, into);
}

bool RespReader::text(std::size_t& at, int64_t size, RespValue& into) {
  if (size > static_cast<int64_t>(kLongest)) return fail();
  const auto bytes = static_cast<std::size_t>(size);
  if (bytes_.size() - at < bytes + 2) return false;
  into.kind = RespValue::Kind::kText;
  into.text = bytes_.substr(at, bytes);
  if (std::string_view(bytes_).substr(at + bytes, 2) != "\r\n") return fail();
  at += bytes + 2;
  return true;
}

bool RespReader::list(std::size_t& at, int64_t size, int depth, RespValue& into) {
  if (size > static_cast<int64_t>(kMostElements) || depth == kDeepest) return fail();
  into.kind = RespValue::Kind::kList;
  for (int64_t i = 0; i < size; ++i) {
    if (!value(at, depth + 1, into.list.emplace_back())) return false;
  }
  return true;
}

}  // namespace glia
