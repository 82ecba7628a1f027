#include "proxy/base/arena.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "proxy/base/random.h"

namespace glia {
namespace {

TEST(Arena, PiecesDoNotOverlapAndKeepTheirAlignment) {
  const ArenaRef arena = ArenaRef::create();
  Random random(1);
  std::vector<std::pair<std::string_view, std::string>> copies;
  for (int i = 0; i < 2000; ++i) {
    const std::string text(1 + random.below(300), static_cast<char>('a' + i % 26));
    copies.emplace_back(arena->copy(text), text);
    const std::size_t alignment = std::size_t{1} << random.below(6);
    void* piece = arena->allocate(1 + random.below(64), alignment);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(piece) % std::min(alignment, alignof(std::max_align_t)),
              0u);
    std::memset(piece, '!', 1);
  }
  for (const auto& [copy, text] : copies) EXPECT_EQ(copy, text);
}

TEST(Arena, APieceLargerThanAnyBlockHasOneOfItsOwn) {
  const ArenaRef arena = ArenaRef::create();
  const std::string large(1 << 20, 'x');
  EXPECT_EQ(arena->copy(large), large);
  EXPECT_GE(arena->bytes_used(), large.size());
}

TEST(Arena, LivesAsLongAsItsLastReference) {
  ArenaRef first = ArenaRef::create();
  const std::string_view text = first->copy("still here");
  const ArenaRef second = first;
  first = ArenaRef();
  EXPECT_FALSE(first);
  EXPECT_EQ(text, "still here");
}

}  // namespace
}  // namespace glia
