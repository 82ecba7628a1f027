#include "proxy/mesh/cluster.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/mesh/lone_connection.h"

namespace glia {

Cluster::Cluster(ClusterMap& map, MeshContext& context, std::shared_ptr<const ClusterConfig> config)
    : map_(map), context_(context) {
  update(std::move(config));
}

Cluster::~Cluster() { dns_.cancel(); }

void Cluster::update(std::shared_ptr<const ClusterConfig> config) {
  const bool same_security = config_ != nullptr && config_->tls == config->tls &&
                             config_->codec == config->codec &&
                             config_->proxy_protocol == config->proxy_protocol;
  // A balancer that stays goes on where it was: endpoints may change many times a second, and each
  // new round robin would begin with the same one.
  const bool same_balancing = config_ != nullptr && config_->balancing == config->balancing;
  const std::shared_ptr<const ClusterConfig> before = std::exchange(config_, std::move(config));
  if (!same_balancing) {
    listeners_.clear();
    probers_.clear();
    for (const auto& [address, endpoint] : endpoints_) balancer_->removed(*endpoint);
    balancer_ = Balancer::create(config_->balancing);
  }
  if (config_->discovery != ClusterConfig::Discovery::kOriginal) forget_.reset();
  follow_model_server();
  // Connections made under another certificate, authority or protocol finish and are replaced.
  if (!same_security) set_endpoints({});
  if (before != nullptr && before->tls != nullptr && config_->tls != nullptr &&
      !config_->tls->accepts_all_of(*before->tls)) {
    for (const auto& endpoint : leaving_) endpoint->end_unwanted();
  }
  if (config_->tls != nullptr && peer_check_ == nullptr) {
    peer_check_ = std::make_unique<CallbackTimer>(loop(), [this] { check_peers(); });
    peer_check_->start(kPeerCheck);
  }
  dns_.cancel();
  if (config_->discovery == ClusterConfig::Discovery::kStrictDns) {
    resolved_ = !endpoints_.empty();
    dns_ = refresh_dns();
    dns_.start();
    return;
  }
  resolved_ = true;
  // Where clients go is not in the drawing; who is connected stays so.
  const bool stays = before != nullptr && before->discovery == config_->discovery &&
                     config_->discovery == ClusterConfig::Discovery::kOriginal;
  if (stays) return;
  set_endpoints(config_->endpoints ? config_->endpoints->endpoints : std::vector<EndpointConfig>());
}

void Cluster::set_endpoints(const std::vector<EndpointConfig>& wanted) {
  std::set<Address> kept;
  for (const EndpointConfig& config : wanted) {
    kept.insert(config.address);
    auto& endpoint = endpoints_[config.address];
    if (endpoint == nullptr) {
      endpoint = std::make_unique<Endpoint>(*this, config);
    } else {
      endpoint->config(config);
    }
  }
  for (auto place = endpoints_.begin(); place != endpoints_.end();) {
    if (kept.contains(place->first)) {
      ++place;
      continue;
    }
    Endpoint& gone = *place->second;
    listeners_.erase(&gone);
    probers_.erase(&gone);
    balancer_->removed(gone);
    leaving_.push_back(std::move(place->second));
    place = endpoints_.erase(place);
    gone.drain(/*others=*/!wanted.empty());
    if (gone.idle()) on_endpoint_idle(gone);
  }
  follow_reports();
  rebuild_usable();
}

void Cluster::follow_reports() {
  if (config_->balancing.oob_interval == Duration::zero()) return;
  for (const auto& [address, endpoint] : endpoints_)
    listeners_.try_emplace(endpoint.get(), *endpoint);
}

void Cluster::rebuild_usable() {
  usable_.clear();
  std::vector<Endpoint*> all;
  for (const auto& [address, endpoint] : endpoints_) {
    all.push_back(endpoint.get());
    if (endpoint->config().health == Health::kHealthy) usable_.push_back(endpoint.get());
  }
  // Panic: with too few healthy endpoints, the rest is likely better than overloading those.
  if (usable_.size() * 100 < all.size() * config_->panic_threshold_percent) usable_ = all;
}

void Cluster::follow_model_server() {
  if (!config_->model_server || config_->server_load == nullptr) return scraper_.reset();
  if (scraper_ != nullptr && scraper_->config() == *config_->model_server) return;
  scraper_ = std::make_unique<EngineScraper>(loop(), network(), *config_->model_server,
                                             config_->server_load);
}

Endpoint& Cluster::pick_of(std::span<Endpoint* const> usable, const PickContext& context) {
  Endpoint& chosen = balancer_->pick(usable, context);
  for (Endpoint* const asked : balancer_->to_probe()) {
    probers_.try_emplace(asked, *asked).first->second.ask();
  }
  return chosen;
}

void Cluster::probed(Endpoint& endpoint) {
  balancer_->probed(endpoint, endpoint.load().last(), loop().now());
}

Result<Endpoint*> Cluster::pick(const std::vector<Address>& failed, const PickHints& hints) {
  const PickContext context{context_.random, loop().now(), hints};
  if (!failed.empty()) {
    std::vector<Endpoint*> others;
    std::ranges::copy_if(usable_, std::back_inserter(others), [&](const Endpoint* endpoint) {
      return std::ranges::find(failed, endpoint->config().address) == failed.end();
    });
    if (!others.empty()) return &pick_of(others, context);
  }
  if (!usable_.empty()) return &pick_of(usable_, context);
  ++stats_.no_endpoint;
  std::string why = cat("cluster ", config_->name, " has no usable endpoint");
  if (config_->discovery == ClusterConfig::Discovery::kEds && config_->endpoints == nullptr) {
    why += ": the control plane has not sent its endpoints yet";
  } else if (!endpoints_.empty()) {
    why += cat(": all ", endpoints_.size(), " are unhealthy or draining");
  }
  return Error(ErrorKind::kNoEndpoint, Fault::kUpstream, std::move(why));
}

Result<Endpoint*> Cluster::destination_of(const ConnectionInfo* client,
                                          const std::vector<Address>& failed) {
  if (client == nullptr || !client->captured) {
    ++stats_.no_endpoint;
    return Error(ErrorKind::kNoEndpoint, Fault::kSelf,
                 cat("cluster ", config_->name,
                     " goes where its client wanted to go, which is known of captured connections "
                     "only; give its listener the filter envoy.filters.listener.original_dst"));
  }
  const Address& wanted = client->local;
  const auto known = endpoints_.find(wanted);
  if (std::ranges::find(failed, wanted) != failed.end()) {
    return Error(ErrorKind::kNoEndpoint, Fault::kUpstream,
                 cat(wanted.text(), " could not be connected to"));
  }
  if (known != endpoints_.end()) return known->second.get();
  if (endpoints_.size() >= kMostDestinations) {
    ++stats_.connections_overflow;
    return Error(
        ErrorKind::kOverflow, Fault::kSelf,
        cat("cluster ", config_->name, " goes to ", endpoints_.size(), " destinations, its limit"));
  }
  if (forget_ == nullptr) {
    forget_ = std::make_unique<CallbackTimer>(loop(), [this] { forget_destinations(); });
  }
  if (!forget_->running()) forget_->start(kForgetDestinations);
  EndpointConfig config;
  config.address = wanted;
  auto& made = endpoints_[wanted];
  made = std::make_unique<Endpoint>(*this, std::move(config));
  return made.get();
}

// Those with pooled connections stay until these have been idle long enough.
void Cluster::forget_destinations() {
  for (auto place = endpoints_.begin(); place != endpoints_.end();) {
    if (!place->second->idle()) {
      ++place;
      continue;
    }
    balancer_->removed(*place->second);
    loop().reap(std::move(place->second));
    place = endpoints_.erase(place);
  }
  if (!endpoints_.empty()) forget_->start(kForgetDestinations);
}

// A request's place in the list of those that wait for DNS; leaves it when its task is cancelled.
class Cluster::DnsWait {
 public:
  explicit DnsWait(Cluster& cluster)
      : cluster_(cluster),
        place_(cluster.waiting_for_dns_.insert(cluster.waiting_for_dns_.end(), &slot)) {
    ++cluster.stats_.pending_active;
  }
  DnsWait(const DnsWait&) = delete;
  ~DnsWait() {
    --cluster_.stats_.pending_active;
    cluster_.waiting_for_dns_.erase(place_);
    cluster_.finish_if_retired();
  }
  WaitSlot slot;

