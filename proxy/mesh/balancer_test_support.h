// PickWorld: a cluster with some endpoints and no connections, to ask a balancer what it would take.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proxy/base/text.h"
#include "proxy/mesh/cluster.h"
#include "test/sim/sim.h"

namespace glia {

class PickWorld {
 public:
  PickWorld(int endpoints, ClusterConfig config, uint64_t seed = 1)
      : world_(seed),
        context_{world_.loop(), world_.host("10.0.0.1"), world_.random()},
        clusters_(context_),
        config_(std::move(config)) {
    config_.name = config_.stat_name = "service";
    resize(endpoints);
  }

  void resize(int endpoints) {
    auto set = std::make_shared<EndpointSet>();
    for (int i = 0; i < endpoints; ++i) {
      set->endpoints.push_back({.address = *Address::ip(cat("10.0.1.", i + 1), 8080)});
    }
    auto config = std::make_shared<ClusterConfig>(config_);
    config->endpoints = std::move(set);
    Snapshot snapshot;
    snapshot.clusters.emplace("service", std::move(config));
    clusters_.apply(snapshot);
    endpoints_.clear();
    for (const auto& [address, endpoint] : cluster().endpoints()) {
      endpoints_.push_back(endpoint.get());
    }
  }

  Cluster& cluster() { return *clusters_.find("service"); }
  Endpoint& endpoint(std::size_t i) { return *endpoints_.at(i); }
  std::vector<Endpoint*>& endpoints() { return endpoints_; }
  Random& random() { return world_.random(); }
  TimePoint now() { return world_.loop().now() + offset_; }

  // What the server says now.
  void report(std::size_t i, const ServerReport& report) {
    endpoint(i).load().report(report, endpoint(i).active(), now());
  }
  void report_in_flight(std::size_t i, float in_flight) {
    ServerReport report;
    report.in_flight = in_flight;
    this->report(i, report);
  }
  void advance(Duration time) { offset_ += time; }

  // Which endpoint is taken; `balancer` is the caller's own.
  std::size_t pick(Balancer& balancer, const PickHints& hints = {}) {
    Endpoint& chosen = balancer.pick(endpoints_, {random(), now(), hints});
    return static_cast<std::size_t>(std::ranges::find(endpoints_, &chosen) - endpoints_.begin());
  }
  // How often each is taken in `picks`.
  std::vector<int> shares(Balancer& balancer, int picks, const PickHints& hints = {}) {
    std::vector<int> taken(endpoints_.size());
    for (int i = 0; i < picks; ++i) ++taken[pick(balancer, hints)];
    return taken;
  }

 private:
  SimWorld world_;
  MeshContext context_;
  ClusterMap clusters_;
  ClusterConfig config_;
  std::vector<Endpoint*> endpoints_;
  Duration offset_{0};
};

}  // namespace glia
