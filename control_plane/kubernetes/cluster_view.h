// ClusterView: objects of a Kubernetes cluster as the mesh objects that they stand for, as text that the readers
// of YAML take. Pure: what it is told decides what it says.
//
//   Pod with a sidecar    -> Workload of the pod's name: identity, address, ports, and whether callers choose it.
//   Service               -> Service. From the first pod with a sidecar that is ready, its selector finds those
//                            with sidecars and no others are called: no request leaves the mesh for want of a
//                            sidecar. Until then its EndpointSlices say what is behind it.
//   HTTPRoute, GRPCRoute  -> themselves, with the parents that are Services; without such parents: nothing.
//   everything else       -> itself, without what Kubernetes has written into it.
//
// One object that changes costs what refers to it, by name or label. Belongs to one loop.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "control_plane/inject/decide.h"
#include "control_plane/kubernetes/resource_watch.h"
#include "control_plane/objects/reading.h"

namespace glia {

class ClusterView {
 public:
  // Where the one Mesh comes from while the cluster has no object of that kind.
  enum class MeshObject : uint8_t { kMadeHere, kElsewhere };

  explicit ClusterView(MeshObject mesh) : mesh_(mesh) {}

  void put(const Resource& resource, const Json& object);
  void gone(const Resource& resource, const std::string& ns, const std::string& name);
  // Has anything been told since take()?
  bool changed() const;
  // What is different now.
  SourceEdit take();

  // Of a source: "kubernetes:HTTPRoute/default/classify".
  static std::string source_name(const std::string& kind, const std::string& ns,
                                 const std::string& name);

 private:
  using Key = std::pair<std::string, std::string>;  // Namespace, name
  struct PodPort {
    std::string name;
    uint16_t number = 0;
  };
  struct Pod {
    TextMap labels;
    std::string identity, address, state;
    std::vector<PodPort> ports;
    std::string families;  // "": nothing is captured.
  };
  struct ServicePort {
    std::string name, protocol;  // Of appProtocol; "": HTTP/1.1, or what the port's name says.
    std::string target;          // A name, or "" for `number`.
    uint16_t port = 0, number = 0;
  };
  struct Service {
    TextMap labels, selector;
    std::vector<ServicePort> ports;
    std::string cluster_ip, family;
    bool in_mesh = false;  // As it was told last.
  };
  struct Pool {
    TextMap selector;
    std::vector<uint16_t> ports;
    std::string protocol;  // Of appProtocol; "": HTTP/1.1, or what the port's name says.
  };
  struct Slice {
    std::string service;
    std::string family;
    Json object;  // As a mesh object, with the ports of all protocols taken out.
  };

  static std::optional<Pod> read_pod(const Json& object);
  static std::optional<Service> read_service(const Json& object);
  static std::optional<Slice> read_slice(const Json& object);
  static Pool read_pool(const Json& object);
  void put_pod(const Key& key, std::optional<Pod> pod);
  void put_service(const Key& key, std::optional<Service> service);
  void put_slice(const Key& key, std::optional<Slice> slice);
  void put_pool(const Key& key, std::optional<Pool> pool);
  void put_other(const Resource& resource, const Key& key, const Json* object);

  bool belongs_in_mesh(const Key& key, const Service& service) const;
  // Is anybody without a sidecar behind it, and ready?
  bool has_others(const Key& key) const;
  void retell_slices(const Key& service);
  // Which ports a pod has depends on the Services and pools that select it.
  void retell_pods(const std::string& ns, const TextMap& selector);
  std::optional<std::string> pod_text(const Key& key) const;
  std::optional<std::string> service_text(const Key& key) const;
  std::optional<std::string> slice_text(const Key& key) const;
  void tell(const std::string& source, const std::optional<std::string>& text, SourceEdit& edit);

  const MeshObject mesh_;
  std::map<Key, Pod> pods_;               // Those with sidecars.
  std::multiset<std::string> addresses_;  // Of those.
  std::map<Key, Service> services_;
  std::map<Key, Slice> slices_;
  std::map<Key, Pool> pools_;
  std::map<Key, std::set<std::string>> slices_of_;  // By Service.
  std::set<Key> meshes_;
  std::set<Key> new_pods_, new_services_, new_slices_;            // To be told.
  std::map<std::string, std::optional<std::string>> new_others_;  // Source -> text; none: gone.
  bool mesh_told_ = false;
  std::map<std::string, ReadingRef> told_;
};

}  // namespace glia
