#include "control_plane/kubernetes/cluster_view.h"

#include <algorithm>

#include "control_plane/inject/inject.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr char kSidecar[] = "glia-proxy";

TextMap texts(const Json& map) {
  TextMap out;
  for (const auto& [key, value] : map.items()) {
    if (value.is_string()) out[key] = value.get<std::string>();
  }
  return out;
}

std::optional<uint16_t> port_at(const Json& json, const char* key) {
  const auto number = parse_decimal(text_at(json, key));
  if (!number || *number == 0 || *number > 65535) return {};
  return static_cast<uint16_t>(*number);
}

bool is_tcp(const Json& port) {
  const std::string protocol = text_at(port, "protocol");
  return protocol.empty() || protocol == "TCP";
}

// What is spoken, as the Service of a mesh has it: by appProtocol, by the first word of the port's name as other
// meshes read it, by numbers of protocols in which the server speaks first. "": nobody knows.
std::string protocol_of(const std::string& said, const std::string& name, uint16_t number) {
  constexpr std::pair<std::string_view, std::string_view> kWords[] = {
      {"http", "http"},
      {"http2", "http2"},
      {"grpc", "grpc"},
      {"tcp", "tcp"},
      {"tls", "tls"},
      {"https", "tls"},
      {"mysql", "tcp"},
      {"mongo", "tcp"},
      {"redis", "tcp"},
      {"postgres", "tcp"},
      {"amqp", "tcp"},
      {"kafka", "tcp"},
      {"smtp", "tcp"},
      {"postgresql", "tcp"},
      {"h2c", "http2"},
      {"kubernetes.io/h2c", "http2"},
      {"kubernetes.io/ws", "http"},
      {"kubernetes.io/wss", "tls"}};
  const auto find = [&](std::string_view word) -> std::string {
    for (const auto& [known, protocol] : kWords) {
      if (word == known) return std::string(protocol);
    }
    return "";
  };
  std::string found = find(said);
  if (found.empty()) found = find(std::string_view(name).substr(0, name.find('-')));
  constexpr uint16_t kServerFirst[] = {25, 587, 3306, 4444, 5432, 6379, 9300, 11211};
  const bool opaque = std::ranges::find(kServerFirst, number) != std::end(kServerFirst);
  return found.empty() && opaque ? "tcp" : found;
}

const char* workload_protocol(const std::string& protocol) {
  if (protocol == "tcp" || protocol == "tls") return "TCP";
  if (protocol == "grpc") return "GRPC";
  return protocol == "http2" ? "HTTP2" : "HTTP";
}

Json head(const std::string& api_version, const char* kind, const std::string& ns,
          const std::string& name, const TextMap& labels) {
  Json metadata = {{"name", name}};
  if (!ns.empty()) metadata["namespace"] = ns;
  if (!labels.empty()) metadata["labels"] = labels;
  return {{"apiVersion", api_version}, {"kind", kind}, {"metadata", std::move(metadata)}};
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string condition_of(const Json& status, std::string_view type) {
  for (const Json& condition : list_at(status, "conditions")) {
    if (text_at(condition, "type") == type) return text_at(condition, "status");
  }
  return "";
}

// Only the parents that are Services: Gateways are the business of others.
bool keep_services(Json& spec) {
  Json kept = Json::array();
  bool others = false;
  for (const Json& parent : list_at(spec, "parentRefs")) {
    const bool service = text_at(parent, "kind") == "Service" && text_at(parent, "group").empty();
    if (service) {
      kept.push_back(parent);
    } else {
      others = true;
    }
  }
  if (kept.empty()) return false;
  spec["parentRefs"] = std::move(kept);
  if (others) spec.erase("hostnames");  // They are for those.
  return true;
}

}  // namespace

std::string ClusterView::source_name(const std::string& kind, const std::string& ns,
                                     const std::string& name) {
  return cat("kubernetes:", kind, "/", ns.empty() ? "" : cat(ns, "/"), name);
}

bool ClusterView::changed() const {
  return !new_pods_.empty() || !new_services_.empty() || !new_slices_.empty() ||
         !new_others_.empty();
}

void ClusterView::put(const Resource& resource, const Json& object) {
  const Json& metadata = object_at(object, "metadata");
  const Key key{text_at(metadata, "namespace"), text_at(metadata, "name")};
  if (resource.kind == "Pod") return put_pod(key, read_pod(object));
  if (resource.kind == "Service") return put_service(key, read_service(object));
  if (resource.kind == "EndpointSlice") return put_slice(key, read_slice(object));
  if (resource.kind == InferencePool::kKind) put_pool(key, read_pool(object));
  put_other(resource, key, &object);
}

