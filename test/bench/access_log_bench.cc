// What one request pays for its line in the access log. Target: below 400 ns.
#include <benchmark/benchmark.h>

#include "proxy/base/check.h"
#include "proxy/telemetry/access_log.h"
#include "proxy/telemetry/log_format.h"

namespace glia {
namespace {

// A request between two sidecars, with everything that the log knows of it.
AccessRecord record() {
  AccessRecord record;
  record.start = WallTime(1795365930123ms);
  record.method = "POST";
  record.authority = "classify.default.svc.cluster.local";
  record.path = "/v2/models/classifier/versions/1/infer?trace=1";
  record.scheme = "https";
  record.protocol = "HTTP/2";
  record.status = 200;
  record.response_flags = "-";
  record.response_details = "via_upstream";
  record.bytes_received = 1024;
  record.bytes_sent = 4096;
  record.duration = 12ms;
  record.upstream_duration = 11ms;
  record.route = "classify[0]";
  record.cluster = "outbound:80:classify-v1.default";
  record.upstream_address = "127.0.1.3:8080";
  record.downstream_address = "127.0.1.2:40000";
  record.listener_address = "127.0.1.2:15001";
  record.peer_identity = "spiffe://demo.mesh/ns/default/sa/front";
  record.local_identity = "spiffe://demo.mesh/ns/default/sa/classify";
  record.upstream_identity = "spiffe://demo.mesh/ns/default/sa/classify";
  record.tls_version = "TLSv1.3";
  record.requested_server_name = "classify.default.svc.cluster.local";
  record.request_id = "0b0e5c9a-7a25-4b6a-9c1f-1d2e3f405162";
  record.user_agent = "python-httpx/0.27.0";
  record.config_version = "3f9a1c77";
  record.node_id = "default/classify-v1";
  record.attempts = 1;
  return record;
}

void run(benchmark::State& state, const LogFormat& format) {
  AccessRecord one = record();
  std::string out;
  out.reserve(128 * 1024);
  for (auto step : state) {
    if (out.size() > 64 * 1024) out.clear();
    one.start += 10us;  // 100,000 requests a second.
    format.append(out, one);
    benchmark::DoNotOptimize(out.data());
  }
}

void DefaultLine(benchmark::State& state) { run(state, LogFormat()); }
BENCHMARK(DefaultLine);

void CustomLine(benchmark::State& state) {
  const auto format = LogFormat::compile({{"start_time", "%START_TIME%"},
                                          {"method", "%REQ(:METHOD)%"},
                                          {"path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"},
                                          {"protocol", "%PROTOCOL%"},
                                          {"response_code", "%RESPONSE_CODE%"},
                                          {"response_flags", "%RESPONSE_FLAGS%"},
                                          {"bytes_received", "%BYTES_RECEIVED%"},
                                          {"bytes_sent", "%BYTES_SENT%"},
                                          {"duration", "%DURATION%"},
                                          {"user_agent", "%REQ(USER-AGENT)%"},
                                          {"request_id", "%REQ(X-REQUEST-ID)%"},
                                          {"authority", "%REQ(:AUTHORITY)%"},
                                          {"upstream_host", "%UPSTREAM_HOST%"},
                                          {"upstream_cluster", "%UPSTREAM_CLUSTER%"},
                                          {"downstream", "%DOWNSTREAM_REMOTE_ADDRESS%"}});
  CHECK(format.ok());
  run(state, *format);
}
BENCHMARK(CustomLine);

}  // namespace
}  // namespace glia
