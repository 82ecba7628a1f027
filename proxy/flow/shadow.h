// Shadows: copies of requests that go to other clusters and whose answers nobody sees
// (envoy.config.route.v3.RouteAction.request_mirror_policies).
//
// A copy never changes what its original meets: it takes a look at each piece of the body as the
// original sends it, is broken off when it falls behind, has a time limit of its own, and lives on
// when the original has ended. Belongs to a site, and ends with it.
#pragma once

#include <list>
#include <memory>

#include "proxy/flow/shadow_pair.h"
#include "proxy/http/message.h"
#include "proxy/mesh/cluster.h"
#include "proxy/mesh/route.h"
#include "proxy/telemetry/metrics.h"

namespace glia {

class Shadows {
 public:
  // Copies at once, of one site on one worker; requests beyond them are not copied.
  static constexpr std::size_t kMost = 128;
  // Bytes of its body that a copy has not sent yet; then it is broken off.
  static constexpr std::size_t kMostBehind = 256 * 1024;
  // A copy that has not ended by itself is broken off, if the route's timeout is not sooner.
  static constexpr Duration kLongest = 300s;

  // Both outlive the shadows.
  Shadows(MeshContext& context, ClusterMap& clusters);
  ~Shadows();

  // Begins a copy for each mirror that chance picks. `request` is as its upstream will see it; its
  // body is replaced by one that shows the copies what it gives. Returned is who must be shown the answer
  // of the request itself; null: nobody asks for it.
  std::unique_ptr<ShadowedAnswer> begin(Request& request, const Route& route);
  void collect(MetricsPage& page, const Labels& labels) const;

 private:
  class Copy;
  class Shadow;
  class Tee;

  void begin_one(Request& request, const Mirror& mirror, Duration longest, ShadowPair* pair);
  bool asked_for(const Route& route, const Mirror& mirror) const;
  void ended(Shadow& shadow);

  MeshContext& context_;
  ClusterMap& clusters_;
  ShadowPairs pairs_;  // Ends after what runs.
  std::list<std::unique_ptr<Shadow>> running_;
  uint64_t begun_ = 0, failed_ = 0, overflow_ = 0;
};

}  // namespace glia