void ClusterView::gone(const Resource& resource, const std::string& ns, const std::string& name) {
  const Key key{ns, name};
  if (resource.kind == "Pod") return put_pod(key, {});
  if (resource.kind == "Service") return put_service(key, {});
  if (resource.kind == "EndpointSlice") return put_slice(key, {});
  if (resource.kind == InferencePool::kKind) put_pool(key, {});
  put_other(resource, key, nullptr);
}

std::optional<ClusterView::Pod> ClusterView::read_pod(const Json& object) {
  const Json& metadata = object_at(object, "metadata");
  const Json& spec = object_at(object, "spec");
  const Json& status = object_at(object, "status");
  const Json& annotations = object_at(metadata, "annotations");
  const std::string phase = text_at(status, "phase");
  Pod pod;
  pod.address = text_at(status, "podIP");
  // An address of a pod that has ended may be another one's by now.
  const bool over = phase == "Succeeded" || phase == "Failed";
  const bool meshed =
      !text_at(annotations, kInjectedAnnotation).empty() && text_at(spec, "hostNetwork") != "true";
  if (!meshed || over || pod.address.empty()) return {};
  pod.labels = texts(object_at(metadata, "labels"));
  pod.identity = text_at(spec, "serviceAccountName");
  if (pod.identity.empty()) pod.identity = "default";
  const bool ends = !text_at(metadata, "deletionTimestamp").empty();
  const bool ready = condition_of(status, "Ready") == "True";
  pod.state = !ready ? "Away" : ends ? "Draining" : "Ready";
  bool four = false, six = false;
  (pod.address.find(':') == pod.address.npos ? four : six) = true;
  for (const Json& one : list_at(status, "podIPs")) {
    (text_at(one, "ip").find(':') == std::string::npos ? four : six) = true;
  }
  pod.families = four && six ? "Both" : four ? "IPv4" : "IPv6";
  if (text_at(annotations, "glia.dev/capture") == "none") pod.families.clear();
  for (const Json& container : list_at(spec, "containers")) {
    if (text_at(container, "name") == kSidecar) continue;
    for (const Json& port : list_at(container, "ports")) {
      const auto number = port_at(port, "containerPort");
      if (!number || !is_tcp(port)) continue;
      const auto same = [&](const PodPort& other) { return other.number == *number; };
      if (std::ranges::none_of(pod.ports, same)) {
        pod.ports.push_back({text_at(port, "name"), *number});
      }
    }
  }
  return pod;
}

std::optional<ClusterView::Service> ClusterView::read_service(const Json& object) {
  const Json& spec = object_at(object, "spec");
  if (text_at(spec, "type") == "ExternalName") return {};
  Service service;
  service.labels = texts(object_at(object_at(object, "metadata"), "labels"));
  service.selector = texts(object_at(spec, "selector"));
  service.cluster_ip = text_at(spec, "clusterIP");
  const Json& families = list_at(spec, "ipFamilies");
  if (!families.empty() && families[0].is_string()) {
    service.family = families[0].get<std::string>();
  }
  for (const Json& port : list_at(spec, "ports")) {
    const auto number = port_at(port, "port");
    if (!number || !is_tcp(port)) continue;
    ServicePort one;
    one.name = text_at(port, "name");
    one.port = one.number = *number;
    if (const auto target = port_at(port, "targetPort")) {
      one.number = *target;
    } else {
      one.target = text_at(port, "targetPort");
    }
    one.protocol = protocol_of(text_at(port, "appProtocol"), one.name, one.number);
    service.ports.push_back(std::move(one));
  }
  if (service.ports.empty()) return {};  // UDP alone: left alone.
  return service;
}

