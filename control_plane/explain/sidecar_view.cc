#include "control_plane/explain/sidecar_view.h"

#include "control_plane/translate/pack.h"
#include "control_plane/translate/translate.h"
#include "proxy/xds/draft.h"
#include "proxy/xds/freeze.h"

namespace glia {

namespace {

template <class Messages>
void apply(ResourceKind kind, const std::string& version, const Messages& messages, Draft& draft,
           Errors& errors) {
  std::vector<std::string> bytes;
  for (const auto& message : messages) bytes.push_back(serialize(message));
  draft.apply(kind, version, {bytes.begin(), bytes.end()}, {}, errors);
}

}  // namespace

Result<SnapshotRef> sidecar_view(const ObjectSet& objects, const Workload& workload) {
  // Who asks and is asked is the same with capture; without it there is a listener for each port.
  Workload plain = workload;
  plain.spec.capture.reset();
  const Resources made = translate(objects, plain, HopSecurity::kClearText);
  Draft draft;
  Errors errors;
  apply(ResourceKind::kCluster, made.clusters_version, made.clusters, draft, errors);
  apply(ResourceKind::kEndpoints, made.endpoints_version, made.endpoints, draft, errors);
  apply(ResourceKind::kListener, made.listeners_version, made.listeners, draft, errors);
  apply(ResourceKind::kRoutes, made.routes_version, made.routes, draft, errors);
  if (!errors.joined().empty()) {
    return Error(ErrorKind::kInternal, Fault::kSelf,
                 cat("glia-proxy would refuse this configuration: ", errors.joined()));
  }
  Freezer freezer({workload.metadata.key(), workload.metadata.name});
  return freezer.freeze(draft);
}

}  // namespace glia
