// Balancer: which endpoint a request goes to. Knows load, weight and what the request wants, nothing of
// connections.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "proxy/base/random.h"
#include "proxy/mesh/cluster_config.h"
#include "proxy/mesh/endpoint.h"

namespace glia {

// What a request says that makes one endpoint better than another; all may be empty.
struct PickHints {
  std::span<const uint64_t> prefix;  // Hashes of the beginnings of its prompt (model/prefix.h).
  std::string_view adapter;
  std::string_view
      model;  // May be the name of an adapter: if a server says that it has one so called.
  std::string_view session;
  float tokens = 0;  // Of its prompt; 0: not known.
};

struct PickContext {
  Random& random;
  TimePoint now;
  const PickHints& hints;
};

class Balancer {
 public:
  static std::unique_ptr<Balancer> create(const Balancing& balancing);
  virtual ~Balancer() = default;
  // `usable` is not empty and keeps its order until the next change of the cluster.
  virtual Endpoint& pick(std::span<Endpoint* const> usable, const PickContext& context) = 0;
  // It leaves the cluster; nothing of it is remembered.
  virtual void removed(Endpoint& endpoint) {}
  // Load reports in answers are read for this one.
  virtual bool uses_reports() const { return false; }
  // Whom the last pick() wants to be asked how they are (prober.h); the next pick() says it anew.
  virtual std::span<Endpoint* const> to_probe() const { return {}; }
  // It was asked, and said this.
  virtual void probed(Endpoint& endpoint, const ServerReport& report, TimePoint now) {}
  // What is believed of an endpoint now and what it comes to, for people; "" if nothing is.
  virtual std::string why(const Endpoint& endpoint, TimePoint now) const { return ""; }
};

}  // namespace glia
