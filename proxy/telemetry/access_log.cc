#include "proxy/telemetry/access_log.h"

#include <array>
#include <chrono>
#include <cstring>

#include "proxy/base/text.h"
#include "proxy/telemetry/log_line.h"

namespace glia {
namespace {

// The second that was last written out. Requests come thousands a second, so the calendar is
// computed about once in a thousand lines.
struct CachedSecond {
  int64_t second = INT64_MIN;
  std::array<char, 24> text = {};  // "2026-11-22T16:45:30.000Z"
};

void put_digits(char* at, unsigned value, int digits) {
  for (int i = digits - 1; i >= 0; --i, value /= 10) at[i] = static_cast<char>('0' + value % 10);
}

// Of a model's answer: what its engine said.
void put_answer(LogLine& line, const AccessRecord& record) {
  if (record.model_input_tokens) {
    line.field(",\"model_input_tokens\":", static_cast<int64_t>(*record.model_input_tokens));
  }
  if (record.model_output_tokens) {
    line.field(",\"model_output_tokens\":", static_cast<int64_t>(*record.model_output_tokens));
  }
  if (record.model_first_output) {
    line.field(",\"model_first_output\":", to_ms(*record.model_first_output));
  }
  line.known_field(",\"model_finish_reason\":\"", record.model_finish_reason);
  line.known_field(",\"model_error\":\"", record.model_error);
}

void put_connection(LogLine& line, const AccessRecord& record) {
  line.known_field(",\"downstream_remote_address\":\"", record.downstream_address);
  line.known_field(",\"downstream_local_address\":\"", record.listener_address);
  line.known_field(",\"downstream_identity\":\"", record.peer_identity);
  line.known_field(",\"downstream_local_identity\":\"", record.local_identity);
  line.known_field(",\"downstream_tls_version\":\"", record.tls_version);
  line.known_field(",\"requested_server_name\":\"", record.requested_server_name);
}

}  // namespace

void append_connection_fields(std::string& out, const AccessRecord& record) {
  LogLine line(out);
  put_connection(line, record);
}

std::string_view start_time_text(WallTime time) {
  static thread_local CachedSecond cached;
  const auto second = std::chrono::floor<std::chrono::seconds>(time);
  if (second.time_since_epoch().count() != cached.second) {
    cached.second = second.time_since_epoch().count();
    const auto day = std::chrono::floor<std::chrono::days>(second);
    const std::chrono::year_month_day date(day);
    const auto in_day = static_cast<unsigned>((second - day).count());
    std::memcpy(cached.text.data(), "0000-00-00T00:00:00.000Z", cached.text.size());
    put_digits(cached.text.data(), static_cast<unsigned>(static_cast<int>(date.year())), 4);
    put_digits(cached.text.data() + 5, static_cast<unsigned>(date.month()), 2);
    put_digits(cached.text.data() + 8, static_cast<unsigned>(date.day()), 2);
    put_digits(cached.text.data() + 11, in_day / 3600, 2);
    put_digits(cached.text.data() + 14, in_day / 60 % 60, 2);
    put_digits(cached.text.data() + 17, in_day % 60, 2);
  }
  put_digits(cached.text.data() + 20, static_cast<unsigned>((time - second) / 1ms), 3);
  return {cached.text.data(), cached.text.size()};
}

void append_start_time(std::string& out, WallTime time) { out += start_time_text(time); }

void append_json_line(std::string& out, const AccessRecord& record) {
  LogLine line(out);
  line.put("{\"start_time\":\"");
  line.put(start_time_text(record.start));
  line.put("\"");
  if (!record.method.empty()) {  // A relayed connection has no request.
    line.field(",\"method\":\"", record.method);
    line.field(",\"authority\":\"", record.authority);
    line.field(",\"path\":\"", record.path);
  }
  line.field(",\"protocol\":\"", record.protocol);
  line.field(",\"response_code\":", record.status);
  line.field(",\"response_flags\":\"", record.response_flags);
  line.known_field(",\"response_code_details\":\"", record.response_details);
  line.field(",\"bytes_received\":", static_cast<int64_t>(record.bytes_received));
  line.field(",\"bytes_sent\":", static_cast<int64_t>(record.bytes_sent));
  line.field(",\"duration\":", to_ms(record.duration));
  if (record.upstream_duration > Duration::zero()) {
    line.field(",\"upstream_service_time\":", to_ms(record.upstream_duration));
  }
  line.known_field(",\"grpc_status\":\"", record.grpc_status);
  line.known_field(",\"route_name\":\"", record.route);
  line.known_field(",\"upstream_cluster\":\"", record.cluster);
  line.known_field(",\"upstream_host\":\"", record.upstream_address);
  line.known_field(",\"upstream_identity\":\"", record.upstream_identity);
  if (record.attempts > 1) line.field(",\"upstream_request_attempt_count\":", record.attempts);
  line.known_field(",\"hedge\":\"", record.hedge);
  if (record.connection_fields.empty()) put_connection(line, record);
  line.put(record.connection_fields);
  line.known_field(",\"request_id\":\"", record.request_id);
  line.known_field(",\"user_agent\":\"", record.user_agent);
  line.known_field(",\"x_forwarded_for\":\"", record.forwarded_for);
  line.known_field(",\"referer\":\"", record.referer);
  line.known_field(",\"policy\":\"", record.policy);
  if (!record.model_dialect.empty()) {
    line.field(",\"model_dialect\":\"", record.model_dialect);
    line.known_field(",\"model\":\"", record.model);
    line.known_field(",\"model_version\":\"", record.model_version);
    if (record.model_streaming) line.put(",\"model_streaming\":true");
    put_answer(line, record);
  }
  line.known_field(",\"config_version\":\"", record.config_version);
  line.known_field(",\"node\":\"", record.node_id);
  line.put("}\n");
}

}  // namespace glia
