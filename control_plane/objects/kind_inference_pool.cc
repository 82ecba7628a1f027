// InferencePool: its fields, and the MeshService that it is to the rest.
#include <algorithm>
#include <set>
#include <tuple>

#include "control_plane/objects/kind.h"

namespace glia {

namespace {

using Pool = InferencePool;

constexpr std::size_t kMostPorts = 8;  // As the standard.

Type<Pool::Port> pool_port(std::string doc) {
  ObjectType<Pool::Port> type("a port");
  type.required("number", &Pool::Port::number, port_number(), std::move(doc));
  return type;
}

// What the standard asks of it is checked, although nobody is asked.
Type<Pool::Picker> picker() {
  ObjectType<Pool::Picker> type("an endpoint picker");
  type.optional("group", &Pool::Picker::group, text("a group"), "Not looked at.", "\"\"")
      .optional("kind", &Pool::Picker::kind, text("a kind"), "Not looked at.", "Service")
      .required("name", &Pool::Picker::name, text("a name in lower case", "", check_subdomain_name),
                "Not looked at.")
      .optional("port", &Pool::Picker::port, pool_port("Not looked at."), "")
      .optional("failureMode", &Pool::Picker::failure_mode, one_of({"FailOpen", "FailClose"}),
                "Not looked at.", "FailClose");
  return type;
}

void check_ports(Pool::Spec& spec, const YamlNode&, Reader& reader) {
  std::set<uint16_t> seen;
  for (std::size_t i = 0; i < spec.target_ports.size(); ++i) {
    const Pool::Port& port = spec.target_ports[i];
    if (seen.insert(port.number).second) continue;
    reader.error_in(cat("targetPorts[", i, "].number"), port.at,
                    cat("is ", port.number, ", which is there already"));
  }
}

}  // namespace

MeshService service_of(const Pool& pool) {
  MeshService service;
  service.metadata = pool.metadata;
  service.metadata.name = cat(MeshService::kPoolMark, pool.metadata.name);
  service.spec.selector = pool.spec.selector.match_labels;
  service.spec.at = pool.spec.at;
  for (const Pool::Port& port : pool.spec.target_ports) {
    service.spec.ports.push_back({.name = cat(port.number),
                                  .port = port.number,
                                  .target_port = std::nullopt,
                                  .app_protocol = "",
                                  .at = port.at});
  }
  return service;
}

void add_pools(ObjectSet& objects) {
  if (objects.inference_pools.empty()) return;
  for (const Pool& pool : objects.inference_pools) objects.services.push_back(service_of(pool));
  std::ranges::sort(objects.services, [](const MeshService& a, const MeshService& b) {
    return std::tie(a.metadata.ns, a.metadata.name) < std::tie(b.metadata.ns, b.metadata.name);
  });
}

Kind inference_pool_kind() {
  ObjectType<Pool::Selector> selector("which workloads are meant");
  selector
      .required("matchLabels", &Pool::Selector::match_labels, labels(),
                "Workloads of the same namespace that have all of these labels are in it.")
      .check([](Pool::Selector& value, const YamlNode&, Reader& reader) {
        if (!value.match_labels.empty()) return;
        reader.error_in("matchLabels", value.at, "must have at least one label");
      });
  ObjectType<Pool::Spec> spec("spec of an InferencePool");
  spec.required("selector", &Pool::Spec::selector, Type<Pool::Selector>(selector), "")
      .required(
          "targetPorts", &Pool::Spec::target_ports,
          list(pool_port("The port of the workloads that model requests go to."), 1, kMostPorts),
          "Each is an endpoint of its own of each workload.")
      .optional("appProtocol", &Pool::Spec::app_protocol, one_of({"http", "kubernetes.io/h2c"}),
                "In files not looked at: sidecars speak HTTP/2 with each other, and a Workload says "
                "what its ports speak. Of pods in a cluster it says that.",
                "http")
      .optional("endpointPickerRef", &Pool::Spec::endpoint_picker_ref, picker(),
                "Read, with a warning, and not asked: each caller's sidecar chooses by itself, as "
                "the ModelPolicy of the pool says.")
      .check(check_ports);
  Kind kind = make_kind<Pool, Pool::Spec>(
      "inference.networking.k8s.io/v1", check_subdomain_name, spec, SpecNeed::kRequired,
      [](Pool&& pool, Draft& draft) { draft.objects.inference_pools.push_back(std::move(pool)); });
  kind.documentation =
      "Model servers to which HTTPRoutes and GRPCRoutes send requests, as a backend in place of a "
      "Service. It has no host name of its own: callers name the Service that is the route's "
      "parent. Each pool chooses among its own servers, as its ModelPolicy says or with the "
      "composed default ([choosing an endpoint](choosing-an-endpoint.md)). Of a rule with several "
      "pools, one without servers answers its own share with 503, and no other's.";
  kind.example = R"(apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: llama}
spec:
  selector: {matchLabels: {app: llama}}
  targetPorts: [{number: 8000}]
)";
  return kind;
}

}  // namespace glia
