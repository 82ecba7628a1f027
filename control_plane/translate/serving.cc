#include "control_plane/translate/serving.h"

#include <algorithm>

#include "control_plane/translate/pack.h"
#include "envoy/extensions/load_balancing_policies/client_side_weighted_round_robin/v3/client_side_weighted_round_robin.pb.h"
#include "envoy/extensions/load_balancing_policies/least_request/v3/least_request.pb.h"
#include "glia/v1/model.pb.h"
#include "glia/v1/serving.pb.h"

namespace glia {

namespace {

using Cluster = envoy::config::cluster::v3::Cluster;
using Weighted = envoy::extensions::load_balancing_policies::client_side_weighted_round_robin::v3::
    ClientSideWeightedRoundRobin;

constexpr std::pair<std::string_view, glia::v1::ModelServer::Engine> kEngines[] = {
    {"vllm", glia::v1::ModelServer::VLLM},
    {"sglang", glia::v1::ModelServer::SGLANG},
    {"tensorrt-llm", glia::v1::ModelServer::TENSORRT_LLM},
    {"triton", glia::v1::ModelServer::TRITON},
    {"tgi", glia::v1::ModelServer::TGI},
    {"mlserver", glia::v1::ModelServer::MLSERVER},
    {"tf-serving", glia::v1::ModelServer::TF_SERVING},
};

glia::v1::ModelBalancing balancing_of(const ModelPolicy::Balancing& balancing) {
  constexpr glia::v1::ModelBalancing::Picker kPickers[] = {
      glia::v1::ModelBalancing::COMPOSED,         glia::v1::ModelBalancing::LEAST_LOADED_OF_TWO,
      glia::v1::ModelBalancing::HOT_COLD,         glia::v1::ModelBalancing::PREFIX_AFFINITY,
      glia::v1::ModelBalancing::ADAPTER_AFFINITY, glia::v1::ModelBalancing::SESSION_AFFINITY};
  glia::v1::ModelBalancing message;
  message.set_picker(kPickers[static_cast<std::size_t>(balancing.picker)]);
  if (balancing.half_life) set_duration(*balancing.half_life, *message.mutable_half_life());
  if (balancing.hot_percent) {
    message.mutable_hot_quantile()->set_value(*balancing.hot_percent / 100.0);
  }
  if (balancing.probes) message.mutable_probes()->set_value(*balancing.probes);
  if (balancing.affinity) message.mutable_affinity()->set_value(*balancing.affinity);
  if (balancing.prefix_blocks) {
    message.mutable_prefix_blocks()->set_value(*balancing.prefix_blocks);
  }
  if (!balancing.session_header.empty()) {
    message.mutable_session_header()->set_value(balancing.session_header);
  }
  if (balancing.oob_interval) {
    set_duration(*balancing.oob_interval, *message.mutable_oob_interval());
  }
  return message;
}

// Envoy and gRPC know it, too.
Weighted weighted_of(const ModelPolicy::Balancing& balancing) {
  Weighted message;
  if (balancing.oob_interval) {
    message.mutable_enable_oob_load_report()->set_value(true);
    set_duration(*balancing.oob_interval, *message.mutable_oob_reporting_period());
  }
  if (!balancing.weights) return message;
  const ModelPolicy::Balancing::Weights& weights = *balancing.weights;
  if (weights.blackout) set_duration(*weights.blackout, *message.mutable_blackout_period());
  if (weights.expiry) set_duration(*weights.expiry, *message.mutable_weight_expiration_period());
  if (weights.update) set_duration(*weights.update, *message.mutable_weight_update_period());
  if (weights.error_penalty) {
    message.mutable_error_utilization_penalty()->set_value(
        static_cast<float>(*weights.error_penalty));
  }
  for (const std::string& metric : weights.metrics) {
    message.add_metric_names_for_computing_utilization(metric);
  }
  return message;
}

void add_policy(const char* name, const google::protobuf::Message& policy, Cluster& cluster) {
  auto* extension =
      cluster.mutable_load_balancing_policy()->add_policies()->mutable_typed_extension_config();
  extension->set_name(name);
  pack(policy, *extension->mutable_typed_config());
}

}  // namespace

void tell_model_server(const Workload& workload, Cluster& cluster) {
  if (!workload.spec.model_server) return;
  const Workload::ModelServer& server = *workload.spec.model_server;
  glia::v1::ModelServer message;
  for (const auto& [word, engine] : kEngines) {
    if (server.engine == word) message.set_engine(engine);
  }
  message.set_metrics_address(workload.spec.app_address);
  message.set_metrics_port(server.metrics_port);
  message.set_metrics_path(server.metrics_path);
  message.mutable_interval()->set_seconds(server.interval / std::chrono::seconds(1));
  message.mutable_interval()->set_nanos(
      static_cast<int32_t>((server.interval % std::chrono::seconds(1)).count()));
  pack(message,
       (*cluster.mutable_metadata()->mutable_typed_filter_metadata())["glia.model_server"]);
}

void choose_by_load(const ObjectSet& objects, const MeshService& service, Cluster& cluster) {
  const bool any = service.is_pool() || std::ranges::any_of(service.members, [&](std::size_t m) {
                     return objects.workloads[m].spec.model_server.has_value();
                   });
  const ModelPolicy* const policy = objects.model_policy(service);
  const bool told = policy != nullptr && policy->spec.balancing.has_value();
  if (!any && !told) return;
  using Picker = ModelPolicy::Balancing::Picker;
  if (told && policy->spec.balancing->picker == Picker::kWeightedByReports) {
    add_policy("envoy.load_balancing_policies.client_side_weighted_round_robin",
               weighted_of(*policy->spec.balancing), cluster);
  } else {
    add_policy("glia.model",
               told ? balancing_of(*policy->spec.balancing) : glia::v1::ModelBalancing(), cluster);
  }
  add_policy("envoy.load_balancing_policies.least_request",
             envoy::extensions::load_balancing_policies::least_request::v3::LeastRequest(),
             cluster);
}

void read_model_requests(
    const ObjectSet& objects,
    envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager&
        manager) {
  const bool any = std::ranges::any_of(objects.workloads, [](const Workload& workload) {
    return workload.spec.model_server.has_value();
  });
  if (!any && objects.inference_pools.empty()) return;
  glia::v1::ModelRequests reading;
  reading.set_always(true);
  reading.set_prefix_hashes(true);
  auto* filter = manager.add_http_filters();
  filter->set_name("glia.model_requests");
  filter->set_is_optional(true);
  pack(reading, *filter->mutable_typed_config());
}

}  // namespace glia
