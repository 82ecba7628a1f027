#include "test/pool/kv_cache.h"

#include <ranges>

namespace glia {

KvCache::KvCache(std::size_t blocks) : blocks_(blocks) {
  for (uint32_t block = 0; block < blocks; ++block) {
    blocks_[block].place = free_.insert(free_.end(), block);
  }
}

std::optional<KvCache::Hold> KvCache::take(std::span<const uint64_t> chain, std::size_t more) {
  Hold taken;
  std::size_t needed = chain.size() + more;
  for (const uint64_t hash : chain) {
    const auto found = findable_.find(hash);
    if (found == findable_.end()) break;
    taken.blocks.push_back(found->second);
    // One that others hold costs nothing.
    if (blocks_[found->second].holders > 0) --needed;
  }
  if (needed > free_.size()) return {};
  taken.known = taken.blocks.size();
  for (const uint32_t block : taken.blocks) hold(block);
  while (taken.blocks.size() < chain.size() + more) taken.blocks.push_back(take_oldest());
  return taken;
}

void KvCache::hold(uint32_t number) {
  Block& block = blocks_[number];
  if (block.holders++ == 0) free_.erase(block.place);
}

uint32_t KvCache::take_oldest() {
  const uint32_t number = free_.front();
  Block& block = blocks_[number];
  if (block.findable) findable_.erase(block.hash);
  block.findable = false;
  hold(number);
  return number;
}

void KvCache::computed(const Hold& held, std::span<const uint64_t> chain) {
  for (std::size_t i = held.known; i < chain.size(); ++i) {
    // Another sequence may have read the same text meanwhile; its block is as good.
    const auto [place, fresh] = findable_.emplace(chain[i], held.blocks[i]);
    if (!fresh) continue;
    blocks_[held.blocks[i]].hash = chain[i];
    blocks_[held.blocks[i]].findable = true;
  }
}

void KvCache::give_back(const Hold& held) {
  for (const uint32_t number : std::views::reverse(held.blocks)) {
    Block& block = blocks_[number];
    if (--block.holders == 0) block.place = free_.insert(free_.end(), number);
  }
}

}  // namespace glia
