#include "proxy/model/json_scanner.h"

#include <algorithm>

#include "proxy/base/check.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

// What a byte is where values are skipped.
enum class Class : uint8_t { kPlain, kQuote, kOpen, kClose, kStranger };

constexpr std::array<Class, 256> kClasses = [] {
  std::array<Class, 256> table{};
  table.fill(Class::kStranger);
  // Letters of true, false, null and of NaN and Infinity, which Python and RapidJSON take.
  for (const char c : std::string_view(" \n\r\t0123456789+-.eE:,truefalsnNInfity")) {
    table[static_cast<uint8_t>(c)] = Class::kPlain;
  }
  table['"'] = Class::kQuote;
  table['{'] = table['['] = Class::kOpen;
  table['}'] = table[']'] = Class::kClose;
  return table;
}();

constexpr bool ends_scalar(char c) { return c == ',' || c == '}' || c == ']' || is_space(c); }

constexpr bool special(char c) { return c == '"' || c == '\\'; }

// The first quote or backslash in [at, end). The inner loop has no branch, so compilers make vector
// code of it: prompts are long and have few of either.
const char* find_special(const char* at, const char* end) {
  constexpr std::ptrdiff_t kStep = 32;
  for (; end - at >= kStep; at += kStep) {
    uint8_t found = 0;
    for (std::ptrdiff_t i = 0; i < kStep; ++i) found |= static_cast<uint8_t>(special(at[i]));
    if (found != 0) break;
  }
  while (at != end && !special(*at)) ++at;
  return at;
}

// The first byte in [at, end) that is not plain.
const char* find_class(const char* at, const char* end) {
  while (at != end && kClasses[static_cast<uint8_t>(*at)] == Class::kPlain) ++at;
  return at;
}

}  // namespace

bool JsonScanner::fail(std::string_view why) {
  if (fault_.empty()) fault_ = why;
  return false;
}

bool JsonScanner::push(std::string_view bytes) {
  if (!fault_.empty()) return false;
  const char* at = bytes.data();
  const char* const end = at + bytes.size();
  begin_ = at;
  while (at != end) {
    switch (at_) {
      case At::kInKey:
      case At::kInText: at = string(at, end); break;
      case At::kInString:
      case At::kSkippingString: at = plain_string(at, end); break;
      case At::kInScalar: at = scalar(at, end); break;
      case At::kSkipping: at = skip(at, end); break;
      default: at = structure(at, end);
    }
    if (!fault_.empty()) return false;
  }
  base_ += bytes.size();
  return true;
}

bool JsonScanner::finish() {
  if (!fault_.empty()) return false;
  return done() || fail("ends before its JSON does");
}

const char* JsonScanner::structure(const char* at, const char* end) {
  while (at != end && is_space(*at)) ++at;
  if (at == end) return at;
  const char c = *at;
  switch (at_) {
    case At::kBeforeFirstElement:
      if (c == ']') return close(c, offset(at)) ? at + 1 : at;
      [[fallthrough]];
    case At::kBeforeValue: return begin_value(at);
    case At::kBeforeFirstKey:
      if (c == '}') return close(c, offset(at)) ? at + 1 : at;
      [[fallthrough]];
    case At::kBeforeKey:
      if (c != '"') fail("is not JSON: a key must stand in quotes");
      at_ = At::kInKey;
      text_used_ = 0;
      text_full_ = nul_ = false;
      return at + 1;
    case At::kAfterKey:
      if (c != ':') fail("is not JSON: a key without a colon");
      at_ = At::kBeforeValue;
      return at + 1;
    default: break;
  }
  CHECK(at_ == At::kAfterValue);
  if (frames_used_ == 0) return fail("has something behind its JSON"), at;
  if (c != ',') return close(c, offset(at)) ? at + 1 : at;
  const Frame& frame = frames_[frames_used_ - 1];
  at_ = frame.object ? At::kBeforeKey : At::kBeforeValue;
  return at + 1;
}

const char* JsonScanner::begin_value(const char* at) {
  const char c = *at;
  if (frames_used_ == 0) {
    to_ = 1;
    if (c != '{') return fail("is not a JSON object"), at;
  } else if (const Frame& frame = frames_[frames_used_ - 1]; !frame.object) {
    const JsonRule* rule = rule_for(frame.state, "*");
    what_ = rule != nullptr ? rule->what : 0;
    to_ = rule != nullptr ? rule->to : 0;
  }
  if (c == '{' || c == '[') return begin_container(at);
  if (c == '"') {
    kind_ = JsonKind::kString;
    at_ = what_ != 0 ? At::kInText : At::kInString;
    escape_ = 0;
    high_ = 0;
    if (what_ != 0 && !taker_.begin(what_, kind_, offset(at + 1))) {
      fail("has a value of the wrong kind");
    }
    return at + 1;
  }
  kind_ = c == 't'   ? JsonKind::kTrue
          : c == 'f' ? JsonKind::kFalse
          : c == 'n' ? JsonKind::kNull
                     : JsonKind::kNumber;
  if (kClasses[static_cast<uint8_t>(c)] != Class::kPlain || c == ':' || c == ',') {
    return fail("is not JSON: a value is missing, or begins with a byte that none has"), at;
  }
  at_ = At::kInScalar;
  text_used_ = 0;
  text_full_ = false;
  if (what_ != 0 && !taker_.begin(what_, kind_, offset(at))) fail("has a value of the wrong kind");
  return at;
}

