// The expected chains were computed by a separate program after the published definition of xxHash64.
#include "proxy/model/prefix.h"

#include <gtest/gtest.h>

#include <string>

namespace glia {
namespace {

std::string letters(std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += static_cast<char>('a' + i % 26);
  return text;
}

std::vector<uint64_t> chain(std::initializer_list<std::string_view> pieces,
                            std::string_view model = "m", std::string_view salt = "") {
  PrefixBlocks blocks;
  for (const std::string_view piece : pieces) blocks.add(piece);
  const ArenaRef arena = ArenaRef::create();
  const auto hashes = blocks.chain(model, salt, *arena);
  return {hashes.begin(), hashes.end()};
}

TEST(PrefixBlocks, ChainsBlocksAsLlmdDoes) {
  EXPECT_EQ(chain({letters(600)}),
            (std::vector<uint64_t>{0xe5645e4b257c092f, 0xd033526492449317, 0xaab76c3eb81c9083}));
  EXPECT_EQ(chain({letters(600)}, "m", "salt"),
            (std::vector<uint64_t>{0xce84ab83b341f94e, 0x8ce4cc102ed1afe1, 0x9098a1564a29f8f8}));
  EXPECT_TRUE(chain({}).empty());
}

TEST(PrefixBlocks, DoNotDependOnHowTheTextCame) {
  const std::string text = letters(1000);
  const auto whole = chain({text});
  ASSERT_EQ(whole.size(), 4u);
  for (std::size_t i = 0; i <= text.size(); ++i) {
    EXPECT_EQ(chain({std::string_view(text).substr(0, i), std::string_view(text).substr(i)}),
              whole);
  }
}

TEST(PrefixBlocks, AreEqualAsFarAsThePromptIs) {
  const auto one = chain({letters(512), "and one"});
  const auto other = chain({letters(512), "and the other"});
  EXPECT_EQ(one[1], other[1]);
  EXPECT_NE(one[2], other[2]);
  EXPECT_NE(chain({letters(512)}, "m2")[0], one[0]);
}

TEST(PrefixBlocks, EndAtTheMostTokens) {
  const std::string text = letters(PrefixBlocks::kMostTokens * PrefixBlocks::kTokenBytes);
  const auto most = chain({text});
  EXPECT_EQ(most.size(), PrefixBlocks::kMostBlocks);
  EXPECT_EQ(chain({text, "and more", letters(300)}), most);
}

}  // namespace
}  // namespace glia
