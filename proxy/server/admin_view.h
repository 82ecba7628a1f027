// AdminView: what the admin pages can ask of the running proxy, and tell it to do.
//
// The pages know no server, worker or thread; the server implements this, and tests put a made-up
// proxy behind it. Everything is called on the main loop's thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/base/result.h"
#include "proxy/base/task.h"
#include "proxy/base/time.h"
#include "proxy/net/address.h"
#include "proxy/net/tls.h"
#include "proxy/server/endpoint_row.h"
#include "proxy/telemetry/metrics.h"

namespace glia {

enum class ServerState : uint8_t { kInitializing, kLive, kDraining };

struct ServerFacts {
  ServerState state = ServerState::kInitializing;
  std::string waiting_for;  // While initializing: a sentence, "" if unknown.
  std::string version;      // Of the program: "0.1.0".
  Duration uptime{};
  std::string node_id, node_cluster;
  std::string config_version;  // Of the drawing in force.
  // A sentence, while all that came from the control plane came in an earlier run; else "".
  std::string config_origin;
  // Command line options and what they came to, for /server_info.
  std::vector<std::pair<std::string, std::string>> options;
};

struct ListenerRow {
  std::string name;
  Address address;  // With the real port.
};

struct CertificateRow {
  std::string used_by;   // "listener inbound:rest", "cluster outbound:80:classify.default"
  bool trusted = false;  // An authority that peers are checked with; else our own certificate.
  TlsContext::CertificateInfo certificate;
};

// What part of the configuration is to be shown; "" is no restriction.
struct ConfigDumpQuery {
  std::string resource;  // Envoy's field: "static_listeners", "dynamic_active_clusters", ...
  std::string name;      // Only what has this name.
  bool include_endpoints = false;  // Envoy's include_eds.
};

class AdminView {
 public:
  virtual ~AdminView() = default;

  virtual ServerFacts facts() const = 0;
  virtual std::vector<ListenerRow> listeners() const = 0;
  virtual std::vector<CertificateRow> certificates() const = 0;
  // JSON in the shape of Envoy's. An error is a sentence about the query.
  virtual Result<std::string> config_dump(const ConfigDumpQuery& query) const = 0;
  // These ask every worker.
  virtual Task<MetricsPage> metrics() = 0;
  virtual Task<std::vector<EndpointRow>> endpoints() = 0;  // Added up, in order of cluster.
  virtual Task<std::vector<std::string>> exchanges() = 0;  // In flight, a few words each.

  enum class Drain : uint8_t { kAtOnce, kGraceful };
  enum class Which : uint8_t { kAll, kInbound };
  // kGraceful: connections are asked to end first, and listeners close after the drain time.
  virtual void drain_listeners(Drain how, Which which) = 0;
  // Opens the access logs again, after they were renamed. Errors: one sentence a file.
  virtual Task<std::vector<std::string>> reopen_logs() = 0;
  // Ends the process as SIGTERM does, not before the turn in progress is over.
  virtual void quit() = 0;
};

}  // namespace glia
