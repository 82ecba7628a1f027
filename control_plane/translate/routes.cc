#include "control_plane/translate/routes.h"

#include <set>

#include "control_plane/translate/outbound.h"
#include "control_plane/translate/route_rules.h"
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

void add_domains(const MeshService& service, uint16_t port, const std::string& ns,
                 VirtualHost& host) {
  const std::string qualified = cat(service.metadata.name, ".", service.metadata.ns);
  std::vector<std::string> names = {qualified, qualified + ".svc",
                                    qualified + ".svc.cluster.local"};
  if (service.metadata.ns == ns) names.insert(names.begin(), service.metadata.name);
  for (const std::string& name : names) {
    if (is_bare(service, port)) host.add_domains(name);
    host.add_domains(cat(name, ":", port));
  }
}

void add_default_route(const MeshService& service, uint16_t port, VirtualHost& host) {
  auto* route = host.add_routes();
  route->set_name(cat("Service/", service.metadata.key()));
  route->mutable_match()->set_prefix("/");
  route->mutable_route()->set_cluster(outbound_cluster(service, port));
  route->mutable_route()->mutable_timeout()->set_seconds(0);  // None; only an HTTPRoute sets one.
}

void add_no_match(const MeshService& service, uint16_t port, VirtualHost& host) {
  auto* route = host.add_routes();
  route->set_name("no-match");
  route->mutable_match()->set_prefix("/");
  answer(*route, 404,
         cat("no rule of the routes of Service ", service.metadata.key(), " port ", port,
             " matches this request"));
}

VirtualHost unknown_host(const ObjectSet& objects, const std::string& ns) {
  std::string names;
  for (const MeshService& service : objects.services) {
    const std::string name = service.metadata.ns == ns
                                 ? service.metadata.name
                                 : cat(service.metadata.name, ".", service.metadata.ns);
    for (const MeshService::Port& port : service.spec.ports) {
      if (names.size() > kMaxNamesInAnswer) continue;
      names += cat(names.empty() ? "" : ", ", name, ":", port.port);
    }
  }
  if (names.size() > kMaxNamesInAnswer) names += ", ...";
  VirtualHost host;
  host.set_name("unknown-host");
  host.add_domains("*");
  auto* route = host.add_routes();
  route->set_name("unknown-host");
  route->mutable_match()->set_prefix("/");
  answer(*route, 404,
         cat("no Service has this host name; write NAME, NAME.NAMESPACE, NAME.NAMESPACE.svc or "
             "NAME.NAMESPACE.svc.cluster.local, with :PORT unless the Service has one port or port "
             "80. Services: ",
             names.empty() ? "none" : names));
  return host;
}

}  // namespace

OutboundRoutes outbound_routes(const ObjectSet& objects, const std::string& ns) {
  OutboundRoutes out;
  out.table.set_name(kOutboundName);
  std::set<std::string> missing;
  for (const MeshService& service : objects.services) {
    for (const MeshService::Port& port : service.spec.ports) {
      VirtualHost& host = *out.table.add_virtual_hosts();
      host.set_name(cat(service.metadata.name, ".", service.metadata.ns, ":", port.port));
      add_domains(service, port.port, ns, host);
      for (auto& route : service_routes(objects, service, port.port, missing)) {
        *host.add_routes() = std::move(route);
      }
      if (host.routes_size() == 0)
        add_default_route(service, port.port, host);
      else
        add_no_match(service, port.port, host);
    }
  }
  *out.table.add_virtual_hosts() = unknown_host(objects, ns);
  out.missing.assign(missing.begin(), missing.end());
  return out;
}

}  // namespace glia