std::optional<ClusterView::Slice> ClusterView::read_slice(const Json& object) {
  const Json& metadata = object_at(object, "metadata");
  Slice slice;
  slice.service = text_at(object_at(metadata, "labels"), EndpointSlice::kServiceLabel);
  slice.family = text_at(object, "addressType");
  if (slice.service.empty() || slice.family == "FQDN") return {};
  slice.object = head("discovery.k8s.io/v1", EndpointSlice::kKind, text_at(metadata, "namespace"),
                      text_at(metadata, "name"), {{EndpointSlice::kServiceLabel, slice.service}});
  slice.object["addressType"] = slice.family;
  Json endpoints = Json::array();
  for (const Json& endpoint : list_at(object, "endpoints")) {
    const Json& addresses = list_at(endpoint, "addresses");
    if (addresses.empty() || !addresses[0].is_string()) continue;
    Json one = {{"addresses", Json::array({addresses[0]})}};
    Json conditions = Json::object();
    for (const char* const key : {"ready", "serving", "terminating"}) {
      const std::string said = text_at(object_at(endpoint, "conditions"), key);
      if (!said.empty()) conditions[key] = said == "true";
    }
    if (!conditions.empty()) one["conditions"] = std::move(conditions);
    if (!text_at(endpoint, "zone").empty()) one["zone"] = text_at(endpoint, "zone");
    endpoints.push_back(std::move(one));
  }
  slice.object["endpoints"] = std::move(endpoints);
  Json ports = Json::array();
  for (const Json& port : list_at(object, "ports")) {
    const auto number = port_at(port, "port");
    if (!number || !is_tcp(port)) continue;
    Json one = {{"port", *number}};
    if (!text_at(port, "name").empty()) one["name"] = text_at(port, "name");
    ports.push_back(std::move(one));
  }
  slice.object["ports"] = std::move(ports);
  return slice;
}

void ClusterView::put_pod(const Key& key, std::optional<Pod> pod) {
  const auto held = pods_.find(key);
  const bool was = held != pods_.end();
  if (!was && !pod) return;  // Without a sidecar, now and before.
  new_pods_.insert(key);
  const bool same = was && pod && held->second.labels == pod->labels &&
                    held->second.state == pod->state && held->second.address == pod->address;
  for (auto service = services_.lower_bound({key.first, ""});
       !same && service != services_.end() && service->first.first == key.first; ++service) {
    const TextMap& selector = service->second.selector;
    if (selector.empty()) continue;
    const bool before = was && selects(selector, held->second.labels);
    if (!before && !(pod && selects(selector, pod->labels))) continue;
    new_services_.insert(service->first);
    const bool moved = !was || !pod || held->second.address != pod->address;
    if (moved && !service->second.in_mesh) retell_slices(service->first);
  }
  if (was) addresses_.erase(addresses_.find(held->second.address));
  if (pod) {
    addresses_.insert(pod->address);
    pods_[key] = *std::move(pod);
  } else {
    pods_.erase(held);
  }
}

void ClusterView::retell_slices(const Key& service) {
  const auto slices = slices_of_.find(service);
  if (slices == slices_of_.end()) return;
  for (const std::string& slice : slices->second) new_slices_.insert({service.first, slice});
}

void ClusterView::retell_pods(const std::string& ns, const TextMap& selector) {
  if (selector.empty()) return;
  for (auto pod = pods_.lower_bound({ns, ""}); pod != pods_.end() && pod->first.first == ns;
       ++pod) {
    if (selects(selector, pod->second.labels)) new_pods_.insert(pod->first);
  }
}

void ClusterView::put_service(const Key& key, std::optional<Service> service) {
  const auto held = services_.find(key);
  if (held == services_.end() && !service) return;
  new_services_.insert(key);
  if (held != services_.end()) retell_pods(key.first, held->second.selector);
  if (service) retell_pods(key.first, service->selector);
  retell_slices(key);
  if (service) {
    service->in_mesh = held != services_.end() && held->second.in_mesh;
    services_[key] = *std::move(service);
  } else {
    services_.erase(held);
  }
}

void ClusterView::put_slice(const Key& key, std::optional<Slice> slice) {
  const auto held = slices_.find(key);
  if (held == slices_.end() && !slice) return;
  new_slices_.insert(key);
  if (held != slices_.end()) {
    const Key owner{key.first, held->second.service};
    const auto all = slices_of_.find(owner);
    all->second.erase(key.second);
    if (all->second.empty()) slices_of_.erase(all);
    new_services_.insert(owner);
  }
  if (!slice) {
    slices_.erase(held);
    return;
  }
  new_services_.insert({key.first, slice->service});
  slices_of_[{key.first, slice->service}].insert(key.second);
  slices_[key] = *std::move(slice);
}

ClusterView::Pool ClusterView::read_pool(const Json& object) {
  const Json& spec = object_at(object, "spec");
  Pool pool;
  pool.selector = texts(object_at(object_at(spec, "selector"), "matchLabels"));
  pool.protocol = protocol_of(text_at(spec, "appProtocol"), "", 0);
  for (const Json& port : list_at(spec, "targetPorts")) {
    if (const auto number = port_at(port, "number")) pool.ports.push_back(*number);
  }
  return pool;
}

