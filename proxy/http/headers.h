// Headers: the fields of one message, in order, as views into the exchange's arena.
//
// Names are lower case, as HTTP/2 has them; the HTTP/1 parser lowers them. Look-up walks the list:
// messages have tens of fields, and comparing lengths first makes that cheaper than a map.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "proxy/base/arena.h"

namespace glia {

struct Field {
  std::string_view name;   // Lower case.
  std::string_view value;  // Without surrounding white space.
  // The value is never the same twice (a request id); HPACK does not put it into its table.
  bool unique = false;
};

class Headers {
 public:
  explicit Headers(ArenaRef arena) : arena_(std::move(arena)) {}

  // The first value of `name` (lower case).
  std::optional<std::string_view> get(std::string_view name) const {
    for (const Field& field : fields()) {
      if (field.name == name) return field.value;
    }
    return {};
  }
  bool has(std::string_view name) const { return get(name).has_value(); }
  // How many fields are called `name`.
  std::size_t count(std::string_view name) const;

  // Copies name and value into the arena.
  void add(std::string_view name, std::string_view value) {
    add_kept(arena_->copy(name), arena_->copy(value));
  }
  // Keeps the views: they live as long as the arena or for ever.
  void add_kept(std::string_view name, std::string_view value, bool unique = false) {
    if (size_ == room_) grow();
    fields_[size_++] = Field{name, value, unique};
  }
  // Replaces the first field of that name and removes the others, or adds one.
  void set(std::string_view name, std::string_view value);
  // Removes every field of that name; returns whether there was one.
  bool remove(std::string_view name);
  // Removes the fields for which `drop(const Field&)` is true.
  template <class Drop>
  void remove_if(Drop drop) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < size_; ++i) {
      if (!drop(static_cast<const Field&>(fields_[i]))) fields_[kept++] = fields_[i];
    }
    size_ = kept;
  }

  std::span<const Field> fields() const { return {fields_, size_}; }
  std::span<Field> fields() { return {fields_, size_}; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  void clear() { size_ = 0; }
  Arena& arena() const { return *arena_; }
  const ArenaRef& arena_ref() const { return arena_; }

 private:
  void grow();

  ArenaRef arena_;
  Field* fields_ = nullptr;
  std::size_t size_ = 0;
  std::size_t room_ = 0;
};

}  // namespace glia
