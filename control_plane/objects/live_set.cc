#include "control_plane/objects/live_set.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "control_plane/objects/route_check.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

using Places = std::vector<std::size_t>;

void add_place(Places& places, std::size_t place) {
  const auto at = std::ranges::lower_bound(places, place);
  if (at == places.end() || *at != place) places.insert(at, place);
}
void drop_place(Places& places, std::size_t place) { std::erase(places, place); }

// What an object says now; who refers to it is not part of that.
template <class T>
void take(const T& now, T& object) {
  if constexpr (requires { object.spec; }) {
    object.metadata = now.metadata;
    object.spec = now.spec;
  } else {
    object = now;
  }
}

bool same_ports(const Workload& a, const Workload& b) {
  return std::ranges::equal(a.spec.ports, b.spec.ports,
                            [](const Workload::Port& p, const Workload::Port& q) {
                              return p.name == q.name && p.port == q.port;
                            });
}

template <class T>
std::string key_of(const T& object) {
  return cat(T::kKind, " ", object.metadata.key());
}

struct Change {
  enum class Kind : uint8_t { kNone, kEdited, kAdded, kRemoved };
  Kind kind = Kind::kNone;
  std::string key;  // Of the object.
};

// Nothing if more than one object differs.
std::optional<Change> change_of(const Reading& before, const Reading& after) {
  using enum Change::Kind;
  std::vector<Change> changes;
  auto was = before.objects.begin(), is = after.objects.begin();
  const auto was_end = before.objects.end(), is_end = after.objects.end();
  while ((was != was_end || is != is_end) && changes.size() < 2) {
    if (is == is_end || (was != was_end && was->first < is->first)) {
      changes.push_back({kRemoved, (was++)->first});
    } else if (was == was_end || is->first < was->first) {
      changes.push_back({kAdded, (is++)->first});
    } else {
      if (was->second != is->second) changes.push_back({kEdited, is->first});
      ++was, ++is;
    }
  }
  if (changes.empty()) return Change();
  if (changes.size() > 1) return {};
  return changes.front();
}

}  // namespace

LiveSet::LiveSet(ObjectSet objects)
    : objects_(std::move(objects)),
      labels_(objects_.workloads),
      member_of_(objects_.workloads.size()) {
  for (std::size_t s = 0; s < objects_.services.size(); ++s) {
    const MeshService& service = objects_.services[s];
    for (const std::size_t member : service.members) member_of_[member].push_back(s);
    cluster_ips_.insert(service.spec.cluster_ip);
  }
  for (const Workload& workload : objects_.workloads) {
    identities_.insert(objects_.spiffe_id(workload));
  }
  for (const EndpointSlice& slice : objects_.slices) {
    for (const auto& endpoint : slice.endpoints) slice_addresses_.insert(endpoint.addresses[0]);
  }
}

template <class Take>
std::optional<Touched> LiveSet::with_object(const mesh_objects::Draft& draft,
                                            const std::string& key, Take take) {
  std::optional<Touched> touched;
  each_list([&](auto list) {
    for (const auto& object : draft.objects.*list) {
      if (key_of(object) == key) touched = take(object, list);
    }
  });
  return touched;
}

std::optional<Touched> LiveSet::replace(const Reading& before, const Reading& after,
                                        std::vector<Problem>& warnings) {
  using enum Change::Kind;
  if (!before.whole() || !after.whole()) return {};
  const std::optional<Change> change = change_of(before, after);
  if (!change || change->key.starts_with(Mesh::kKind + std::string(" "))) return {};
  const mesh_objects::Draft& draft = after.draft;
  std::optional<Touched> touched;
  switch (change->kind) {
    case kNone: touched.emplace(); break;
    case kEdited:
      touched = with_object(
          draft, change->key, [&](const auto& object, auto list) -> std::optional<Touched> {
            const Metadata& metadata = object.metadata;
            const auto place = place_of(objects_.*list, metadata.ns, metadata.name);
            if (!place) return {};
            return put(*place, object, warnings);
          });
      break;
    case kAdded:
      touched = with_object(draft, change->key,
                            [&](const auto& object, auto) { return add(object, warnings); });
      break;
    case kRemoved:
      touched = with_object(before.draft, change->key,
                            [&](const auto& object, auto) { return remove(object); });
      break;
  }
  if (!touched) return {};
  // The rest only stands elsewhere in its file.
  each_list([&](auto list) {
    for (const auto& object : draft.objects.*list) {
      auto& all = objects_.*list;
      const auto place = place_of(all, object.metadata.ns, object.metadata.name);
      if (!place || key_of(object) == change->key) continue;
      take(object, all[*place]);
    }
  });
  for (const InferencePool& pool : draft.objects.inference_pools) {
    const MeshService now = service_of(pool);
    const auto place = service_place(now.metadata.ns, now.metadata.name);
    if (place) take(now, objects_.services[*place]);
  }
  if (!draft.meshes.empty()) objects_.mesh = draft.meshes[0];
  objects_.sources = objects_.sources - before.digest + after.digest;
  objects_.version = objects_.sources.text();
  return touched;
}

