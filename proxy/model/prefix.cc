#include "proxy/model/prefix.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace glia {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the chain is over little-endian numbers");

uint64_t hash(std::string_view bytes) { return XXH64(bytes.data(), bytes.size(), 0); }

}  // namespace

void PrefixBlocks::add(std::string_view text) {
  while (!text.empty() && ids_.size() < kMostBlocks) {
    if (part_size_ == 0 && text.size() >= kBlockBytes) {  // Without a copy.
      ids_.push_back(hash(text.substr(0, kBlockBytes)));
      text.remove_prefix(kBlockBytes);
      continue;
    }
    const std::size_t size = std::min(text.size(), kBlockBytes - part_size_);
    std::memcpy(part_.data() + part_size_, text.data(), size);
    part_size_ += size;
    text.remove_prefix(size);
    if (part_size_ < kBlockBytes) return;
    ids_.push_back(hash({part_.data(), kBlockBytes}));
    part_size_ = 0;
  }
}

std::span<const uint64_t> PrefixBlocks::chain(std::string_view model, std::string_view salt,
                                              Arena& arena) const {
  const bool part = part_size_ > 0 && ids_.size() < kMostBlocks;
  const std::span<uint64_t> hashes = arena.array<uint64_t>(ids_.size() + (part ? 1 : 0));
  XXH64_state_t seed;
  XXH64_reset(&seed, 0);
  XXH64_update(&seed, model.data(), model.size());
  XXH64_update(&seed, salt.data(), salt.size());
  uint64_t before = XXH64_digest(&seed);
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    const uint64_t id = i < ids_.size() ? ids_[i] : hash({part_.data(), part_size_});
    const std::array<uint64_t, 2> pair = {id, before};
    before = hashes[i] = XXH64(pair.data(), sizeof pair, 0);
  }
  return hashes;
}

}  // namespace glia
