// Reader: one message while it is decoded: what it says, where that stands, and where errors go.
//
// A decoder asks for fields by Envoy's names. What it asked for is what we support: report_unread()
// afterwards turns each field that was set but never asked for into an error with its path, so the
// list of supported fields cannot fall behind the code. Reading never fails at once: a wrong value
// is added to the errors and a default comes back, so that all errors of a resource are found.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/time.h"
#include "proxy/xds/errors.h"
#include "proxy/xds/message.h"

namespace glia {

class Reader {
 public:
  // `path` names the message in sentences. `message` and `errors` outlive the reader.
  Reader(const Message& message, std::string path, Errors& errors)
      : message_(&message), path_(std::move(path)), errors_(&errors) {}

  // Is there such a message at all? Without one, every field has its default.
  bool present() const { return message_ != nullptr; }
  bool has(std::string_view name) const;
  const std::string& path() const { return path_; }
  const MessageSchema* schema() const { return message_ ? &message_->schema() : nullptr; }
  const Message* raw() const { return message_; }

  // "" if it is not set.
  std::string text(std::string_view name) const;
  std::vector<std::string> texts(std::string_view name) const;
  // Integers, and the wrappers around them. Beyond [least, most]: an error, and `otherwise`.
  uint64_t number(std::string_view name, uint64_t otherwise, uint64_t most,
                  uint64_t least = 0) const;
  // Of a repeated field; those beyond [least, most] are errors and left out.
  std::vector<uint64_t> numbers(std::string_view name, uint64_t most, uint64_t least = 0) const;
  int64_t signed_number(std::string_view name) const;
  double real(std::string_view name, double otherwise) const;
  bool flag(std::string_view name, bool otherwise = false) const;
  // An enum's value by name. Unset is the value 0; a number that the schema lacks is an error.
  std::string choice(std::string_view name) const;
  // Not negative, at most a year.
  std::optional<Duration> duration(std::string_view name) const;
  Duration duration(std::string_view name, Duration otherwise) const {
    return duration(name).value_or(otherwise);
  }
  Reader message(std::string_view name) const;
  // Calls take(Reader, index) with each element of a repeated message field.
  template <class Take>
  void each(std::string_view name, Take take) const {
    std::size_t index = 0;
    for (const Entry* entry : all(name)) take(element(name, index, *entry), index), ++index;
  }
  // Calls take(key, Reader) with each entry of a map whose values are messages.
  template <class Take>
  void each_in_map(std::string_view name, Take take) const {
    for (const Entry* entry : all(name)) {
      const std::string key = map_key(*entry);
      take(key, map_value(name, key, *entry));
    }
  }
  // Of a google.protobuf.Any: the message inside; not present if its type is unknown, which is then
  // reported.
  Reader content() const;
  // Of a google.protobuf.Any: is its type one that content() can read?
  bool known_content() const { return message_ != nullptr && message_->content != nullptr; }
  // "envoy.extensions.filters.http.router.v3.Router"; "" without a message.
  std::string_view type() const;

  // Something is wrong with this message, or with one of its fields.
  void fail(std::string_view sentence) const;
  void fail(std::string_view name, std::string_view sentence) const;
  // The field may be set: it has no effect here, or asks for what we do anyway.
  void accept(std::string_view name) const;
  // As accept(), for this whole message: something else is wrong with it.
  void accept_all() const;
  // The field may only say what we do anyway.
  void only(std::string_view name, std::string_view choice) const;
  void only(std::string_view name, bool flag) const;

  void report_unread() const;

 private:
  Reader(const Message* message, std::string path, Errors* errors, Position at)
      : message_(message), path_(std::move(path)), errors_(errors), at_(at) {}
  const Entry* take(std::string_view name) const;
  std::vector<const Entry*> all(std::string_view name) const;
  Reader element(std::string_view name, std::size_t index, const Entry& entry) const;
  static std::string map_key(const Entry& entry);
  Reader map_value(std::string_view name, std::string_view key, const Entry& entry) const;
  std::string child(std::string_view name) const;
  Position position_of(std::string_view name) const;

  const Message* message_;
  std::string path_;
  Errors* errors_;
  Position at_;
};

}  // namespace glia
