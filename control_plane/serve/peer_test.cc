#include "control_plane/serve/peer.h"

#include <gtest/gtest.h>

namespace glia {
namespace {

std::string read(std::string_view header) {
  const Result<SpiffeId> id = forwarded_identity(header);
  return id ? id->text() : "refused: " + id.error().message();
}

TEST(PeerTest, TakesTheOneUri) {
  EXPECT_EQ(read("By=spiffe://m/cp;Hash=ab12;URI=spiffe://m/ns/default/sa/front"),
            "spiffe://m/ns/default/sa/front");
  EXPECT_EQ(read("Subject=\"CN=a;URI=spiffe://m/evil, \\\"x\";URI=spiffe://m/x"), "spiffe://m/x");
  EXPECT_EQ(read("uri=\"spiffe://m/x\""), "spiffe://m/x");
}

TEST(PeerTest, RefusesWhatOnlyAStrangerWouldSend) {
  for (const char* header :
       {"", "Hash=ab12", "URI=spiffe://m/a;URI=spiffe://m/b", "URI=spiffe://m/a,URI=spiffe://m/b",
        "URI=https://m/a", "URI=spiffe://m/a/../b", "URI", "Subject=\"open;URI=spiffe://m/a",
        "Subject=\"x\"y;URI=spiffe://m/a", "URI=spiffe://m/a,"}) {
    EXPECT_TRUE(read(header).starts_with("refused: ")) << header << " -> " << read(header);
  }
}

}  // namespace
}  // namespace glia
