// Balancer: which endpoint a request goes to. Knows load and weight, nothing of connections.
#pragma once

#include <memory>
#include <span>

#include "proxy/base/random.h"
#include "proxy/mesh/cluster_config.h"
#include "proxy/mesh/endpoint.h"

namespace glia {

class Balancer {
 public:
  static std::unique_ptr<Balancer> create(const Balancing& balancing);
  virtual ~Balancer() = default;
  // `usable` is not empty and keeps its order until the next change of the cluster.
  virtual Endpoint& pick(std::span<Endpoint* const> usable, Random& random) = 0;
};

}  // namespace glia