std::vector<std::size_t> LiveSet::split(const CanarySplits& splits) {
  Places changed;
  for (std::size_t place = 0; place < objects_.canaries.size(); ++place) {
    Canary& canary = objects_.canaries[place];
    const auto found = splits.find(canary.metadata.key());
    const Canary::Split now = found == splits.end() ? Canary::Split{} : found->second;
    if (canary.split == now) continue;
    canary.split = now;
    changed.push_back(place);
  }
  return changed;
}

Touched LiveSet::away(const AwayWorkloads& away) {
  Touched touched;
  for (std::size_t place = 0; place < objects_.workloads.size(); ++place) {
    Workload& workload = objects_.workloads[place];
    const auto found = away.empty() ? away.end() : away.find(workload.metadata.key());
    const std::string now = found == away.end() ? "" : found->second;
    if (now.empty() != workload.away.empty()) {
      touched.services.insert(member_of_[place].begin(), member_of_[place].end());
    }
    workload.away = now;
  }
  return touched;
}

std::optional<std::size_t> LiveSet::service_place(std::string_view ns,
                                                  std::string_view name) const {
  return place_of(objects_.services, ns, name);
}

// Where it is and what its sidecar does; not what others know it by.
std::optional<Touched> LiveSet::put(std::size_t place, const Workload& now, std::vector<Problem>&) {
  Workload& workload = objects_.workloads[place];
  const Workload::Spec& was = workload.spec;
  const bool same = workload.metadata.labels == now.metadata.labels &&
                    was.identity == now.spec.identity && same_ports(workload, now) &&
                    was.model_server.has_value() == now.spec.model_server.has_value();
  if (!same) return {};
  for (const std::size_t service : member_of_[place]) {
    if (objects_.services[service].headless()) return {};
  }
  for (const std::string& key : now.spec.egress) {
    const std::size_t slash = key.find('/');
    if (!service_place(key.substr(0, slash), key.substr(slash + 1))) return {};
  }
  if (was.address != now.spec.address) {
    const auto in_use = [&](const std::string& address) {
      return slice_addresses_.contains(address) || cluster_ips_.contains(address);
    };
    if (in_use(was.address) || in_use(now.spec.address)) return {};
  }
  std::set<std::string> mine;
  for (const SocketUse& use : sockets_of(now)) {
    const auto taken = objects_.sockets.find(use.socket);
    if (taken != objects_.sockets.end() && taken->second != place) return {};
    if (!mine.insert(use.socket).second) return {};
  }
  for (const SocketUse& use : sockets_of(workload)) objects_.sockets.erase(use.socket);
  for (const std::string& socket : mine) objects_.sockets.emplace(socket, place);
  take(now, workload);
  return Touched{{member_of_[place].begin(), member_of_[place].end()}, {place}};
}

bool LiveSet::is_mixed(const MeshService& service) const {
  for (const MeshService::Port& port : service.spec.ports) {
    std::optional<bool> in_mesh;
    for (const std::size_t place : service.slices) {
      const EndpointSlice::Port* target = objects_.slices[place].port(port.name);
      if (target == nullptr) continue;
      for (const EndpointSlice::Endpoint& endpoint : objects_.slices[place].endpoints) {
        const bool here = objects_.workload_at(endpoint.addresses[0], target->port) != nullptr;
        if (in_mesh.value_or(here) != here) return true;
        in_mesh = here;
      }
    }
  }
  return false;
}

