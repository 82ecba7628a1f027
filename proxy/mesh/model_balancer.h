// The pickers for model servers: LeastLoaded looks at two, ModelBalancer at all of them and at what the
// request is about. docs/choosing-an-endpoint.md explains them to those who run them.
#pragma once

#include "proxy/mesh/balancer.h"
#include "proxy/mesh/beliefs.h"
#include "proxy/mesh/prefix_index.h"

namespace glia {

// Of two drawn at random, the one with fewer requests, where those that wait count twice, tokens of prompts
// that are not read yet as more of them, and a full KV cache makes each count more.
class LeastLoaded final : public Balancer {
 public:
  explicit LeastLoaded(ModelBalancing config) : config_(std::move(config)) {}
  Endpoint& pick(std::span<Endpoint* const> usable, const PickContext& context) override;
  bool uses_reports() const override { return true; }
  std::string why(const Endpoint& endpoint, TimePoint now) const override;

  // Requests that the tokens of a mean prompt count as, if they are not read yet.
  static constexpr float kMeanPrompt = 4;

 private:
  float score(const Beliefs::One& one, float mean_load, TimePoint now) const;
  const ModelBalancing config_;
  float mean_tokens_ = 0, prompts_ = 0;
};

// The composed default. Each endpoint has a price in requests:
//
//   ((load + 1) * kv_factor + tokens) * speed / weight + failures + adapter - affinity
//
// and the cheapest is taken; among equals, any. Tokens are those of prompts that the endpoint has still
// to read, this one's included: as many as in a mean prompt (but at least kMeanTokens) count as
// config.affinity requests, or half as many as the mean endpoint has if that is more. What it has seen
// of a prompt it need not read. Affinity is for the session and the adapter, and worth the same.
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
  // The mean prompt is taken for at least so many tokens: shorter ones take an engine as long to answer
  // as to read.
  static constexpr float kMeanTokens = 1024;
  static constexpr float kTokenMemory = 256;  // Prompts that the mean is over.
  // What is new to an endpoint counts so many times as much: reading it delays those behind it, too,
  // and takes the place of what it knows. But never more than half as many requests as the mean
  // endpoint has, or one would keep a prompt that all want.
  static constexpr float kNewTokens = 3;

 private:
  using Prices = std::array<float, Beliefs::kMost>;
  // Of a picker that goes by one of them alone, the others are not looked at.
  PickHints heeded(PickHints hints) const;
  void add_adapters(const Beliefs& beliefs, std::string_view adapter, TimePoint now,
                    Prices& prices) const;
  // Fills new_tokens_ and adds what they and those before them cost.
  void add_tokens(const Beliefs& beliefs, const PickHints& hints, float worth, Prices& prices);
  void add_affinity(const Beliefs& beliefs, const PickHints& hints, float worth, Prices& prices);
  // Takes off `worth` times the share of the chain that an endpoint knows.
  void credit(const Beliefs& beliefs, std::span<const uint64_t> chain, float worth, Prices& prices);
  void remember(Endpoint& endpoint, const PickHints& hints);
  void remember(std::size_t place, std::span<const uint64_t> chain, std::size_t most);

  const ModelBalancing config_;
  PrefixIndex index_;
  float mean_tokens_ = 0, prompts_ = 0;
  Prices new_tokens_;  // Of the prompt that is being picked for.
};

}  // namespace glia
