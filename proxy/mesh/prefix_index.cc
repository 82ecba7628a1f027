#include "proxy/mesh/prefix_index.h"

#include <algorithm>
#include <bit>

#include "proxy/base/check.h"

namespace glia {
namespace {

constexpr std::size_t kFirstTable = 256;
constexpr std::size_t kAhead = 8;  // Places of the table that are fetched before they are needed.

}  // namespace

std::size_t PrefixIndex::open() {
  for (std::size_t place = 0; place < kPlaces; ++place) {
    if (rings_[place].open) continue;
    rings_[place].open = true;
    return place;
  }
  return kPlaces;
}

void PrefixIndex::close(std::size_t place) {
  Ring& ring = rings_[place];
  for (const uint32_t entry : ring.steps) let_go(entry, place);
  ring = Ring();
}

uint32_t PrefixIndex::find(uint64_t hash) const {
  if (table_.empty()) return kNone;
  const std::size_t mask = table_.size() - 1;
  for (std::size_t at = hash & mask; table_[at].entry != kNone; at = (at + 1) & mask) {
    const Slot& slot = table_[at];
    if (slot.hash == static_cast<uint32_t>(hash) && entries_[slot.entry].hash == hash) {
      return slot.entry;
    }
  }
  return kNone;
}

uint32_t PrefixIndex::neighbour(uint32_t entry, uint64_t hash) const {
  if (entry == kNone) return kNone;
  if (entry + 1 < entries_.size() && entries_[entry + 1].hash == hash) return entry + 1;
  return entry > 0 && entries_[entry - 1].hash == hash ? entry - 1 : kNone;
}

uint32_t PrefixIndex::make(uint64_t hash, std::size_t weight) {
  if ((steps() + 1) * 2 > table_.size()) grow();
  uint32_t entry;
  if (free_.empty()) {
    entry = static_cast<uint32_t>(entries_.size());
    entries_.push_back({});
  } else {
    entry = free_.back();
    free_.pop_back();
  }
  entries_[entry] = {hash, {}, {}, static_cast<uint32_t>(weight)};
  enter({entry, static_cast<uint32_t>(hash)});
  return entry;
}

void PrefixIndex::enter(Slot slot) {
  const std::size_t mask = table_.size() - 1;
  std::size_t at = slot.hash & mask;
  while (table_[at].entry != kNone) at = (at + 1) & mask;
  table_[at] = slot;
}

void PrefixIndex::grow() {
  std::vector<Slot> old(std::max(kFirstTable, table_.size() * 2));
  old.swap(table_);
  for (const Slot& slot : old) {
    if (slot.entry != kNone) enter(slot);
  }
}

// Those behind it move up, so that no probe ends too early.
void PrefixIndex::erase(uint32_t entry) {
  const std::size_t mask = table_.size() - 1;
  std::size_t gap = entries_[entry].hash & mask;
  while (table_[gap].entry != entry) gap = (gap + 1) & mask;
  for (std::size_t at = (gap + 1) & mask; table_[at].entry != kNone; at = (at + 1) & mask) {
    const std::size_t home = table_[at].hash & mask;
    if (((at - home) & mask) < ((at - gap) & mask)) continue;
    table_[gap] = table_[at];
    gap = at;
  }
  table_[gap] = {};
  entries_[entry].hash = ~entries_[entry].hash;  // remember() may still look at it.
  free_.push_back(entry);
}

void PrefixIndex::let_go(uint32_t entry, std::size_t place) {
  Set& holders = entries_[entry].holders;
  holders[place / 64] &= ~(uint64_t{1} << place % 64);
  if (std::ranges::all_of(holders, [](uint64_t word) { return word == 0; })) erase(entry);
}

void PrefixIndex::look(std::span<const uint64_t> chain) {
  chain_ = chain.first(std::min(chain.size(), kLongest));
  found_.clear();
  if (any_depth_) depths_.fill(0);
  any_depth_ = false;
  if (table_.empty()) return;
  const std::size_t mask = table_.size() - 1;
  Set alive;
  alive.fill(~uint64_t{0});
  uint32_t entry = kNone;
  std::size_t known = 0;  // Blocks, up to the end of the last step that was found.
  for (std::size_t end = 1; end <= chain_.size(); end += step(end + 1)) {
    const uint64_t hash = chain_[end - 1];
    const uint32_t beside = neighbour(entry, hash);
    if (beside == kNone && end + kAhead <= chain_.size()) {
      __builtin_prefetch(&table_[chain_[end + kAhead - 1] & mask]);
    }
    entry = beside != kNone ? beside : find(hash);
    if (entry == kNone) break;
    found_.push_back(entry);
    uint64_t left = 0;
    for (std::size_t word = 0; word < alive.size(); ++word) {
      const uint64_t still = alive[word] & entries_[entry].holders[word];
      // Who does not know this step knew those before it.
      for (uint64_t lost = known > 0 ? alive[word] & ~still : 0; lost != 0; lost &= lost - 1) {
        depths_[word * 64 + static_cast<std::size_t>(std::countr_zero(lost))] =
            static_cast<uint16_t>(known);
      }
      alive[word] = still;
      left |= still;
    }
    if (left == 0) return void(any_depth_ = true);
    known = end;
  }
  if (known == 0) return;
  any_depth_ = true;
  for (std::size_t word = 0; word < alive.size(); ++word) {
    for (uint64_t rest = alive[word]; rest != 0; rest &= rest - 1) {
      depths_[word * 64 + static_cast<std::size_t>(std::countr_zero(rest))] =
          static_cast<uint16_t>(known);
    }
  }
}

void PrefixIndex::remember(std::size_t place, std::size_t most) {
  Ring& ring = rings_[place];
  CHECK(ring.open);
  most = std::min(most_, most == 0 ? most_ : most);
  if (most == 0) return;
  // The rest of a prompt that fills the whole memory would push out its own beginning.
  const std::size_t blocks = std::min(chain_.size(), most);
  std::size_t i = 0;
  for (std::size_t end = 1; end <= blocks; end += step(end + 1), ++i) {
    const uint64_t hash = chain_[end - 1];
    // What was found may have been let go meanwhile, for one of the first of these.
    uint32_t entry = i < found_.size() ? found_[i] : kNone;
    if (entry == kNone || entries_[entry].hash != hash) entry = find(hash);
    if (entry == kNone) entry = make(hash, step(end));
    Entry& block = entries_[entry];
    const uint64_t bit = uint64_t{1} << place % 64;
    // Only what comes again gets a second chance.
    if (has(block.holders, place)) {
      block.touched[place / 64] |= bit;
      continue;
    }
    block.holders[place / 64] |= bit;
    put(ring, place, entry, most);
  }
}

std::size_t PrefixIndex::oldest(Ring& ring, std::size_t place) {
  for (;;) {
    if (ring.hand >= ring.steps.size()) ring.hand = 0;
    const std::size_t at = ring.hand++;
    uint64_t& touched = entries_[ring.steps[at]].touched[place / 64];
    const uint64_t bit = uint64_t{1} << place % 64;
    if ((touched & bit) == 0) return at;
    touched &= ~bit;  // A second chance.
  }
}

void PrefixIndex::put(Ring& ring, std::size_t place, uint32_t entry, std::size_t most) {
  const std::size_t weight = entries_[entry].weight;
  if (steps() >= kMostBlocks && ring.steps.empty()) return let_go(entry, place);
  const auto let_go_at = [&](std::size_t at) {
    ring.weight -= entries_[ring.steps[at]].weight;
    let_go(ring.steps[at], place);
  };
  std::size_t free = ring.steps.size();
  while (!ring.steps.empty() &&
         (ring.weight + weight > most || (steps() >= kMostBlocks && free == ring.steps.size()))) {
    // The one let go before leaves its place to the newest, which is looked at late again.
    if (free < ring.steps.size()) {
      ring.steps[free] = ring.steps.back();
      ring.steps.pop_back();
      if (ring.steps.empty()) break;
    }
    free = oldest(ring, place);
    let_go_at(free);
  }
  ring.weight += weight;
  if (free < ring.steps.size()) {
    ring.steps[free] = entry;
  } else {
    ring.steps.push_back(entry);
  }
}

std::size_t PrefixIndex::bytes() const {
  std::size_t bytes = entries_.capacity() * sizeof(Entry) + free_.capacity() * sizeof(uint32_t) +
                      table_.capacity() * sizeof(Slot) + found_.capacity() * sizeof(uint32_t);
  for (const Ring& ring : rings_) bytes += ring.steps.capacity() * sizeof(uint32_t);
  return bytes;
}

}  // namespace glia