 private:
  Cluster& cluster_;
  std::list<WaitSlot*>::iterator place_;
};

Task<Result<void>> Cluster::resolved() {
  CO_TRY_VOID(may_wait());
  DnsWait wait(*this);
  while (!resolved_) co_await wait_in(wait.slot);
  co_return Result<void>();
}

Result<void> Cluster::may_wait() {
  if (stats_.pending_active < config_->limits.pending_requests) return {};
  ++stats_.pending_overflow;
  return Error(ErrorKind::kOverflow, Fault::kSelf,
               cat("cluster ", config_->name, " has ", stats_.pending_active,
                   " requests waiting for a connection, its limit (max_pending_requests)"));
}

Error Cluster::being_removed() const {
  return Error(ErrorKind::kClosed, Fault::kSelf,
               cat("cluster ", config_->name, " is being removed"), Retry::kSafe);
}

Task<Result<Lease>> Cluster::lease(Tried& tried, const ConnectionInfo* client, Carries carries,
                                   PickHints hints) {
  if (!resolved_) CO_TRY_VOID(co_await resolved());
  if (retired_) co_return being_removed();
  if (stats_.requests_active >= config_->limits.requests) {
    ++stats_.requests_overflow;
    co_return Error(ErrorKind::kOverflow, Fault::kSelf,
                    cat("cluster ", config_->name, " has ", stats_.requests_active,
                        " requests, its limit (max_requests)"));
  }
  const bool original = config_->discovery == ClusterConfig::Discovery::kOriginal;
  Result<Endpoint*> endpoint =
      original ? destination_of(client, {}) : pick(tried.failed, hints);  // There is but one.
  if (!endpoint) co_return std::move(endpoint).error();
  if (tried.only_others && std::ranges::count(tried.failed, (*endpoint)->config().address) > 0) {
    co_return Error(ErrorKind::kNoEndpoint, Fault::kUpstream,
                    cat("cluster ", config_->name, " has no other usable endpoint"));
  }
  tried.work = (*endpoint)->load().work;
  tried.tokens = (*endpoint)->load().expected;
  if (config_->proxy_protocol || carries == Carries::kBytes) {
    co_return co_await lease_alone(**endpoint, tried.failed, client, carries);
  }
  if (std::optional<Lease> lease = (*endpoint)->try_lease(tried)) co_return std::move(*lease);
  const Address address = (*endpoint)->config().address;  // The endpoint may not outlive the wait.
  Result<Lease> lease = co_await (*endpoint)->wait_lease(tried);
  if (!lease) tried.failed.push_back(address);
  co_return lease;
}

Task<Result<Lease>> Cluster::lease_alone(Endpoint& endpoint, std::vector<Address>& failed,
                                         const ConnectionInfo* client, Carries carries) {
  if (stats_.connections_active >= config_->limits.connections) {
    ++stats_.connections_overflow;
    co_return too_many_connections();
  }
  const Address address = endpoint.config().address;
  auto alone = std::make_unique<LoneConnection>(endpoint, client, carries);
  while (!alone->settled()) co_await wait_in(alone->changed());
  if (alone->open()) co_return Lease(std::move(alone));
  failed.push_back(address);
  Error error = alone->error();
  context_.loop.reap(std::move(alone));
  co_return error;
}

Error Cluster::too_many_connections() const {
  return Error(ErrorKind::kOverflow, Fault::kSelf,
               cat("cluster ", config_->name, " has ", stats_.connections_active,
                   " connections, its limit (max_connections)"));
}

Task<Result<Hold>> Cluster::hold(const std::vector<Address>& failed, const ConnectionInfo* client) {
  if (!resolved_) CO_TRY_VOID(co_await resolved());
  if (retired_) co_return being_removed();
  if (stats_.connections_active >= config_->limits.connections) {
    ++stats_.connections_overflow;
    co_return too_many_connections();
  }
  const bool original = config_->discovery == ClusterConfig::Discovery::kOriginal;
  Result<Endpoint*> endpoint = original ? destination_of(client, failed) : pick(failed, {});
  if (!endpoint) co_return std::move(endpoint).error();
  co_return Hold(**endpoint);
}

namespace {

void keep_family(ClusterConfig::DnsFamily wanted, std::vector<Address>& addresses) {
  using enum ClusterConfig::DnsFamily;
  const auto is_v4 = [](const Address& address) { return address.family() == AF_INET; };
  const bool only_v4 =
      wanted == kV4 || (wanted == kV4Preferred && std::ranges::any_of(addresses, is_v4));
  if (!only_v4 && wanted != kV6) return;
  std::erase_if(addresses, [&](const Address& address) { return is_v4(address) != only_v4; });
}

}  // namespace

// What was found stays while the resolver finds nothing (no such name, no answer, or no address of the
// wanted family): names come back, and the old addresses may still answer.
void Cluster::learn_name(const EndpointConfig& wanted, Result<std::vector<Address>> answer) {
  std::vector<Address>& known = names_[cat(wanted.host, ":", wanted.port)];
  if (!answer) {
    LOG(warning, "cluster ", config_->name, ": ", answer.error().message(),
        known.empty() ? "" : cat("; the last ", known.size(), " addresses stay in use"));
    return;
  }
  keep_family(config_->dns_family, *answer);
  if (answer->empty()) return;
  if (answer->size() > kMostAddresses) {
    LOG(warning, "cluster ", config_->name, ": ", wanted.host, " has ", answer->size(),
        " addresses; the first ", kMostAddresses, " are used");
    answer->resize(kMostAddresses);
  }
  known = *std::move(answer);
}

Task<void> Cluster::refresh_dns() {
  const auto config = config_;
  std::erase_if(names_, [&](const auto& known) {
    return std::ranges::none_of(config->endpoints->endpoints, [&](const EndpointConfig& wanted) {
      return known.first == cat(wanted.host, ":", wanted.port);
    });
  });
  for (;;) {
    std::vector<EndpointConfig> found;
    for (const EndpointConfig& wanted : config->endpoints->endpoints) {
      learn_name(wanted, co_await context_.network.resolve(wanted.host, wanted.port));
      for (const Address& address : names_[cat(wanted.host, ":", wanted.port)]) {
        EndpointConfig one = wanted;
        one.address = address;
        found.push_back(std::move(one));
      }
    }
    set_endpoints(found);
    resolved_ = true;
    for (WaitSlot* slot : waiting_for_dns_) slot->wake(context_.loop.ready());
    co_await sleep_for(context_.loop, config->dns_refresh);
  }
}

void Cluster::hear(Endpoint& endpoint, const Headers& fields) {
  if (const auto orca = orca_of(fields)) hear(endpoint, *orca);
}

void Cluster::hear(Endpoint& endpoint, const Result<OrcaReport>& orca) {
  if (!orca) {
    if (stats_.reports_rejected++ == 0) {
      LOG(warning, "cluster ", config_->name, ": ", endpoint.config().address.text(), ": ",
          orca.error().message(), "; it is not believed");
    }
    return endpoint.load().rejected();
  }
  ++stats_.reports;
  ServerReport report = server_report_of(*orca);
  if (const auto use = utilization_of(*orca, config_->balancing.weights.metrics)) {
    report.utilization = *use;
  }
  endpoint.load().report(report, endpoint.active(), loop().now());
}

void Cluster::retire() {
  retired_ = true;
  forget_.reset();
  scraper_.reset();
  dns_.cancel();
  resolved_ = true;
  for (WaitSlot* slot : waiting_for_dns_) slot->wake(context_.loop.ready());
  set_endpoints({});
  finish_if_retired();
}

void Cluster::check_peers() {
  for (const auto& [address, endpoint] : endpoints_) endpoint->check_peers();
  // One that becomes idle by this leaves the list.
  std::vector<Endpoint*> leaving;
  for (const auto& endpoint : leaving_) leaving.push_back(endpoint.get());
  for (Endpoint* endpoint : leaving) endpoint->check_peers();
  peer_check_->start(kPeerCheck);
}

void Cluster::finish_if_retired() {
  if (retired_ && idle()) map_.on_idle(*this);
}

bool Cluster::idle() const {
  return endpoints_.empty() && leaving_.empty() && waiting_for_dns_.empty();
}

void Cluster::on_endpoint_idle(Endpoint& endpoint) {
  const auto place =
      std::ranges::find_if(leaving_, [&](const auto& owned) { return owned.get() == &endpoint; });
  if (place == leaving_.end()) return;
  loop().reap(std::move(*place));
  leaving_.erase(place);
  finish_if_retired();
}

void Cluster::collect(MetricsPage& page, bool shared_facts) const {
  const Labels labels = {{"envoy_cluster_name", config_->stat_name}};
  const auto counter = [&](std::string_view name, uint64_t value) {
    page.counter(cat("envoy_cluster_", name), labels, value);
  };
  const auto gauge = [&](std::string_view name, uint64_t value) {
    page.gauge(cat("envoy_cluster_", name), labels, static_cast<int64_t>(value));
  };
  counter("upstream_cx_total", stats_.connections);
  gauge("upstream_cx_active", stats_.connections_active);
  counter("upstream_cx_connect_fail", stats_.connect_failed);
  counter("upstream_cx_overflow", stats_.connections_overflow);
  counter("upstream_cx_max_requests", stats_.max_requests);
  counter("upstream_cx_max_duration_reached", stats_.max_duration);
  counter("upstream_rq_total", stats_.requests);
  gauge("upstream_rq_active", stats_.requests_active);
  gauge("upstream_rq_pending_active", stats_.pending_active);
  counter("upstream_rq_pending_overflow", stats_.pending_overflow + stats_.requests_overflow);
  counter("upstream_rq_timeout", stats_.timeouts);
  counter("upstream_rq_rx_reset", stats_.resets);
  counter("upstream_rq_tx_reset", http_stats_.resets_sent);
  counter("upstream_rq_per_try_timeout", stats_.try_timeouts);
  counter("upstream_rq_per_try_idle_timeout", stats_.try_idle);
  counter("upstream_rq_retry", stats_.retries);
  counter("upstream_rq_retry_limit_exceeded", stats_.retry_limit);
  counter("upstream_rq_retry_overflow", stats_.retry_overflow);
  counter("upstream_cx_none_healthy", stats_.no_endpoint);
  counter("upstream_cx_rx_bytes_total", http_stats_.bytes_received);
  counter("upstream_cx_tx_bytes_total", http_stats_.bytes_sent);
  counter("upstream_cx_protocol_error", http_stats_.protocol_errors);
  if (config_->tls != nullptr) {
    counter("ssl_handshake", stats_.tls.handshakes);
    counter("ssl_session_reused", stats_.tls.resumed);
    counter("ssl_connection_error", stats_.tls.failed);
  }
  for (int digit = 1; digit <= 5; ++digit) {
    Labels with_class = labels;
    with_class.emplace_back("envoy_response_code_class", cat(digit));
    page.counter("envoy_cluster_upstream_rq_xx", with_class, stats_.by_class[digit]);
  }
  page.histogram("envoy_cluster_upstream_rq_time", labels, stats_.time);
  if (stats_.hedges + stats_.hedge_overflow > 0) {
    page.counter("glia_cluster_hedge_rq_total", labels, stats_.hedges);
    page.counter("glia_cluster_hedge_rq_won_total", labels, stats_.hedges_won);
    page.counter("glia_cluster_hedge_rq_overflow_total", labels, stats_.hedge_overflow);
    page.gauge("glia_cluster_hedge_rq_active", labels, static_cast<int64_t>(stats_.hedges_active));
  }
  if (balancer_->uses_reports()) collect_reports(page, labels);
  if (!shared_facts) return;
  if (config_->server_load != nullptr) collect_model_server(page, labels);
  gauge("membership_total", endpoints_.size());
  gauge("membership_healthy",
        static_cast<uint64_t>(std::ranges::count_if(endpoints_, [](const auto& entry) {
          return entry.second->config().health == Health::kHealthy;
        })));
}

void Cluster::collect_reports(MetricsPage& page, const Labels& labels) const {
  page.counter("glia_cluster_load_reports_total", labels, stats_.reports);
  page.counter("glia_cluster_load_reports_rejected_total", labels, stats_.reports_rejected);
  if (stats_.probes > 0) {
    page.counter("glia_cluster_probes_total", labels, stats_.probes);
    page.counter("glia_cluster_probes_failed_total", labels, stats_.probes_failed);
  }
  // Endpoints whose last report is believed by less than half.
  const Duration half_life = config_->balancing.model.half_life;
  const TimePoint now = loop().now();
  page.gauge("glia_cluster_endpoints_in_doubt", labels,
             std::ranges::count_if(endpoints_, [&](const auto& entry) {
               return entry.second->load().confidence(now, half_life) < 0.5;
             }));
}

// Facts of the process, which each worker would say alike.
void Cluster::collect_model_server(MetricsPage& page, const Labels& labels) const {
  const ServerLoad& load = *config_->server_load;
  page.counter("glia_model_server_scrapes_total", labels,
               static_cast<uint64_t>(load.scrapes().value()));
  page.counter("glia_model_server_scrape_failures_total", labels,
               static_cast<uint64_t>(load.failures().value()));
  page.gauge("glia_model_server_in_flight", labels, load.in_flight());
  page.gauge("glia_model_server_reading_tokens", labels, load.reading());
  const auto seen = load.last_seen();
  if (seen == nullptr) return;
  page.gauge("glia_model_server_sample_age_ms", labels, to_ms(loop().now() - seen->at));
  const EngineSample& sample = seen->sample;
  if (sample.waiting) {
    page.gauge("glia_model_server_waiting", labels, static_cast<int64_t>(*sample.waiting));
  }
  if (sample.running) {
    page.gauge("glia_model_server_running", labels, static_cast<int64_t>(*sample.running));
  }
  if (sample.kv_use) {
    page.gauge("glia_model_server_kv_use_percent", labels,
               static_cast<int64_t>(*sample.kv_use * 100));
  }
}

ClusterMap::~ClusterMap() = default;

void ClusterMap::apply(const Snapshot& snapshot) {
  for (const auto& [name, config] : snapshot.clusters) {
    auto& cluster = clusters_[name];
    if (cluster == nullptr) {
      cluster = std::make_unique<Cluster>(*this, context_, config);
    } else if (cluster->config_ref() != config) {
      cluster->update(config);
    }
  }
  for (auto place = clusters_.begin(); place != clusters_.end();) {
    if (snapshot.clusters.contains(place->first)) {
      ++place;
      continue;
    }
    Cluster& gone = *place->second;
    retired_.push_back(std::move(place->second));
    place = clusters_.erase(place);
    gone.retire();
  }
}

Cluster* ClusterMap::find(std::string_view name) const {
  const auto found = clusters_.find(name);
  return found == clusters_.end() ? nullptr : found->second.get();
}

void ClusterMap::collect(MetricsPage& page, bool shared_facts) const {
  for (const auto& [name, cluster] : clusters_) cluster->collect(page, shared_facts);
}

void ClusterMap::on_idle(Cluster& cluster) {
  const auto place =
      std::ranges::find_if(retired_, [&](const auto& owned) { return owned.get() == &cluster; });
  if (place == retired_.end()) return;
  context_.loop.reap(std::move(*place));
  retired_.erase(place);
}

}  // namespace glia
