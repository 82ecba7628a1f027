#include "proxy/server/listener_host.h"

#include <algorithm>
#include <utility>

#include "filters/all.h"
#include "proxy/flow/router.h"
#include "proxy/flow/tcp_session.h"
#include "proxy/server/request_log.h"

namespace glia {

// An accepted connection; pins the drawing that it was accepted under, because its limits and its TLS
// context are part of that.
class ListenerHost::Connection final : public ServerConnection::Owner, public Reapable {
 public:
  Connection(ListenerHost& host, Site& site, std::unique_ptr<Stream> stream,
             std::unique_ptr<Stream> upstream)
      : host_(host), site_(site), pinned_(site.state()) {
    const FilterChain& chain = *pinned_->chain;
    if (chain.tls != nullptr) {
      stream = chain.tls->wrap(host.context_.loop, std::move(stream), chain.handshake_timeout,
                               {.stats = &site.stats().tls, .verified = &host.verified_});
      tls_ = stream->info().tls;
    }
    if (chain.tcp) {
      auto session =
          std::make_unique<TcpSession>(site, std::move(stream), *this, std::move(upstream));
      tcp_ = session.get();
      served_ = std::move(session);
    } else {
      served_ = serve_http(host.context_.loop, std::move(stream), chain.http.server, site, *this,
                           site.stats().server);
    }
    place = host.connections_.end();
    const Duration age = chain.http.server.limits.connection_age;
    if (age == kForever) return;
    age_ = std::make_unique<CallbackTimer>(host.context_.loop, [this] {
      ++site_.stats().max_duration;
      served_->drain();
    });
    age_->start(age);
  }
  void cut() { on_finished(*served_); }
  void judge_again() {
    if (tcp_ != nullptr) tcp_->judge();
  }
  void describe_relayed(std::vector<std::string>& out) const {
    if (tcp_ != nullptr) out.push_back(tcp_->describe());
  }
  ServerConnection& served() { return *served_; }
  const Site& site() const { return site_; }
  // Whether the rules of `chain` would let its caller in as those did that it met.
  bool accepted_by(const FilterChain& chain) const {
    return tls_ == nullptr || chain.tls->accepts_all_of(*pinned_->chain->tls);
  }
  bool peer_expired() const {
    return tls_ != nullptr && tls_->peer_certificate &&
           host_.context_.loop.clock().wall_now() >= tls_->peer_not_after + kExpiredGrace;
  }
  // No new requests, and what runs is cut off after kUnwantedTime.
  void unwanted() {
    if (cut_at_) return;
    cut_at_ = host_.context_.loop.now() + kUnwantedTime;
    served_->drain();
  }
  bool to_be_cut() const { return cut_at_ && host_.context_.loop.now() >= *cut_at_; }
  // In the host's list; its end once this was given to the reaper.
  std::list<std::unique_ptr<Connection>>::iterator place;

 private:
  void on_finished(ServerConnection&) override {
    if (age_ != nullptr) age_->stop();
    if (place == host_.connections_.end()) return;
    auto self = std::move(*place);
    host_.connections_.erase(std::exchange(place, host_.connections_.end()));
    host_.context_.loop.reap(std::move(self));
  }

