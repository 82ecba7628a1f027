#include "proxy/flow/load_talk.h"

#include <algorithm>

#include "proxy/base/text.h"
#include "proxy/model/fields.h"
#include "proxy/model/orca.h"

namespace glia {
namespace {

// Of a prompt, that are believed; a field of a stranger may say anything.
constexpr uint64_t kMostTokens = 10'000'000;

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

void tell(Exchange& exchange, const OrcaReport& report, Response& response) {
  const std::string text = cat("TEXT ", write_orca_text(report));
  response.headers.add_kept(kOrcaField, exchange.arena()->copy(text), /*unique=*/true);
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
  hints.tokens = static_cast<float>(asked->input_tokens);
  if (hints.session.empty()) hints.session = asked->session;
  return hints;
}

void hear_load(Exchange& exchange, const Lease& lease, const Headers& fields) {
  if (chooses_by_reports(lease)) lease.endpoint().cluster().hear(lease.endpoint(), fields);
}

void count_tokens(Exchange& exchange, Request& request, Lease& lease, const Tried& tried) {
  const bool chooses = chooses_by_reports(lease);
  if (!chooses && lease.server_load() == nullptr) return;
  Headers& headers = request.headers;
  const ModelRequest* const asked = exchange.model();
  if (lease.server_load() != nullptr) {
    const auto told = headers.get(kNewTokensField);
    const auto tokens = told ? parse_decimal(*told) : std::nullopt;
    const uint64_t all = asked != nullptr ? asked->input_tokens : 0;
    lease.reads(static_cast<uint32_t>(std::min(tokens.value_or(all), kMostTokens)));
  }
  headers.remove(kNewTokensField);
  if (!chooses || tried.tokens < 1) return;
  const auto tokens =
      static_cast<uint32_t>(std::min(tried.tokens, static_cast<float>(kMostTokens)));
  lease.reads(tokens);
  headers.add_kept(kNewTokensField, exchange.arena()->copy(cat(tokens)), /*unique=*/true);
}

void answer_begins(Exchange& exchange, Lease& lease, int status, Duration latency, float work) {
  lease.has_read();
  // A refusal is fast, whoever's fault it is: it says nothing of how long work takes.
  if (status >= 400) return;
  if (chooses_by_reports(lease)) {
    lease.endpoint().load().answered(latency, work, exchange.loop().now());
  }
  if (lease.server_load() != nullptr) lease.server_load()->answered(lease.in_flight(), latency);
}

void answer_is_late(Exchange& exchange, const Lease& lease, Duration waited, float work) {
  if (!chooses_by_reports(lease)) return;
  lease.endpoint().load().answered(waited, work, exchange.loop().now());
}

void talk_load(Exchange& exchange, const Lease& lease, Response& response) {
  if (chooses_by_reports(lease)) {
    hear_load(exchange, lease, response.headers);
    if (!asked_for(exchange)) response.headers.remove_if(is_report);
  }
  if (lease.server_load() == nullptr) return;
  response.headers.remove_if(is_report);
  tell(exchange, own_report(exchange, lease), response);
}

void tell_load_early(Exchange& exchange, Response& response) {
  const Route* const route = exchange.route();
  if (route == nullptr || !route->forward) return;
  const Cluster* const cluster =
      exchange.site().clusters().find(route->forward->clusters.front().cluster);
  if (cluster == nullptr || cluster->config().server_load == nullptr) return;
  const ServerReport report = cluster->config().server_load->report(exchange.loop().now());
  tell(exchange, orca_of(report), response);
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
