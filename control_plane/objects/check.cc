#include "control_plane/objects/check.h"

#include <algorithm>
#include <map>

#include "control_plane/objects/canary_check.h"
#include "control_plane/objects/label_index.h"
#include "control_plane/objects/route_check.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

std::string text_of(const TextMap& labels) {
  std::string out;
  for (const auto& [key, value] : labels) out += cat(out.empty() ? "" : ", ", key, "=", value);
  return out;
}

class Checks {
 public:
  Checks(ObjectSet& objects, const Unread& unread, References references,
         std::vector<Problem>& problems)
      : objects_(objects),
        unread_(unread),
        references_(references),
        problems_(problems),
        index_(objects.workloads) {}

  void run() {
    for (std::size_t i = 0; i < objects_.workloads.size(); ++i) {
      const Workload& workload = objects_.workloads[i];
      check_sockets(i);
      check_egress(workload);
      cluster_ips_.emplace(workload.spec.address, cat("Workload ", workload.metadata.display()));
    }
    for (MeshService& service : objects_.services) check_service(service);
    for (std::size_t i = 0; i < objects_.slices.size(); ++i) check_slice(i);
    for (MeshService& service : objects_.services) check_endpoints(service);
    for (std::size_t i = 0; i < objects_.traffic_policies.size(); ++i) check_traffic(i);
    for (std::size_t i = 0; i < objects_.model_policies.size(); ++i) check_model_policy(i);
    std::set<std::string> identities;
    for (const Workload& workload : objects_.workloads) {
      identities.insert(objects_.spiffe_id(workload));
    }
    for (std::size_t i = 0; i < objects_.policies.size(); ++i) check_policy(i, identities);
    if (!unread_.any()) check_identities();
  }

 private:
  template <class T>
  static std::string name_of(const T& object) {
    return cat(T::kKind, " ", object.metadata.display());
  }
  static std::string name_of(const MeshService& service) { return service.display(); }
  template <class T>
  void say(const T& object, Problem::Severity severity, Place at, std::string_view sentence) {
    problems_.push_back(
        {object.metadata.file, at.line, at.column, cat(name_of(object), ": ", sentence), severity});
  }
  template <class T>
  void error(const T& object, Place at, std::string_view sentence) {
    say(object, Problem::Severity::kError, at, sentence);
  }
  template <class T>
  void warning(const T& object, Place at, std::string_view sentence) {
    say(object, Problem::Severity::kWarning, at, sentence);
  }

  void check_sockets(std::size_t place) {
    const Workload& workload = objects_.workloads[place];
    for (const SocketUse& use : sockets_of(workload)) {
      const auto [taken, fresh] = objects_.sockets.emplace(use.socket, place);
      if (fresh) continue;
      const Workload& other = objects_.workloads[taken->second];
      std::string theirs;
      for (const SocketUse& u : sockets_of(other)) {
        if (u.socket == use.socket && theirs.empty()) theirs = u.what;
      }
      error(workload, use.at,
            cat(use.what, " is ", use.socket, ", which is already ", theirs, " of Workload ",
                other.metadata.display(), "; choose another address or port"));
    }
  }

  void check_service(MeshService& service) {
    const std::string& ip = service.spec.cluster_ip;
    if (!ip.empty() && !service.headless()) {
      const auto [taken, fresh] =
          cluster_ips_.emplace(ip, cat("Service ", service.metadata.display()));
      if (!fresh) {
        error(service, service.spec.at,
              cat("spec.clusterIP is ", ip, ", which is that of ", taken->second));
      }
    }
    if (service.spec.selector.empty()) return;
    service.members = index_.select(objects_.workloads, service.metadata.ns, service.spec.selector);
    if (service.members.empty() && !unread_.any()) {
      warning(service, service.spec.at,
              cat("spec.selector selects no Workload of namespace ", service.metadata.ns,
                  ": none has the labels ", text_of(service.spec.selector)));
    }
    for (std::size_t i = 0; i < service.spec.ports.size(); ++i) check_target(service, i);
    if (service.is_pool()) check_pool(service);
  }

