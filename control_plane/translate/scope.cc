#include "control_plane/translate/scope.h"

#include <string_view>

#include "proxy/base/text.h"

namespace glia {

namespace {

using VirtualHost = envoy::config::route::v3::VirtualHost;

// "namespace/name" of the host "name.namespace:port" of a Service; "" of another host.
std::string service_of(std::string_view host) {
  const std::size_t port = host.rfind(':'), dot = host.find('.');
  if (port == host.npos || dot == host.npos || dot > port) return "";
  const std::string_view ns = host.substr(dot + 1, port - dot - 1);
  if (ns.find('.') != ns.npos) return "";
  return cat(ns, "/", host.substr(0, dot));
}

void add_clusters(const VirtualHost& host, std::set<std::string>& clusters) {
  for (const auto& route : host.routes()) {
    if (!route.has_route()) continue;
    if (!route.route().cluster().empty()) clusters.insert(route.route().cluster());
    for (const auto& target : route.route().weighted_clusters().clusters()) {
      clusters.insert(target.name());
    }
    for (const auto& mirror : route.route().request_mirror_policies()) {
      clusters.insert(mirror.cluster());
    }
  }
}

}  // namespace

std::set<std::string> clusters_of(const envoy::config::route::v3::RouteConfiguration& table) {
  std::set<std::string> clusters;
  for (const VirtualHost& host : table.virtual_hosts()) add_clusters(host, clusters);
  return clusters;
}

RouteIndex::RouteIndex(const envoy::config::route::v3::RouteConfiguration& table) : table_(table) {
  for (const VirtualHost& host : table.virtual_hosts()) {
    const std::string service = service_of(host.name());
    if (!service.empty()) {
      hosts_[service].push_back(&host);
    } else if (host.domains_size() == 1 && host.domains(0) == "*") {
      others_.push_back(&host);
    }
  }
}

envoy::config::route::v3::RouteConfiguration RouteIndex::within(
    const std::vector<std::string>& services, std::set<std::string>& clusters) const {
  envoy::config::route::v3::RouteConfiguration some;
  some.set_name(table_.name());
  for (const std::string& service : services) {
    const auto found = hosts_.find(service);
    if (found == hosts_.end()) continue;
    for (const VirtualHost* host : found->second) {
      add_clusters(*host, clusters);
      *some.add_virtual_hosts() = *host;
    }
  }
  for (const VirtualHost* host : others_) *some.add_virtual_hosts() = *host;
  return some;
}

}  // namespace glia
