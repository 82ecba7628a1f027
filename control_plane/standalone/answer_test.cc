#include "control_plane/standalone/answer.h"

#include <gtest/gtest.h>

namespace glia {
namespace {

StandaloneAnswer example() {
  return {.facts = {.spiffe_id = "spiffe://demo.mesh/ns/default/sa/front",
                    .cluster = "front",
                    .admin_address = "[::1]:15000",
                    .certificate_lifetime = 90s},
          .pushes = {std::string("\0\n=\xff", 4), "", std::string(70'000, 'x')}};
}

TEST(StandaloneAnswer, ComesBackAsItWas) {
  const auto back = decode_answer(encode(example()));
  ASSERT_TRUE(back.ok()) << back.error().message();
  EXPECT_EQ(back->facts, example().facts);
  EXPECT_EQ(back->pushes, example().pushes);
}

TEST(StandaloneAnswer, IsNeverTakenInPart) {
  StandaloneAnswer small = example();
  small.pushes = {"abc", "de"};
  const std::string bytes = encode(small);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_answer(std::string_view(bytes).substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(decode_answer(bytes + "x").ok());
}

TEST(StandaloneAnswer, OfAnotherBuildIsRefusedWithAFix) {
  const auto other = decode_answer("glia-translate 2\nwhatever");
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.error().message().find("same build"), std::string::npos);
}

}  // namespace
}  // namespace glia
