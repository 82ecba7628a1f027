#include "control_plane/explain/explain.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "control_plane/explain/conditions.h"
#include "control_plane/explain/sidecar_view.h"
#include "control_plane/translate/find_host.h"
#include "control_plane/translate/translate.h"
#include "filters/rbac_eval.h"
#include "proxy/base/text.h"
#include "proxy/http/canonical.h"
#include "proxy/mesh/rewrite.h"

namespace glia {

namespace {

std::string seconds(Duration time) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
  return ms % 1000 == 0 ? cat(ms / 1000, "s") : cat(ms, "ms");
}

// "HTTPRoute/default/classify/0": the object that a route is named after; "" if it is of no rule.
template <class Route>
std::string origin_of(const std::vector<Route>& routes, std::string_view name) {
  for (const Route& route : routes) {
    const std::string prefix = cat(Route::kKind, "/", route.metadata.key(), "/");
    if (!name.starts_with(prefix)) continue;
    const std::string_view rule = name.substr(prefix.size());
    for (std::size_t i = 0; i < route.spec.rules.size(); ++i) {
      if (rule != route.spec.rules[i].name && rule != cat(i)) continue;
      return cat(route.metadata.file, ":", route.spec.rules[i].at.line, " spec.rules[", i, "] of ",
                 origin(route));
    }
  }
  return "";
}

// A cluster is named "outbound:80:classify.default" (of a version of a Canary: "stable:..." or
// "candidate:..."; of an InferencePool: "pool:llama.default"), a virtual host "classify.default:80".
const MeshService* service_of_cluster(const ObjectSet& objects, std::string_view cluster) {
  if (cluster.starts_with(MeshService::kPoolMark)) {
    const std::size_t dot = cluster.rfind('.');  // A pool's name may have dots, a namespace's not.
    return objects.service(cluster.substr(dot + 1), cluster.substr(0, dot));
  }
  const std::size_t kind = cluster.find(':') + 1;
  const std::string_view word = cluster.substr(0, kind);
  if (word != "outbound:" && word != "stable:" && word != "candidate:") return nullptr;
  cluster.remove_prefix(std::min(cluster.size(), cluster.find(':', kind) + 1));
  const std::size_t dot = cluster.find('.');
  if (dot == cluster.npos) return nullptr;
  return objects.service(cluster.substr(dot + 1), cluster.substr(0, dot));
}

const TrafficPolicy* policy_of_host(const ObjectSet& objects, std::string_view host) {
  const std::size_t dot = host.find('.'), colon = host.rfind(':');
  if (dot == host.npos || colon == host.npos || colon < dot) return nullptr;
  const MeshService* service =
      objects.service(host.substr(dot + 1, colon - dot - 1), host.substr(0, dot));
  uint16_t port = 0;
  std::from_chars(host.data() + colon + 1, host.data() + host.size(), port);
  return service == nullptr ? nullptr : objects.traffic_policy(*service, port);
}

void tell_headers(std::string_view whose, const HeaderMutation& mutation,
                  std::vector<std::string>& out) {
  using Action = HeaderAddition::Action;
  for (const std::string& name : mutation.remove) {
    out.push_back(cat(whose, " header ", name, " is removed"));
  }
  for (const HeaderAddition& add : mutation.add) {
    const bool replaces = add.action == Action::kOverwrite;
    out.push_back(
        cat(whose, " header ", add.name, replaces ? " is set to " : " also gets ", add.value));
  }
}

class Explainer {
 public:
  Explainer(const ObjectSet& objects, const Workload& caller)
      : objects_(objects), caller_(caller) {}

  Result<Explanation> run(const Question& question) {
    TRY(const SnapshotRef view, sidecar_view(objects_, caller_));
    const HttpManager& manager = view->listeners.at(kOutboundName)->chains.at(0).http;
    TRY_VOID(read(question, manager.path_rules));
    out_.caller = caller_.metadata.key();
    out_.request = cat(request_.method, " ", request_.authority, request_.path);
    const VirtualHost* host =
        manager.routes->host_for(request_.authority, usual_port(request_.scheme));
    if (host == nullptr) {
      out_.answer = "404: no virtual host takes this host name";
      return std::move(out_);
    }
    out_.host = host->name;
    out_.on_demand = on_demand(objects_, caller_);
    if (const TrafficPolicy* policy = policy_of_host(objects_, host->name)) {
      out_.policy = origin(*policy);
    }
    const Route* route = choose(*host);
    if (route == nullptr) {
      out_.answer = "404: no route takes it";
      return std::move(out_);
    }
    tell_route(*route);
    if (route->forward) TRY_VOID(forward(*view, *route));
    return std::move(out_);
  }

 private:
  // The request as the sidecar would see it.
  Result<void> read(const Question& question, const PathRules& rules) {
    Arena& arena = *arena_;
    request_.method = arena.copy(question.method);
    request_.scheme = arena.copy(question.scheme);
    request_.authority =
        canonical_authority(arena.copy(question.authority), request_.scheme, arena);
    const CanonicalPath path = canonical_path(arena.copy(question.path), rules, arena);
    if (!path.fault.empty()) return invalid(cat("the sidecar answers 400: ", path.fault));
    request_.path = path.path;
    for (const auto& [name, value] : question.headers) request_.headers.add(name, value);
    return {};
  }