void ClusterView::put_pool(const Key& key, std::optional<Pool> pool) {
  const auto held = pools_.find(key);
  if (held != pools_.end()) retell_pods(key.first, held->second.selector);
  if (pool) retell_pods(key.first, pool->selector);
  if (pool) {
    pools_[key] = *std::move(pool);
  } else if (held != pools_.end()) {
    pools_.erase(held);
  }
}

void ClusterView::put_other(const Resource& resource, const Key& key, const Json* object) {
  const std::string source = source_name(resource.kind, key.first, key.second);
  std::optional<std::string>& text = new_others_[source];
  text.reset();
  const bool is_mesh = resource.kind == Mesh::kKind;
  if (is_mesh) meshes_.erase(key);
  if (object == nullptr) return;
  if (is_mesh) meshes_.insert(key);
  Json made =
      head(resource.group.empty() ? resource.version : cat(resource.group, "/", resource.version),
           resource.kind.c_str(), key.first, key.second,
           texts(object_at(object_at(*object, "metadata"), "labels")));
  const auto spec = object->find("spec");
  if (spec != object->end()) made["spec"] = *spec;
  const bool route = resource.kind == HttpRoute::kKind || resource.kind == GrpcRoute::kKind;
  if (route && (!made.contains("spec") || !keep_services(made["spec"]))) return;
  text = dump(made);
}

bool ClusterView::has_others(const Key& key) const {
  const auto slices = slices_of_.find(key);
  if (slices == slices_of_.end()) return false;
  for (const std::string& name : slices->second) {
    for (const Json& endpoint : list_at(slices_.at({key.first, name}).object, "endpoints")) {
      const std::string ready = text_at(object_at(endpoint, "conditions"), "ready");
      if (ready != "false" && !addresses_.contains(endpoint["addresses"][0].get<std::string>())) {
        return true;
      }
    }
  }
  return false;
}

// A first sidecar that is not ready yet must not cut off those who serve without one. But once it is in the
// mesh, a Service stays there as long as one of its pods has a sidecar.
bool ClusterView::belongs_in_mesh(const Key& key, const Service& service) const {
  if (service.selector.empty()) return false;
  bool any = false;
  for (auto pod = pods_.lower_bound({key.first, ""});
       pod != pods_.end() && pod->first.first == key.first; ++pod) {
    if (!selects(service.selector, pod->second.labels)) continue;
    if (pod->second.state == "Ready") return true;
    any = true;
  }
  return any && (service.in_mesh || !has_others(key));
}

std::optional<std::string> ClusterView::pod_text(const Key& key) const {
  const auto found = pods_.find(key);
  if (found == pods_.end()) return {};
  const Pod& pod = found->second;
  std::vector<PodPort> ports = pod.ports;
  std::map<uint16_t, std::string> protocols;
  for (auto service = services_.lower_bound({key.first, ""});
       service != services_.end() && service->first.first == key.first; ++service) {
    const TextMap& selector = service->second.selector;
    if (selector.empty() || !selects(selector, pod.labels)) continue;
    for (const ServicePort& port : service->second.ports) {
      const auto behind = std::ranges::find_if(ports, [&](const PodPort& one) {
        return port.target.empty() ? one.number == port.number : one.name == port.target;
      });
      if (behind == ports.end() && !port.target.empty()) continue;  // Its own mistake.
      const uint16_t number = behind == ports.end() ? port.number : behind->number;
      if (behind == ports.end()) ports.push_back({"", number});
      if (!port.protocol.empty()) protocols[number] = port.protocol;
    }
  }
  for (auto pool = pools_.lower_bound({key.first, ""});
       pool != pools_.end() && pool->first.first == key.first; ++pool) {
    if (pool->second.selector.empty() || !selects(pool->second.selector, pod.labels)) continue;
    for (const uint16_t number : pool->second.ports) {
      const bool held = std::ranges::find(ports, number, &PodPort::number) != ports.end();
      if (!held) ports.push_back({"", number});
      if (!pool->second.protocol.empty()) protocols[number] = pool->second.protocol;
    }
  }
  std::ranges::sort(ports, {}, &PodPort::number);
  Json list = Json::array();
  for (const PodPort& port : ports) {
    const auto said = protocols.find(port.number);
    const std::string protocol =
        said != protocols.end() ? said->second : protocol_of("", port.name, port.number);
    list.push_back({{"name", port.name.empty() ? cat("p", port.number) : port.name},
                    {"port", port.number},
                    {"protocol", workload_protocol(protocol)}});
  }
  Json made = head("glia.dev/v1", Workload::kKind, key.first, key.second, pod.labels);
  Json& spec = made["spec"];
  spec = {{"identity", pod.identity}, {"address", pod.address}, {"state", pod.state}};
  if (!list.empty()) spec["ports"] = std::move(list);
  if (!pod.families.empty()) spec["capture"] = {{"families", pod.families}};
  return dump(made);
}

