#include "proxy/xds/draft.h"

#include "proxy/base/text.h"
#include "proxy/xds/decode_cluster.h"
#include "proxy/xds/decode_endpoint.h"
#include "proxy/xds/decode_listener.h"
#include "proxy/xds/decode_route.h"
#include "proxy/xds/decode_tls.h"
#include "proxy/xds/wire.h"

namespace glia {

namespace {

struct KindNames {
  std::string_view message, word, short_name;
};

// By ResourceKind.
constexpr KindNames kNames[] = {
    {"envoy.extensions.transport_sockets.tls.v3.Secret", "secret", "sds"},
    {"envoy.config.cluster.v3.Cluster", "cluster", "cds"},
    {"envoy.config.endpoint.v3.ClusterLoadAssignment", "endpoints", "eds"},
    {"envoy.config.listener.v3.Listener", "listener", "lds"},
    {"envoy.config.route.v3.RouteConfiguration", "route", "rds"},
};

const KindNames& names_of(ResourceKind kind) { return kNames[static_cast<std::size_t>(kind)]; }

// The field that names a resource of that kind.
std::string name_in(ResourceKind kind, const Message& message) {
  const Entry* name = message.find(kind == ResourceKind::kEndpoints ? "cluster_name" : "name");
  return name == nullptr ? "" : name->text;
}

// Full state: what is absent was deleted.
bool is_full_state(ResourceKind kind) {
  return kind == ResourceKind::kListener || kind == ResourceKind::kCluster;
}

decltype(Resource::value) decode_value(ResourceKind kind, const Reader& reader,
                                       const std::string& version,
                                       const std::vector<FilterConfig>& filters) {
  switch (kind) {
    case ResourceKind::kSecret: return decode_secret(reader);
    case ResourceKind::kCluster: return decode_cluster(reader, version);
    case ResourceKind::kEndpoints: return decode_endpoints(reader, version, false);
    case ResourceKind::kListener: return decode_listener(reader, version);
    case ResourceKind::kRoutes: return decode_route_table(reader, version, filters);
  }
  CHECK(!"unknown kind of resource");
}

// Those of every listener that uses these routes: what one of them reads is no mistake.
std::vector<FilterConfig> filters_before(const Draft& draft, std::string_view routes) {
  std::vector<FilterConfig> filters;
  for (const auto& [name, resource] : draft.of(ResourceKind::kListener)) {
    const auto& listener = std::get<ListenerResource>(resource->value);
    for (std::size_t i = 0; i < listener.chains.size(); ++i) {
      if (listener.chains[i].rds != routes) continue;
      const auto& own = listener.config.chains[i].http.filters;
      filters.insert(filters.end(), own.begin(), own.end());
    }
  }
  return filters;
}

// Null after an error.
ResourceRef decode_pushed(const Draft& draft, ResourceKind kind, std::string_view bytes,
                          const std::string& version, WallTime now, Errors& errors) {
  const Result<Message> message = decode_wire(*MessageSchema::find(message_of(kind)), bytes);
  if (!message.ok()) return errors.add(word_of(kind), message.error().message()), nullptr;
  const std::string path = cat(word_of(kind), "[", name_in(kind, *message), "]");
  std::vector<FilterConfig> filters;
  if (kind == ResourceKind::kRoutes) filters = filters_before(draft, name_in(kind, *message));
  auto resource = std::make_shared<Resource>(
      *decode_resource(kind, *message, version, path, now, errors, filters));
  resource->bytes = bytes;
  return resource;
}

void want_secrets(const std::optional<TlsSettings>& tls, std::set<std::string>& wanted) {
  if (!tls) return;
  if (tls->certificate_by_ads) wanted.insert(tls->certificate_secret);
  if (tls->validation_by_ads) wanted.insert(tls->validation_secret);
}

}  // namespace

std::string_view message_of(ResourceKind kind) { return names_of(kind).message; }
std::string type_url_of(ResourceKind kind) { return cat("type.googleapis.com/", message_of(kind)); }
std::string_view word_of(ResourceKind kind) { return names_of(kind).word; }
std::string_view short_of(ResourceKind kind) { return names_of(kind).short_name; }

ResourceRef decode_resource(ResourceKind kind, const Message& message, const std::string& version,
                            const std::string& path, WallTime now, Errors& errors,
                            const std::vector<FilterConfig>& filters) {
  const Reader reader(message, path, errors);
  auto resource = std::make_shared<Resource>();
  resource->name = name_in(kind, message);
  resource->version = version;
  resource->updated = now;
  resource->value = decode_value(kind, reader, version, filters);
  reader.report_unread();
  resource->bytes = encode_wire(message);
  return resource;
}

void Draft::add_static(ResourceKind kind, const Message& message, const std::string& path,
                       WallTime now, Errors& errors) {
  const ResourceRef decoded = decode_resource(kind, message, "", path, now, errors);
  auto resource = std::make_shared<Resource>(*decoded);
  resource->is_static = true;
  if (!map_of(kind).emplace(resource->name, resource).second) {
    errors.add(cat(path, ".name"),
               cat("\"", resource->name, "\" is the name of another ", word_of(kind), " as well"),
               message.at);
  }
}

ResourceMap Draft::decode_all(ResourceKind kind, const std::vector<std::string_view>& resources,
                              const std::function<const std::string&(std::size_t)>& version_of,
                              WallTime now, Errors& errors) const {
  std::map<std::string_view, ResourceRef> known;  // By bytes: what did not change is not decoded.
  for (const auto& [name, resource] : of(kind)) {
    if (!resource->is_static) known.emplace(resource->bytes, resource);
  }
  ResourceMap pushed;
  for (std::size_t i = 0; i < resources.size(); ++i) {
    const auto old = known.find(resources[i]);
    ResourceRef resource =
        old != known.end() ? old->second
                           : decode_pushed(*this, kind, resources[i], version_of(i), now, errors);
    if (resource == nullptr) continue;
    const std::string path = cat(word_of(kind), "[", resource->name, "]");
    const auto before = of(kind).find(resource->name);
    if (before != of(kind).end() && before->second->is_static) {
      errors.add(path, "a static resource has this name");
    } else if (!pushed.emplace(resource->name, resource).second) {
      errors.add(path, "is in the push twice");
    }
  }
  return pushed;
}

void Draft::put(ResourceKind kind, const std::string& version, ResourceMap pushed) {
  if (!is_full_state(kind)) {
    const std::set<std::string> names = wanted(kind);
    std::erase_if(pushed, [&](const auto& entry) { return !names.contains(entry.first); });
  }
  for (auto& [name, resource] : pushed) {
    if (kind == ResourceKind::kCluster) leaving_.erase(name);
    map_of(kind)[name] = std::move(resource);
  }
  versions_[static_cast<std::size_t>(kind)] = version;
}

void Draft::apply(ResourceKind kind, const std::string& version,
                  const std::vector<std::string_view>& resources, WallTime now, Errors& errors,
                  const std::set<std::string>& unsaid) {
  Errors found;
  ResourceMap pushed = decode_all(
      kind, resources, [&version](std::size_t) -> const std::string& { return version; }, now,
      found);
  if (!found.empty()) return errors.take(std::move(found));
  if (kind == ResourceKind::kCluster) {
    for (const auto& [name, resource] : of(kind)) {
      if (!resource->is_static && !unsaid.contains(name)) leaving_.insert(name);
    }
  } else if (kind == ResourceKind::kListener) {
    std::erase_if(map_of(kind), [&unsaid](const auto& entry) {
      return !entry.second->is_static && !unsaid.contains(entry.first);
    });
  }
  put(kind, version, std::move(pushed));
}

void Draft::change(ResourceKind kind, const std::string& version,
                   const std::vector<std::string_view>& resources, const DeltaPart& delta,
                   WallTime now, Errors& errors) {
  Errors found;
  ResourceMap pushed = decode_all(
      kind, resources,
      [&delta](std::size_t index) -> const std::string& { return delta.versions[index]; }, now,
      found);
  if (!found.empty()) return errors.take(std::move(found));
  for (const std::string& name : delta.removed) {
    const auto held = of(kind).find(name);
    if (held == of(kind).end() || held->second->is_static) continue;
    if (kind == ResourceKind::kCluster) leaving_.insert(name);
    if (kind == ResourceKind::kListener) map_of(kind).erase(name);
  }
  put(kind, version, std::move(pushed));
}

void Draft::expire(ResourceKind kind, const std::set<std::string>& names) {
  std::erase_if(map_of(kind), [&names](const auto& entry) {
    return !entry.second->is_static && names.contains(entry.first);
  });
  if (kind != ResourceKind::kCluster) return;
  for (const std::string& name : names) leaving_.erase(name);
}

void Draft::set_secret(SecretResource secret) {
  const std::string name = secret.name;
  own_secrets_[name] = std::move(secret);
}

const SecretResource* Draft::secret(std::string_view name) const {
  const ResourceMap& secrets = of(ResourceKind::kSecret);
  const auto pushed = secrets.find(name);
  if (pushed != secrets.end()) return &std::get<SecretResource>(pushed->second->value);
  const auto own = own_secrets_.find(name);
  return own == own_secrets_.end() ? nullptr : &own->second;
}

std::set<std::string> Draft::wanted(ResourceKind kind) const {
  std::set<std::string> names;
  for (const auto& [name, resource] : of(ResourceKind::kListener)) {
    for (const auto& chain : std::get<ListenerResource>(resource->value).chains) {
      if (kind == ResourceKind::kRoutes && !chain.rds.empty()) names.insert(chain.rds);
      if (kind == ResourceKind::kSecret) want_secrets(chain.tls, names);
    }
  }
  for (const auto& [name, resource] : of(ResourceKind::kCluster)) {
    const auto& cluster = std::get<ClusterResource>(resource->value);
    if (kind == ResourceKind::kEndpoints &&
        cluster.config.discovery == ClusterConfig::Discovery::kEds) {
      names.insert(cluster.config.eds_service_name);
    }
    if (kind == ResourceKind::kSecret) want_secrets(cluster.tls, names);
  }
  return names;
}

std::set<std::string_view> Draft::clusters_in_use() const {
  std::set<std::string_view> names;
  const auto add_table = [&names](const RouteTable& table) {
    for (const VirtualHost& host : table.hosts()) {
      for (const Route& route : host.routes) {
        if (!route.forward) continue;
        for (const WeightedCluster& target : route.forward->clusters) names.insert(target.cluster);
        for (const Mirror& mirror : route.forward->mirrors) names.insert(mirror.cluster);
      }
    }
  };
  for (const auto& [name, resource] : of(ResourceKind::kRoutes)) {
    add_table(*std::get<std::shared_ptr<const RouteTable>>(resource->value));
  }
  for (const auto& [name, resource] : of(ResourceKind::kListener)) {
    for (const FilterChain& chain : std::get<ListenerResource>(resource->value).config.chains) {
      if (chain.http.routes != nullptr) add_table(*chain.http.routes);
      if (!chain.tcp) continue;
      for (const TcpProxy::Target& target : chain.tcp->targets) names.insert(target.cluster);
    }
  }
  return names;
}

void Draft::prune() {
  if (!leaving_.empty()) {
    const std::set<std::string_view> used = clusters_in_use();
    std::erase_if(leaving_, [&](const std::string& name) {
      if (used.contains(name)) return false;
      map_of(ResourceKind::kCluster).erase(name);
      return true;
    });
  }
  for (const ResourceKind kind :
       {ResourceKind::kRoutes, ResourceKind::kEndpoints, ResourceKind::kSecret}) {
    const std::set<std::string> names = wanted(kind);
    std::erase_if(map_of(kind), [&](const auto& entry) {
      return !entry.second->is_static && !names.contains(entry.first);
    });
  }
}

std::string Draft::version_text() const {
  std::string text;
  for (const ResourceKind kind : kResourceKinds) {
    if (!version(kind).empty())
      text += cat(text.empty() ? "" : " ", short_of(kind), "=", version(kind));
  }
  return text.empty() ? "static" : text;
}

}  // namespace glia
