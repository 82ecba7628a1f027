#include "control_plane/translate/find_host.h"

#include <algorithm>
#include <vector>

#include "control_plane/objects/reference.h"
#include "control_plane/translate/outbound.h"
#include "control_plane/translate/routes.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr std::size_t kLongestShown = 300;  // bytes of a stranger's host

std::vector<std::string_view> labels_of(std::string_view name) {
  std::vector<std::string_view> labels;
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t dot = std::min(name.find('.', at), name.size());
    labels.push_back(name.substr(at, dot - at));
    at = dot + 1;
  }
  return labels;
}

// As the domain of a virtual host is found by a sidecar: without a port, that of http is meant, too.
bool is_domain(const std::vector<std::string>& domains, std::string_view host) {
  return std::ranges::any_of(domains, [host](const std::string& domain) {
    return domain == host || domain == cat(host, ":80");
  });
}

bool is_host_of(const MeshService& service, std::string_view host, const std::string& ns) {
  return std::ranges::any_of(service.spec.ports, [&](const MeshService::Port& port) {
    return is_domain(service_domains(service, port.port, ns), host);
  });
}

// NAME, NAME.NAMESPACE, NAME.NAMESPACE.svc or NAME.NAMESPACE.svc.cluster.local, or a clusterIP.
const MeshService* service_meant(const ObjectSet& objects, const std::string& ns,
                                 std::string_view name) {
  const std::string_view ip = trim(name, "[]");
  const auto by_address = std::ranges::find_if(objects.services, [ip](const MeshService& service) {
    return !service.headless() && service.spec.cluster_ip == ip;
  });
  if (by_address != objects.services.end()) return &*by_address;
  const std::vector<std::string_view> labels = labels_of(name);
  return objects.service(labels.size() > 1 ? labels[1] : std::string_view(ns), labels[0]);
}

std::string alone_meant(const ObjectSet& objects, std::string_view host) {
  for (const Workload* workload : named_alone(objects)) {
    for (const Workload::Port& port : workload->spec.ports) {
      const std::string name = alone_host(*workload, port);
      if (name == host || is_domain(alone_domains(objects, *workload, port), host)) return name;
    }
  }
  return "";
}

Error no_route(std::string sentence) {
  return Error(ErrorKind::kNoRoute, Fault::kDownstream, std::move(sentence));
}

}  // namespace

bool on_demand(const ObjectSet& objects, const Workload& workload) {
  return workload.spec.discovery.value_or(objects.mesh.spec.discovery) ==
         SidecarDiscovery::kOnDemand;
}

bool may_call(const std::vector<std::string>& egress, const std::string& found) {
  return egress.empty() || std::ranges::binary_search(egress, found);
}

Result<std::string> find_host(const ObjectSet& objects, const Workload& caller,
                              std::string_view given) {
  const std::string host = to_lower(given);
  const std::string& ns = caller.metadata.ns;
  const std::size_t bracket = host.rfind(']');
  const std::size_t colon = host.find(':', bracket == host.npos ? 0 : bracket);
  const MeshService* service = service_meant(objects, ns, host.substr(0, colon));
  const bool is_service = service != nullptr && is_host_of(*service, host, ns);
  std::string found = is_service ? service->metadata.key() : alone_meant(objects, host);
  if (!found.empty() && may_call(caller.spec.egress, found)) return found;
  if (!found.empty()) {
    return Error(
        ErrorKind::kDenied, Fault::kDownstream,
        cat("Workload ", caller.metadata.key(), " may not call ", is_service ? "Service " : "",
            found, "; its spec.egress would have to name it"));
  }
  std::string shown;
  append_json_escaped(shown, std::string_view(host).substr(0, kLongestShown));
  if (service == nullptr) {
    return no_route(cat("no Service has the host name ", shown,
                        "; write NAME, NAME.NAMESPACE, NAME.NAMESPACE.svc or "
                        "NAME.NAMESPACE.svc.cluster.local, with :PORT unless the Service has one "
                        "port or port 80"));
  }
  std::string ports;
  for (const MeshService::Port& port : service->spec.ports) {
    ports += cat(ports.empty() ? "" : ", ", port.port);
  }
  return no_route(cat("Service ", service->metadata.key(), " is not known as ", shown,
                      "; it has the ports ", ports));
}

}  // namespace glia
