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

void Draft::apply(ResourceKind kind, const std::string& version,
                  const std::vector<std::string_view>& resources, WallTime now, Errors& errors) {
  std::map<std::string_view, ResourceRef> known;  // By bytes: what did not change is not decoded.
  for (const auto& [name, resource] : of(kind)) {
    if (!resource->is_static) known.emplace(resource->bytes, resource);
  }
  ResourceMap pushed;
  Errors found;
  for (const std::string_view bytes : resources) {
    const auto old = known.find(bytes);
    ResourceRef resource =
        old != known.end() ? old->second : decode_pushed(*this, kind, bytes, version, now, found);
    if (resource == nullptr) continue;
    const std::string path = cat(word_of(kind), "[", resource->name, "]");
    const auto before = of(kind).find(resource->name);
    if (before != of(kind).end() && before->second->is_static) {
      found.add(path, "a static resource has this name");
    } else if (!pushed.emplace(resource->name, resource).second) {
      found.add(path, "is in the push twice");
    }
  }
  if (!found.empty()) return errors.take(std::move(found));
  if (is_full_state(kind)) {
    std::erase_if(map_of(kind), [](const auto& entry) { return !entry.second->is_static; });
  } else {
    const std::set<std::string> names = wanted(kind);
    std::erase_if(pushed, [&](const auto& entry) { return !names.contains(entry.first); });
  }
  for (auto& [name, resource] : pushed) map_of(kind)[name] = std::move(resource);
  versions_[static_cast<std::size_t>(kind)] = version;
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

void Draft::prune() {
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
