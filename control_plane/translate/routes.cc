#include "control_plane/translate/routes.h"

#include <algorithm>

#include "control_plane/translate/canary.h"
#include "control_plane/translate/outbound.h"
#include "control_plane/translate/pack.h"
#include "control_plane/translate/route_action.h"
#include "control_plane/translate/route_rules.h"
#include "glia/v1/discovery.pb.h"
#include "glia/v1/traffic.pb.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

constexpr uint16_t kHttpPort = 80;
// Envoy refuses direct responses above 4096 bytes unless told otherwise.
constexpr std::size_t kMaxNamesInAnswer = 3000;

using VirtualHost = envoy::config::route::v3::VirtualHost;

// May the Service be called without a port?
bool is_bare(const MeshService& service, uint16_t port) {
  return service.spec.ports.size() == 1 || port == kHttpPort;
}

// As it stands in a host with a port.
std::string in_brackets(const std::string& ip) {
  return ip.find(':') == ip.npos ? ip : cat("[", ip, "]");
}

void add_default_route(std::string name, std::string cluster, VirtualHost& host) {
  auto* route = host.add_routes();
  route->set_name(std::move(name));
  route->mutable_match()->set_prefix("/");
  route->mutable_route()->set_cluster(std::move(cluster));
}

// What a TrafficPolicy (null: none) says of requests.
void set_traffic(const TrafficPolicy* policy, VirtualHost& host) {
  for (auto& route : *host.mutable_routes()) set_traffic(policy, route);
  if (policy == nullptr || !policy->spec.minimum_body_rate) return;
  v1::MinimumRate rate;
  rate.mutable_bytes_per_second()->set_value(policy->spec.minimum_body_rate->bytes_per_second);
  set_duration(policy->spec.minimum_body_rate->window, *rate.mutable_window());
  // A real Envoy does not know it, and passes over what is optional.
  envoy::config::route::v3::FilterConfig optional;
  optional.set_is_optional(true);
  pack(rate, *optional.mutable_config());
  pack(optional, (*host.mutable_typed_per_filter_config())["glia.minimum_rate"]);
}

// What a ModelPolicy (null: none) says of requests.
void set_hedging(const ModelPolicy* policy, VirtualHost& host) {
  if (policy == nullptr || !policy->spec.hedge) return;
  const ModelPolicy::Hedge& hedge = *policy->spec.hedge;
  v1::Hedging hedging;
  if (hedge.after) set_duration(*hedge.after, *hedging.mutable_delay());
  if (hedge.percentile) hedging.mutable_quantile()->set_value(*hedge.percentile / 100.0);
  if (hedge.budget_percent) hedging.mutable_budget_percent()->set_value(*hedge.budget_percent);
  if (hedge.least) hedging.mutable_least()->set_value(*hedge.least);
  if (hedge.kept_bytes) hedging.mutable_kept_bytes()->set_value(*hedge.kept_bytes);
  if (hedge.requests == ModelPolicy::Hedge::Requests::kAll) {
    hedging.set_requests(v1::Hedging::ALL);
  }
  envoy::config::route::v3::FilterConfig optional;
  optional.set_is_optional(true);
  pack(hedging, *optional.mutable_config());
  pack(optional, (*host.mutable_typed_per_filter_config())["glia.hedging"]);
}

void add_workload(const ObjectSet& objects, const Workload& workload, const Workload::Port& port,
                  VirtualHost& host) {
  host.set_name(alone_host(workload, port));
  for (std::string& name : alone_domains(objects, workload, port)) {
    host.add_domains(std::move(name));
  }
  add_default_route(cat("Workload/", workload.metadata.key()), direct_cluster(workload, port),
                    host);
  set_traffic(nullptr, host);
}

void add_no_match(const MeshService& service, uint16_t port, VirtualHost& host) {
  auto* route = host.add_routes();
  route->set_name("no-match");
  route->mutable_match()->set_prefix("/");
  answer(*route, 404,
         cat("no rule of the routes of Service ", service.metadata.key(), " port ", port,
             " matches this request"));
}

// For the names that no Service has.
VirtualHost other_hosts(const std::string& sentence) {
  VirtualHost host;
  host.set_name(kUnknownHost);
  host.add_domains("*");
  auto* route = host.add_routes();
  route->set_name(kUnknownHost);
  route->mutable_match()->set_prefix("/");
  answer(*route, 404, sentence);
  return host;
}

