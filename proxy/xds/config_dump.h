// What is running, as JSON in the shape of Envoy's /config_dump (envoy.admin.v3.ConfigDump).
//
// Resources are kept as bytes and read again only here. Private keys are not shown. Beside Envoy's
// "configs" stands "glia": where it came from if not from the control plane, what waits for what, and the
// pushes that were refused.
#pragma once

#include <string>
#include <string_view>

#include "proxy/base/result.h"
#include "proxy/xds/configuration.h"

namespace glia {

struct ConfigDumpChoice {
  std::string_view resource;  // One list, by Envoy's field: "dynamic_active_clusters"; "": all.
  std::string_view name;      // Only resources of this name; "": all.
  bool include_endpoints = false;  // ?include_eds
  std::string origin = {};         // A sentence about where it came from; "": from where it should.
};

// The error names the lists that there are.
Result<std::string> config_dump(const Configuration& configuration, const ConfigDumpChoice& choice);

}  // namespace glia