const char* JsonScanner::begin_container(const char* at) {
  const bool object = *at == '{';
  kind_ = object ? JsonKind::kObject : JsonKind::kArray;
  if (what_ != 0 && !taker_.begin(what_, kind_, offset(at))) {
    return fail("has a value of the wrong kind"), at;
  }
  const bool wanted = to_ != 0 && frames_used_ < kFrames;
  if (!wanted) {
    skipped_[0] = object;
    skipped_depth_ = 1;
    at_ = At::kSkipping;
    return at + 1;
  }
  frames_[frames_used_++] = {.state = to_, .what = what_, .object = object};
  at_ = object ? At::kBeforeFirstKey : At::kBeforeFirstElement;
  what_ = to_ = 0;
  return at + 1;
}

bool JsonScanner::close(char bracket, uint64_t offset) {
  if (bracket != '}' && bracket != ']') return fail("is not JSON: no comma between values");
  const Frame& frame = frames_[frames_used_ - 1];
  if (frame.object != (bracket == '}')) return fail("is not JSON: brackets do not match");
  --frames_used_;
  at_ = At::kAfterValue;
  const JsonKind kind = frame.object ? JsonKind::kObject : JsonKind::kArray;
  if (frame.what == 0 || taker_.end(frame.what, kind, offset + 1)) return true;
  return fail("has a value of the wrong kind");
}

const char* JsonScanner::plain_string(const char* at, const char* end) {
  if (escape_ != 0) {
    escape_ = 0;
    return at + 1;
  }
  at = find_special(at, end);
  if (at == end) return at;
  if (*at == '\\') {
    escape_ = 1;
  } else {
    at_ = at_ == At::kInString ? At::kAfterValue : At::kSkipping;
  }
  return at + 1;
}

// A key, or a string that is wanted: escapes are undone.
const char* JsonScanner::string(const char* at, const char* end) {
  if (escape_ != 0) return escape(*at) ? at + 1 : at;
  const char* const stop = find_special(at, end);
  if (high_ != 0 && stop != at) put_rune(0xFFFD);  // Half a pair.
  if (stop != at) put({at, static_cast<std::size_t>(stop - at)});
  if (stop == end) return stop;
  if (*stop == '\\') {
    escape_ = 1;
    return stop + 1;
  }
  if (high_ != 0) put_rune(0xFFFD);
  if (at_ == At::kInKey) {
    end_key();
    return stop + 1;
  }
  at_ = At::kAfterValue;
  if (!taker_.end(what_, kind_, offset(stop))) fail("has a value of the wrong kind");
  return stop + 1;
}

// One byte behind a backslash.
bool JsonScanner::escape(char c) {
  if (escape_ > 1) {
    const int digit = hex_value(c);
    if (digit < 0) return fail("is not JSON: \\u without four hexadecimal digits");
    code_ = code_ << 4 | static_cast<uint32_t>(digit);
    return escape_-- > 2 || unicode();
  }
  if (c == 'u') {
    escape_ = 5;
    code_ = 0;
    return true;
  }
  constexpr std::string_view kEscapes = "\"\\/bfnrt";
  constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
  const std::size_t which = kEscapes.find(c);
  if (which == kEscapes.npos) return fail("is not JSON: an escape that there is none of");
  escape_ = 0;
  if (high_ != 0) put_rune(0xFFFD);
  put(kMeant.substr(which, 1));
  return true;
}

// code_ is whole. Half a surrogate pair becomes U+FFFD, as in most readers.
bool JsonScanner::unicode() {
  escape_ = 0;
  const bool second = code_ >= 0xDC00 && code_ < 0xE000;
  if (high_ != 0 && second) {
    const uint32_t rune = 0x10000 + ((high_ - 0xD800) << 10) + (code_ - 0xDC00);
    high_ = 0;
    put_rune(rune);
    return true;
  }
  if (high_ != 0) put_rune(0xFFFD);
  if (code_ >= 0xD800 && code_ < 0xDC00) {
    high_ = code_;
    return true;
  }
  put_rune(second ? 0xFFFD : code_);
  return true;
}

