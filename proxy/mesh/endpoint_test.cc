// Connections that cannot be made, and limits on how many there may be, as a client sees them.
#include <gtest/gtest.h>

#include "test/harness/mesh_world.h"

namespace glia {
namespace {

std::shared_ptr<const TlsContext> tls_client() {
  auto context = TlsContext::create(TlsContext::Side::kClient, {});
  EXPECT_TRUE(context.ok());
  return *std::move(context);
}

// The limits on connecting and on the TLS handshake run out in the same turn.
TEST(EndpointTest, AnswersWhenAnUpstreamNeverBeginsItsTlsHandshake) {
  SimWorld world(1);
  MeshWorld t(world);
  t.upstream("10.0.1.1");
  t.cluster().tls = tls_client();
  t.cluster().connect_timeout = 2s;
  t.start();
  world.fabric().partition("10.0.0.1", "10.0.1.1");
  const Answer answer = t.get();
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.header("x-glia-reason"), "connect_failed");
}

TEST(EndpointTest, ReachesEveryEndpointAlthoughThePoolsOfOthersHoldAllConnections) {
  SimWorld world(1);
  MeshWorld t(world);
  t.upstream("10.0.1.1").replies(200, "one");
  t.upstream("10.0.1.2").replies(200, "two");
  t.cluster().limits.connections = 1;
  t.route().forward->timeout = 5s;
  t.start();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(t.get().status, 200);
  EXPECT_EQ(t.upstream("10.0.1.1").seen().size(), 2u);
  EXPECT_EQ(t.upstream("10.0.1.2").seen().size(), 2u);
}

}  // namespace
}  // namespace glia
