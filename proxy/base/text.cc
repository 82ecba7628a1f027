#include "proxy/base/text.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace glia {

std::optional<uint64_t> parse_decimal(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return {};
  return value;
}

std::string to_lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = to_lower(c);
  return lower;
}

bool equal_no_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return to_lower(x) == to_lower(y);
         });
}

std::string_view trim(std::string_view text, std::string_view drop) {
  const std::size_t first = text.find_first_not_of(drop);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(drop) - first + 1);
}

std::optional<uint8_t> escaped_byte(std::string_view text) {
  if (text.size() < 3 || text[0] != '%') return {};
  const int high = hex_value(text[1]), low = hex_value(text[2]);
  if (high < 0 || low < 0) return {};
  return static_cast<uint8_t>(high * 16 + low);
}

void append_escaped(std::string& out, char byte) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  const auto value = static_cast<uint8_t>(byte);
  out += '%';
  out += kHex[value >> 4];
  out += kHex[value & 15];
}

namespace {

// How many bytes at `text` make one valid UTF-8 character beyond ASCII; 0 if they do not.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Overlong forms, surrogates and points above U+10FFFF.
  if ((lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xED && byte(1) > 0x9F) ||
      (lead == 0xF0 && byte(1) < 0x90) || (lead == 0xF4 && byte(1) > 0x8F)) {
    return 0;
  }
  return length;
}

// One character beyond ASCII. Those that terminals obey (C1 controls) or that some readers take for
// the end of a line (U+0085, U+2028, U+2029) are escaped.
void append_character(std::string& out, std::string_view bytes) {
  if (bytes[0] == '\xC2' && static_cast<unsigned char>(bytes[1]) < 0xA0) {
    out += static_cast<unsigned char>(bytes[1]) < 0x90 ? "\\u008" : "\\u009";
    out += "0123456789abcdef"[bytes[1] & 15];
  } else if (bytes == "\xE2\x80\xA8") {
    out += "\\u2028";
  } else if (bytes == "\xE2\x80\xA9") {
    out += "\\u2029";
  } else {
    out += bytes;
  }
}

// Whether a byte stands in a JSON string as it is, and alone.
bool is_plain(unsigned char c) { return c >= 0x20 && c < 0x7F && c != '"' && c != '\\'; }

// The same for eight bytes at once. A subtraction borrows into a byte's high bit only where the test
// of that byte, or of one below it in the same word, holds, so "any" is exact.
bool all_plain(const char* eight) {
  constexpr uint64_t kOnes = 0x0101010101010101, kHighs = 0x8080808080808080;
  const auto has_zero = [](uint64_t word) { return (word - kOnes) & ~word & kHighs; };
  uint64_t word;
  std::memcpy(&word, eight, 8);
  return ((word & kHighs) | ((word - kOnes * 0x20) & ~word & kHighs) |
          has_zero(word ^ (kOnes * '"')) | has_zero(word ^ (kOnes * '\\')) |
          has_zero(word ^ (kOnes * 0x7F))) == 0;
}

}  // namespace

std::size_t json_plain_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at + 8 <= text.size() && all_plain(text.data() + at)) at += 8;
  // The last bytes together with some that were looked at already: most values are plain, and end here.
  const bool short_rest = text.size() >= 8 && text.size() - at < 8;
  if (short_rest && all_plain(text.data() + text.size() - 8)) return text.size();
  while (at < text.size() && is_plain(static_cast<unsigned char>(text[at]))) ++at;
  return at;
}

void append_json_escaped(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t plain = json_plain_prefix(text.substr(i));
    out += text.substr(i, plain);
    i += plain;
    if (i == text.size()) break;
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x80) {
      const std::size_t length = utf8_length(text.substr(i));
      if (length > 0) {
        append_character(out, text.substr(i, length));
        i += length;
        continue;
      }
    }
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else {
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
    }
    ++i;
  }
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Optimal string alignment, three rows at a time.
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace glia
