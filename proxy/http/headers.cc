#include "proxy/http/headers.h"

#include <algorithm>

namespace glia {

std::size_t Headers::count(std::string_view name) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(fields(), [&](const Field& field) { return field.name == name; }));
}

void Headers::set(std::string_view name, std::string_view value) {
  bool placed = false;
  const std::string_view kept = arena_->copy(value);
  remove_if([&](const Field& field) {
    if (field.name != name) return false;
    if (placed) return true;
    placed = true;
    const_cast<Field&>(field).value = kept;
    return false;
  });
  if (!placed) add_kept(arena_->copy(name), kept);
}

bool Headers::remove(std::string_view name) {
  if (!has(name)) return false;  // The rule: nothing is moved.
  remove_if([&](const Field& field) { return field.name == name; });
  return true;
}

void Headers::grow() {
  const std::size_t room = room_ == 0 ? 16 : 2 * room_;
  const std::span<Field> fields = arena_->array<Field>(room);
  std::copy_n(fields_, size_, fields.data());
  fields_ = fields.data();
  room_ = room;
}

}  // namespace glia
