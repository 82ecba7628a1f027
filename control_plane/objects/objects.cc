#include "control_plane/objects/objects.h"

#include "control_plane/objects/inference_pool.h"
#include "proxy/base/text.h"

namespace glia {

std::string Metadata::display() const { return ns == "default" ? name : key(); }
std::string Metadata::key() const { return cat(ns, "/", name); }

const Workload::Port* Workload::port(std::string_view name) const {
  for (const Port& port : spec.ports) {
    if (port.name == name) return &port;
  }
  return nullptr;
}

std::string Workload::local_address() const {
  const bool loopback = spec.address.starts_with("127.") || spec.address == "::1";
  return loopback ? spec.address : "127.0.0.1";
}

std::string Workload::admin_address() const {
  return socket_text(local_address(), spec.admin.port);
}

std::string socket_text(std::string_view address, uint16_t port) {
  const bool v6 = address.find(':') != address.npos;
  return cat(v6 ? "[" : "", address, v6 ? "]:" : ":", port);
}

EndpointSlice::Endpoint::State EndpointSlice::Endpoint::state() const {
  if (conditions.ready && !conditions.terminating) return State::kReady;
  const bool serving = conditions.serving.value_or(conditions.ready);
  return serving && conditions.terminating ? State::kDraining : State::kAway;
}

const EndpointSlice::Port* EndpointSlice::port(std::string_view name) const {
  for (const Port& port : ports) {
    if (port.name == name) return &port;
  }
  return nullptr;
}

uint32_t RequestMirror::per_million() const {
  constexpr uint64_t kAll = 1'000'000;
  if (percent) return static_cast<uint32_t>(*percent * (kAll / 100));
  if (fraction) return static_cast<uint32_t>(kAll * fraction->numerator / fraction->denominator);
  return kAll;
}

const MeshService::Port* MeshService::port(uint16_t number) const {
  for (const Port& port : spec.ports) {
    if (port.port == number) return &port;
  }
  return nullptr;
}

std::string_view MeshService::kind() const { return is_pool() ? InferencePool::kKind : kKind; }

std::string_view MeshService::own_name() const {
  return std::string_view(metadata.name).substr(is_pool() ? kPoolMark.size() : 0);
}

std::string MeshService::display() const {
  const bool usual = metadata.ns == "default";
  return cat(kind(), " ", usual ? "" : metadata.ns, usual ? "" : "/", own_name());
}

std::span<const MeshService::Port> MeshService::entries() const {
  return std::span(spec.ports).first(is_pool() ? 1 : spec.ports.size());
}

std::span<const MeshService::Port> MeshService::behind(const Port& entry) const {
  return is_pool() ? std::span(spec.ports) : std::span(&entry, 1);
}

const Workload::Port* MeshService::target(const Port& port, const Workload& workload) {
  if (port.target_port && !port.target_port->name.empty()) {
    return workload.port(port.target_port->name);
  }
  const uint16_t number = port.target_port ? port.target_port->number : port.port;
  for (const Workload::Port& candidate : workload.spec.ports) {
    if (candidate.port == number) return &candidate;
  }
  return nullptr;
}

}  // namespace glia