void JsonScanner::put_rune(uint32_t rune) {
  high_ = 0;
  char bytes[4];
  std::size_t size = 0;
  const auto more = [&](uint32_t byte) { bytes[size++] = static_cast<char>(byte); };
  if (rune < 0x80) {
    more(rune);
  } else if (rune < 0x800) {
    more(0xC0 | rune >> 6);
    more(0x80 | (rune & 0x3F));
  } else if (rune < 0x10000) {
    more(0xE0 | rune >> 12);
    more(0x80 | (rune >> 6 & 0x3F));
    more(0x80 | (rune & 0x3F));
  } else {
    more(0xF0 | rune >> 18);
    more(0x80 | (rune >> 12 & 0x3F));
    more(0x80 | (rune >> 6 & 0x3F));
    more(0x80 | (rune & 0x3F));
  }
  put({bytes, size});
}

void JsonScanner::put(std::string_view piece) {
  if (at_ == At::kInText) return taker_.text(what_, piece);
  nul_ = nul_ || piece.find('\0') != piece.npos;
  text_full_ = text_full_ || piece.size() > text_.size() - text_used_;
  if (text_full_) return;
  std::ranges::copy(piece, text_.begin() + static_cast<std::ptrdiff_t>(text_used_));
  text_used_ += piece.size();
}

const JsonRule* JsonScanner::rule_for(uint8_t state, std::string_view key) const {
  for (const JsonRule& rule : rules_) {
    if (rule.in == state && rule.key == key) return &rule;
  }
  return nullptr;
}

bool JsonScanner::end_key() {
  // A reader in C takes "model\u0000x" for "model".
  if (nul_) return fail("has a key with a NUL in it");
  at_ = At::kAfterKey;
  what_ = to_ = 0;
  if (text_full_) return true;
  Frame& frame = frames_[frames_used_ - 1];
  const std::string_view key(text_.data(), text_used_);
  for (const JsonRule& rule : rules_) {
    if (rule.in != frame.state) continue;
    if (rule.key != key) {
      if (!rule.spelled_so || !equal_no_case(rule.key, key)) continue;
      return fail("has a key that some servers take for \"model\" and some do not");
    }
    const uint64_t bit = uint64_t{1} << (&rule - rules_.data());
    if ((frame.seen & bit) != 0) {
      return fail(rule.spelled_so ? "has two keys \"model\", and servers differ in which they read"
                                  : "has a key twice, and servers differ in which they read");
    }
    frame.seen |= bit;
    what_ = rule.what;
    to_ = rule.to;
    return true;
  }
  return true;
}

const char* JsonScanner::scalar(const char* at, const char* end) {
  const char* const from = at;
  while (at != end && !ends_scalar(*at)) {
    const char c = *at;
    if (kClasses[static_cast<uint8_t>(c)] != Class::kPlain || c == ':') {
      return fail("is not JSON: a byte that no number or word has"), at;
    }
    ++at;
  }
  const auto size = static_cast<std::size_t>(at - from);
  text_full_ = text_full_ || text_used_ + size > kLongestNumber;
  if (!text_full_) {
    std::copy(from, at, text_.begin() + static_cast<std::ptrdiff_t>(text_used_));
    text_used_ += size;
  }
  if (at != end) end_scalar(offset(at));
  return at;
}

bool JsonScanner::end_scalar(uint64_t offset) {
  at_ = At::kAfterValue;
  const std::string_view word(text_.data(), text_used_);
  const std::string_view meant = kind_ == JsonKind::kTrue    ? "true"
                                 : kind_ == JsonKind::kFalse ? "false"
                                 : kind_ == JsonKind::kNull  ? "null"
                                                             : "";
  if (!meant.empty() && (text_full_ || word != meant)) {
    return fail("is not JSON: a word that is neither true, false nor null");
  }
  if (what_ == 0) return true;
  // Nobody means a number of so many digits: the taker sees one that is as large as can be.
  if (kind_ == JsonKind::kNumber) taker_.text(what_, text_full_ ? "1e300" : word);
  return taker_.end(what_, kind_, offset) || fail("has a value of the wrong kind");
}

const char* JsonScanner::skip(const char* at, const char* end) {
  at = find_class(at, end);
  if (at == end) return at;
  switch (kClasses[static_cast<uint8_t>(*at)]) {
    case Class::kQuote:
      at_ = At::kSkippingString;
      escape_ = 0;
      return at + 1;
    case Class::kOpen:
      if (frames_used_ + skipped_depth_ >= kDeepest) {
        return fail("has objects and arrays in each other, deeper than 128"), at;
      }
      skipped_[skipped_depth_++] = *at == '{';
      return at + 1;
    case Class::kClose:
      if (skipped_[--skipped_depth_] != (*at == '}')) {
        return fail("is not JSON: brackets do not match"), at;
      }
      if (skipped_depth_ > 0) return at + 1;
      at_ = At::kAfterValue;
      if (what_ != 0 && !taker_.end(what_, kind_, offset(at + 1))) {
        fail("has a value of the wrong kind");
      }
      return at + 1;
    default: return fail("is not JSON: a byte that stands in no string"), at;
  }
}

}  // namespace glia
