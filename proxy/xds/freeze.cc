#include "proxy/xds/freeze.h"

#include "proxy/base/text.h"
#include "proxy/mesh/model_need.h"

namespace glia {

namespace {

void put(std::string& key, std::string_view piece) { key += cat(piece.size(), ":", piece); }

// Everything that makes one context differ from another, as text.
std::string key_of(TlsContext::Side side, const TlsOptions& options) {
  std::string key = cat(static_cast<int>(side), options.request_client_certificate,
                        options.require_client_certificate, " ", options.minimum_version, " ",
                        options.maximum_version, " ");
  put(key, options.certificate_chain);
  put(key, options.private_key);
  put(key, options.trusted_ca);
  put(key, options.server_name);
  put(key, options.ticket_scope);
  put(key, cat(options.tickets, options.ticket_lifetime.count(), " ", options.sessions));
  for (const SanMatch& san : options.peer_sans) {
    put(key, cat(static_cast<int>(san.type), " ", static_cast<int>(san.kind), " ", san.value));
  }
  for (const auto* list : {&options.alpn, &options.cipher_suites, &options.groups}) {
    key += '/';
    for (const std::string& item : *list) put(key, item);
  }
  return key;
}

// Whoever matches on the model of requests has it read, whether or not the listener says how: else
// the client itself would write what is matched on.
void read_models_if_asked(HttpManager& http) {
  for (const FilterConfig& filter : http.filters) {
    http.model_need = std::max(http.model_need, model_need_of(filter.settings));
  }
  const bool routes = http.routes != nullptr && http.routes->model_need() != ModelNeed::kNothing;
  if (!http.model && (routes || http.model_need != ModelNeed::kNothing)) http.model.emplace();
}

}  // namespace

Freezer::TlsRef Freezer::tls_context(const Draft& draft, const TlsSettings& settings,
                                     const std::string& path, Next& next, std::string& waits) {
  TlsOptions options = settings.options;
  if (settings.side == TlsContext::Side::kServer) options.ticket_scope = path;
  if (!settings.certificate_secret.empty()) {
    const SecretResource* secret = draft.secret(settings.certificate_secret);
    if (secret == nullptr) return waits = cat("secret ", settings.certificate_secret), nullptr;
    if (secret->certificate_chain.empty()) {
      next.errors.add(path, cat("secret ", settings.certificate_secret, " holds no certificate"));
      return nullptr;
    }
    options.certificate_chain = secret->certificate_chain;
    options.private_key = secret->private_key;
  }
  if (!settings.validation_secret.empty()) {
    const SecretResource* secret = draft.secret(settings.validation_secret);
    if (secret == nullptr) return waits = cat("secret ", settings.validation_secret), nullptr;
    if (secret->trusted_ca.empty()) {
      next.errors.add(path, cat("secret ", settings.validation_secret, " holds no authorities"));
      return nullptr;
    }
    options.trusted_ca = secret->trusted_ca;
    options.peer_sans.insert(options.peer_sans.end(), secret->peer_sans.begin(),
                             secret->peer_sans.end());
  }
  TlsRef& made = next.tls[key_of(settings.side, options)];
  if (made) return made;
  if (const auto before = tls_.find(key_of(settings.side, options)); before != tls_.end()) {
    return made = before->second;
  }
  Result<TlsRef> context = TlsContext::create(settings.side, options);
  if (!context.ok()) {
    next.errors.add(path, context.error().message());
    return nullptr;
  }
  return made = *std::move(context);
}

Freezer::ServerLoadRef Freezer::server_load(const ModelServerConfig& config, Next& next) const {
  const std::string key = cat(config.metrics.text(), config.path);
  ServerLoadRef& made = next.server_loads[key];
  if (made) return made;
  const auto before = server_loads_.find(key);
  return made =
             before != server_loads_.end() ? before->second : std::make_shared<const ServerLoad>();
}

namespace {

// The state that belongs to `application`: that of this drawing, of the one before, or a new one.
template <class State>
std::shared_ptr<const State> kept(
    const std::string& application, std::map<std::string, std::shared_ptr<const State>>& now,
    const std::map<std::string, std::shared_ptr<const State>>& before) {
  std::shared_ptr<const State>& state = now[application];
  if (state != nullptr) return state;
  const auto found = before.find(application);
  return state = found != before.end() ? found->second : std::make_shared<const State>();
}

}  // namespace

void Freezer::seat(HttpManager& http, const std::string& listener, Next& next) const {
  for (FilterConfig& filter : http.filters) {
    if (auto* admission = std::get_if<std::shared_ptr<const AdmissionConfig>>(&filter.settings)) {
      auto config = std::make_shared<AdmissionConfig>(**admission);
      if (config->application.empty()) config->application = listener;
      config->desk = kept(config->application, next.desks, desks_);
      *admission = std::move(config);
    }
    if (auto* budgets = std::get_if<std::shared_ptr<const TokenBudgetsConfig>>(&filter.settings)) {
      auto config = std::make_shared<TokenBudgetsConfig>(**budgets);
      if (config->application.empty()) config->application = listener;
      config->ledger = kept(config->application, next.ledgers, ledgers_);
      *budgets = std::move(config);
    }
  }
}

// `usable`: the new one may be drawn although something is missing.
template <class Config>
void Freezer::keep(const std::string& name, const std::string& waits, std::string_view word,
                   const BuiltMap<Config>& before, Built<Config> made, bool usable,
                   BuiltMap<Config>& into, Next& next) {
  if (!waits.empty()) next.warming.push_back(cat(word, " ", name, " waits for ", waits));
  const auto old = before.find(name);
  if (!waits.empty() && old != before.end() && old->second.complete) {
    into[name] = old->second;
    return;
  }
  if (!usable) return;
  if (old != before.end() && old->second.from == made.from && old->second.parts == made.parts) {
    made.config = old->second.config;
  }
  made.complete = waits.empty();
  into[name] = std::move(made);
}

void Freezer::freeze_listener(const Draft& draft, const ResourceRef& resource, Next& next) {
  const auto& listener = std::get<ListenerResource>(resource->value);
  auto config = std::make_shared<ListenerConfig>(listener.config);
  Built<ListenerConfig> made{.from = resource};
  std::string waits;
  bool usable = true;
  for (std::size_t i = 0; i < listener.chains.size(); ++i) {
    const ListenerResource::Chain& needs = listener.chains[i];
    FilterChain& chain = config->chains[i];
    if (needs.tls) {
      chain.tls =
          tls_context(draft, *needs.tls,
                      cat("listener[", resource->name, "].filter_chains[", i, "]"), next, waits);
      usable = usable && chain.tls != nullptr;
    }
    if (!needs.rds.empty()) {
      const ResourceMap& routes = draft.of(ResourceKind::kRoutes);
      const auto found = routes.find(needs.rds);
      if (found == routes.end())
        waits = cat("routes ", needs.rds);
      else
        chain.http.routes = std::get<std::shared_ptr<const RouteTable>>(found->second->value);
    }
    read_models_if_asked(chain.http);
    seat(chain.http, resource->name, next);
    made.parts.push_back(chain.tls);
    made.parts.push_back(chain.http.routes);
  }
  made.config = std::move(config);
  keep(resource->name, waits, "listener", listeners_, std::move(made), usable, next.listeners,
       next);
}

void Freezer::freeze_cluster(const Draft& draft, const ResourceRef& resource, Next& next) {
  const auto& cluster = std::get<ClusterResource>(resource->value);
  auto config = std::make_shared<ClusterConfig>(cluster.config);
  Built<ClusterConfig> made{.from = resource};
  std::string waits;
  bool usable = true;
  if (cluster.tls) {
    config->tls =
        tls_context(draft, *cluster.tls, cat("cluster[", resource->name, "]"), next, waits);
    usable = config->tls != nullptr;
  }
  if (config->discovery == ClusterConfig::Discovery::kEds) {
    const ResourceMap& endpoints = draft.of(ResourceKind::kEndpoints);
    const auto found = endpoints.find(config->eds_service_name);
    if (found == endpoints.end())
      waits = cat("endpoints ", config->eds_service_name);
    else
      config->endpoints = std::get<std::shared_ptr<const EndpointSet>>(found->second->value);
  }
  if (config->model_server) config->server_load = server_load(*config->model_server, next);
  made.parts = {config->tls, config->endpoints};
  made.config = std::move(config);
  keep(resource->name, waits, "cluster", clusters_, std::move(made), usable, next.clusters, next);
}

Result<SnapshotRef> Freezer::freeze(const Draft& draft, const Check& check) {
  Next next;
  std::map<std::string, std::string> addresses;
  for (const auto& [name, resource] : draft.of(ResourceKind::kCluster))
    freeze_cluster(draft, resource, next);
  for (const auto& [name, resource] : draft.of(ResourceKind::kListener)) {
    freeze_listener(draft, resource, next);
    const Address& address = std::get<ListenerResource>(resource->value).config.address;
    if (address.port() == 0 && !address.is_unix()) continue;  // Any free port.
    const auto [at, is_new] = addresses.emplace(address.text(), name);
    if (!is_new) {
      next.errors.add(cat("listener[", name, "].address"),
                      cat(address.text(), " is the address of listener[", at->second, "] as well"));
    }
  }
  if (!next.errors.empty()) return invalid(next.errors.joined());

  auto snapshot = std::make_shared<Snapshot>();
  snapshot->number = current_ ? current_->number + 1 : 1;
  snapshot->version = draft.version_text();
  snapshot->node_id = node_.id;
  snapshot->node_cluster = node_.cluster;
  for (const auto& [name, built] : next.listeners) snapshot->listeners[name] = built.config;
  for (const auto& [name, built] : next.clusters) snapshot->clusters[name] = built.config;
  if (check) TRY_VOID(check(*snapshot));
  listeners_ = std::move(next.listeners);
  clusters_ = std::move(next.clusters);
  tls_ = std::move(next.tls);
  server_loads_ = std::move(next.server_loads);
  desks_ = std::move(next.desks);
  ledgers_ = std::move(next.ledgers);
  warming_ = std::move(next.warming);
  if (current_ && current_->version == snapshot->version &&
      current_->listeners == snapshot->listeners && current_->clusters == snapshot->clusters) {
    return current_;
  }
  current_ = std::move(snapshot);
  return current_;
}

}  // namespace glia