std::optional<Touched> LiveSet::put(std::size_t place, const EndpointSlice& now,
                                    std::vector<Problem>&) {
  EndpointSlice& slice = objects_.slices[place];
  const std::string label = EndpointSlice::kServiceLabel;
  const std::string& name = now.metadata.labels.at(label);
  const auto service = service_place(now.metadata.ns, name);
  if (!service || slice.metadata.labels.at(label) != name) return {};
  const MeshService& behind = objects_.services[*service];
  for (const EndpointSlice::Port& port : now.ports) {
    const auto named = [&](const MeshService::Port& p) { return p.name == port.name; };
    if (std::ranges::none_of(behind.spec.ports, named)) return {};
  }
  EndpointSlice was = std::exchange(slice, now);
  if (is_mixed(behind)) {
    slice = std::move(was);
    return {};
  }
  for (const auto& endpoint : now.endpoints) slice_addresses_.insert(endpoint.addresses[0]);
  return Touched{{*service}, {}};
}

void LiveSet::insert_slice(std::size_t place, std::size_t service, EndpointSlice slice) {
  for (MeshService& other : objects_.services) {
    for (std::size_t& at : other.slices) at += at >= place;
  }
  objects_.slices.insert(objects_.slices.begin() + static_cast<std::ptrdiff_t>(place),
                         std::move(slice));
  add_place(objects_.services[service].slices, place);
}

void LiveSet::erase_slice(std::size_t place, std::size_t service) {
  drop_place(objects_.services[service].slices, place);
  objects_.slices.erase(objects_.slices.begin() + static_cast<std::ptrdiff_t>(place));
  for (MeshService& other : objects_.services) {
    for (std::size_t& at : other.slices) at -= at > place;
  }
}

// The first slice of a Service, and the last, decide whether there is anything behind it, so they are for
// combine().
std::optional<Touched> LiveSet::add(const EndpointSlice& now, std::vector<Problem>& warnings) {
  const Metadata& metadata = now.metadata;
  const auto service = service_place(metadata.ns, metadata.labels.at(EndpointSlice::kServiceLabel));
  if (!service || objects_.services[*service].slices.empty()) return {};
  if (place_of(objects_.slices, metadata.ns, metadata.name)) return {};
  if (objects_.size() >= kMaxObjects) return {};
  const auto at = std::ranges::lower_bound(
      objects_.slices, std::tie(metadata.ns, metadata.name), {},
      [](const EndpointSlice& slice) { return std::tie(slice.metadata.ns, slice.metadata.name); });
  const auto place = static_cast<std::size_t>(at - objects_.slices.begin());
  EndpointSlice empty = now;
  empty.ports.clear();
  empty.endpoints.clear();
  insert_slice(place, *service, std::move(empty));
  std::optional<Touched> touched = put(place, now, warnings);
  if (!touched) erase_slice(place, *service);
  return touched;
}

std::optional<Touched> LiveSet::remove(const EndpointSlice& gone) {
  const Metadata& metadata = gone.metadata;
  const auto place = place_of(objects_.slices, metadata.ns, metadata.name);
  const auto service = service_place(metadata.ns, metadata.labels.at(EndpointSlice::kServiceLabel));
  if (!place || !service || objects_.services[*service].slices.size() < 2) return {};
  erase_slice(*place, *service);
  return Touched{{*service}, {}};
}

std::optional<Touched> LiveSet::put(std::size_t place, const TrafficPolicy& now,
                                    std::vector<Problem>&) {
  TrafficPolicy& policy = objects_.traffic_policies[place];
  const TrafficPolicy::Target& target = now.spec.target_ref;
  const auto was = service_place(policy.metadata.ns, policy.spec.target_ref.name);
  const auto is = service_place(now.metadata.ns, target.name);
  if (!was || !is) return {};
  MeshService& service = objects_.services[*is];
  if (target.port && service.port(*target.port) == nullptr) return {};
  for (const std::size_t other : service.traffic_policies) {
    if (other == place) continue;
    if (objects_.traffic_policies[other].spec.target_ref.port == target.port) return {};
  }
  drop_place(objects_.services[*was].traffic_policies, place);
  add_place(service.traffic_policies, place);
  take(now, policy);
  return Touched{{*was, *is}, {}};
}

