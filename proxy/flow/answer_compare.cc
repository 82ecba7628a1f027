#include "proxy/flow/answer_compare.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <vector>

#include "proxy/base/text.h"

namespace glia {
namespace {

// A value of JSON; `text` is a number or word as it stands there, or a string without its escapes.
struct Value {
  enum class Kind : uint8_t { kObject, kArray, kString, kNumber, kWord };
  Kind kind = Kind::kWord;
  std::string key;  // In an object.
  std::string text;
  std::vector<Value> inside;  // Of an object in the order of keys.
};

// Reads JSON (RFC 8259), and NaN and Infinity, which Python writes.
class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}
  std::optional<Value> parse() {
    Value value;
    if (!read(value, 0)) return {};
    skip_space();
    if (!rest_.empty()) return {};
    return value;
  }

 private:
  void skip_space() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size()));
  }
  bool take(char c) {
    skip_space();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool read(Value& value, std::size_t depth) {
    skip_space();
    if (rest_.empty() || depth > AnswerDifference::kDeepest) return false;
    if (++values_ > AnswerDifference::kMostValues) return false;
    if (take('{')) return read_object(value, depth);
    if (take('[')) return read_array(value, depth);
    if (rest_.front() == '"') {
      value.kind = Value::Kind::kString;
      return read_string(value.text);
    }
    const std::size_t size = std::min(rest_.find_first_of(" \t\r\n,]}:"), rest_.size());
    value.text = rest_.substr(0, size);
    rest_.remove_prefix(size);
    const bool word = value.text == "true" || value.text == "false" || value.text == "null";
    value.kind = word ? Value::Kind::kWord : Value::Kind::kNumber;
    double number = 0;
    const char* const end = value.text.data() + value.text.size();
    return word || (size > 0 && std::from_chars(value.text.data(), end, number).ptr == end);
  }
  bool read_object(Value& value, std::size_t depth) {
    value.kind = Value::Kind::kObject;
    if (take('}')) return true;
    do {
      Value member;
      skip_space();
      if (!read_string(member.key) || !take(':') || !read(member, depth + 1)) return false;
      value.inside.push_back(std::move(member));
    } while (take(','));
    std::ranges::sort(value.inside, {}, &Value::key);
    return take('}');
  }
  bool read_array(Value& value, std::size_t depth) {
    value.kind = Value::Kind::kArray;
    if (take(']')) return true;
    do {
      if (!read(value.inside.emplace_back(), depth + 1)) return false;
    } while (take(','));
    return take(']');
  }
  bool read_string(std::string& out) {
    if (!rest_.starts_with('"')) return false;
    rest_.remove_prefix(1);
    for (;;) {
      const std::size_t stop = rest_.find_first_of("\"\\");
      if (stop == rest_.npos) return false;
      out += rest_.substr(0, stop);
      const bool quote = rest_[stop] == '"';
      rest_.remove_prefix(stop + 1);
      if (quote) return true;
      if (!read_escape(out)) return false;
    }
  }
  // UTF-16's halves stay as they are: both sides have them so.
  bool read_escape(std::string& out) {
    if (rest_.empty()) return false;
    const char c = rest_.front();
    rest_.remove_prefix(1);
    constexpr std::string_view kLetters = "\"\\/bfnrt", kMeant = "\"\\/\b\f\n\r\t";
    if (const std::size_t at = kLetters.find(c); at != kLetters.npos) {
      out += kMeant[at];
      return true;
    }
    if (c != 'u' || rest_.size() < 4) return false;
    uint32_t code = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + 4, code, 16);
    if (error != std::errc() || end != rest_.data() + 4) return false;
    rest_.remove_prefix(4);
    put_rune(out, code);
    return true;
  }
  static void put_rune(std::string& out, uint32_t rune) {
    const auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
    if (rune < 0x80) return put(rune);
    if (rune < 0x800) {
      put(0xC0 | rune >> 6);
    } else {
      put(0xE0 | rune >> 12);
      put(0x80 | (rune >> 6 & 0x3F));
    }
    put(0x80 | (rune & 0x3F));
  }

  std::string_view rest_;
  std::size_t values_ = 0;
};