  void check_pool(const MeshService& pool) {
    for (std::size_t i = 0; i < pool.spec.ports.size(); ++i) {
      for (const std::size_t member : pool.members) {
        const Workload& workload = objects_.workloads[member];
        const Workload::Port* const target = MeshService::target(pool.spec.ports[i], workload);
        if (target == nullptr || target->protocol != Workload::Protocol::kTcp) continue;
        error(pool, pool.spec.ports[i].at,
              cat("spec.targetPorts[", i, "].number is ", target->port,
                  ", which is of protocol TCP "
                  "at Workload ",
                  workload.metadata.display(), "; requests to models are HTTP or gRPC"));
        break;
      }
    }
    const auto place = place_of(objects_.inference_pools, pool.metadata.ns, pool.own_name());
    const auto& picker = objects_.inference_pools[*place].spec.endpoint_picker_ref;
    if (!picker) return;
    warning(pool, picker->at,
            cat("spec.endpointPickerRef: ", picker->name,
                " is not asked; each caller's sidecar chooses by itself (see ModelPolicy)"));
  }

  void check_target(const MeshService& service, std::size_t index) {
    const MeshService::Port& port = service.spec.ports[index];
    std::vector<const Workload*> without;
    for (const std::size_t member : service.members) {
      const Workload& workload = objects_.workloads[member];
      if (!MeshService::target(port, workload)) without.push_back(&workload);
    }
    if (without.empty()) return;
    const bool by_name = port.target_port && !port.target_port->name.empty();
    const uint16_t number = port.target_port ? port.target_port->number : port.port;
    std::string names;
    for (const Workload::Port& p : without[0]->spec.ports) {
      names += cat(names.empty() ? "" : ", ", p.name, " (", p.port, ")");
    }
    const std::string_view field = service.is_pool() ? "].number is " : "].targetPort is ";
    const std::string sentence =
        cat(service.is_pool() ? "spec.targetPorts[" : "spec.ports[", index, field,
            by_name ? port.target_port->name : cat(number), ", which Workload ",
            without[0]->metadata.display(), " does not have; its ports are ", names);
    if (without.size() == service.members.size())
      error(service, port.at, sentence);
    else
      warning(service, port.at, sentence);
  }

  // A name that nothing has is a mistake: its sidecar would not know what the application calls.
  void check_egress(const Workload& workload) {
    for (const std::string& key : workload.spec.egress) {
      const std::size_t slash = key.find('/');
      const std::string ns = key.substr(0, slash), name = key.substr(slash + 1);
      if (objects_.service(ns, name) != nullptr || unread_.has(MeshService::kKind, ns, name)) {
        continue;
      }
      error(workload, workload.spec.at, cat("spec.egress: there is no Service ", key));
    }
  }

  // The Service that an object is for; null, with an error if it should be there.
  template <class T>
  MeshService* service_of(const T& object, const std::string& name, Place at, std::string_view what,
                          std::string_view kind = MeshService::kKind) {
    std::string mistake;
    MeshService* found =
        find_service(objects_, unread_, kind, object.metadata.ns, name, what, mistake);
    if (!mistake.empty()) error(object, at, mistake);
    return found;
  }

  void check_slice(std::size_t place) {
    const EndpointSlice& slice = objects_.slices[place];
    MeshService* service =
        service_of(slice, slice.metadata.labels.at(EndpointSlice::kServiceLabel), slice.metadata.at,
                   cat("metadata.labels.", EndpointSlice::kServiceLabel));
    if (service == nullptr) return;
    if (!service->spec.selector.empty()) {
      return error(slice, slice.metadata.at,
                   cat("Service ", service->metadata.display(),
                       " has a selector, which says what is behind it; remove that or the slice"));
    }
    service->slices.push_back(place);
    for (std::size_t i = 0; i < slice.ports.size(); ++i) {
      const std::string& name = slice.ports[i].name;
      std::vector<std::string_view> names;
      for (const MeshService::Port& port : service->spec.ports) names.push_back(port.name);
      if (std::ranges::find(names, name) != names.end()) continue;
      const auto meant = closest_of(name, names);
      error(slice, slice.ports[i].at,
            cat("ports[", i, "].name is ", name.empty() ? "missing" : name, ", but Service ",
                service->metadata.display(), " has no such port",
                meant ? cat("; did you mean ", *meant, "?") : ""));
    }
  }

  // What is behind a port is in the mesh or not: connections to both cannot be protected the same.
  void check_endpoints(const MeshService& service) {
    if (!service.spec.selector.empty()) return;
    if (service.slices.empty() && !unread_.any()) {
      warning(service, service.spec.at,
              "has neither spec.selector nor an EndpointSlice: nothing is behind it");
    }
    for (const MeshService::Port& port : service.spec.ports) {
      std::optional<bool> in_mesh;
      for (const std::size_t place : service.slices) {
        const EndpointSlice& slice = objects_.slices[place];
        if (slice.port(port.name) == nullptr) continue;
        for (const EndpointSlice::Endpoint& endpoint : slice.endpoints) {
          const bool here =
              objects_.workload_at(endpoint.addresses[0], slice.port(port.name)->port) != nullptr;
          if (in_mesh.value_or(here) == here) {
            in_mesh = here;
            continue;
          }
          return error(slice, endpoint.at,
                       cat(endpoint.addresses[0], here ? " is" : " is not",
                           " a Workload, unlike others behind port ", port.port, " of Service ",
                           service.metadata.display(), "; give them a Service of their own"));
        }
      }
    }
  }

