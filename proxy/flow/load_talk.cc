#include "proxy/flow/load_talk.h"

#include "proxy/base/text.h"
#include "proxy/model/orca.h"

namespace glia {
namespace {

bool is_report(const Field& field) {
  return field.name == kOrcaField || field.name == kOrcaBinaryField || field.name == kOrcaJsonField;
}

// A client that asks servers for reports by itself gets them.
bool asked_for(const Exchange& exchange) {
  return exchange.request().headers.has(kOrcaFormatField);
}

bool chooses_by_reports(const Lease& lease) {
  return lease.endpoint().cluster().balancer().uses_reports();
}

OrcaReport own_report(Exchange& exchange, const Lease& lease) {
  return orca_of(lease.server_load()->report(exchange.loop().now()));
}

}  // namespace

PickHints hints_of(const Exchange& exchange, const ClusterConfig& config) {
  PickHints hints;
  if (config.balancing.policy != Balancing::Policy::kModel) return hints;
  const std::string& header = config.balancing.model.session_header;
  if (!header.empty()) hints.session = exchange.request().headers.get(header).value_or("");
  const ModelRequest* const asked = exchange.model();
  if (asked == nullptr) return hints;
  hints.prefix = asked->prefix_hashes;
  hints.adapter = asked->adapter;
  hints.model = asked->model;
  if (hints.session.empty()) hints.session = asked->session;
  return hints;
}

void hear_load(Exchange& exchange, const Lease& lease, const Headers& fields) {
  if (chooses_by_reports(lease)) lease.endpoint().cluster().hear(lease.endpoint(), fields);
}

void talk_load(Exchange& exchange, const Lease& lease, float load, Response& response) {
  const Duration latency = exchange.upstream().head_after.value_or(Duration::zero());
  // A refusal is fast, whoever's fault it is: it says nothing of how long work takes.
  const bool worked = response.status < 400;
  if (chooses_by_reports(lease)) {
    if (worked) lease.endpoint().load().answered(latency, load + 1, exchange.loop().now());
    hear_load(exchange, lease, response.headers);
    if (!asked_for(exchange)) response.headers.remove_if(is_report);
  }
  const ServerLoad* const own = lease.server_load();
  if (own == nullptr) return;
  if (worked) own->answered(lease.in_flight(), latency);
  response.headers.remove_if(is_report);
  const std::string text = cat("TEXT ", write_orca_text(own_report(exchange, lease)));
  response.headers.add_kept(kOrcaField, exchange.arena()->copy(text), /*unique=*/true);
}

std::optional<Headers> trailers_with_load(Exchange& exchange, const Lease& lease,
                                          const Headers* trailers) {
  const bool hide = trailers != nullptr && chooses_by_reports(lease) && !asked_for(exchange);
  // A gRPC answer whose status stands in the head must not get trailers.
  const bool tell = lease.server_load() != nullptr && exchange.request().trailers_accepted &&
                    (trailers != nullptr || !exchange.is_grpc());
  if (!tell && !hide) return {};
  Headers fields(exchange.arena());
  if (trailers != nullptr) {
    for (const Field& field : trailers->fields()) {
      if (!is_report(field)) fields.add_kept(field.name, field.value, field.unique);
    }
  }
  if (tell) {
    const std::string value = orca_binary_value(own_report(exchange, lease));
    fields.add_kept(kOrcaBinaryField, exchange.arena()->copy(value), /*unique=*/true);
  }
  return fields;
}

}  // namespace glia