  const Route* choose(const VirtualHost& host) {
    for (const Route& route : host.routes) {
      const std::string failed = failed_condition(route.match, request_);
      if (failed.empty()) return &route;
      out_.passed.push_back({route.name, failed});
    }
    return nullptr;
  }

  void tell_route(const Route& route) {
    out_.route = route.name;
    out_.route_origin = origin_of(objects_.http_routes, route.name);
    if (out_.route_origin.empty()) out_.route_origin = origin_of(objects_.grpc_routes, route.name);
    out_.because = conditions_text(route.match);
    for (const HeaderMutation& mutation : route.request_headers) {
      tell_headers("request", mutation, out_.changes);
    }
    for (const auto& [name, settings] : route.filters) {
      if (!std::holds_alternative<std::shared_ptr<const CorsPolicy>>(settings)) continue;
      out_.changes.push_back("pages of some other origins may read the answer (CORS)");
    }
    for (const HeaderMutation& mutation : route.response_headers) {
      tell_headers("response", mutation, out_.changes);
    }
    if (route.direct) {
      out_.answer = cat(route.direct->status, ": ", trim(route.direct->body));
    }
    if (route.redirect) {
      out_.answer = cat(route.redirect->status, " to ",
                        redirect_location(*route.redirect, route.match.path, request_));
    }
  }