double number_of(std::string_view text) {
  double number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// An output whose bytes stand behind the JSON.
struct RawTensor {
  std::string name, type;
  std::string_view bytes;
};

const Value* member(const Value& object, std::string_view key) {
  const auto found = std::ranges::find(object.inside, key, &Value::key);
  return found == object.inside.end() ? nullptr : &*found;
}

std::string text_in(const Value& object, std::string_view key) {
  const Value* const value = member(object, key);
  return value == nullptr ? "" : value->text;
}

// Nothing if the sizes do not fit.
std::optional<std::vector<RawTensor>> raw_tensors(const Value& json, std::string_view raw) {
  std::vector<RawTensor> tensors;
  const Value* const outputs = member(json, "outputs");
  for (std::size_t i = 0; outputs != nullptr && i < outputs->inside.size(); ++i) {
    const Value& output = outputs->inside[i];
    const Value* const parameters = member(output, "parameters");
    const Value* const size =
        parameters == nullptr ? nullptr : member(*parameters, "binary_data_size");
    if (size == nullptr) continue;
    const auto bytes = parse_decimal(size->text);
    if (!bytes || *bytes > raw.size()) return {};
    tensors.push_back(
        {text_in(output, "name"), text_in(output, "datatype"), raw.substr(0, *bytes)});
    raw.remove_prefix(*bytes);
  }
  if (!raw.empty()) return {};
  return tensors;
}

template <typename Number>
Number element(std::string_view bytes, std::size_t at) {
  Number number;
  std::memcpy(&number, bytes.data() + at, sizeof number);
  return number;
}

// IEEE 754 half precision.
double half(uint16_t bits) {
  const int exponent = bits >> 10 & 0x1F;
  const double fraction = bits & 0x3FF;
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  if (exponent == 0x1F) return fraction != 0 ? std::nan("") : sign * INFINITY;
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

float bfloat(uint16_t bits) {
  const uint32_t wide = uint32_t{bits} << 16;
  float number;
  std::memcpy(&number, &wide, sizeof number);
  return number;
}

class Comparer {
 public:
  explicit Comparer(const CompareRules& rules) : rules_(rules) {}

  void values(const Value& a, const Value& b) {
    if (a.kind != b.kind) return differs();
    switch (a.kind) {
      case Value::Kind::kObject: return objects(a, b);
      case Value::Kind::kArray: return arrays(a, b);
      case Value::Kind::kNumber:
        if (!same(number_of(a.text), number_of(b.text))) differs();
        return;
      default:
        if (a.text != b.text) differs();
    }
  }
  void tensors(const std::vector<RawTensor>& a, const std::vector<RawTensor>& b) {
    for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
      path_ = cat("outputs[", i < a.size() ? a[i].name : b[i].name, "]");
      if (ignored("outputs")) continue;
      if (i >= a.size() || i >= b.size() || !same(a[i], b[i])) differs();
    }
  }
  std::set<std::string> fields() { return std::move(fields_); }

 private:
  void objects(const Value& a, const Value& b) {
    auto left = a.inside.begin(), right = b.inside.begin();
    while (left != a.inside.end() || right != b.inside.end()) {
      const bool only_left =
          right == b.inside.end() || (left != a.inside.end() && left->key < right->key);
      const bool only_right = !only_left && (left == a.inside.end() || right->key < left->key);
      const std::string& key = only_right ? right->key : left->key;
      const std::size_t before = path_.size();
      path_ += cat(path_.empty() ? "" : ".", key);
      if (!ignored(key)) {
        if (only_left || only_right)
          differs();
        else
          values(*left, *right);
      }
      path_.resize(before);
      if (!only_right) ++left;
      if (!only_left) ++right;
    }
  }
  void arrays(const Value& a, const Value& b) {
    const std::size_t before = path_.size();
    path_ += "[]";
    if (a.inside.size() != b.inside.size()) differs();
    for (std::size_t i = 0; i < std::min(a.inside.size(), b.inside.size()); ++i) {
      values(a.inside[i], b.inside[i]);
    }
    path_.resize(before);
  }
  bool ignored(std::string_view key) const {
    return std::ranges::any_of(rules_.ignore,
                               [&](const std::string& one) { return one == key || one == path_; });
  }
  bool same(double a, double b) const {
    if (a == b || (std::isnan(a) && std::isnan(b))) return true;
    if (!std::isfinite(a) || !std::isfinite(b)) return false;
    return std::abs(a - b) <=
           rules_.absolute + rules_.relative * std::max(std::abs(a), std::abs(b));
  }
  // Integers, booleans and strings are the same to the bit, or they are not.
  bool same(const RawTensor& a, const RawTensor& b) const {
    if (a.name != b.name || a.type != b.type || a.bytes.size() != b.bytes.size()) return false;
    if (a.bytes == b.bytes) return true;
    const auto each = [&](std::size_t size, auto read) {
      for (std::size_t at = 0; at + size <= a.bytes.size(); at += size) {
        if (!same(read(a.bytes, at), read(b.bytes, at))) return false;
      }
      return a.bytes.size() % size == 0;
    };
    using Bytes = std::string_view;
    if (a.type == "FP32") {
      return each(4, [](Bytes t, std::size_t at) { return double{element<float>(t, at)}; });
    }
    if (a.type == "FP64") {
      return each(8, [](Bytes t, std::size_t at) { return element<double>(t, at); });
    }
    if (a.type == "FP16") {
      return each(2, [](Bytes t, std::size_t at) { return half(element<uint16_t>(t, at)); });
    }
    if (a.type == "BF16") {
      return each(2,
                  [](Bytes t, std::size_t at) { return double{bfloat(element<uint16_t>(t, at))}; });
    }
    return false;
  }
  void differs() {
    if (fields_.size() == AnswerDifference::kMostFields) return;
    std::string field = path_.substr(0, AnswerDifference::kLongestField);
    // It becomes a key that people read.
    std::ranges::replace_if(field, [](char c) { return c < ' ' || c > '~'; }, '?');
    fields_.insert(field.empty() ? "." : std::move(field));
  }

  const CompareRules& rules_;
  std::string path_;
  std::set<std::string> fields_;
};

}  // namespace

AnswerDifference compare_answers(const CompareRules& rules, const WholeAnswer& answered,
                                 const WholeAnswer& copied) {
  const auto json_of = [](const WholeAnswer& answer) {
    return Parser(answer.body.substr(0, answer.json_size.value_or(answer.body.size()))).parse();
  };
  const auto raw_of = [](const WholeAnswer& answer, const Value& json) {
    const uint64_t size =
        std::min<uint64_t>(answer.json_size.value_or(answer.body.size()), answer.body.size());
    return raw_tensors(json, answer.body.substr(size));
  };
  const std::optional<Value> a = json_of(answered), b = json_of(copied);
  if (!a || !b) return {};
  Comparer comparer(rules);
  comparer.values(*a, *b);
  if (answered.json_size || copied.json_size) {
    const auto raw_a = raw_of(answered, *a), raw_b = raw_of(copied, *b);
    if (!raw_a || !raw_b) return {};
    comparer.tensors(*raw_a, *raw_b);
  }
  return {.compared = true, .fields = comparer.fields()};
}

}  // namespace glia
