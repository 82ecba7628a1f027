// A bootstrap file (envoy.config.bootstrap.v3.Bootstrap in YAML or JSON) to what the proxy starts
// with.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proxy/base/result.h"
#include "proxy/xds/draft.h"
#include "proxy/xds/freeze.h"

namespace glia {

// What the whole process may hold (envoy.config.overload.v3.OverloadManager); nothing: the limits of
// the system.
struct ProcessLimits {
  std::optional<uint64_t> memory;       // bytes resident
  std::optional<uint64_t> connections;  // from clients
};

struct Bootstrap {
  NodeNames node;
  std::string node_bytes;        // envoy.config.core.v3.Node, as ADS sends it.
  std::optional<Address> admin;  // Nothing: no admin listener.
  Draft draft;                   // The static resources.
  ProcessLimits limits;
  std::string ads_cluster;  // "" without ADS.
  bool ads_delta = false;   // Else state of the world.
  // The control plane is Glia's, and asks what was seen of requests (ReportService). Not in a file.
  bool tells_reports = false;
  // The SPIFFE id with which it has joined a mesh; "" if it has not. Not in a file.
  std::string identity;
  // Nor this: nobody but the sidecar knows how its application is (HealthService).
  bool tells_health = false;
  bool lds = false, cds = false;  // Listeners and clusters come by ADS too.
  std::string bytes;              // The whole message, for /config_dump.
};

// `file` names the text in errors. Nothing if there were errors.
std::optional<Bootstrap> parse_bootstrap(std::string_view text, const std::string& file,
                                         WallTime now, Errors& errors);
// All errors, and the static drawing is made once to see that it can be (certificates, addresses).
std::optional<Bootstrap> read_bootstrap(const std::string& path, WallTime now, Errors& errors);
// The same; the error joins all sentences, a line each.
Result<Bootstrap> load_bootstrap(const std::string& path, WallTime now);

}  // namespace glia
