#include "proxy/mesh/route.h"

#include <xxhash.h>

#include <algorithm>

#include "proxy/base/text.h"
#include "proxy/http/canonical.h"
#include "proxy/http/message.h"
#include "proxy/mesh/model_need.h"

namespace glia {

namespace {

bool path_matches(const PathMatch& match, const Request& request) {
  if (request.is_connect() || match.kind == PathMatch::Kind::kConnect) {
    return request.is_connect() && match.kind == PathMatch::Kind::kConnect;
  }
  const std::string_view path = path_of(request);
  if (!match.text.matches(path)) return false;
  if (match.kind != PathMatch::Kind::kPathSeparatedPrefix) return true;
  const std::size_t size = match.text.pattern().size();
  return path.size() == size || path[size] == '/';
}

// The value of the first parameter called `name`; parameters are not percent-decoded, as in Envoy.
std::optional<std::string_view> parameter(std::string_view path, std::string_view name) {
  const std::size_t question = path.find('?');
  if (question == path.npos) return {};
  std::string_view query = path.substr(question + 1);
  query = query.substr(0, query.find('#'));
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    const std::size_t equals = pair.find('=');
    if (pair.substr(0, equals) != name) continue;
    return equals == pair.npos ? std::string_view() : pair.substr(equals + 1);
  }
  return {};
}

bool query_matches(const QueryMatch& match, const Request& request) {
  const auto value = parameter(request.path, match.name);
  return value && (!match.value || match.value->matches(*value));
}

// Longest first; wildcards of one length cannot both match, so their order does not matter.
void sort_by_length(std::vector<std::pair<std::string, const VirtualHost*>>& wildcards) {
  std::sort(wildcards.begin(), wildcards.end(),
            [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
}

constexpr std::size_t kAuthorityMax = 266;  // A DNS name, ":65535" and ":443".

// The value of the first cookie called `name`, without the quotes that may be around it.
std::optional<std::string_view> cookie(const Headers& headers, std::string_view name) {
  for (const Field& field : headers.fields()) {
    if (field.name != "cookie") continue;
    std::string_view rest = field.value;
    while (!rest.empty()) {
      std::string_view pair = rest.substr(0, rest.find(';'));
      rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
      while (pair.starts_with(' ')) pair.remove_prefix(1);
      const std::size_t equals = pair.find('=');
      if (equals == pair.npos || pair.substr(0, equals) != name) continue;
      std::string_view value = pair.substr(equals + 1);
      const bool quoted = value.size() >= 2 && value.starts_with('"') && value.ends_with('"');
      return quoted ? value.substr(1, value.size() - 2) : value;
    }
  }
  return {};
}

}  // namespace

std::optional<uint64_t> hash_of(const SessionKey& key, const Headers& headers) {
  const bool in_header = key.from == SessionKey::From::kHeader;
  const auto value = in_header ? headers.get(key.name) : cookie(headers, key.name);
  if (!value || value->empty()) return {};
  return XXH64(value->data(), value->size(), 0);
}

bool matches(const RouteMatch& match, const Request& request) {
  if (match.grpc && !request.is_grpc()) return false;
  return path_matches(match.path, request) &&
         std::ranges::all_of(match.headers, [&](const auto& h) { return matches(h, request); }) &&
         std::ranges::all_of(match.query, [&](const auto& q) { return query_matches(q, request); });
}

RouteTable::RouteTable(std::string name, std::string version, std::vector<VirtualHost> hosts)
    : name_(std::move(name)), version_(std::move(version)), hosts_(std::move(hosts)) {
  for (VirtualHost& host : hosts_) {
    for (Route& route : host.routes) route.model_need = model_need_of(route);
    for (const std::string& domain : host.domains) {
      if (domain == "*")
        any_ = &host;
      else if (domain.starts_with('*'))
        suffixes_.emplace_back(domain.substr(1), &host);
      else if (domain.ends_with('*'))
        prefixes_.emplace_back(domain.substr(0, domain.size() - 1), &host);
      else
        exact_.emplace(domain, &host);
    }
  }
  sort_by_length(suffixes_);
  sort_by_length(prefixes_);
}

const VirtualHost* RouteTable::host_for(std::string_view authority,
                                        std::string_view usual_port) const {
  if (authority.empty() || authority.size() > kAuthorityMax - usual_port.size()) return any_;
  char lower[kAuthorityMax];
  const auto end = std::ranges::transform(authority, lower, [](char c) { return to_lower(c); }).out;
  const std::string_view host(lower, authority.size());
  if (const VirtualHost* named = named_host(host)) return named;
  const std::size_t bracket = host.rfind(']');
  const bool has_port = host.find(':', bracket == host.npos ? 0 : bracket) != host.npos;
  if (has_port || usual_port.empty()) return any_;
  std::ranges::copy(usual_port, end);
  const VirtualHost* named = named_host({lower, authority.size() + usual_port.size()});
  return named != nullptr ? named : any_;
}

const VirtualHost* RouteTable::named_host(std::string_view host) const {
  if (const auto found = exact_.find(host); found != exact_.end()) return found->second;
  // A wildcard stands for at least one character.
  for (const auto& [suffix, target] : suffixes_) {
    if (host.size() > suffix.size() && host.ends_with(suffix)) return target;
  }
  for (const auto& [prefix, target] : prefixes_) {
    if (host.size() > prefix.size() && host.starts_with(prefix)) return target;
  }
  return nullptr;
}

const VirtualHost* RouteTable::host_of(const Request& request, std::string_view meant_for) const {
  const VirtualHost* const host = host_for(request.authority, usual_port(request.scheme));
  if (host != any_ || meant_for.empty()) return host;
  const VirtualHost* const named = named_host(meant_for);
  return named != nullptr ? named : host;
}

const Route* RouteTable::route_for(const Request& request, std::string_view meant_for) const {
  const VirtualHost* host = host_of(request, meant_for);
  if (host == nullptr) return nullptr;
  for (const Route& route : host->routes) {
    if (matches(route.match, request)) return &route;
  }
  return nullptr;
}

ModelNeed RouteTable::model_need(const Request& request, std::string_view meant_for) const {
  ModelNeed need = ModelNeed::kNothing;
  const VirtualHost* host = host_of(request, meant_for);
  if (host == nullptr) return need;
  for (const Route& route : host->routes) {
    if (route.model_need == ModelNeed::kNothing) {
      if (matches(route.match, request)) break;  // None behind it is ever reached.
    } else if (path_matches(route.match.path, request)) {
      need = std::max(need, route.model_need);
    }
  }
  return need;
}

ModelNeed RouteTable::model_need() const {
  ModelNeed need = ModelNeed::kNothing;
  for (const VirtualHost& host : hosts_) {
    for (const Route& route : host.routes) need = std::max(need, route.model_need);
  }
  return need;
}

}  // namespace glia
