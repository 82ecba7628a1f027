#include "proxy/net/spiffe.h"

#include <gtest/gtest.h>

#include <string>

namespace glia {
namespace {

TEST(SpiffeId, HasATrustDomainAndAPath) {
  const auto id = SpiffeId::parse("spiffe://mesh.example/ns/shop/sa/reco-v1.2_x");
  ASSERT_TRUE(id.ok()) << id.error().message();
  EXPECT_EQ(id->trust_domain(), "mesh.example");
  EXPECT_EQ(id->path(), "/ns/shop/sa/reco-v1.2_x");
  EXPECT_EQ(SpiffeId::parse("spiffe://mesh.example")->path(), "");
}

TEST(SpiffeId, SchemeAndTrustDomainCompareWithoutCaseAndThePathWithIt) {
  EXPECT_EQ(*SpiffeId::parse("SPIFFE://Mesh.Example/a"),
            *SpiffeId::parse("spiffe://mesh.example/a"));
  EXPECT_FALSE(*SpiffeId::parse("spiffe://mesh.example/A") ==
               *SpiffeId::parse("spiffe://mesh.example/a"));
}

TEST(SpiffeId, RefusesEverySecondSpelling) {
  for (const std::string& text : {std::string(""),
                                  std::string("spiffe:/td/a"),
                                  std::string("https://td/a"),
                                  std::string("spiffe://"),
                                  std::string("spiffe:///a"),
                                  std::string("spiffe://td/"),
                                  std::string("spiffe://td//a"),
                                  std::string("spiffe://td/a//b"),
                                  std::string("spiffe://td/a/"),
                                  std::string("spiffe://td/./a"),
                                  std::string("spiffe://td/a/.."),
                                  std::string("spiffe://td/%2e"),
                                  std::string("spiffe://td/a?q"),
                                  std::string("spiffe://td/a#f"),
                                  std::string("spiffe://td:80/a"),
                                  std::string("spiffe://me@td/a"),
                                  std::string("spiffe://[::1]/a"),
                                  std::string("spiffe://td/a b"),
                                  std::string("spiffe://td/a\0", 14),
                                  std::string("spiffe://td/\xC3\xA4"),
                                  std::string(" spiffe://td/a"),
                                  "spiffe://" + std::string(256, 'a') + "/a",
                                  "spiffe://td/" + std::string(2048, 'a')}) {
    EXPECT_FALSE(SpiffeId::parse(text).ok()) << text;
  }
  EXPECT_TRUE(SpiffeId::parse("spiffe://" + std::string(255, 'a') + "/a").ok());
  EXPECT_TRUE(SpiffeId::parse("spiffe://td/" + std::string(2048 - 12, 'a')).ok());
}

}  // namespace
}  // namespace glia
