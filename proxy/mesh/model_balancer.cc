#include "proxy/mesh/model_balancer.h"

#include <algorithm>
#include <cmath>

#include "proxy/base/text.h"

namespace glia {
namespace {

// A session or an adapter as a chain of one block, which no prompt has.
uint64_t name_hash(char kind, std::string_view name) {
  return (EndpointLoad::adapter_hash(name) ^ static_cast<uint64_t>(kind)) * 0x9E3779B97F4A7C15;
}
constexpr char kSession = 's', kAdapter = 'a';

std::string text_of(double number) {
  const bool whole = std::abs(number - std::round(number)) < 0.005;
  return whole ? cat(static_cast<int64_t>(std::round(number)))
               : cat(std::round(number * 100) / 100);
}

// What is believed, in words that hold for both pickers.
std::string belief_text(const Endpoint& endpoint, TimePoint now, Duration half_life) {
  const EndpointLoad& load = endpoint.load();
  std::string text = cat("load ", text_of(load.estimate), " (", endpoint.active(), " ours");
  if (!load.heard()) return text + ", others as at half the mean endpoint: no report yet)";
  const double believed = load.confidence(now, half_life);
  if (load.others()) {
    text += cat(", ", text_of(*load.others()), " of others ", to_ms(now - load.heard_at()),
                " ms ago, believed by ", text_of(believed), ")");
  } else {
    text += ", others as at half the mean endpoint: its reports do not say)";
  }
  const ServerReport& report = load.last();
  if (report.waiting) text += cat(", ", text_of(*report.waiting), " waiting");
  if (report.kv_use) text += cat(", KV cache ", text_of(*report.kv_use * 100), " % used");
  if (const float reading = load.reading() + load.others_reading(); reading >= 1) {
    text += cat(", ", text_of(std::round(reading)), " tokens to read");
  }
  return text;
}

}  // namespace

// Those that wait are counted twice. Tokens of prompts that it has to read before any answer begins count
// as in the composed price: a mean prompt's as kMeanPrompt requests, or as half as many as the mean
// endpoint has if that is more.
float LeastLoaded::score(const Beliefs::One& one, float mean_load, TimePoint now) const {
  const EndpointLoad& load = one.endpoint->load();
  const float waiting = load.last().waiting.value_or(0) * one.confidence;
  const float worth = std::max(kMeanPrompt, mean_load / 2);
  const float reading = one.reading * worth / std::max(mean_tokens_, ModelBalancer::kMeanTokens);
  return (one.load + 1 + waiting + reading) *
         Beliefs::kv_factor(load, now, Beliefs::rate_of(config_.half_life)) /
         static_cast<float>(one.endpoint->config().weight);
}

Endpoint& LeastLoaded::pick(std::span<Endpoint* const> usable, const PickContext& context) {
  const Beliefs beliefs(usable, Beliefs::kMost, context.random, context.now, config_.half_life);
  const auto all = beliefs.all();
  const float tokens = context.hints.tokens;
  if (tokens > 0) {
    prompts_ = std::min(prompts_ + 1, ModelBalancer::kTokenMemory);
    mean_tokens_ += (tokens - mean_tokens_) / prompts_;
  }
  const Beliefs::One* best = &all[context.random.below(all.size())];
  const Beliefs::One* other = &all[context.random.below(all.size())];
  const float best_score = score(*best, beliefs.mean_load(), context.now);
  const float other_score = score(*other, beliefs.mean_load(), context.now);
  best->endpoint->load().score = best_score;
  other->endpoint->load().score = other_score;
  if (other_score < best_score) best = other;
  ++best->endpoint->load().picked;
  best->endpoint->load().expected = tokens;
  return *best->endpoint;
}

std::string LeastLoaded::why(const Endpoint& endpoint, TimePoint now) const {
  return belief_text(endpoint, now, config_.half_life);
}

Endpoint& ModelBalancer::pick(std::span<Endpoint* const> usable, const PickContext& context) {
  const TimePoint now = context.now;
  const Beliefs beliefs(usable, Beliefs::kMost, context.random, now, config_.half_life);
  const auto all = beliefs.all();
  const PickHints hints = heeded(context.hints);
  Prices prices;
  const float rate = Beliefs::rate_of(config_.half_life);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const EndpointLoad& load = all[i].endpoint->load();
    prices[i] = (all[i].load + 1) * Beliefs::kv_factor(load, now, rate);
  }
  const float worth = std::max(static_cast<float>(config_.affinity), beliefs.mean_load() / 2);
  add_tokens(beliefs, hints, worth, prices);
  const float unit = std::max(1.0f, beliefs.mean_load() / 4);
  for (std::size_t i = 0; i < all.size(); ++i) {
    EndpointLoad& load = all[i].endpoint->load();
    load.work = prices[i];
    prices[i] *= all[i].speed;
    const uint32_t weight = all[i].endpoint->config().weight;
    if (weight != 1) prices[i] /= static_cast<float>(weight);
    const double failures = load.failures(now);
    if (failures > 0.01) prices[i] += static_cast<float>(failures) * kFailure * unit;
  }
  const std::string_view adapter = hints.adapter.empty() ? hints.model : hints.adapter;
  if (!adapter.empty()) add_adapters(beliefs, adapter, now, prices);
  if (config_.affinity > 0) add_affinity(beliefs, hints, worth, prices);
  std::size_t best = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i].endpoint->load().score = prices[i];
    if (prices[i] < prices[best]) best = i;
  }
  Endpoint& chosen = *all[best].endpoint;
  ++chosen.load().picked;
  chosen.load().expected = new_tokens_[best];
  if (config_.affinity > 0) remember(chosen, hints);
  return chosen;
}