// Are all whom the policy names there?
bool LiveSet::known(const AuthorizationPolicy& policy, const Places& selected) const {
  std::set<std::string> ports;
  for (const std::size_t i : selected) {
    for (const Workload::Port& port : objects_.workloads[i].spec.ports) ports.insert(port.name);
  }
  for (const AuthorizationPolicy::Rule& rule : policy.spec.rules) {
    for (const AuthorizationPolicy::From& from : rule.from) {
      for (const std::string& identity : from.identities) {
        if (identity == "*") continue;
        if (!identities_.contains(objects_.spiffe_id(identity, policy.metadata.ns))) return false;
      }
    }
    for (const AuthorizationPolicy::To& to : rule.to) {
      for (const std::string& port : to.ports) {
        if (!ports.contains(port)) return false;
      }
    }
  }
  return !selected.empty();
}

std::optional<Touched> LiveSet::put(std::size_t place, const AuthorizationPolicy& now,
                                    std::vector<Problem>&) {
  AuthorizationPolicy& policy = objects_.policies[place];
  const auto select = [&](const AuthorizationPolicy& p) {
    return labels_.select(objects_.workloads, p.metadata.ns, p.spec.selector);
  };
  const Places was = select(policy), is = select(now);
  if (!known(now, is)) return {};
  Touched touched;
  for (const std::size_t workload : was) {
    drop_place(objects_.workloads[workload].policies, place);
    touched.workloads.insert(workload);
  }
  for (const std::size_t workload : is) {
    add_place(objects_.workloads[workload].policies, place);
    touched.workloads.insert(workload);
  }
  take(now, policy);
  return touched;
}

template <class Route>
std::set<std::size_t> LiveSet::parents_of(const Route& route) const {
  std::set<std::size_t> services;
  for (const RouteParent& parent : route.spec.parent_refs) {
    if (const auto place = service_place(parent.ns, parent.name)) services.insert(*place);
  }
  return services;
}

template <class Route>
std::optional<Touched> LiveSet::put_route(std::vector<Route>& routes, Places MeshService::* list,
                                          std::size_t place, const Route& now,
                                          std::vector<Problem>& warnings) {
  std::set<std::size_t> services = parents_of(routes[place]);
  services.merge(parents_of(now));
  std::map<std::size_t, Places> lists;
  for (const std::size_t service : services) {
    lists[service] = objects_.services[service].*list;
    drop_place(objects_.services[service].*list, place);
  }
  Route was = std::exchange(routes[place], now);
  std::vector<Problem> problems;
  RouteSubset subset;
  // All that share a Service with it, before or now.
  subset.add(place, now);
  for (const std::size_t service : services) {
    const MeshService& s = objects_.services[service];
    subset.http_routes.insert(s.http_routes.begin(), s.http_routes.end());
    subset.grpc_routes.insert(s.grpc_routes.begin(), s.grpc_routes.end());
  }
  check_routes(objects_, subset, problems);
  const auto is_error = [](const Problem& p) { return p.severity == Problem::Severity::kError; };
  if (std::ranges::none_of(problems, is_error)) {
    warnings.insert(warnings.end(), problems.begin(), problems.end());
    return Touched{std::move(services), {}};
  }
  routes[place] = std::move(was);
  for (const auto& [service, places] : lists) objects_.services[service].*list = places;
  return {};
}

std::optional<Touched> LiveSet::put(std::size_t place, const HttpRoute& now,
                                    std::vector<Problem>& warnings) {
  return put_route(objects_.http_routes, &MeshService::http_routes, place, now, warnings);
}
std::optional<Touched> LiveSet::put(std::size_t place, const GrpcRoute& now,
                                    std::vector<Problem>& warnings) {
  return put_route(objects_.grpc_routes, &MeshService::grpc_routes, place, now, warnings);
}

}  // namespace glia