std::optional<std::string> ClusterView::service_text(const Key& key) const {
  const auto found = services_.find(key);
  if (found == services_.end()) return {};
  const Service& service = found->second;
  Json made = head("v1", MeshService::kKind, key.first, key.second, service.labels);
  Json& spec = made["spec"];
  spec = Json::object();
  if (service.in_mesh) spec["selector"] = service.selector;
  if (!service.cluster_ip.empty()) spec["clusterIP"] = service.cluster_ip;
  Json ports = Json::array();
  for (const ServicePort& port : service.ports) {
    Json one = {{"port", port.port}};
    if (!port.name.empty()) one["name"] = port.name;
    if (service.in_mesh) {
      one["targetPort"] = port.target.empty() ? Json(port.number) : Json(port.target);
    }
    if (!port.protocol.empty()) one["appProtocol"] = port.protocol;
    ports.push_back(std::move(one));
  }
  spec["ports"] = std::move(ports);
  return dump(made);
}

// Nothing where the selector says what is behind the Service, or where nothing asks for it.
std::optional<std::string> ClusterView::slice_text(const Key& key) const {
  const auto found = slices_.find(key);
  if (found == slices_.end()) return {};
  const Slice& slice = found->second;
  const auto owner = services_.find({key.first, slice.service});
  if (owner == services_.end() || owner->second.in_mesh) return {};
  const Service& service = owner->second;
  // Of both families only one: each endpoint is in both.
  if (!service.family.empty() && service.family != slice.family) return {};
  Json made = slice.object;
  Json ports = Json::array();
  for (const Json& port : list_at(slice.object, "ports")) {
    const std::string name = text_at(port, "name");
    const auto same = [&](const ServicePort& one) { return one.name == name; };
    if (std::ranges::any_of(service.ports, same)) ports.push_back(port);
  }
  if (ports.empty()) return {};
  made["ports"] = std::move(ports);
  if (service.selector.empty()) return dump(made);
  // Sidecars that are not ready: theirs is not the clear text of the others.
  Json endpoints = Json::array();
  for (const Json& endpoint : list_at(slice.object, "endpoints")) {
    if (!addresses_.contains(endpoint["addresses"][0].get<std::string>())) {
      endpoints.push_back(endpoint);
    }
  }
  made["endpoints"] = std::move(endpoints);
  return dump(made);
}

void ClusterView::tell(const std::string& source, const std::optional<std::string>& text,
                       SourceEdit& edit) {
  const auto held = told_.find(source);
  if (!text) {
    if (held == told_.end()) return;
    edit.gone.push_back(source);
    told_.erase(held);
    return;
  }
  const SourceText whole{source, *text};
  if (held != told_.end() && held->second->digest == source_digest(whole)) return;
  edit.read.push_back(told_[source] = read_source(whole, MistakesOf::kThisSource));
}

SourceEdit ClusterView::take() {
  SourceEdit edit;
  for (const Key& key : std::exchange(new_services_, {})) {
    const auto found = services_.find(key);
    if (found != services_.end()) {
      Service& service = found->second;
      const bool in_mesh = belongs_in_mesh(key, service);
      if (std::exchange(service.in_mesh, in_mesh) != in_mesh) retell_slices(key);
    }
    tell(source_name("Service", key.first, key.second), service_text(key), edit);
  }
  for (const Key& key : std::exchange(new_pods_, {})) {
    tell(source_name("Pod", key.first, key.second), pod_text(key), edit);
  }
  for (const Key& key : std::exchange(new_slices_, {})) {
    tell(source_name("EndpointSlice", key.first, key.second), slice_text(key), edit);
  }
  for (const auto& [source, text] : std::exchange(new_others_, {})) tell(source, text, edit);
  const bool made_here = mesh_ == MeshObject::kMadeHere && meshes_.empty();
  if (std::exchange(mesh_told_, made_here) != made_here) {
    std::optional<std::string> mesh;
    if (made_here) mesh = dump(head("glia.dev/v1", Mesh::kKind, "", "cluster", {}));
    tell("kubernetes:(no Mesh)", mesh, edit);
  }
  return edit;
}

}  // namespace glia
