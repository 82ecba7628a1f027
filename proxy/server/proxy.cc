#include "proxy/server/proxy.h"

#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "proxy/base/log.h"
#include "proxy/base/random.h"
#include "proxy/base/text.h"
#include "proxy/base/utc.h"
#include "proxy/base/version.h"
#include "proxy/server/cgroup.h"
#include "proxy/server/health_look.h"
#include "proxy/xds/ads_http.h"
#include "proxy/xds/config_dump.h"
#include "proxy/xds/kept_configuration.h"
#include "proxy/xds/private_file.h"

namespace glia {

Proxy::Proxy(const Options& options, EventLoop& loop, Network& network)
    : options_(options),
      loop_(loop),
      network_(network),
      server_(loop, options.concurrency, options.drain_time),
      admin_pages_(*this),
      admin_(loop, network, admin_pages_, {.idle_time = AdminService::kIdleTime}),
      late_drain_(loop, [this] { server_.drain(options_.drain_time); }) {}

Proxy::~Proxy() = default;

Result<void> Proxy::start(Bootstrap bootstrap) {
  if (!options_.service_node.empty()) bootstrap.node.id = options_.service_node;
  if (!options_.service_cluster.empty()) bootstrap.node.cluster = options_.service_cluster;
  configuration_ = std::make_unique<Configuration>(
      loop_, std::move(bootstrap), [this](SnapshotRef snapshot) { publish(std::move(snapshot)); });
  const bool keeps = !options_.state_dir.empty();
  if (keeps && configuration_->bootstrap().ads_cluster.empty()) {
    return invalid(
        cat("--state-dir ", options_.state_dir,
            ": the configuration has no dynamic_resources.ads_config, so there is nothing "
            "to keep there; leave it out"));
  }
  TRY_VOID(configuration_->start());
  set_limits(configuration_->bootstrap().limits);
  publish(configuration_->snapshot());
  TRY_VOID(std::move(first_publish_));
  // From here on an address that cannot be had is an error of whoever pushed it.
  configuration_->check_with([this](const Snapshot& drawn) { return server_.reserve(drawn); });
  TRY_VOID(listen_for_admin());
  if (configuration_->bootstrap().ads_cluster.empty()) return {};
  ads_ = std::make_unique<AdsClient>(
      loop_, *configuration_, ads_over_http(loop_, network_, *configuration_), random_seed());
  if (ads_->can_discover()) {
    ads_->discover(
        [this](const std::string& host, const Error& error) { server_.refuse_host(host, error); });
    server_.discover_by(
        [this](const std::string& host, Duration limit) { ads_->want_host(host, limit); });
    ads_->forget_idle_hosts([this] {
      looking_ = look_for_idle_hosts();
      looking_.start();
    });
  }
  if (keeps) begin_keeping();
  ads_->start();
  if (configuration_->bootstrap().tells_reports) begin_reports();
  if (configuration_->bootstrap().tells_health) begin_health();
  return {};
}

void Proxy::begin_health() {
  health_ = std::make_unique<HealthReporter>(
      loop_, health_over_http(loop_, network_, *configuration_),
      [this](const HealthOrder& order) { return look_at(loop_, network_, order); },
      configuration_->bootstrap().node.id, random_seed());
  health_->start();
}

Task<void> Proxy::look_for_idle_hosts() {
  const std::set<std::string> used = co_await server_.used_clusters();
  ads_->hosts_used(used);
}

void Proxy::begin_reports() {
  reporter_ = std::make_unique<Reporter>(
      loop_, reports_over_http(loop_, network_, *configuration_),
      TallyingWorkers{.want =
                          [this](std::vector<std::string> clusters) {
                            server_.post_to_all([clusters = std::move(clusters)](Worker& worker) {
                              worker.tally(clusters);
                            });
                          },
                      .take = [this] { return server_.take_tallies(); }},
      random_seed());
  reporter_->start();
}

void Proxy::begin_keeping() {
  const Bootstrap& bootstrap = configuration_->bootstrap();
  const std::string owner =
      cat(bootstrap.node.id, bootstrap.identity.empty() ? "" : " ", bootstrap.identity);
  restore(owner);
  writer_ = std::make_unique<FileWriter>(loop_, options_.state_dir, kConfigurationFile);
  keeper_ = std::make_unique<ConfigurationKeeper>(
      loop_, *configuration_, *ads_, owner,
      [this](std::string content, ConfigurationKeeper::Done done) {
        writer_->write(std::move(content), std::move(done));
      });
  ads_->on_change([this] { keeper_->changed(); });
}

// Begins with what an earlier run has kept; without it if it cannot be used.
void Proxy::restore(const std::string& owner) {
  const std::string path = cat(options_.state_dir, "/", kConfigurationFile);
  const WallTime now = loop_.clock().wall_now();
  const auto use = [&]() -> Result<void> {
    TRY(const auto file, read_private_file(options_.state_dir, kConfigurationFile, kMostKept));
    if (!file) return {};
    Result<KeptConfiguration> kept = decode_kept(*file, owner, now);
    if (!kept) return std::move(kept).error().in(path);
    if (Result<void> held = ads_->restore(kept->pushes); !held) {
      return std::move(held).error().in(path);
    }
    kept_ = cat(path, " of ", utc_text_with_millis(kept->saved));
    publish(configuration_->snapshot());  // Before anybody may ask whether we are ready.
    LOG(info, "begins with the configuration in ", kept_, " (", file->size(),
        " bytes), until the control plane says what is new");
    return {};
  };
  if (const Result<void> used = use(); !used) {
    LOG(warning, "begins without a kept configuration and waits for the control plane: ",
        used.error().message());
  }
  malloc_trim(0);  // What was read is not needed any more.
}

void Proxy::keep_the_rest() {
  if (keeper_ == nullptr) return;
  const auto rest = keeper_->unwritten();
  if (!rest) return;
  if (const auto written = writer_->write_now(*rest); !written) {
    LOG(warning, "the configuration is not kept: ", written.error().message());
  }
}

void Proxy::publish(SnapshotRef snapshot) {
  const bool first = server_.snapshot() == nullptr;
  if (!first && server_.snapshot() == snapshot) return;
  if (Result<void> published = server_.publish(snapshot); !published) {
    if (!first) LOG(error, "configuration is not in force: ", published.error().message());
    first_publish_ = std::move(published);
    return;
  }
  for (const auto& [name, address] : server_.addresses()) {
    LOG(debug, "listener ", name, " on ", address.text());
  }
  LOG(info, "configuration ", snapshot->version, " in force: ", snapshot->listeners.size(),
      " listeners, ", snapshot->clusters.size(), " clusters");
}

namespace {

// Of the descriptors that we may have, half are for clients: most requests need a second one.
std::size_t connections_of_descriptors() {
  rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return SIZE_MAX;
  return std::max<std::size_t>(1, limit.rlim_cur / 2);
}

}  // namespace

void Proxy::set_limits(const ProcessLimits& limits) {
  const std::size_t connections = limits.connections.value_or(connections_of_descriptors());
  const std::size_t share = (connections + server_.workers() - 1) / server_.workers();
  server_.post_to_all([share](Worker& worker) { worker.most_connections(share); });
  const auto memory = limits.memory ? limits.memory : cgroup_memory(kCgroupRoot, kOwnCgroup);
  if (!memory) return;
  overload_ = std::make_unique<Overload>(loop_, *memory, resident_memory, [this](Pressure now) {
    server_.post_to_all([now](Worker& worker) { worker.pressure(now); });
  });
}

Result<void> Proxy::listen_for_admin() {
  std::optional<Address> wanted = configuration_->bootstrap().admin;
  if (!options_.admin_address.empty()) {
    TRY(wanted, Address::parse(options_.admin_address));
  }
  if (!wanted) return {};
  if (!wanted->is_loopback() && !wanted->is_unix()) {
    LOG(warning, "the admin pages on ", wanted->text(),
        " can be reached from other machines; those are shown /ready and /stats only");
  }
  if (auto listening = admin_.listen(*wanted); !listening) {
    return std::move(listening).error().in("admin.address");
  }
  LOG(info, "admin pages on ", admin_.address().text());
  if (options_.admin_address_path.empty()) return {};
  std::FILE* file = std::fopen(options_.admin_address_path.c_str(), "w");
  if (file == nullptr) {
    return Error(ErrorKind::kInternal, Fault::kSelf,
                 cat("--admin-address-path ", options_.admin_address_path, " cannot be written"));
  }
  std::fputs(admin_.address().text().c_str(), file);
  std::fclose(file);
  return {};
}

Result<void> Proxy::set_secrets(std::vector<SecretResource> secrets) {
  for (SecretResource& secret : secrets) {
    TRY_VOID(configuration_->set_secret(std::move(secret)));
  }
  if (ads_ != nullptr) ads_->refresh();
  return {};
}

void Proxy::fail() {
  failed_ = true;
  loop_.stop();
}

void Proxy::shut_down() {
  if (std::exchange(shutting_down_, true)) return loop_.stop();
  LOG(info, "ending: waiting up to ", to_ms(options_.drain_time), " ms for requests in progress");
  if (health_ != nullptr) health_->leave();
  server_.drain(options_.drain_time);
  keep_the_rest();
  finishing_ = finish();
  finishing_.start();
}

Task<void> Proxy::finish() {
  co_await server_.drained();
  loop_.stop();
}

ServerFacts Proxy::facts() const {
  ServerFacts facts;
  facts.state = static_cast<ServerState>(server_.state());
  if (ads_ != nullptr && !ads_->settled() && facts.state == ServerState::kLive) {
    facts.state = ServerState::kInitializing;
    facts.waiting_for = ads_->connected()
                            ? "the control plane has not sent everything that is needed yet"
                            : cat("no answer from the control plane yet",
                                  ads_->last_end().empty() ? "" : cat(" (", ads_->last_end(), ")"));
  }
  if (facts.state == ServerState::kLive && !was_live_) {
    was_live_ = server_.up_to_date();
    if (!was_live_) {
      facts.state = ServerState::kInitializing;
      facts.waiting_for = "the workers do not listen yet";
    }
  }
  facts.version = std::string(kGliaVersion);
  facts.uptime = loop_.clock().now() - server_.started();
  facts.node_id = configuration_->bootstrap().node.id;
  facts.node_cluster = configuration_->bootstrap().node.cluster;
  if (server_.snapshot() != nullptr) facts.config_version = server_.snapshot()->version;
  facts.config_origin = origin();
  facts.options = {{"concurrency", cat(options_.concurrency)},
                   {"config_path", options_.config_path},
                   {"drain_time_s", cat(to_ms(options_.drain_time) / 1000)},
                   {"log_level", std::string(name_of(log_level()))}};
  return facts;
}

std::string Proxy::origin() const {
  if (ads_ == nullptr || !ads_->unconfirmed()) return "";
  return cat("the configuration is that in ", kept_, "; the control plane has not confirmed it yet",
             ads_->last_end().empty() ? "" : cat(" (", ads_->last_end(), ")"));
}

std::vector<ListenerRow> Proxy::listeners() const {
  std::vector<ListenerRow> rows;
  for (const auto& [name, address] : server_.addresses()) rows.push_back({name, address});
  return rows;
}

std::vector<CertificateRow> Proxy::certificates() const {
  std::vector<CertificateRow> rows;
  const auto add = [&](std::string used_by, const std::shared_ptr<const TlsContext>& tls) {
    if (tls == nullptr) return;
    if (auto own = tls->own_certificate()) rows.push_back({used_by, false, std::move(*own)});
    for (auto& trusted : tls->trusted_certificates()) {
      rows.push_back({used_by, true, std::move(trusted)});
    }
  };
  if (server_.snapshot() == nullptr) return rows;
  for (const auto& [name, listener] : server_.snapshot()->listeners) {
    for (const FilterChain& chain : listener->chains) add(cat("listener ", name), chain.tls);
  }
  for (const auto& [name, cluster] : server_.snapshot()->clusters) {
    add(cat("cluster ", name), cluster->tls);
  }
  return rows;
}

Result<std::string> Proxy::config_dump(const ConfigDumpQuery& query) const {
  return glia::config_dump(*configuration_, {.resource = query.resource,
                                             .name = query.name,
                                             .include_endpoints = query.include_endpoints,
                                             .origin = origin()});
}

Task<MetricsPage> Proxy::metrics() {
  MetricsPage page = co_await server_.metrics();
  page.gauge("envoy_server_memory_physical_size", {}, static_cast<int64_t>(resident_memory()));
  if (overload_ != nullptr) {
    page.gauge("glia_memory_limit_bytes", {}, static_cast<int64_t>(overload_->limit()));
    page.gauge("glia_memory_pressure", {}, static_cast<int64_t>(overload_->pressure()));
  }
  page.gauge("glia_control_connected", {}, ads_ != nullptr && ads_->connected() ? 1 : 0);
  page.gauge("glia_configuration_unconfirmed", {}, ads_ != nullptr && ads_->unconfirmed() ? 1 : 0);
  if (keeper_ != nullptr) {
    page.gauge("glia_kept_configuration_bytes", {}, static_cast<int64_t>(keeper_->size()));
    page.counter("glia_kept_configuration_writes_total", {}, keeper_->written());
    page.counter("glia_kept_configuration_failures_total", {}, keeper_->failed());
  }
  if (reporter_ != nullptr) {
    page.gauge("glia_reported_clusters", {}, static_cast<int64_t>(reporter_->clusters()));
    page.counter("glia_reports_total", {}, reporter_->sent());
  }
  if (ads_ != nullptr && ads_->can_discover()) {
    page.counter("glia_hosts_given_back_total", {}, ads_->hosts_given_back());
  }
  for (const ResourceKind kind : kResourceKinds) {
    page.gauge("glia_configuration_refused", {{"type", std::string(short_of(kind))}},
               configuration_->refusal(kind) ? 1 : 0);
  }
  co_return page;
}

void Proxy::drain_listeners(Drain how, Which which) {
  const bool inbound = which == Which::kInbound;
  if (how == Drain::kAtOnce) return server_.drain(options_.drain_time, inbound);
  server_.discourage(inbound);
  if (!inbound) late_drain_.start(options_.drain_time);
}

void Proxy::reopen_logs_now() {
  server_.post_to_all([](Worker& worker) { worker.reopen_logs(); });
}

}  // namespace glia