  void check_traffic(std::size_t place) {
    const TrafficPolicy& policy = objects_.traffic_policies[place];
    const TrafficPolicy::Target& target = policy.spec.target_ref;
    MeshService* service = service_of(policy, target.name, target.at, "spec.targetRef.name");
    if (service == nullptr) return;
    if (target.port && !service->port(*target.port)) {
      return error(policy, target.at,
                   cat("spec.targetRef.port is ", *target.port, ", which Service ",
                       service->metadata.display(), " does not have"));
    }
    for (const std::size_t other : service->traffic_policies) {
      const TrafficPolicy& first = objects_.traffic_policies[other];
      if (first.spec.target_ref.port != target.port) continue;
      error(policy, target.at,
            cat("spec.targetRef is the same as that of TrafficPolicy ", first.metadata.display(),
                "; write both into one"));
    }
    service->traffic_policies.push_back(place);
  }

  void check_model_policy(std::size_t place) {
    const ModelPolicy& policy = objects_.model_policies[place];
    const ModelPolicy::Target& target = policy.spec.target_ref;
    MeshService* service =
        service_of(policy, target.name, target.at, "spec.targetRef.name", target.kind);
    if (service == nullptr) return;
    if (service->is_pool() && policy.spec.hedge) {
      return error(policy, policy.spec.hedge->at,
                   "spec.hedge has no meaning for an InferencePool, which nobody calls by a name; "
                   "write it into a ModelPolicy of the Service that callers name");
    }
    if (service->model_policy) {
      return error(policy, target.at,
                   cat("spec.targetRef is the same as that of ModelPolicy ",
                       objects_.model_policies[*service->model_policy].metadata.display(),
                       "; write both into one"));
    }
    service->model_policy = place;
  }

  void check_policy(std::size_t place, const std::set<std::string>& identities) {
    const AuthorizationPolicy& policy = objects_.policies[place];
    const auto selected =
        index_.select(objects_.workloads, policy.metadata.ns, policy.spec.selector);
    for (const std::size_t i : selected) objects_.workloads[i].policies.push_back(place);
    if (unread_.any()) return;
    if (selected.empty()) {
      warning(policy, policy.spec.at,
              cat("spec.selector selects no Workload of namespace ", policy.metadata.ns,
                  ": the policy protects nothing"));
    }
    for (std::size_t r = 0; r < policy.spec.rules.size(); ++r) {
      const AuthorizationPolicy::Rule& rule = policy.spec.rules[r];
      for (std::size_t f = 0; f < rule.from.size(); ++f) {
        for (const std::string& identity : rule.from[f].identities) {
          check_identity(policy, identity, rule.from[f].at,
                         cat("spec.rules[", r, "].from[", f, "]"), identities);
        }
      }
      for (std::size_t t = 0; t < rule.to.size() && !selected.empty(); ++t) {
        for (const std::string& port : rule.to[t].ports) {
          check_port(policy, port, rule.to[t].at, cat("spec.rules[", r, "].to[", t, "]"), selected);
        }
      }
    }
  }

  void check_identity(const AuthorizationPolicy& policy, const std::string& identity, Place at,
                      std::string_view path, const std::set<std::string>& known) {
    if (identity == "*") return;
    const std::string id = objects_.spiffe_id(identity, policy.metadata.ns);
    if (known.contains(id)) return;
    if (!id.starts_with(cat("spiffe://", objects_.mesh.spec.trust_domain, "/"))) return;
    warning(policy, at,
            cat(path, ".identities: no Workload has the identity ", identity, " (", id, ")"));
  }