  Result<void> forward(const Snapshot& view, const Route& route) {
    const ForwardAction& action = *route.forward;
    if (action.timeout > 0s) out_.changes.push_back(cat("timeout ", seconds(action.timeout)));
    if (action.idle_timeout) {
      out_.changes.push_back(cat("idle timeout ", seconds(*action.idle_timeout)));
    }
    if (action.retry) tell_attempts(*action.retry);
    if (!action.host_rewrite.empty()) {
      out_.changes.push_back(cat("host becomes ", action.host_rewrite));
      request_.authority = arena_->copy(action.host_rewrite);
    }
    if (!action.prefix_rewrite.empty() || action.path_rewrite) {
      request_.path = arena_->copy(rewritten_path(action, route.match.path, request_));
      out_.changes.push_back(cat("path becomes ", request_.path));
    }
    for (const WeightedCluster& target : action.clusters) {
      TRY_VOID(add_share(view, action, target));
    }
    for (const Mirror& mirror : action.mirrors) {
      char percent[32];
      std::snprintf(percent, sizeof percent, "%.4g %%", mirror.per_million / 10'000.0);
      out_.mirrors.push_back(cat(percent, " to ", mirror.cluster));
    }
    return {};
  }

  void tell_attempts(const RetryPolicy& retry) {
    if (retry.per_try_timeout > 0s) {
      out_.changes.push_back(cat("timeout of one attempt ", seconds(retry.per_try_timeout)));
    }
    if (retry.on == 0) return;
    out_.changes.push_back(
        cat("is sent again up to ", retry.retries, retry.retries == 1 ? " time" : " times"));
  }

  Result<void> add_share(const Snapshot& view, const ForwardAction& action,
                         const WeightedCluster& target) {
    Explanation::Share share;
    share.percent = 100.0 * target.weight / static_cast<double>(action.total_weight);
    share.cluster = target.cluster;
    tell_headers("request", target.request_headers, share.changes);
    tell_headers("response", target.response_headers, share.changes);
    if (const MeshService* service = service_of_cluster(objects_, target.cluster)) {
      share.service = origin(*service);
    }
    const auto cluster = view.clusters.find(target.cluster);
    if (cluster == view.clusters.end()) {
      share.service = cat("does not exist: answered with ", action.no_cluster_status);
    } else if (cluster->second->endpoints != nullptr) {
      for (const EndpointConfig& endpoint : cluster->second->endpoints->endpoints) {
        if (share.endpoints++ >= Explanation::kMostHops) continue;
        TRY(auto hop, hop_to(endpoint));
        share.hops.push_back(std::move(hop));
      }
    }
    out_.shares.push_back(std::move(share));
    return {};
  }

  Result<Explanation::Hop> hop_to(const EndpointConfig& endpoint) {
    Explanation::Hop hop;
    hop.address = endpoint.address.text();
    const Workload* workload =
        objects_.workload_at(endpoint.address.ip_text(), endpoint.address.port());
    if (workload == nullptr) {
      hop.workload = "outside of the mesh";
      hop.why = "nobody of the mesh is asked";
      return hop;
    }
    hop.workload = workload->metadata.key();
    TRY(const SnapshotRef view, sidecar_view(objects_, *workload));
    for (const auto& [name, listener] : view->listeners) {
      if (listener->address.port() != endpoint.address.port() || name == kOutboundName) continue;
      decide(listener->chains.at(0).http, hop);
    }
    return hop;
  }

  // Asks the rules of an inbound listener, with the caller's identity.
  void decide(const HttpManager& manager, Explanation::Hop& hop) const {
    TlsInfo tls;
    tls.peer_certificate = true;
    tls.peer_uri_sans = {objects_.spiffe_id(caller_)};
    ConnectionInfo connection;
    connection.tls = &tls;
    const std::string_view path = path_of(request_);
    const auto plain = plain_path(path);
    const RbacInput input{request_, connection, path, plain ? *plain : path};
    hop.why =
        "no AuthorizationPolicy selects it, and spec.defaultAuthorization of the Mesh is "
        "Allow";
    for (const FilterConfig& filter : manager.filters) {
      const auto* rbac = std::get_if<std::shared_ptr<const RbacConfig>>(&filter.settings);
      if (rbac == nullptr || !(*rbac)->rules) continue;
      const RbacRules& rules = *(*rbac)->rules;
      const RbacVerdict verdict = evaluate(rules, input);
      if (!verdict.allowed) {
        hop.allowed = false;
        hop.why = refusal_sentence(rules, verdict, input);
        if (verdict.policy != nullptr) hop.why += cat("; ", policy_origin(verdict.policy->name));
        return;
      }
      hop.why = verdict.policy != nullptr ? cat("allowed by ", policy_origin(verdict.policy->name))
                                          : "no policy with action Deny matches";
    }
  }

  std::string policy_origin(std::string_view key) const {
    for (const AuthorizationPolicy& policy : objects_.policies) {
      if (policy.metadata.key() == key) return origin(policy);
    }
    return std::string(key);
  }

  const ObjectSet& objects_;
  const Workload& caller_;
  const ArenaRef arena_ = ArenaRef::create();
  Request request_{arena_};
  Explanation out_;
};

void add_line(std::string& text, std::string_view word, std::string_view line) {
  char start[16];
  std::snprintf(start, sizeof start, "%-10s", std::string(word).c_str());
  text += cat("  ", start, line, "\n");
}

}  // namespace

Result<void> Question::read_url(std::string_view url) {
  const std::size_t colon = url.find("://");
  if (colon != url.npos) {
    scheme = to_lower(url.substr(0, colon));
    url.remove_prefix(colon + 3);
  }
  if (scheme == "grpc") {
    scheme = "http";
    method = "POST";
    headers.emplace_back("content-type", "application/grpc");
  }
  if (scheme != "http" && scheme != "https") {
    return invalid(cat("\"", scheme, "\" is not http, https or grpc"));
  }
  const std::size_t slash = std::min(url.find_first_of("/?"), url.size());
  authority = url.substr(0, slash);
  path = url.substr(slash, url.find('#') - slash);
  if (!path.starts_with('/')) path = "/" + path;
  if (authority.empty()) return invalid("the URL names no host; write http://SERVICE/PATH");
  return {};
}

std::string Explanation::text() const {
  std::string text = cat(request, " from ", caller, "\n");
  if (!host.empty()) add_line(text, "host", host);
  if (on_demand) {
    add_line(text, "on demand", "the sidecar has it from the first request on, which waits for it");
  }
  for (const Passed& p : passed) add_line(text, "not", cat(p.route, ": ", p.because));
  if (!route.empty()) {
    add_line(text, "route", route);
    if (!route_origin.empty()) add_line(text, "", route_origin);
    add_line(text, "because", because);
  }
  if (!policy.empty()) add_line(text, "policy", policy);
  for (const std::string& change : changes) add_line(text, "does", change);
  if (!answer.empty()) add_line(text, "answers", answer);
  for (const Share& share : shares) {
    char percent[32];
    std::snprintf(percent, sizeof percent, "%.4g %%", share.percent);
    add_line(text, percent, cat(share.cluster, share.service.empty() ? "" : ", ", share.service));
    for (const std::string& change : share.changes) add_line(text, "", cat("  does ", change));
    for (const Hop& hop : share.hops) {
      add_line(text, "",
               cat("  ", hop.address, " ", hop.workload, ": ",
                   hop.allowed ? "" : "REFUSED with 403: ", hop.why));
    }
    if (share.endpoints > share.hops.size()) {
      add_line(text, "", cat("  and ", share.endpoints - share.hops.size(), " more"));
    }
    if (share.endpoints == 0) add_line(text, "", "  no endpoint: answered with an error");
  }
  for (const std::string& mirror : mirrors) add_line(text, "mirror", mirror);
  return text;
}

Result<Explanation> explain(const ObjectSet& objects, const Question& question) {
  const Workload* caller = objects.workload(question.from);
  if (caller != nullptr) return Explainer(objects, *caller).run(question);
  std::vector<std::string> names;
  for (const Workload& workload : objects.workloads) names.push_back(workload.metadata.display());
  const auto meant = closest_of(question.from, names);
  return invalid(cat("there is no Workload ", question.from,
                     meant ? cat("; did you mean ", *meant, "?") : ""));
}

}  // namespace glia
