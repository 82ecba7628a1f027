#include "control_plane/kubernetes/kubernetes_source.h"

#include <algorithm>
#include <utility>

#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {

// Namespaces are not among them: what their labels say, the API server asks the webhook for us.
std::vector<Resource> KubernetesSource::resources() {
  constexpr char kGateway[] = "gateway.networking.k8s.io", kOurs[] = "glia.dev";
  // A pod that has ended has no address of its own any more.
  constexpr char kAlive[] = "fieldSelector=status.phase!%3DSucceeded,status.phase!%3DFailed";
  return {{"", "v1", "services", "Service", ""},
          {"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", ""},
          {"", "v1", "pods", "Pod", kAlive},
          {kGateway, "v1", "httproutes", "HTTPRoute", ""},
          {kGateway, "v1", "grpcroutes", "GRPCRoute", ""},
          {kGateway, "v1beta1", "referencegrants", "ReferenceGrant", ""},
          {"inference.networking.k8s.io", "v1", "inferencepools", "InferencePool", ""},
          {kOurs, "v1", "meshes", "Mesh", ""},
          {kOurs, "v1", "workloads", "Workload", ""},
          {kOurs, "v1", "trafficpolicies", "TrafficPolicy", ""},
          {kOurs, "v1", "modelpolicies", "ModelPolicy", ""},
          {kOurs, "v1", "authorizationpolicies", "AuthorizationPolicy", ""},
          {kOurs, "v1", "canaries", "Canary", ""}};
}

KubernetesSource::KubernetesSource(ApiServer& server, ClusterView::MeshObject mesh, uint64_t seed,
                                   std::function<void(const SourceEdit&)> changed,
                                   const bool* ended)
    : server_(server),
      view_(mesh),
      statuses_(server),
      changed_(std::move(changed)),
      ended_(ended),
      gather_(server.loop(), [this] { flush(); }) {
  ResourceWatch::Owner& self = *this;
  for (Resource resource : resources()) {
    watches_.push_back(std::make_unique<ResourceWatch>(server_, std::move(resource), ++seed, self));
  }
}

Result<SourceEdit> KubernetesSource::read() {
  if (read_) return view_.take();
  LOG(info, "reading the mesh from the API server ", server_.access().text());
  for (auto& watch : watches_) watch->start();
  EventLoop& loop = server_.loop();
  TimePoint told = loop.now();
  while (!settled()) {
    loop.turn(1s);
    if (ended_ != nullptr && *ended_)
      return Error(ErrorKind::kClosed, Fault::kSelf, "stopped while reading the mesh");
    if (loop.now() - told < kStillWaiting) continue;
    told = loop.now();
    for (const std::string& trouble : troubles()) LOG(warning, "still waiting: ", trouble);
  }
  read_ = true;
  return view_.take();
}

bool KubernetesSource::settled() const {
  return std::ranges::all_of(watches_, [](const auto& watch) { return watch->settled(); });
}

std::vector<std::string> KubernetesSource::troubles() const {
  std::vector<std::string> all;
  for (const auto& watch : watches_) {
    if (!watch->trouble().empty()) {
      all.push_back(cat(watch->resource().text(), ": ", watch->trouble()));
    }
  }
  return all;
}

void KubernetesSource::on_object(const Resource& resource, const Json& object) {
  view_.put(resource, object);
  statuses_.see(resource, object);
  note();
}

void KubernetesSource::on_gone(const Resource& resource, const std::string& ns,
                               const std::string& name) {
  view_.gone(resource, ns, name);
  statuses_.forget(resource, ns, name);
  note();
}

void KubernetesSource::note() {
  if (read_ && !gather_.running() && view_.changed()) gather_.start(kGather);
}

void KubernetesSource::flush() { changed_(view_.take()); }

}  // namespace glia
