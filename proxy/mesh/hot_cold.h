// HotCold: Prequal's rule (Wydrowski et al., NSDI 2024, section 4): servers with more requests in flight
// than a quantile of all are hot. Among the cold, the one with the lowest latency for its requests in
// flight; if all are hot, the one with the fewest.
//
// Both ends take part. After each pick a few servers drawn at random are asked how they are (prober.h),
// off the request's way; the server's own sidecar answers from what it knows, for all callers together.
// Answers go to a small pool: they are taken out when they are old, when they were used a few times, and
// the oldest and the worst in turn, so that it does not fill up with those that nobody wants. Where no
// probes come in, each answer to a request carries the same two numbers, and the choice is among what was
// last heard of each endpoint.
#pragma once

#include <vector>

#include "proxy/mesh/balancer.h"

namespace glia {

class HotCold final : public Balancer {
 public:
  explicit HotCold(ModelBalancing config) : config_(std::move(config)) {}
  Endpoint& pick(std::span<Endpoint* const> usable, const PickContext& context) override;
  void removed(Endpoint& endpoint) override;
  bool uses_reports() const override { return true; }
  std::span<Endpoint* const> to_probe() const override { return to_probe_; }
  void probed(Endpoint& endpoint, const ServerReport& report, TimePoint now) override;
  std::string why(const Endpoint& endpoint, TimePoint now) const override;

  std::size_t pool() const { return pool_.size(); }
  // How often one probe is used among `endpoints`, before it is taken out: as the paper has it, with
  // delta 1 and a quarter as many taken out as come in.
  int uses(std::size_t endpoints) const;

  static constexpr std::size_t kPool = 16;  // Probes, and endpoints that are compared without them.
  static constexpr std::size_t kLeastPool = 2;    // With fewer, what was last heard decides.
  static constexpr std::size_t kMostProbes = 16;  // After one pick.
  static constexpr std::size_t kRecent = 64;      // Requests in flight that the quantile is of.

 private:
  struct Probe {
    Endpoint* endpoint;
    float in_flight;
    float latency;  // Seconds; below 0: not known.
    TimePoint at;
    int used = 0;
  };

  Endpoint& pick_known(std::span<Endpoint* const> usable, const PickContext& context);
  Endpoint* pick_probed(std::span<Endpoint* const> usable, TimePoint now);
  // Probes of one pool: few of the endpoints, so that there is something to choose.
  static std::size_t room(std::size_t endpoints);
  void take_out(std::size_t endpoints, TimePoint now);
  void take_out_worst();
  // Draws whom to ask after this pick.
  void draw(std::span<Endpoint* const> usable, Random& random);
  float hot_limit() const;

  const ModelBalancing config_;
  std::vector<Probe> pool_;  // The oldest first.
  std::vector<Endpoint*> to_probe_;
  std::vector<float> recent_;  // In flight, of the last probes; a ring once it is full.
  std::size_t next_recent_ = 0;
  double due_ = 0, out_ = 0;  // Parts of a probe that are to be sent, taken out.
  bool oldest_next_ = true;
};

}  // namespace glia
