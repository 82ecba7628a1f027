#include "control_plane/explain/made_of.h"

#include <algorithm>
#include <set>

#include "control_plane/explain/sidecar_view.h"
#include "control_plane/translate/canary.h"
#include "control_plane/translate/find_host.h"
#include "control_plane/translate/outbound.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

constexpr std::string_view kUnknownHostResource = "host unknown-host";

void add_policy(const ObjectSet& objects, const MeshService& service, uint16_t port, MadeOf& made) {
  const TrafficPolicy* policy = objects.traffic_policy(service, port);
  if (policy != nullptr) made.objects.push_back(origin(*policy));
}

// Those that callers of namespace `ns` meet; as translate() chooses them.
template <class Route>
void add_routes(const std::vector<Route>& routes, const std::vector<std::size_t>& places,
                const MeshService& service, uint16_t port, const std::string& ns, MadeOf& made) {
  for (const std::size_t place : places) {
    const Route& route = routes[place];
    const bool here = std::ranges::any_of(route.spec.parent_refs, [&](const RouteParent& p) {
      return p.ns == service.metadata.ns && p.name == service.metadata.name &&
             (!p.port || *p.port == port);
    });
    if (here && route.metadata.ns == ns) made.objects.push_back(origin(route));
  }
}

MadeOf inbound(const ObjectSet& objects, const Workload& workload, const Workload::Port& port) {
  MadeOf made{cat("listener inbound:", port.name), {origin(workload)}};
  for (const std::size_t place : workload.policies) {
    made.objects.push_back(origin(objects.policies[place]));
  }
  made.objects.push_back(origin(objects.mesh));
  return made;
}

MadeOf host(const ObjectSet& objects, const MeshService& service, uint16_t port,
            const std::string& ns) {
  MadeOf made{cat("host ", service.metadata.name, ".", service.metadata.ns, ":", port),
              {origin(service)}};
  const auto add = [&](const std::string& of) {
    add_routes(objects.http_routes, service.http_routes, service, port, of, made);
    add_routes(objects.grpc_routes, service.grpc_routes, service, port, of, made);
  };
  add(ns);
  if (made.objects.size() == 1 && ns != service.metadata.ns) add(service.metadata.ns);
  add_policy(objects, service, port, made);
  if (const Canary* canary = objects.canary(service)) made.objects.push_back(origin(*canary));
  return made;
}

MadeOf cluster(const ObjectSet& objects, const MeshService& service,
               const MeshService::Port& port) {
  MadeOf made{cat("cluster ", outbound_cluster(service, port.port)), {origin(service)}};
  for (const std::size_t member : service.members) {
    const Workload& workload = objects.workloads[member];
    const auto here = [&](const MeshService::Port& behind) {
      return MeshService::target(behind, workload) != nullptr;
    };
    if (std::ranges::any_of(service.behind(port), here)) made.objects.push_back(origin(workload));
  }
  for (const std::size_t place : service.slices) {
    made.objects.push_back(origin(objects.slices[place]));
  }
  add_policy(objects, service, port.port, made);
  if (const ModelPolicy* policy = objects.model_policy(service)) {
    made.objects.push_back(origin(*policy));
  }
  return made;
}

// The clusters of versions that are told apart by label.
void add_versions(const ObjectSet& objects, const MeshService& service,
                  const MeshService::Port& port, std::vector<MadeOf>& all) {
  const Canary* canary = objects.canary(service);
  if (canary == nullptr || !canary->by_labels()) return;
  const VersionClusters names = version_clusters(objects, *canary, port.port);
  for (const CanaryVersion which : {CanaryVersion::kStable, CanaryVersion::kCandidate}) {
    MadeOf made = cluster(objects, only_version(service, *canary, which), port);
    const bool stable = which == CanaryVersion::kStable;
    made.resource = cat("cluster ", stable ? names.stable : names.candidate);
    made.objects.push_back(origin(*canary));
    all.push_back(std::move(made));
  }
}

// A workload behind a headless Service, which callers may name.
void add_alone(const Workload& workload, std::vector<MadeOf>& all) {
  for (const Workload::Port& port : workload.spec.ports) {
    all.push_back({cat("host ", alone_host(workload, port)), {origin(workload)}});
    all.push_back({cat("cluster ", direct_cluster(workload, port)), {origin(workload)}});
  }
}

// What the sidecar has of hosts and clusters: not all of the mesh, if it may call only a part.
std::set<std::string> names_of(const Resources& resources) {
  std::set<std::string> names;
  for (const auto& cluster : resources.clusters) names.insert(cat("cluster ", cluster.name()));
  for (const auto& table : resources.routes) {
    for (const auto& host : table.virtual_hosts()) names.insert(cat("host ", host.name()));
  }
  return names;
}

}  // namespace

std::vector<MadeOf> made_of(const ObjectSet& objects, const Workload& workload) {
  std::vector<MadeOf> all;
  for (const Workload::Port& port : workload.spec.ports) {
    all.push_back(inbound(objects, workload, port));
    all.push_back({cat("cluster inbound:", port.name), {origin(workload)}});
  }
  all.push_back({"listener outbound", {origin(workload), origin(objects.mesh)}});
  const std::size_t own = all.size();
  for (const MeshService& service : objects.services) {
    for (const MeshService::Port& port : service.entries()) {
      if (!service.is_pool()) {
        all.push_back(host(objects, service, port.port, workload.metadata.ns));
      }
      all.push_back(cluster(objects, service, port));
      add_versions(objects, service, port, all);
    }
  }
  for (const Workload* called : named_alone(objects)) add_alone(*called, all);
  all.push_back({std::string(kUnknownHostResource), {origin(objects.mesh)}});
  const std::set<std::string> held = names_of(translate(objects, workload));
  const auto absent = [&](const MadeOf& made) { return !held.contains(made.resource); };
  all.erase(std::remove_if(all.begin() + static_cast<std::ptrdiff_t>(own), all.end(), absent),
            all.end());
  if (!on_demand(objects, workload)) return all;
  for (std::size_t i = own; i < all.size(); ++i) {
    all[i].on_demand = all[i].resource != kUnknownHostResource;
  }
  return all;
}

}  // namespace glia
