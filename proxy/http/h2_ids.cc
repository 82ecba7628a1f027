#include "proxy/http/h2_ids.h"

#include <algorithm>

namespace glia {

std::size_t IdSet::home(int32_t id) const {
  // Any odd factor gives every number a place of its own before the upper bits are taken.
  const uint64_t factor = reinterpret_cast<uintptr_t>(this) * 0x9e3779b97f4a7c15u | 1;
  return (static_cast<uint64_t>(id) * factor >> 32) & (slots_.size() - 1);
}

void IdSet::insert(int32_t id) {
  if (size_ * 4 >= slots_.size() * 3) grow();
  std::size_t slot = home(id);
  while (slots_[slot] != 0) {
    if (slots_[slot] == id) return;
    slot = next(slot);
  }
  slots_[slot] = id;
  ++size_;
}

bool IdSet::has(int32_t id) const {
  if (size_ == 0) return false;
  for (std::size_t slot = home(id); slots_[slot] != 0; slot = next(slot)) {
    if (slots_[slot] == id) return true;
  }
  return false;
}

bool IdSet::erase(int32_t id) {
  if (size_ == 0) return false;
  std::size_t slot = home(id);
  while (slots_[slot] != id) {
    if (slots_[slot] == 0) return false;
    slot = next(slot);
  }
  --size_;
  // What stands behind it moves up, unless it would come to stand before its home.
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t from = next(slot); slots_[from] != 0; from = next(from)) {
    const std::size_t distance = (from - home(slots_[from])) & mask;
    if (distance < ((from - slot) & mask)) continue;
    slots_[slot] = slots_[from];
    slot = from;
  }
  slots_[slot] = 0;
  return true;
}

void IdSet::grow() {
  const std::vector<int32_t> old = std::move(slots_);
  slots_.assign(std::max(kFirstSlots, old.size() * 2), 0);
  size_ = 0;
  for (int32_t id : old) {
    if (id != 0) insert(id);
  }
}

void IdRing::put(int32_t id) {
  if (ids_.size() < most_) return ids_.push_back(id);
  ids_[oldest_] = id;
  oldest_ = (oldest_ + 1) % most_;
}

bool IdRing::has(int32_t id) const { return std::ranges::find(ids_, id) != ids_.end(); }

}  // namespace glia
