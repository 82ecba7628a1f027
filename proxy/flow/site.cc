#include "proxy/flow/site.h"

#include "proxy/base/text.h"
#include "proxy/flow/exchange.h"
#include "proxy/flow/model_figures.h"
#include "proxy/flow/shadow.h"

namespace glia {

Site::Site(MeshContext& context, ClusterMap& clusters) : context_(context), clusters_(clusters) {}

Site::~Site() = default;

Shadows& Site::shadows() {
  if (shadows_ == nullptr) shadows_ = std::make_unique<Shadows>(context_, clusters_);
  return *shadows_;
}

ModelFigures& Site::model_figures() {
  if (model_figures_ == nullptr) model_figures_ = std::make_unique<ModelFigures>();
  return *model_figures_;
}

Task<void> Site::serve(ServerStream& stream) {
  Exchange exchange(stream, *this);
  co_await exchange.run();
}

Response Site::refuse(const Refusal& refusal, ServerStream& stream) {
  // Looked for only if it can be there: else whoever sends bad requests would have all that run
  // looked through for each.
  for (Exchange* exchange = stream.started() ? newest_ : nullptr; exchange != nullptr;
       exchange = exchange->next_) {
    if (&exchange->stream() == &stream) return exchange->refused(refusal);
  }
  // Never served: it lives for its count and its line in the log.
  Exchange exchange(stream, *this);
  return exchange.refused(refusal);
}

void Site::enter(Exchange& exchange) {
  ++stats_.requests_active;
  exchange.next_ = newest_;
  if (newest_ != nullptr) newest_->previous_ = &exchange;
  newest_ = &exchange;
}

void Site::leave(Exchange& exchange) {
  --stats_.requests_active;
  (exchange.previous_ != nullptr ? exchange.previous_->next_ : newest_) = exchange.next_;
  if (exchange.next_ != nullptr) exchange.next_->previous_ = exchange.previous_;
}

void Site::describe_exchanges(std::vector<std::string>& out) const {
  for (const Exchange* exchange = newest_; exchange != nullptr; exchange = exchange->next_) {
    out.push_back(exchange->describe());
  }
}

namespace {

void collect_tls(MetricsPage& page, const Labels& labels, const TlsStats& tls) {
  page.counter("envoy_listener_ssl_handshake", labels, tls.handshakes);
  page.counter("envoy_listener_ssl_session_reused", labels, tls.resumed);
  page.counter("envoy_listener_ssl_connection_error", labels, tls.failed);
}

void collect_model(MetricsPage& page, const Labels& labels, const ModelStats& model) {
  for (int i = 0; i < kDialects; ++i) {
    Labels with_dialect = labels;
    with_dialect.emplace_back("dialect", name_of(static_cast<Dialect>(i)));
    page.counter("glia_model_requests", with_dialect, model.requests[i]);
  }
  page.counter("glia_model_unknown", labels, model.unknown);
  page.counter("glia_model_refused", labels, model.refused);
  page.counter("glia_model_renamed", labels, model.renamed);
}

}  // namespace

void Site::collect_tcp(MetricsPage& page, const std::string& prefix) const {
  const Labels labels = {{"envoy_tcp_prefix", prefix}};
  const auto counter = [&](std::string_view name, uint64_t value) {
    page.counter(cat("envoy_tcp_", name), labels, value);
  };
  counter("downstream_cx_total", tcp_stats_.connections);
  counter("downstream_cx_no_route", tcp_stats_.no_route);
  counter("downstream_cx_rx_bytes_total", tcp_stats_.bytes_received);
  counter("downstream_cx_tx_bytes_total", tcp_stats_.bytes_sent);
  counter("downstream_flow_control_paused_reading_total", tcp_stats_.paused);
  counter("downstream_flow_control_resumed_reading_total", tcp_stats_.resumed);
  counter("idle_timeout", tcp_stats_.idle_timeouts);
  counter("max_downstream_connection_duration", tcp_stats_.duration_timeouts);
  page.gauge("envoy_tcp_downstream_cx_active", labels,
             static_cast<int64_t>(tcp_stats_.connections_active));
  if (state_->chain->tls != nullptr) collect_tls(page, labels, stats_.tls);
  if (gate_ != nullptr) gate_->collect(page, labels);
  if (log_ != nullptr) log_->collect(page);
}

void Site::collect(MetricsPage& page) const {
  if (state_->chain->tcp) return collect_tcp(page, state_->chain->tcp->stat_prefix);
  const Labels labels = {{"envoy_http_conn_manager_prefix", state_->chain->http.stat_prefix}};
  const auto counter = [&](std::string_view name, uint64_t value) {
    page.counter(cat("envoy_http_downstream_", name), labels, value);
  };
  const HttpServerStats& server = stats_.server;
  counter("cx_total", server.connections);
  counter("cx_http1_total", server.http1_connections);
  counter("cx_http2_total", server.http2_connections);
  counter("cx_max_duration_reached", stats_.max_duration);
  counter("cx_protocol_error", server.protocol_errors);
  counter("cx_rx_bytes_total", server.bytes_received);
  counter("cx_tx_bytes_total", server.bytes_sent);
  counter("rq_total", server.requests);
  counter("rq_rx_reset", server.resets_received);
  counter("rq_tx_reset", server.resets_sent);
  counter("rq_timeout", stats_.timeouts);
  counter("rq_overload_close", stats_.shed);
  counter("rq_idle_timeout", stats_.idle_timeouts);
  counter("rq_max_duration_reached", stats_.deadlines);
  counter("cx_destroy_remote_active_rq", stats_.downstream_gone);
  if (state_->chain->tls != nullptr) collect_tls(page, labels, stats_.tls);
  page.gauge("envoy_http_downstream_cx_active", labels,
             static_cast<int64_t>(server.connections_active));
  page.gauge("envoy_http_downstream_rq_active", labels,
             static_cast<int64_t>(stats_.requests_active));
  for (int digit = 1; digit <= 5; ++digit) {
    Labels with_class = labels;
    with_class.emplace_back("envoy_response_code_class", cat(digit));
    page.counter("envoy_http_downstream_rq_xx", with_class, stats_.by_class[digit]);
  }
  page.histogram("envoy_http_downstream_rq_time", labels, stats_.time);
  page.counter("glia_http_downstream_rq_too_slow", labels, stats_.too_slow);
  if (state_->chain->http.model) collect_model(page, labels, stats_.model);
  if (model_figures_ != nullptr) model_figures_->collect(page, labels);
  if (shadows_ != nullptr) shadows_->collect(page, labels);
  if (log_ != nullptr) log_->collect(page);
  for (const auto& filter : *state_->filters) filter->collect(page);
}

}  // namespace glia
