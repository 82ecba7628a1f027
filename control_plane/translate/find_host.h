// find_host: what a caller means by the host of a request, for sidecars that hold only what they use.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control_plane/objects/object_set.h"
#include "proxy/base/result.h"

namespace glia {

// Does the sidecar of `workload` hold only what it has used, if it can?
bool on_demand(const ObjectSet& objects, const Workload& workload);
// `host`: as in a request, perhaps with a port, or the name of a virtual host. "namespace/name" of the
// Service that it means, or the virtual host of a workload that is named alone (alone_host()). Errors:
// kNoRoute if it means nothing, kDenied if `caller` may not call it (spec.egress).
Result<std::string> find_host(const ObjectSet& objects, const Workload& caller,
                              std::string_view host);
// Does this spec.egress (none: everything) have what was found?
bool may_call(const std::vector<std::string>& egress, const std::string& found);

}  // namespace glia
