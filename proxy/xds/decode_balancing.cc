#include "proxy/xds/decode_balancing.h"

#include <array>

#include "proxy/base/text.h"
#include "proxy/mesh/hot_cold.h"

namespace glia {
namespace {

using enum Balancing::Policy;

constexpr std::string_view kPolicies = "envoy.extensions.load_balancing_policies.";
constexpr Duration kShortestHalfLife = 1ms, kLongestHalfLife = 10min;
constexpr Duration kShortestInterval = 50ms, kLongestInterval = 60s;
constexpr Duration kShortestUpdate = 100ms;  // Of weights (gRFC A58).
// Load out of band; servers floor it, ours at the same (flow/load_stream.h).
constexpr Duration kOobUsual = 10s, kShortestOob = 100ms, kLongestOob = 10min;
constexpr Duration kShortestProbeAge = 10ms, kLongestProbeAge = 60s;
constexpr uint32_t kMostPrefixBlocks = 1'000'000;

// A duration within bounds; outside of them an error that says so, and `otherwise`.
Duration bounded(const Reader& reader, std::string_view name, Duration otherwise, Duration least,
                 Duration most) {
  const Duration value = reader.duration(name, otherwise);
  if (value >= least && value <= most) return value;
  reader.fail(name, cat("is ", to_seconds(value), "s; it can be ", to_seconds(least), "s to ",
                        to_seconds(most), "s"));
  return otherwise;
}

void decode_weighted(const Reader& policy, Balancing& balancing) {
  balancing.policy = kWeightedByReports;
  ReportWeights& weights = balancing.weights;
  const Duration period =
      bounded(policy, "oob_reporting_period", kOobUsual, kShortestOob, kLongestOob);
  if (policy.flag("enable_oob_load_report")) balancing.oob_interval = period;
  weights.blackout = policy.duration("blackout_period", weights.blackout);
  weights.expiry = policy.duration("weight_expiration_period", weights.expiry);
  // As gRFC A58 asks, less than the least period is that period.
  weights.update =
      std::max(kShortestUpdate, policy.duration("weight_update_period", weights.update));
  weights.error_penalty = policy.real("error_utilization_penalty", weights.error_penalty);
  if (!(weights.error_penalty >= 0)) policy.fail("error_utilization_penalty", "is below 0");
  weights.metrics = policy.texts("metric_names_for_computing_utilization");
}

void decode_model_balancing(const Reader& policy, Balancing& balancing) {
  using enum ModelBalancing::Picker;
  balancing.policy = kModel;
  ModelBalancing& model = balancing.model;
  const std::string picker = policy.choice("picker");
  model.picker = picker == "HOT_COLD"              ? kHotCold
                 : picker == "LEAST_LOADED_OF_TWO" ? kLeastLoadedOfTwo
                 : picker == "PREFIX_AFFINITY"     ? kPrefixAffinity
                 : picker == "ADAPTER_AFFINITY"    ? kAdapterAffinity
                 : picker == "SESSION_AFFINITY"    ? kSessionAffinity
                                                   : kComposed;
  model.half_life =
      bounded(policy, "half_life", model.half_life, kShortestHalfLife, kLongestHalfLife);
  const double quantile = policy.real("hot_quantile", model.hot_quantile);
  if (quantile >= 0 && quantile <= 1)
    model.hot_quantile = quantile;
  else
    policy.fail("hot_quantile", "is not between 0 and 1");
  const double probes = policy.real("probes", model.probes);
  if (probes >= 0 && probes <= HotCold::kMostProbes)
    model.probes = probes;
  else
    policy.fail("probes", cat("is not between 0 and ", HotCold::kMostProbes));
  model.probe_age =
      bounded(policy, "probe_age", model.probe_age, kShortestProbeAge, kLongestProbeAge);
  const double affinity = policy.real("affinity", model.affinity);
  if (affinity >= 0 && affinity <= 1000)
    model.affinity = affinity;
  else
    policy.fail("affinity", "is not between 0 and 1000");
  model.prefix_blocks =
      static_cast<uint32_t>(policy.number("prefix_blocks", model.prefix_blocks, kMostPrefixBlocks));
  if (policy.has("oob_interval")) {
    balancing.oob_interval = bounded(policy, "oob_interval", 1s, kShortestOob, kLongestOob);
  }
  if (policy.has("session_header")) model.session_header = to_lower(policy.text("session_header"));
}

// Returns whether it is one of ours.
bool decode_one(const Reader& any, Balancing& balancing) {
  const Reader policy = any.content();
  const std::string_view type = policy.type();
  if (type == "glia.v1.ModelBalancing") {
    decode_model_balancing(policy, balancing);
  } else if (!type.starts_with(kPolicies)) {
    return false;
  } else if (type.ends_with(".client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin")) {
    decode_weighted(policy, balancing);
  } else if (type.ends_with(".round_robin.v3.RoundRobin")) {
    balancing.policy = kRoundRobin;
  } else if (type.ends_with(".random.v3.Random")) {
    balancing.policy = kRandom;
  } else if (type.ends_with(".least_request.v3.LeastRequest")) {
    balancing.policy = kLeastRequest;
    balancing.choices = decode_choices(policy);
  } else {
    return false;
  }
  return true;
}

constexpr std::array<std::pair<std::string_view, Engine>, 7> kEngines = {{
    {"VLLM", Engine::kVllm},
    {"SGLANG", Engine::kSglang},
    {"TENSORRT_LLM", Engine::kTensorRtLlm},
    {"TRITON", Engine::kTriton},
    {"TGI", Engine::kTgi},
    {"MLSERVER", Engine::kMlServer},
    {"TF_SERVING", Engine::kTfServing},
}};

ModelServerConfig decode_server(const Reader& server) {
  ModelServerConfig config;
  const std::string name = server.choice("engine");
  bool known = false;
  for (const auto& [word, engine] : kEngines) {
    if (word != name) continue;
    config.engine = engine;
    known = true;
  }
  if (!known) server.fail("engine", "must name the model server: VLLM, SGLANG, TRITON, ...");
  std::string host = server.text("metrics_address");
  if (host.empty()) host = "127.0.0.1";
  const auto port = static_cast<uint16_t>(server.number("metrics_port", 0, 65535, 1));
  if (port == 0) server.fail("has no metrics_port");
  const Result<Address> address = Address::ip(host, port);
  if (address)
    config.metrics = *address;
  else
    server.fail("metrics_address", cat(host, " is not an IP address"));
  config.path = server.text("metrics_path");
  if (config.path.empty()) config.path = metrics_path(config.engine);
  if (!config.path.starts_with('/') || config.path.find_first_of(" \t\r\n#") != std::string::npos) {
    server.fail("metrics_path", cat(config.path, " is not an absolute path"));
  }
  config.interval =
      bounded(server, "interval", config.interval, kShortestInterval, kLongestInterval);
  config.timeout = bounded(server, "timeout", config.timeout, kShortestInterval, kLongestInterval);
  return config;
}

}  // namespace

uint32_t decode_choices(const Reader& least_request) {
  return static_cast<uint32_t>(
      least_request.number("choice_count", Balancing().choices, 1000, Balancing().choices));
}

Balancing decode_balancing_policy(const Reader& policy) {
  Balancing balancing;
  bool decided = false;
  std::string unknown;
  policy.each("policies", [&](const Reader& one, std::size_t) {
    const Reader extension = one.message("typed_extension_config");
    if (decided) return one.accept_all();
    (void)extension.text("name");
    const Reader any = extension.message("typed_config");
    if (any.known_content() && decode_one(any, balancing)) {
      decided = true;
      return;
    }
    unknown += cat(unknown.empty() ? "" : ", ", extension.text("name"));
    one.accept_all();
  });
  if (decided) return balancing;
  policy.fail(
      "policies",
      cat(unknown.empty() ? "is empty" : cat("has none that glia-proxy supports (", unknown, ")"),
          "; it can be round_robin, least_request, random, "
          "client_side_weighted_round_robin or glia.v1.ModelBalancing"));
  return balancing;
}

std::optional<ModelServerConfig> decode_model_server(const Reader& metadata) {
  std::optional<ModelServerConfig> server;
  metadata.accept("filter_metadata");
  metadata.each_in_map("typed_filter_metadata", [&](const std::string& key, const Reader& any) {
    if (key != "glia.model_server") return any.accept_all();
    const Reader content = any.content();
    if (!content.present()) return;
    if (content.type() != "glia.v1.ModelServer") {
      any.accept_all();
      return any.fail(cat("is a ", content.type(), ", not a glia.v1.ModelServer"));
    }
    server = decode_server(content);
  });
  return server;
}

}  // namespace glia
