// PrefixBlocks: a chain of hashes over a prompt, by which a picker knows which server has seen the
// beginning of it before.
//
// The scheme is llm-d's without a tokenizer (approximateprefix/hashing.go), so that both agree on a
// prompt: 4 bytes of text are one token, 64 tokens one block; a block's id is xxHash64 of its bytes,
// and hash i = xxHash64(LE64(id i) || LE64(hash i-1)), where the one before the first is xxHash64(model
// || cache salt). The last block may be short. Of a chat the text is each role and each text, one after
// the other. Hashes are equal for equal beginnings, and say nothing else of the prompt.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "proxy/base/arena.h"

namespace glia {

class PrefixBlocks {
 public:
  static constexpr std::size_t kTokenBytes = 4;
  static constexpr std::size_t kBlockTokens = 64;
  static constexpr std::size_t kBlockBytes = kTokenBytes * kBlockTokens;
  // Tokens of a prompt that are hashed, as llm-d; what is behind them makes no difference.
  static constexpr std::size_t kMostTokens = 131'072;
  static constexpr std::size_t kMostBlocks = kMostTokens / kBlockTokens;

  void add(std::string_view text);
  // The chain so far, in `arena`. The model may stand behind the prompt, so it is put in here.
  std::span<const uint64_t> chain(std::string_view model, std::string_view salt,
                                  Arena& arena) const;

 private:
  std::vector<uint64_t> ids_;           // Of whole blocks; 16 KiB at most.
  std::array<char, kBlockBytes> part_;  // The beginning of a block.
  std::size_t part_size_ = 0;
};

}  // namespace glia