PickHints ModelBalancer::heeded(PickHints hints) const {
  using enum ModelBalancing::Picker;
  const auto only = [&](ModelBalancing::Picker picker) {
    return config_.picker == kComposed || config_.picker == picker;
  };
  if (!only(kPrefixAffinity)) hints.prefix = {};
  if (!only(kAdapterAffinity)) hints.adapter = hints.model = {};
  if (!only(kSessionAffinity)) hints.session = {};
  return hints;
}

void ModelBalancer::add_tokens(const Beliefs& beliefs, const PickHints& hints, float worth,
                               Prices& prices) {
  constexpr float kBlockTokens = 64;  // model/prefix.h
  const auto all = beliefs.all();
  const bool knows = config_.affinity > 0 && !hints.prefix.empty();
  const float tokens =
      std::max(hints.tokens, static_cast<float>(hints.prefix.size()) * kBlockTokens);
  if (tokens > 0) {
    prompts_ = std::min(prompts_ + 1, kTokenMemory);
    mean_tokens_ += (tokens - mean_tokens_) / prompts_;
  }
  const float mean = std::max(mean_tokens_, kMeanTokens);
  const float fresh =
      std::max(kNewTokens * static_cast<float>(config_.affinity), beliefs.mean_load() / 2);
  if (knows) index_.look(hints.prefix);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const uint32_t place = all[i].endpoint->load().prefix_place;
    const std::size_t depth = knows && place != 0 ? index_.depth(place - 1) : 0;
    // The whole chain may stop short of the prompt's end.
    new_tokens_[i] = std::max(0.0f, tokens - static_cast<float>(depth) * kBlockTokens);
    prices[i] += (all[i].reading * worth + new_tokens_[i] * fresh) / mean;
  }
}

