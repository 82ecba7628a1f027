// JsonWriter: JSON for people and jq, written from front to back, indented, with any bytes in its
// strings.
#pragma once

#include <cmath>
#include <concepts>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/check.h"
#include "proxy/base/text.h"

namespace glia {

class JsonWriter {
 public:
  // Inside an object each value is preceded by its key().
  void begin_object() { begin('{', '}'); }
  void begin_array() { begin('[', ']'); }
  void end() {
    CHECK(!open_.empty());
    const Level level = open_.back();
    open_.pop_back();
    if (!level.empty) new_line();
    out_ += level.closing;
  }
  void key(std::string_view name) {
    separate();
    quote(name);
    out_ += ": ";
    after_key_ = true;
  }
  void text(std::string_view value) {
    separate();
    quote(value);
  }
  void number(std::integral auto value) {
    separate();
    out_ += cat(value);
  }
  // Rounded to thousandths; JSON has no word for what is not finite.
  void real(double value) {
    separate();
    out_ += std::isfinite(value) ? cat(std::round(value * 1000) / 1000) : "null";
  }
  void field(std::string_view name, std::string_view value) {
    key(name);
    text(value);
  }
  // The document, with a final line feed; everything that was begun must have ended.
  std::string take() {
    CHECK(open_.empty());
    return std::move(out_) + "\n";
  }

 private:
  struct Level {
    char closing;
    bool empty;
  };
  void begin(char opening, char closing) {
    separate();
    out_ += opening;
    open_.push_back({closing, true});
  }
  void separate() {
    if (std::exchange(after_key_, false) || open_.empty()) return;
    if (!std::exchange(open_.back().empty, false)) out_ += ',';
    new_line();
  }
  void new_line() {
    out_ += '\n';
    out_.append(open_.size(), ' ');
  }
  void quote(std::string_view value) {
    out_ += '"';
    append_json_escaped(out_, value);
    out_ += '"';
  }

  std::string out_;
  std::vector<Level> open_;
  bool after_key_ = false;
};

}  // namespace glia