  // One identity for the instances of one application is usual; for two applications it is a mistake
  // that no policy can make good.
  void check_identities() {
    std::vector<std::set<std::size_t>> behind(objects_.workloads.size());
    for (std::size_t s = 0; s < objects_.services.size(); ++s) {
      for (const std::size_t member : objects_.services[s].members) behind[member].insert(s);
    }
    std::map<std::string, std::size_t> first;
    for (std::size_t i = 0; i < objects_.workloads.size(); ++i) {
      const Workload& workload = objects_.workloads[i];
      const auto [other, fresh] = first.emplace(objects_.spiffe_id(workload), i);
      const auto& mine = behind[i];
      const auto& theirs = behind[other->second];
      if (fresh || mine.empty() || theirs.empty()) continue;
      if (std::ranges::any_of(mine, [&](std::size_t s) { return theirs.contains(s); })) continue;
      warning(workload, workload.spec.at,
              cat("spec.identity is ", workload.spec.identity, ", as that of Workload ",
                  objects_.workloads[other->second].metadata.display(),
                  ", though no Service has both behind it: callers and policies cannot tell them "
                  "apart"));
    }
  }

  // A misspelt port in a Deny policy would leave a hole: an error. But where pods come and go by themselves, a
  // policy must not end because the last one with such a port went: the rule has nothing to match then.
  void check_port(const AuthorizationPolicy& policy, const std::string& port, Place at,
                  std::string_view path, const std::vector<std::size_t>& selected) {
    std::set<std::string> names;
    for (const std::size_t i : selected) {
      for (const Workload::Port& p : objects_.workloads[i].spec.ports) names.insert(p.name);
    }
    if (names.contains(port)) return;
    const auto meant = closest_of(port, names);
    const bool comes_and_goes = references_ == References::kMayBeMissing;
    say(policy, comes_and_goes ? Problem::Severity::kWarning : Problem::Severity::kError, at,
        cat(path, ".ports: ", port, " is not a port of a Workload that the policy selects",
            meant ? cat("; did you mean ", *meant, "?") : ""));
  }

  ObjectSet& objects_;
  const Unread& unread_;
  const References references_;
  std::vector<Problem>& problems_;
  LabelIndex index_;
  std::map<std::string, std::string> cluster_ips_;  // Address -> who has it.
};

}  // namespace

// Sockets of one machine are those on loopback addresses; elsewhere, two machines may have the same
// private ones, but not the same address for the mesh.
std::vector<SocketUse> sockets_of(const Workload& workload) {
  const Workload::Spec& spec = workload.spec;
  const bool loopback = workload.local_address() == spec.address;
  std::vector<SocketUse> all;
  for (std::size_t i = 0; i < spec.ports.size(); ++i) {
    const Workload::Port& port = spec.ports[i];
    all.push_back({socket_text(spec.address, port.port), cat("spec.ports[", i, "].port"), port.at});
    const auto here = spec.ports.begin() + static_cast<std::ptrdiff_t>(i);
    const bool again = std::any_of(spec.ports.begin(), here, [&](const Workload::Port& p) {
      return p.app_port == port.app_port;  // One socket may serve two ports.
    });
    if (!loopback || again) continue;
    all.push_back({socket_text(spec.app_address, port.app_port), cat("spec.ports[", i, "].appPort"),
                   port.at});
  }
  all.push_back({socket_text(spec.address, spec.outbound.port), "spec.outbound.port", spec.at});
  if (loopback) {
    all.push_back({socket_text(spec.address, spec.admin.port), "spec.admin.port", spec.at});
  }
  return all;
}

std::vector<std::string_view> backend_names(const ObjectSet& objects, std::string_view kind,
                                            std::string_view ns) {
  std::vector<std::string_view> names;
  for (const MeshService& service : objects.services) {
    if (service.metadata.ns == ns && service.kind() == kind) names.push_back(service.own_name());
  }
  return names;
}

MeshService* find_service(ObjectSet& objects, const Unread& unread, std::string_view kind,
                          const std::string& ns, const std::string& name, std::string_view what,
                          std::string& mistake) {
  if (const MeshService* const found = objects.backend(kind, ns, name)) {
    return &objects.services[static_cast<std::size_t>(found - objects.services.data())];
  }
  if (unread.has(kind, ns, name)) return nullptr;
  const auto meant = closest_of(name, backend_names(objects, kind, ns));
  mistake = cat(what, " is ", name, ", but there is no such ", kind, " in namespace ", ns,
                meant ? cat("; did you mean ", *meant, "?") : "");
  return nullptr;
}

bool Unread::has(std::string_view kind, std::string_view ns, std::string_view name) const {
  return unknown || keys.contains(cat(kind, " ", ns, "/", name));
}

void check_objects(ObjectSet& objects, const Unread& unread, References references,
                   std::vector<Problem>& problems) {
  Checks(objects, unread, references, problems).run();
  check_routes(objects, unread, references, problems);
  check_canaries(objects, unread, problems);
}

}  // namespace glia