// Only if somebody is known to have it: else its name is that of a base model, which all have.
void ModelBalancer::add_adapters(const Beliefs& beliefs, std::string_view adapter, TimePoint now,
                                 Prices& prices) const {
  const uint64_t hash = EndpointLoad::adapter_hash(adapter);
  const float unit = std::max(1.0f, beliefs.mean_load() / 4);
  const auto all = beliefs.all();
  Prices extra;
  bool known = false;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const EndpointLoad& load = all[i].endpoint->load();
    const auto believed = static_cast<float>(load.engine_confidence(now, config_.half_life * 10));
    const ServerReport::Adapter state = load.adapter(hash);
    known = known || state != ServerReport::Adapter::kAbsent;
    const float price = state == ServerReport::Adapter::kLoaded    ? 0
                        : state == ServerReport::Adapter::kWaiting ? kAdapterWaits
                        : load.adapter_room()                      ? kAdapterLoads
                                                                   : kAdapterEvicts;
    extra[i] = (believed * price + (1 - believed) * kAdapterLoads) * unit;
  }
  if (!known) return;
  for (std::size_t i = 0; i < all.size(); ++i) prices[i] += extra[i];
}

void ModelBalancer::add_affinity(const Beliefs& beliefs, const PickHints& hints, float worth,
                                 Prices& prices) {
  if (!hints.session.empty()) {
    const uint64_t session = name_hash(kSession, hints.session);
    credit(beliefs, {&session, 1}, worth, prices);
  }
  if (!hints.adapter.empty()) {
    const uint64_t adapter = name_hash(kAdapter, hints.adapter);
    credit(beliefs, {&adapter, 1}, worth / 4, prices);
  }
  // Last, so that remember() goes on with what was found.
  if (!hints.prefix.empty() && !(hints.session.empty() && hints.adapter.empty())) {
    index_.look(hints.prefix);
  }
}

void ModelBalancer::credit(const Beliefs& beliefs, std::span<const uint64_t> chain, float worth,
                           Prices& prices) {
  index_.look(chain);
  const float each =
      worth / static_cast<float>(std::min<std::size_t>(chain.size(), PrefixIndex::kLongest));
  const auto all = beliefs.all();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const uint32_t place = all[i].endpoint->load().prefix_place;
    if (place != 0) prices[i] -= static_cast<float>(index_.depth(place - 1)) * each;
  }
}

void ModelBalancer::remember(Endpoint& endpoint, const PickHints& hints) {
  if (hints.prefix.empty() && hints.session.empty() && hints.adapter.empty()) return;
  EndpointLoad& load = endpoint.load();
  if (load.prefix_place == 0) {
    const std::size_t opened = index_.open();
    if (opened == PrefixIndex::kPlaces) return;
    load.prefix_place = static_cast<uint32_t>(opened + 1);
  }
  const std::size_t place = load.prefix_place - 1;
  // No more than its KV cache holds, if it said.
  const ServerReport& report = load.last();
  const std::size_t most = static_cast<std::size_t>(report.block_size) * report.block_count / 64;
  if (!hints.prefix.empty()) index_.remember(place, most);
  if (!hints.session.empty()) {
    const uint64_t session = name_hash(kSession, hints.session);
    remember(place, {&session, 1}, most);
  }
  if (!hints.adapter.empty()) {
    const uint64_t adapter = name_hash(kAdapter, hints.adapter);
    remember(place, {&adapter, 1}, most);
  }
}

void ModelBalancer::remember(std::size_t place, std::span<const uint64_t> chain, std::size_t most) {
  index_.look(chain);
  index_.remember(place, most);
}

void ModelBalancer::removed(Endpoint& endpoint) {
  uint32_t& place = endpoint.load().prefix_place;
  if (place != 0) index_.close(place - 1);
  place = 0;
}

std::string ModelBalancer::why(const Endpoint& endpoint, TimePoint now) const {
  std::string text = belief_text(endpoint, now, config_.half_life);
  const EndpointLoad& load = endpoint.load();
  if (const auto latency = load.latency()) text += cat(", latency ", to_ms(*latency), " ms");
  if (const double failures = load.failures(now); failures > 0.01) {
    text += cat(", ", text_of(failures), " failures of late");
  }
  if (load.prefix_place != 0) {
    text += cat(", ", index_.blocks(load.prefix_place - 1), " prompt blocks known");
  }
  return text;
}

}  // namespace glia
