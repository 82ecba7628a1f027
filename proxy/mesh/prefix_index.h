// PrefixIndex: which endpoint has seen the beginning of a prompt before, and so has it in its KV cache.
//
// One table a cluster: a block's hash leads to a set of endpoints, a bit each, so that one walk along a
// prompt finds how far each endpoint knows it. A block's hash says all that came before, so the walk may
// make longer steps the farther it is: each block is looked at up to kFine, then every kCoarse-th up to
// kFar, then every kFarCoarse-th; each of them stands for those since the one before. What two prompts
// share is then known to within a step, a few percent of it. Each endpoint's blocks stand in a ring and leave by the
// clock algorithm (least recently used, near enough) when there are too many, as they leave the
// engine's cache.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace glia {

class PrefixIndex {
 public:
  // Endpoints of one cluster that are remembered; further ones have no affinity.
  static constexpr std::size_t kPlaces = 128;
  // Of a prompt, so many blocks are looked at: 131,072 tokens.
  static constexpr std::size_t kLongest = 2048;
  // Steps of one cluster on one worker, all endpoints together (60 to 80 bytes each).
  static constexpr std::size_t kMostBlocks = 500'000;
  // Positions in a chain, in blocks; steps divide what they begin at.
  static constexpr std::size_t kFine = 8, kFar = 256, kCoarse = 4, kFarCoarse = 8;

  // Blocks remembered of each endpoint at most.
  explicit PrefixIndex(std::size_t most) : most_(most) {}

  // A place for a new endpoint; kPlaces if there is none left.
  std::size_t open();
  // Forgets what was at `place`.
  void close(std::size_t place);

  // Walks along the chain; afterwards depth() says how many of its first blocks each place knows.
  // Valid until the next look().
  void look(std::span<const uint64_t> chain);
  // The length of the step that ends behind `blocks` of a chain: 1, kCoarse or kFarCoarse.
  static constexpr std::size_t step(std::size_t blocks) {
    return blocks <= kFine ? 1 : blocks <= kFar ? kCoarse : kFarCoarse;
  }
  // How many of `blocks` are looked at: up to the end of the last whole step.
  static constexpr std::size_t seen(std::size_t blocks) { return blocks - blocks % step(blocks); }
  std::size_t depth(std::size_t place) const { return depths_[place]; }
  // The prompt that was last looked at goes to `place`, which will know all of it; at most `most`
  // blocks are then remembered there (0: as constructed).
  void remember(std::size_t place, std::size_t most = 0);

  // Steps, of all places together.
  std::size_t steps() const { return entries_.size() - free_.size(); }
  std::size_t blocks(std::size_t place) const { return rings_[place].weight; }
  std::size_t bytes() const;

 private:
  static constexpr uint32_t kNone = 0xFFFFFFFF;
  using Set = std::array<uint64_t, kPlaces / 64>;
  struct Entry {
    uint64_t hash;
    Set holders, touched;
    uint32_t weight;  // Blocks of its step.
  };
  // The end of a block's hash stands beside its number, so that probing looks at one place of memory.
  struct Slot {
    uint32_t entry = kNone;
    uint32_t hash = 0;
  };
  struct Ring {
    std::vector<uint32_t> steps;
    std::size_t weight = 0;  // Blocks of these.
    std::size_t hand = 0;
    bool open = false;
  };

  static bool has(const Set& set, std::size_t place) {
    return (set[place / 64] >> place % 64 & 1) != 0;
  }
  uint32_t find(uint64_t hash) const;
  // Blocks of a prompt were made one after the other, so most stand beside the one before them: upwards,
  // or downwards where they took the places of others. kNone: ask find().
  uint32_t neighbour(uint32_t entry, uint64_t hash) const;
  uint32_t make(uint64_t hash, std::size_t weight);
  void enter(Slot slot);
  void grow();
  void erase(uint32_t entry);
  void let_go(uint32_t entry, std::size_t place);
  // The position of the ring whose step is let go next.
  std::size_t oldest(Ring& ring, std::size_t place);
  void put(Ring& ring, std::size_t place, uint32_t entry, std::size_t most);

  const std::size_t most_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> free_;
  std::vector<Slot> table_;  // Open addressing, linear probes, a power of two; kNone: empty.
  std::array<Ring, kPlaces> rings_;
  // Of the last look().
  std::span<const uint64_t> chain_;
  std::vector<uint32_t> found_;
  std::array<uint16_t, kPlaces> depths_ = {};
  bool any_depth_ = false;
};

}  // namespace glia