VirtualHost unknown_host(const ObjectSet& objects, const std::string& ns) {
  std::string names;
  for (const MeshService& service : objects.services) {
    if (service.is_pool()) continue;
    const std::string name = service.metadata.ns == ns
                                 ? service.metadata.name
                                 : cat(service.metadata.name, ".", service.metadata.ns);
    for (const MeshService::Port& port : service.spec.ports) {
      if (names.size() > kMaxNamesInAnswer) continue;
      names += cat(names.empty() ? "" : ", ", name, ":", port.port);
    }
  }
  if (names.size() > kMaxNamesInAnswer) names += ", ...";
  return other_hosts(
      cat("no Service has this host name; write NAME, NAME.NAMESPACE, NAME.NAMESPACE.svc or "
          "NAME.NAMESPACE.svc.cluster.local, with :PORT unless the Service has one port or port "
          "80. Services: ",
          names.empty() ? "none" : names));
}

}  // namespace

std::string service_host(const MeshService& service, uint16_t port) {
  return cat(service.metadata.name, ".", service.metadata.ns, ":", port);
}

std::vector<std::string> service_domains(const MeshService& service, uint16_t port,
                                         const std::string& ns) {
  const std::string qualified = cat(service.metadata.name, ".", service.metadata.ns);
  std::vector<std::string> names = {qualified, qualified + ".svc",
                                    qualified + ".svc.cluster.local"};
  if (service.metadata.ns == ns) names.insert(names.begin(), service.metadata.name);
  if (!service.spec.cluster_ip.empty() && !service.headless()) {
    names.push_back(in_brackets(service.spec.cluster_ip));
  }
  std::vector<std::string> domains;
  for (const std::string& name : names) {
    if (is_bare(service, port)) domains.push_back(name);
    domains.push_back(cat(name, ":", port));
  }
  return domains;
}

std::vector<std::string> alone_domains(const ObjectSet& objects, const Workload& workload,
                                       const Workload::Port& port) {
  const std::size_t place = static_cast<std::size_t>(&workload - &objects.workloads[0]);
  std::vector<std::string> names = {in_brackets(workload.spec.address)};
  for (const MeshService& service : objects.services) {
    if (!service.headless() || std::ranges::find(service.members, place) == service.members.end()) {
      continue;
    }
    names.push_back(cat(workload.metadata.name, ".", service.metadata.name, ".",
                        service.metadata.ns, ".svc.cluster.local"));
  }
  std::vector<std::string> domains;
  for (const std::string& name : names) {
    // Workloads may share an address, but not a socket.
    const bool alone = workload.spec.ports.size() == 1 && &name != &names[0];
    if (alone || port.port == kHttpPort) domains.push_back(name);
    domains.push_back(cat(name, ":", port.port));
  }
  return domains;
}

VirtualHost undiscovered_host(std::optional<Duration> idle) {
  VirtualHost host = other_hosts("no Service has this host name");
  v1::DiscoverHost discover;
  if (idle) discover.mutable_idle()->set_seconds(*idle / 1s);
  pack(discover, (*host.mutable_routes(0)->mutable_typed_per_filter_config())["glia.discover_host"]);
  return host;
}

void add_hosts(const ObjectSet& objects, const MeshService& service, const std::string& ns,
               envoy::config::route::v3::RouteConfiguration& table) {
  if (service.is_pool()) return;
  for (const MeshService::Port& port : service.spec.ports) {
    if (is_tcp(objects, service, port)) continue;  // Nobody asks for it by a host name.
    VirtualHost& host = *table.add_virtual_hosts();
    host.set_name(service_host(service, port.port));
    for (std::string& name : service_domains(service, port.port, ns)) {
      host.add_domains(std::move(name));
    }
    for (auto& route : service_routes(objects, service, port.port, ns)) {
      *host.add_routes() = std::move(route);
    }
    if (host.routes_size() == 0)
      add_default_route(cat("Service/", service.metadata.key()),
                        outbound_cluster(service, port.port), host);
    else
      add_no_match(service, port.port, host);
    set_traffic(objects.traffic_policy(service, port.port), host);
    set_hedging(objects.model_policy(service), host);
    share_between_versions(objects, host);
  }
}

void add_other_hosts(const ObjectSet& objects, const std::string& ns,
                     envoy::config::route::v3::RouteConfiguration& table) {
  for (const Workload* workload : named_alone(objects)) {
    for (const Workload::Port& port : workload->spec.ports) {
      if (port.protocol == Workload::Protocol::kTcp) continue;
      add_workload(objects, *workload, port, *table.add_virtual_hosts());
    }
  }
  *table.add_virtual_hosts() = unknown_host(objects, ns);
}

}  // namespace glia
