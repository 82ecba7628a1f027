// Small helpers for text: joining pieces, numbers, case, glob-free matching and escaping.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace glia {

namespace text_detail {

inline void append_piece(std::string& out, std::string_view piece) { out += piece; }
inline void append_piece(std::string& out, char piece) { out += piece; }
template <class T>
  requires(std::integral<T> && !std::same_as<T, bool>) || std::floating_point<T>
void append_piece(std::string& out, T number) {
  char digits[40];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  out.append(digits, end);
}
// Only for bool itself: a string literal would rather become bool than string_view.
template <std::same_as<bool> T>
void append_piece(std::string& out, T value) {
  out += value ? "true" : "false";
}

}  // namespace text_detail

// cat("port ", 70000, " is above ", 65535): the pieces, one after the other.
template <class... Pieces>
std::string cat(const Pieces&... pieces) {
  std::string out;
  (text_detail::append_piece(out, pieces), ...);
  return out;
}

// A whole decimal number without sign, spaces or leading plus; nothing if it does not fit.
std::optional<uint64_t> parse_decimal(std::string_view text);

constexpr char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
std::string to_lower(std::string_view text);
// ASCII letters compare without case; the rest byte by byte.
bool equal_no_case(std::string_view a, std::string_view b);
std::string_view trim(std::string_view text, std::string_view drop = " \t");

// The value of a hexadecimal digit; -1 if it is none.
constexpr int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = to_lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}
// The byte that "%XX" at the front of `text` stands for; nothing if no such escape is there.
std::optional<uint8_t> escaped_byte(std::string_view text);
// "%0A" (RFC 3986 section 2.1).
void append_escaped(std::string& out, char byte);

// `text` as the inside of a JSON string: quotes, backslashes and control bytes escaped, bytes that
// are not UTF-8 as \u00XX, so that a log line is always one line of valid JSON (checklist B23).
void append_json_escaped(std::string& out, std::string_view text);
// How many bytes at the start of `text` need no escape and are ASCII.
std::size_t json_plain_prefix(std::string_view text);

// The candidate that is closest to `word` by edit distance, if it is close enough to be what was
// meant; for "did you mean" sentences.
std::optional<std::string_view> closest(std::string_view word,
                                        std::initializer_list<std::string_view> candidates);
template <class Range>
std::optional<std::string_view> closest_of(std::string_view word, const Range& candidates);
// Steps to turn `a` into `b`: insert, delete, replace or swap neighbours.
std::size_t edit_distance(std::string_view a, std::string_view b);

template <class Range>
std::optional<std::string_view> closest_of(std::string_view word, const Range& candidates) {
  std::optional<std::string_view> best;
  std::size_t best_distance = word.size() / 3 + 2;
  for (const auto& candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}
inline std::optional<std::string_view> closest(std::string_view word,
                                               std::initializer_list<std::string_view> candidates) {
  return closest_of(word, candidates);
}

}  // namespace glia
