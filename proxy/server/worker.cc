#include "proxy/server/worker.h"

#include <utility>

#include "proxy/base/text.h"

namespace glia {

Worker::Worker(uint32_t index, EventLoop& loop, Network& network, uint64_t seed)
    : index_(index),
      loop_(loop),
      random_(seed),
      discovery_(loop),
      context_{loop, network, random_, nullptr, &discovery_},
      clusters_(context_) {}

Worker::~Worker() {
  listeners_.clear();
  leaving_.clear();
  // What they, and the last drawing, gave to the reaper looks at the clusters.
  loop_.turn(Duration(0));
}

void Worker::tally(const std::vector<std::string>& clusters) {
  if (clusters.empty()) {
    tallies_.reset();
  } else {
    if (tallies_ == nullptr) tallies_ = std::make_unique<Tallies>();
    tallies_->want(clusters);
  }
  context_.tallies = tallies_.get();
}

Tallies Worker::take_tallies() { return tallies_ != nullptr ? tallies_->take() : Tallies(); }

std::vector<std::string> Worker::apply(SnapshotRef snapshot, const ListenAddresses& addresses,
                                       Duration leave_within) {
  std::vector<std::string> problems;
  // Clusters first: a new route must find the cluster that it names.
  clusters_.apply(*snapshot);
  for (const auto& [name, config] : snapshot->listeners) {
    auto& host = listeners_[name];
    const bool moved = host != nullptr && host->config().socket_key != config->socket_key;
    if (moved) {
      host->drain(leave_within);
      leaving_.push_back(std::exchange(host, nullptr));
    }
    if (host != nullptr) {
      host->update(snapshot, config, leave_within);
      continue;
    }
    host = std::make_unique<ListenerHost>(context_, clusters_, [this] { return admit(); });
    host->shed(pressure_ != Pressure::kNone);
    host->update(snapshot, config, leave_within);
    const auto address = addresses.find(name);
    // A UNIX socket and a port that must not be shared have one listener.
    const bool shared = config->reuse_port && !config->address.is_unix();
    if (address == addresses.end() || draining_ || (!shared && index_ != 0)) continue;
    const Result<void> listening = host->listen(
        address->second,
        {.reuse_port = true, .captured = config->captured, .transparent = config->transparent});
    if (!listening) problems.push_back(cat("listener ", name, ": ", listening.error().message()));
  }
  for (auto place = listeners_.begin(); place != listeners_.end();) {
    if (snapshot->listeners.contains(place->first)) {
      ++place;
      continue;
    }
    place->second->drain(leave_within);
    leaving_.push_back(std::move(place->second));
    place = listeners_.erase(place);
  }
  snapshot_ = std::move(snapshot);
  discovery_.drawing_changed();
  sweep();
  return problems;
}

void Worker::sweep() {
  std::erase_if(leaving_, [this](std::unique_ptr<ListenerHost>& host) {
    if (!host->finished()) return false;
    MetricsPage last;
    host->collect(last);
    ended_.add_totals(last, kEndedCountsMost);
    // By the reaper, behind the connections that it holds already.
    loop_.reap(std::move(host));
    return true;
  });
}

bool Worker::admit() {
  const bool admitted = pressure_ != Pressure::kRefuse && connections() < most_connections_;
  if (!admitted) ++refused_;
  return admitted;
}

void Worker::pressure(Pressure pressure) {
  pressure_ = pressure;
  for (const auto& [name, host] : listeners_) host->shed(pressure != Pressure::kNone);
}

void Worker::discourage(bool inbound_only) {
  for (const auto& [name, host] : listeners_) {
    if (!inbound_only || host->config().direction == "INBOUND") host->discourage();
  }
}

void Worker::drain(Duration limit, bool inbound_only) {
  draining_ = !inbound_only;
  for (const auto& [name, host] : listeners_) {
    if (!inbound_only || host->config().direction == "INBOUND") host->drain(limit);
  }
}

bool Worker::drained() const {
  for (const auto& [name, host] : listeners_) {
    if (!host->finished()) return false;
  }
  for (const auto& host : leaving_) {
    if (!host->finished()) return false;
  }
  return true;
}

std::vector<std::string> Worker::reopen_logs() {
  std::vector<std::string> problems;
  for (const auto& [name, host] : listeners_) host->reopen_logs(problems);
  for (const auto& host : leaving_) host->reopen_logs(problems);
  return problems;
}

void Worker::collect(MetricsPage& page) const {
  for (const auto& [name, host] : listeners_) host->collect(page);
  for (const auto& host : leaving_) host->collect(page);
  page.add(ended_);
  page.counter("envoy_listener_downstream_global_cx_overflow", {}, refused_);
  clusters_.collect(page, /*shared_facts=*/index_ == 0);
}

namespace {

void add_belief(const Cluster& cluster, const Endpoint& endpoint, TimePoint now, EndpointRow& row) {
  row.why = cluster.balancer().why(endpoint, now);
  if (row.why.empty()) return;
  const EndpointLoad& load = endpoint.load();
  row.load = load.estimate;
  row.score = load.score;
  row.picked = load.picked;
  if (!load.heard()) return;
  row.confidence = load.confidence(now, cluster.config().balancing.model.half_life);
  row.report_age_ms = to_ms(now - load.heard_at());
}

}  // namespace

std::vector<std::string> Worker::used_clusters() {
  std::vector<std::string> used;
  std::map<std::string, uint64_t, std::less<>> seen;
  for (const auto& [name, cluster] : clusters_.all()) {
    const ClusterStats& stats = cluster->stats();
    const auto before = requests_seen_.find(name);
    const bool more = stats.requests != (before == requests_seen_.end() ? 0 : before->second);
    if (more || stats.requests_active > 0 || stats.pending_active > 0) used.push_back(name);
    seen.emplace(name, stats.requests);
  }
  requests_seen_ = std::move(seen);
  return used;
}

std::vector<EndpointRow> Worker::endpoints() const {
  std::vector<EndpointRow> rows;
  for (const auto& [name, cluster] : clusters_.all()) {
    for (const auto& [address, endpoint] : cluster->endpoints()) {
      const EndpointStats& stats = endpoint->stats();
      const Health health = endpoint->config().health;
      rows.push_back({.cluster = name,
                      .address = address.text(),
                      .health = health == Health::kHealthy    ? "healthy"
                                : health == Health::kDraining ? "draining"
                                                              : "unhealthy",
                      .weight = endpoint->config().weight,
                      .cx_active = stats.connections_active,
                      .cx_total = stats.connections,
                      .cx_connect_fail = stats.connect_failed,
                      .rq_active = endpoint->active(),
                      .rq_total = stats.requests,
                      .rq_success = stats.requests_ok,
                      .rq_error = stats.requests_failed});
      add_belief(*cluster, *endpoint, loop_.now(), rows.back());
    }
  }
  return rows;
}

std::vector<std::string> Worker::exchanges() const {
  std::vector<std::string> all;
  for (const auto& [name, host] : listeners_) host->describe_exchanges(all);
  for (const auto& host : leaving_) host->describe_exchanges(all);
  return all;
}

std::size_t Worker::connections() const {
  std::size_t count = 0;
  for (const auto& [name, host] : listeners_) count += host->active_connections();
  for (const auto& host : leaving_) count += host->active_connections();
  return count;
}

}  // namespace glia
