// KvCache: the KV blocks of a simulated engine and the prefix cache in them, as vLLM has it.
//
// A block is held by sequences or free. Whole blocks of prompts are found again by the hash of all
// text up to their end, also when they are free, until they are needed for something else: then the
// one that has been free longest is taken. Of a sequence that ends, the end of its prompt becomes free
// before its beginning, which more prompts share.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace glia {

class KvCache {
 public:
  explicit KvCache(std::size_t blocks);

  // What a sequence holds, in the order of its text; `known` of them were found.
  struct Hold {
    std::vector<uint32_t> blocks;
    std::size_t known = 0;
  };
  // Blocks for a prompt whose whole blocks have these hashes, and `more` behind them; nothing if too
  // few are free.
  std::optional<Hold> take(std::span<const uint64_t> chain, std::size_t more);
  // The prompt has been read: its blocks can be found from now on.
  void computed(const Hold& hold, std::span<const uint64_t> chain);
  void give_back(const Hold& hold);

  std::size_t size() const { return blocks_.size(); }
  // The share that sequences hold (vllm:kv_cache_usage_perc).
  double use() const {
    return 1 - static_cast<double>(free_.size()) / static_cast<double>(blocks_.size());
  }

 private:
  struct Block {
    uint64_t hash = 0;
    bool findable = false;
    uint32_t holders = 0;
    std::list<uint32_t>::iterator place;  // In free_, while nobody holds it.
  };
  void hold(uint32_t block);
  uint32_t take_oldest();

  std::vector<Block> blocks_;
  std::list<uint32_t> free_;  // Longest free first.
  std::unordered_map<uint64_t, uint32_t> findable_;
};

}  // namespace glia