  ListenerHost& host_;
  Site& site_;
  std::shared_ptr<const SiteState> pinned_;
  std::unique_ptr<ServerConnection> served_;
  TcpSession* tcp_ = nullptr;     // served_, if it is one.
  const TlsInfo* tls_ = nullptr;  // Of its stream, which served_ owns; null for clear text.
  std::optional<TimePoint> cut_at_;
  std::unique_ptr<CallbackTimer> age_;  // Only where the configuration limits the age.
};

// A stream that nobody serves, on its way to the reaper. It may still be told that it is open: an
// accepted stream is, in the turn in which it is accepted.
struct ListenerHost::Unwanted final : Reapable, private Stream::Watcher {
  explicit Unwanted(std::unique_ptr<Stream> unserved) : stream(std::move(unserved)) {
    stream->watch(*this);
  }
  void on_open() override {}
  void on_readable() override { stream->pause_reading(true); }
  void on_writable() override {}
  void on_broken() override {}
  std::unique_ptr<Stream> stream;
};

ListenerHost::ListenerHost(MeshContext& context, ClusterMap& clusters, std::function<bool()> admit)
    : context_(context), clusters_(clusters), admit_(std::move(admit)) {}

ListenerHost::~ListenerHost() = default;

void ListenerHost::update(const SnapshotRef& snapshot, std::shared_ptr<const ListenerConfig> config,
                          Duration leave_within) {
  config_ = std::move(config);
  const bool by_beginning = needs_inspection(config_->chains);
  plan_ = {.proxy_header = config_->proxy_protocol,
           .tls = by_beginning,
           .http = by_beginning && config_->http_inspector,
           .patience = config_->inspection_timeout,
           .go_on = config_->continue_on_timeout};
  std::vector<std::unique_ptr<Site>> before = std::exchange(sites_, {});
  for (const FilterChain& chain : config_->chains) {
    sites_.push_back(take_site(before, chain));
    update_site(*sites_.back(), snapshot, chain);
  }
  sweep();
  for (auto& site : before) {
    if (site != nullptr) retire(std::move(site), leave_within);
  }
  end_unwanted();
}

// Callers that the new rules may not let in come again, and are judged by those.
void ListenerHost::end_unwanted() {
  for (const auto& connection : connections_) {
    const auto place = std::ranges::find_if(
        sites_, [&](const auto& site) { return site.get() == &connection->site(); });
    if (place == sites_.end()) continue;
    if (!connection->accepted_by(*(*place)->state()->chain)) connection->unwanted();
  }
  const bool tls = std::ranges::any_of(
      config_->chains, [](const FilterChain& chain) { return chain.tls != nullptr; });
  if (!tls || peer_check_ != nullptr) return;
  peer_check_ = std::make_unique<CallbackTimer>(context_.loop, [this] { check_peers(); });
  peer_check_->start(kPeerCheck);
}

void ListenerHost::check_peers() {
  for (auto place = connections_.begin(); place != connections_.end();) {
    Connection& connection = **place++;
    if (connection.peer_expired()) connection.unwanted();
    if (connection.to_be_cut()) connection.cut();
  }
  peer_check_->start(kPeerCheck);
}

namespace {

// Whether what one chain has accepted may be served by the other.
bool take_the_same(const FilterChain& a, const FilterChain& b) {
  return a.destination_port == b.destination_port && a.destinations == b.destinations &&
         a.server_names == b.server_names && a.transport == b.transport &&
         a.application_protocols == b.application_protocols &&
         (a.tls == nullptr) == (b.tls == nullptr) && a.tcp.has_value() == b.tcp.has_value();
}

}  // namespace

// Known by what it takes and not by its place: a connection must never come under the policies of
// another chain because one before it was added or removed.
std::unique_ptr<Site> ListenerHost::take_site(std::vector<std::unique_ptr<Site>>& from,
                                              const FilterChain& chain) {
  for (auto& site : from) {
    if (site != nullptr && take_the_same(*site->state()->chain, chain)) return std::move(site);
  }
  return std::make_unique<Site>(context_, clusters_);
}

// Its chain is gone: the requests in progress end on the last drawing that had it.
void ListenerHost::retire(std::unique_ptr<Site> site, Duration leave_within) {
  for (const auto& connection : connections_) {
    if (&connection->site() == site.get()) connection->served().drain();
  }
  std::unique_ptr<CallbackTimer> cut;
  if (site->state()->chain->tcp) cut = cut_later(*site, leave_within);
  old_sites_.push_back({std::move(site), std::move(cut)});
}

// A relayed connection ends when its ends wish, but must not stay long under what is in force no more.
std::unique_ptr<CallbackTimer> ListenerHost::cut_later(Site& site, Duration delay) {
  auto timer = std::make_unique<CallbackTimer>(context_.loop, [this, &site] {
    for (auto place = connections_.begin(); place != connections_.end();) {
      Connection& connection = **place++;
      if (&connection.site() == &site) connection.cut();
    }
  });
  timer->start(delay);
  return timer;
}

// Who was let in under the rules before may not be welcome under these.
void ListenerHost::judge_again(Site& site) {
  for (auto place = connections_.begin(); place != connections_.end();) {
    Connection& connection = **place++;
    if (&connection.site() == &site) connection.judge_again();
  }
}

void ListenerHost::sweep() {
  std::erase_if(old_sites_, [&](OldSite& old) {
    const bool used = std::ranges::any_of(connections_, [&](const auto& connection) {
      return &connection->site() == old.site.get();
    });
    if (used) return false;
    MetricsPage last;
    old.site->collect(last);
    ended_.add_totals(last, kEndedCountsMost);
    // By the reaper, behind the connections that it holds already.
    context_.loop.reap(std::move(old.site));
    return true;
  });
}

namespace {

const std::vector<AccessLogConfig>& access_logs(const FilterChain& chain) {
  return chain.tcp ? chain.tcp->access_logs : chain.http.access_logs;
}

}  // namespace

void ListenerHost::update_site(Site& site, const SnapshotRef& snapshot, const FilterChain& chain) {
  // Kept while it is replaced: new filters may take over the counts of the old.
  const std::shared_ptr<const SiteState> before = site.state();
  auto state = std::make_shared<SiteState>();
  state->snapshot = snapshot;
  state->listener = config_;
  state->chain = &chain;
  const bool new_gate =
      chain.tcp && (before == nullptr || before->chain->tcp->rbac != chain.tcp->rbac);
  if (new_gate) site.gate(make_gate(*chain.tcp, site.gate()));
  if (chain.tcp) {
    state->filters = std::make_shared<FilterList>();
  } else if (before != nullptr && before->chain->http.filters == chain.http.filters &&
             before->chain->http.stat_prefix == chain.http.stat_prefix) {
    state->filters = before->filters;
  } else {
    auto filters = std::make_shared<FilterList>();
    for (std::size_t i = 0; i < chain.http.filters.size(); ++i) {
      const bool stood = before != nullptr && i + 1 < before->filters->size();
      filters->push_back(make_filter(chain.http.filters[i], chain.http,
                                     stood ? (*before->filters)[i].get() : nullptr));
    }
    filters->push_back(std::make_unique<Router>());
    state->filters = std::move(filters);
  }
  if (before == nullptr || access_logs(*before->chain) != access_logs(chain)) {
    if (site.log() != nullptr) {
      MetricsPage last;
      site.log()->collect(last);
      ended_.add_totals(last, kEndedCountsMost);
    }
    site.log(make_request_log(access_logs(chain), context_.loop));
  }
  site.shed(shedding_);
  site.update(std::move(state));
  if (new_gate) judge_again(site);
}

void ListenerHost::shed(bool shedding) {
  shedding_ = shedding;
  for (const auto& site : sites_) site->shed(shedding);
  if (!shedding) return;
  for (const auto& connection : connections_) connection->served().drain();
}

Result<void> ListenerHost::listen(const Address& address, const ListenOptions& options) {
  TRY(acceptor_, context_.network.listen(address, options, *this));
  return {};
}

void ListenerHost::on_accept(std::unique_ptr<Stream> stream) {
  if (admit_ && !admit_()) return close(std::move(stream));
  if (plan_.proxy_header) return inspect(std::move(stream), nullptr);
  const Address destination = stream->info().local;
  if (config_->captured && misdirected(destination)) {
    ++counts_.misdirected;
    return close(std::move(stream));
  }
  ConnectionFacts facts;
  facts.destination_port = destination.port();
  facts.destination = &destination;
  if (!plan_.any() || !needs_inspection(config_->chains, facts)) {
    return serve(std::move(stream), facts);
  }
  Inspection::Dial dial = config_->captured ? dial_for(facts, destination) : nullptr;
  inspect(std::move(stream), std::move(dial));
}

void ListenerHost::inspect(std::unique_ptr<Stream> stream, Inspection::Dial dial) {
  inspections_.push_back(std::make_unique<Inspection>(
      context_.loop, plan_, std::move(stream),
      [this](Inspection& inspection, Inspection::Finding finding) {
        inspected(inspection, std::move(finding));
      },
      std::move(dial)));
}

// Passing it on would come back to us, without end; and no rule sends here what was meant for the
// machine itself, so a caller from outside must have made it up.
bool ListenerHost::misdirected(const Address& destination) const {
  if (acceptor_ != nullptr && destination.port() == acceptor_->address().port()) return true;
  return config_->direction == "INBOUND" && destination.is_loopback();
}

// Where silence would lead: if that is where the client wanted to go, the server there can be asked
// for its first words while those of the client are awaited.
Inspection::Dial ListenerHost::dial_for(const ConnectionFacts& facts, const Address& destination) {
  if (!plan_.go_on) return nullptr;
  const FilterChain* const rest = choose_chain(config_->chains, facts);
  if (rest == nullptr || !rest->tcp || rest->tcp->rbac != nullptr || rest->tls != nullptr ||
      rest->tcp->targets.size() != 1) {
    return nullptr;
  }
  const Cluster* const cluster = clusters_.find(rest->tcp->targets.front().cluster);
  if (cluster == nullptr || cluster->config().tls != nullptr || cluster->config().proxy_protocol ||
      cluster->config().discovery != ClusterConfig::Discovery::kOriginal) {
    return nullptr;
  }
  Address source;
  for (const Address& own : cluster->config().sources) {
    if (own.family() == destination.family()) source = own;
  }
  return [this, destination, source] { return context_.network.connect(destination, source); };
}

void ListenerHost::inspected(Inspection& inspection, Inspection::Finding finding) {
  const auto place = std::ranges::find_if(
      inspections_, [&](const auto& owned) { return owned.get() == &inspection; });
  if (place == inspections_.end()) return;  // Cut in this turn.
  context_.loop.reap(std::move(*place));
  inspections_.erase(place);
  using enum Inspection::Finding::Outcome;
  if (finding.outcome == kTimedOut) ++counts_.timed_out;
  if (finding.outcome == kNoProxyHeader) ++counts_.no_proxy_header;
  if (finding.stream == nullptr) return;
  const Sniffed& sniffed = finding.sniffed;
  const Address destination = finding.stream->info().local;
  ConnectionFacts facts;
  facts.destination_port = destination.port();
  facts.destination = &destination;
  facts.tls = sniffed.kind == Sniffed::Kind::kTls;
  if (facts.tls) {
    facts.server_name = sniffed.hello.server_name;
    facts.application_protocols = sniffed.hello.application_protocols;
  }
  if (sniffed.kind == Sniffed::Kind::kHttp1) facts.application_protocols = {"http/1.1"};
  if (sniffed.kind == Sniffed::Kind::kHttp2) facts.application_protocols = {"h2c"};
  serve(std::move(finding.stream), facts, std::move(finding.upstream));
}

// We may be inside its own callback, so the reaper does it.
void ListenerHost::close(std::unique_ptr<Stream> stream) {
  context_.loop.reap(std::make_unique<Unwanted>(std::move(stream)));
}

void ListenerHost::serve(std::unique_ptr<Stream> stream, const ConnectionFacts& facts,
                         std::unique_ptr<Stream> upstream) {
  const FilterChain* chain = choose_chain(config_->chains, facts);
  if (chain == nullptr) {
    ++counts_.no_chain;
    if (upstream != nullptr) close(std::move(upstream));
    return close(std::move(stream));
  }
  if (upstream != nullptr && !chain->tcp) close(std::move(upstream));
  Site& site = *sites_[static_cast<std::size_t>(chain - config_->chains.data())];
  auto connection =
      std::make_unique<Connection>(*this, site, std::move(stream), std::move(upstream));
  Connection& added = *connection;
  added.place = connections_.insert(connections_.end(), std::move(connection));
  if (discouraged_) added.served().drain();
}

void ListenerHost::discourage() {
  discouraged_ = true;
  for (const auto& connection : connections_) connection->served().drain();
}

void ListenerHost::drain(Duration limit) {
  acceptor_.reset();
  discourage();
  cut_timer_ = std::make_unique<CallbackTimer>(context_.loop, [this] { cut(); });
  cut_timer_->start(limit);
}

void ListenerHost::cut() {
  for (auto& inspection : inspections_) context_.loop.reap(std::move(inspection));
  inspections_.clear();
  for (auto& connection : connections_) {
    connection->place = connections_.end();
    context_.loop.reap(std::move(connection));
  }
  connections_.clear();
}

void ListenerHost::collect(MetricsPage& page) const {
  std::string address = (acceptor_ != nullptr ? acceptor_->address() : config_->address).text();
  std::ranges::replace(address, ':', '_');  // As Envoy writes it.
  const Labels labels = {{"envoy_listener_address", std::move(address)}};
  page.counter("envoy_listener_no_filter_chain_match", labels, counts_.no_chain);
  page.counter("envoy_listener_downstream_pre_cx_timeout", labels, counts_.timed_out);
  page.counter("envoy_listener_downstream_cx_proxy_proto_error", labels, counts_.no_proxy_header);
  page.counter("glia_listener_misdirected_total", labels, counts_.misdirected);
  for (const auto& site : sites_) site->collect(page);
  for (const OldSite& old : old_sites_) old.site->collect(page);
  page.add(ended_);
}

void ListenerHost::reopen_logs(std::vector<std::string>& problems) {
  for (const auto& site : sites_) site->reopen_log(problems);
  for (const OldSite& old : old_sites_) old.site->reopen_log(problems);
}

void ListenerHost::describe_exchanges(std::vector<std::string>& out) const {
  for (const auto& site : sites_) site->describe_exchanges(out);
  for (const OldSite& old : old_sites_) old.site->describe_exchanges(out);
  for (const auto& connection : connections_) connection->describe_relayed(out);
}

}  // namespace glia
