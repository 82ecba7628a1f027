// The pickers for model servers: LeastLoaded looks at two, ModelBalancer at all of them and at what the
// request is about. docs/choosing-an-endpoint.md explains them to those who run them.
#pragma once

#include "proxy/mesh/balancer.h"
#include "proxy/mesh/beliefs.h"
#include "proxy/mesh/prefix_index.h"

namespace glia {

// Of two drawn at random, the one with fewer requests, where those that wait count twice and a full KV
// cache makes each count more.
class LeastLoaded final : public Balancer {
 public:
  explicit LeastLoaded(ModelBalancing config) : config_(std::move(config)) {}
  Endpoint& pick(std::span<Endpoint* const> usable, const PickContext& context) override;
  bool uses_reports() const override { return true; }
  std::string why(const Endpoint& endpoint, TimePoint now) const override;

 private:
  float score(const Beliefs::One& one, TimePoint now) const;
  const ModelBalancing config_;
};

// The composed default. Each endpoint has a price in requests:
//
//   (load + 1) * speed * kv_factor / weight + failures + adapter - affinity
//
// and the cheapest is taken; among equals, any. Affinity is for what it has seen of the prompt, the
// session and the adapter. It is worth config.affinity requests, or half as many as the mean endpoint has
// if that is more: an endpoint that everybody wants is left when it is half again as busy as the others.
class ModelBalancer final : public Balancer {
 public:
  explicit ModelBalancer(ModelBalancing config)
      : config_(std::move(config)), index_(config_.prefix_blocks) {}
  Endpoint& pick(std::span<Endpoint* const> usable, const PickContext& context) override;
  void removed(Endpoint& endpoint) override;
  bool uses_reports() const override { return true; }
  std::string why(const Endpoint& endpoint, TimePoint now) const override;

  const PrefixIndex& index() const { return index_; }

  // Prices, in requests.
  static constexpr float kFailure = 8;  // One that has just failed.
  static constexpr float kAdapterWaits = 1, kAdapterLoads = 2, kAdapterEvicts = 4;
  // Tokens of a prompt whose whole reading is worth the full affinity.
  static constexpr float kFullAffinityTokens = 1024;

 private:
  using Prices = std::array<float, Beliefs::kMost>;
  void add_adapters(const Beliefs& beliefs, std::string_view adapter, TimePoint now,
                    Prices& prices) const;
  void add_affinity(const Beliefs& beliefs, const PickHints& hints, Prices& prices);
  // Takes off `worth` times the share of the chain that an endpoint knows.
  void credit(const Beliefs& beliefs, std::span<const uint64_t> chain, float worth, Prices& prices);
  void remember(Endpoint& endpoint, const PickHints& hints);
  void remember(std::size_t place, std::span<const uint64_t> chain, std::size_t most);

  const ModelBalancing config_;
  PrefixIndex index_;
};

}  // namespace glia
