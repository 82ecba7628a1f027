// AccessLog: one JSON line a request, to a file or a standard stream.
//
// A worker formats into its own buffer, which is written in one call when it is large or old; so the
// request path pays for the formatting only. Lines are whole: buffers are appended with O_APPEND.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "proxy/base/result.h"
#include "proxy/base/time.h"

namespace glia {

// All that can be known of a finished request. Views live during the call to write().
struct AccessRecord {
  WallTime start;
  std::string_view method, path, authority, scheme, protocol;
  int status = 0;                       // 0: none was sent.
  std::string_view response_flags;      // "-" or Envoy's letters, joined by ",".
  std::string_view response_details;    // The reason in words, "via_upstream" or "".
  uint64_t bytes_received = 0, bytes_sent = 0;   // Bodies.
  Duration duration{};                  // From the first byte of the request to the last of the answer.
  Duration upstream_duration{};         // Until the head of the upstream's answer; 0 if none.
  std::string_view route, cluster, upstream_address;
  std::string_view downstream_address, listener_address;
  std::string_view peer_identity;       // URI SAN of the caller's certificate, "" in clear text.
  std::string_view local_identity;      // Of the certificate that we showed downstream.
  std::string_view upstream_identity;   // URI SAN of the upstream's certificate.
  std::string_view tls_version, requested_server_name;
  std::string_view request_id, user_agent, forwarded_for, referer;
  std::string_view grpc_status;         // From trailers, "" if not gRPC.
  std::string_view policy;              // Of a refusal, or the shadow verdict.
  std::string_view config_version, node_id;
  int64_t attempts = 0;                 // Upstream attempts.
};

// Appends the default line (docs/access-log.md lists its keys) with its line feed.
void append_json_line(std::string& out, const AccessRecord& record);

}  // namespace glia
