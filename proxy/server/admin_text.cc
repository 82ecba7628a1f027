#include "proxy/server/admin_text.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "proxy/base/text.h"
#include "proxy/server/admin_json.h"
#include "proxy/telemetry/access_log.h"

namespace glia {
namespace {

struct Stat {
  std::string_view name;
  uint64_t EndpointRow::* value;
  bool gauge;
};
constexpr std::array<Stat, 7> kStats = {{
    {"cx_active", &EndpointRow::cx_active, true},
    {"cx_connect_fail", &EndpointRow::cx_connect_fail, false},
    {"cx_total", &EndpointRow::cx_total, false},
    {"rq_active", &EndpointRow::rq_active, true},
    {"rq_error", &EndpointRow::rq_error, false},
    {"rq_success", &EndpointRow::rq_success, false},
    {"rq_total", &EndpointRow::rq_total, false},
}};

// Health comes from the control plane or the file, so these are Envoy's words for that.
std::string_view health_flags(std::string_view health) {
  if (health == "healthy") return "healthy";
  return health == "draining" ? "/eds_status_draining" : "/failed_eds_health";
}
std::string_view eds_status(std::string_view health) {
  if (health == "healthy") return "HEALTHY";
  return health == "draining" ? "DRAINING" : "UNHEALTHY";
}

void write_address(JsonWriter& json, const Address& address) {
  json.begin_object();
  if (address.is_unix()) {
    json.key("pipe");
    json.begin_object();
    json.field("path", std::string_view(address.text()).substr(std::string_view("unix:").size()));
  } else {
    json.key("socket_address");
    json.begin_object();
    json.field("address", address.ip_text());
    json.key("port_value");
    json.number(address.port());
  }
  json.end();
  json.end();
}

void write_host(JsonWriter& json, const EndpointRow& row) {
  json.begin_object();
  json.key("address");
  if (const auto address = Address::parse(row.address)) {
    write_address(json, *address);
  } else {
    json.text(row.address);  // A name that is not resolved yet.
  }
  json.key("stats");
  json.begin_array();
  for (const Stat& stat : kStats) {
    json.begin_object();
    json.field("name", stat.name);
    json.field("value", cat(row.*stat.value));
    if (stat.gauge) json.field("type", "GAUGE");
    json.end();
  }
  json.end();
  json.key("health_status");
  json.begin_object();
  json.field("eds_health_status", eds_status(row.health));
  json.end();
  json.key("weight");
  json.number(row.weight);
  json.end();
}

void write_certificate(JsonWriter& json, const TlsContext::CertificateInfo& info, WallTime now) {
  const auto time_text = [](WallTime time) {
    std::string text;
    append_start_time(text, time);
    return text;
  };
  const Duration left = std::max(Duration::zero(), info.not_after - now);
  json.begin_object();
  json.field("subject", info.subject);
  json.field("serial_number", info.serial);
  json.key("subject_alt_names");
  json.begin_array();
  for (const auto& [kind, names] : {std::pair("uri", &info.uri_sans), {"dns", &info.dns_sans}}) {
    for (const std::string& name : *names) {
      json.begin_object();
      json.field(kind, name);
      json.end();
    }
  }
  json.end();
  json.field("days_until_expiration", cat(left / 24h));
  json.field("seconds_until_expiration", cat(left / 1s));
  json.field("valid_from", time_text(info.not_before));
  json.field("expiration_time", time_text(info.not_after));
  json.end();
}

}  // namespace

std::string_view name_of(ServerState state) {
  switch (state) {
    case ServerState::kInitializing: return "INITIALIZING";
    case ServerState::kLive: return "LIVE";
    case ServerState::kDraining: return "DRAINING";
  }
  CHECK(!"unknown state");
}

std::string clusters_text(const std::vector<EndpointRow>& rows) {
  std::string out;
  for (const EndpointRow& row : rows) {
    const std::string start = cat(row.cluster, "::", row.address, "::");
    for (const Stat& stat : kStats) out += cat(start, stat.name, "::", row.*stat.value, '\n');
    out += cat(start, "health_flags::", health_flags(row.health), '\n');
    out += cat(start, "weight::", row.weight, '\n');
  }
  return out;
}

std::string clusters_json(const std::vector<EndpointRow>& rows) {
  JsonWriter json;
  json.begin_object();
  json.key("cluster_statuses");
  json.begin_array();
  for (std::size_t i = 0; i < rows.size();) {
    const std::string& cluster = rows[i].cluster;
    json.begin_object();
    json.field("name", cluster);
    json.key("host_statuses");
    json.begin_array();
    for (; i < rows.size() && rows[i].cluster == cluster; ++i) write_host(json, rows[i]);
    json.end();
    json.end();
  }
  json.end();
  json.end();
  return json.take();
}

namespace {

bool shown(const EndpointRow& row, std::string_view cluster) {
  return !row.why.empty() && row.cluster.find(cluster) != row.cluster.npos;
}

// "12.3", right-aligned in eight columns.
std::string column(double value) {
  std::string text = cat(std::round(value * 10) / 10);
  return text.size() < 8 ? std::string(8 - text.size(), ' ') + text : text;
}

}  // namespace

std::string endpoints_text(const std::vector<EndpointRow>& rows, std::string_view cluster) {
  std::string out;
  std::string_view last;
  for (const EndpointRow& row : rows) {
    if (!shown(row, cluster)) continue;
    if (row.cluster != last) {
      out +=
          cat(out.empty() ? "" : "\n", row.cluster, "\n    load   score  picked  endpoint: why\n");
    }
    last = row.cluster;
    out += cat(column(row.load), column(row.score), column(static_cast<double>(row.picked)), "  ",
               row.address, ": ", row.why, '\n');
  }
  return out.empty() ? "no cluster here chooses by load reports\n" : out;
}

std::string endpoints_json(const std::vector<EndpointRow>& rows, std::string_view cluster) {
  JsonWriter json;
  const auto real = [&](std::string_view name, double value) {
    json.key(name);
    json.real(value);
  };
  json.begin_object();
  json.key("endpoints");
  json.begin_array();
  for (const EndpointRow& row : rows) {
    if (!shown(row, cluster)) continue;
    json.begin_object();
    json.field("cluster", row.cluster);
    json.field("address", row.address);
    json.field("health", row.health);
    real("load", row.load);
    real("score", row.score);
    real("confidence", row.confidence);
    json.key("report_age_ms");
    json.number(row.report_age_ms);
    json.key("active");
    json.number(row.rq_active);
    json.key("picked");
    json.number(row.picked);
    json.field("why", row.why);
    json.end();
  }
  json.end();
  json.end();
  return json.take();
}

std::string listeners_text(const std::vector<ListenerRow>& rows) {
  std::string out;
  for (const ListenerRow& row : rows) out += cat(row.name, "::", row.address.text(), '\n');
  return out;
}

std::string listeners_json(const std::vector<ListenerRow>& rows) {
  JsonWriter json;
  json.begin_object();
  json.key("listener_statuses");
  json.begin_array();
  for (const ListenerRow& row : rows) {
    json.begin_object();
    json.field("name", row.name);
    json.key("local_address");
    write_address(json, row.address);
    json.end();
  }
  json.end();
  json.end();
  return json.take();
}

std::string certificates_json(const std::vector<CertificateRow>& rows, WallTime now) {
  JsonWriter json;
  json.begin_object();
  json.key("certificates");
  json.begin_array();
  for (auto begin = rows.begin(); begin != rows.end();) {
    const auto end = std::find_if(begin, rows.end(), [&](const CertificateRow& row) {
      return row.used_by != begin->used_by;
    });
    json.begin_object();
    json.field("used_by", begin->used_by);
    for (const bool trusted : {true, false}) {
      json.key(trusted ? "ca_cert" : "cert_chain");
      json.begin_array();
      for (auto row = begin; row != end; ++row) {
        if (row->trusted == trusted) write_certificate(json, row->certificate, now);
      }
      json.end();
    }
    json.end();
    begin = end;
  }
  json.end();
  json.end();
  return json.take();
}

std::string server_info_json(const ServerFacts& facts) {
  const std::string uptime = cat(facts.uptime / 1s, 's');
  JsonWriter json;
  json.begin_object();
  json.field("version", facts.version);
  json.field("state", name_of(facts.state));
  if (!facts.waiting_for.empty()) json.field("waiting_for", facts.waiting_for);
  json.field("hot_restart_version", "disabled");
  json.field("uptime_current_epoch", uptime);
  json.field("uptime_all_epochs", uptime);
  json.field("config_version", facts.config_version);
  if (!facts.config_origin.empty()) json.field("config_origin", facts.config_origin);
  json.key("node");
  json.begin_object();
  json.field("id", facts.node_id);
  json.field("cluster", facts.node_cluster);
  json.end();
  json.key("command_line_options");
  json.begin_object();
  for (const auto& [name, value] : facts.options) json.field(name, value);
  json.end();
  json.end();
  return json.take();
}

std::string exchanges_json(const std::vector<std::string>& exchanges) {
  JsonWriter json;
  json.begin_object();
  json.key("exchanges");
  json.begin_array();
  for (const std::string& exchange : exchanges) json.text(exchange);
  json.end();
  json.end();
  return json.take();
}

}  // namespace glia
