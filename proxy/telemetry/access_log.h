// AccessRecord: what is known of a finished request, and its line in the access log.
//
// The line is JSON, made so that no byte of a request can end it, break it or reach a terminal as a
// control character. log_format.h makes the lines that somebody configured, log_writer.h writes both.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/base/time.h"

namespace glia {

// Looks up a field of the request that the record has no member for.
class FieldLookup {
 public:
  virtual ~FieldLookup() = default;
  // `name` is lower case.
  virtual std::optional<std::string_view> field(std::string_view name) const = 0;
};

// All that can be known of a finished request. Views live during the call to write().
struct AccessRecord {
  WallTime start;
  std::string_view method, path, authority, scheme, protocol;
  int status = 0;                               // 0: none was sent.
  std::string_view response_flags;              // "-" or Envoy's letters, joined by ",".
  std::string_view response_details;            // The reason in words, "via_upstream" or "".
  uint64_t bytes_received = 0, bytes_sent = 0;  // Bodies.
  Duration duration{};           // From the first byte of the request to the last of the answer.
  Duration upstream_duration{};  // Until the head of the upstream's answer; 0 if none.
  std::string_view route, cluster, upstream_address;
  std::string_view downstream_address, listener_address;
  std::string_view
      direct_address;  // Who connected to us, where a PROXY header named another client.
  std::string_view peer_identity;      // URI SAN of the caller's certificate, "" in clear text.
  std::string_view local_identity;     // Of the certificate that we showed downstream.
  std::string_view upstream_identity;  // URI SAN of the upstream's certificate.
  std::string_view tls_version, requested_server_name;
  // The fields of the default line from downstream_address to requested_server_name, as
  // append_connection_fields() makes them; "": not made before.
  std::string_view connection_fields;
  std::string_view request_id, user_agent, forwarded_for, referer;
  std::string_view grpc_status;  // From trailers, "" if not gRPC.
  std::string_view policy;       // Of a refusal, or the shadow verdict.
  std::string_view config_version, node_id;
  std::string_view model, model_version, model_dialect;  // Of a request to a model, else "".
  bool model_streaming = false;
  std::optional<uint64_t> model_input_tokens, model_output_tokens;  // As the engine says.
  std::optional<Duration> model_first_output;  // From the first byte of the request; of a stream.
  std::string_view model_finish_reason;        // The first one.
  std::string_view model_error;                // Inside an answer whose status is 200.
  int64_t attempts = 0;                        // Upstream attempts.
  std::string_view hedge;  // "won", "lost": the second copy; "": there was none.
  const FieldLookup* request_fields = nullptr;  // For %REQ(...)%; null: such a field is absent.
};

// A longer value is cut, and "..." put after it, so that one request cannot fill the disk.
inline constexpr std::size_t kLongestLogValue = 4096;  // bytes

// Appends the default line (docs/access-log.md lists its keys) with its line feed. Values that are
// not there are left out.
void append_json_line(std::string& out, const AccessRecord& record);

// What is the same in each line of a connection.
void append_connection_fields(std::string& out, const AccessRecord& record);

// "2026-11-22T16:45:30.123Z"; a view until this thread asks again.
std::string_view start_time_text(WallTime time);
void append_start_time(std::string& out, WallTime time);

}  // namespace glia
