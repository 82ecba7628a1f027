#include "control_plane/translate/capture.h"

#include <algorithm>
#include <map>
#include <set>

#include "control_plane/translate/chain.h"
#include "control_plane/translate/find_host.h"
#include "control_plane/translate/outbound.h"
#include "control_plane/translate/pack.h"
#include "envoy/extensions/filters/listener/http_inspector/v3/http_inspector.pb.h"
#include "envoy/extensions/filters/listener/original_dst/v3/original_dst.pb.h"
#include "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.pb.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

namespace core = envoy::config::core::v3;
namespace filters = envoy::extensions::filters::listener;
using Chain = envoy::config::listener::v3::FilterChain;
using Cluster = envoy::config::cluster::v3::Cluster;
using Listener = envoy::config::listener::v3::Listener;
using Manager =
    envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;

// Of a client that does not say what it speaks, where that must be known. A server that speaks first
// ends the wait, too; see docs/capture.md.
constexpr int kPatienceSeconds = 5;
// Where plain text is admitted beside mutual TLS, and the server speaks first: a caller with mutual
// TLS begins within a round trip.
constexpr int kPlainPatienceSeconds = 1;
// Connections that are passed on to the application come from here, by which the rules of the kernel
// know that they are no self-calls.
constexpr const char* kOwnV4 = "127.0.0.6";
constexpr const char* kOwnV6 = "::1";

template <class Filter>
void add_filter(const char* name, Listener& listener) {
  auto* filter = listener.add_listener_filters();
  filter->set_name(name);
  pack(Filter(), *filter->mutable_typed_config());
}

void set_address(const std::string& address, uint16_t port, Listener& listener) {
  listener.mutable_address()->mutable_socket_address()->set_address(address);
  listener.mutable_address()->mutable_socket_address()->set_port_value(port);
}

Cluster passthrough_cluster(const char* name) {
  Cluster cluster;
  cluster.set_name(name);
  cluster.set_type(Cluster::ORIGINAL_DST);
  cluster.set_lb_policy(Cluster::CLUSTER_PROVIDED);
  cluster.mutable_connect_timeout()->set_seconds(5);
  return cluster;
}

// What is known of the addresses behind one port.
struct AtPort {
  std::set<std::string> http;
  std::map<std::string, std::set<std::string>> tcp;  // Cluster -> addresses.
};

void add_members(const ObjectSet& objects, const MeshService& service,
                 const MeshService::Port& port, std::map<uint16_t, AtPort>& ports) {
  for (const std::size_t member : service.members) {
    const Workload& workload = objects.workloads[member];
    const Workload::Port* target = MeshService::target(port, workload);
    if (target == nullptr) continue;
    AtPort& at = ports[target->port];
    if (target->protocol == Workload::Protocol::kTcp) {
      at.tcp[direct_cluster(workload, *target)].insert(workload.spec.address);
    } else {
      at.http.insert(workload.spec.address);
    }
  }
}

std::map<uint16_t, AtPort> destinations(const ObjectSet& objects, const Workload& workload) {
  std::map<uint16_t, AtPort> ports;
  for (const MeshService& service : objects.services) {
    if (!may_call(workload.spec.egress, service.metadata.key())) continue;
    for (const MeshService::Port& port : service.spec.ports) {
      if (port.app_protocol == kTls) ports[port.port];  // Asked for by name.
      if (service.headless()) {
        add_members(objects, service, port, ports);
      } else if (!service.spec.cluster_ip.empty() && is_tcp(objects, service, port)) {
        ports[port.port].tcp[outbound_cluster(service, port.port)].insert(service.spec.cluster_ip);
      } else if (!service.spec.cluster_ip.empty()) {
        ports[port.port].http.insert(service.spec.cluster_ip);
      }
    }
  }
  return ports;
}

void match_addresses(const std::set<std::string>& addresses, Chain& chain) {
  for (const std::string& address : addresses) {
    auto* range = chain.mutable_filter_chain_match()->add_prefix_ranges();
    range->set_address_prefix(address);
    range->mutable_prefix_len()->set_value(address.find(':') == address.npos ? 32 : 128);
  }
}

void match_port(uint16_t port, Chain& chain) {
  chain.mutable_filter_chain_match()->mutable_destination_port()->set_value(port);
}

// What names of a Service a client may ask for by TLS.
std::vector<std::string> names_of(const MeshService& service, const Workload& caller) {
  const std::string qualified = cat(service.metadata.name, ".", service.metadata.ns);
  std::vector<std::string> names = {qualified, qualified + ".svc",
                                    qualified + ".svc.cluster.local"};
  if (service.metadata.ns == caller.metadata.ns) names.push_back(service.metadata.name);
  return names;
}

// The chains of one outbound listener, under construction.
class Outbound {
 public:
  Outbound(const ObjectSet& objects, const Workload& workload, const Manager& manager)
      : objects_(objects), workload_(workload), manager_(manager) {}

  Listener listener(const std::string& name, const std::string& address) {
    Listener listener;
    listener.set_name(name);
    listener.set_traffic_direction(core::OUTBOUND);
    set_address(address, workload_.spec.outbound.port, listener);
    add_filter<filters::original_dst::v3::OriginalDst>("envoy.filters.listener.original_dst",
                                                       listener);
    add_filter<filters::tls_inspector::v3::TlsInspector>("envoy.filters.listener.tls_inspector",
                                                         listener);
    add_filter<filters::http_inspector::v3::HttpInspector>("envoy.filters.listener.http_inspector",
                                                           listener);
    listener.mutable_listener_filters_timeout()->set_seconds(kPatienceSeconds);
    listener.set_continue_on_listener_filters_timeout(true);
    const std::map<uint16_t, AtPort> ports = destinations(objects_, workload_);
    add_rest({}, listener);
    for (const auto& [port, at] : ports) {
      if (!at.http.empty()) add_http(port, at.http, listener);
      for (const auto& [cluster, addresses] : at.tcp) {
        add_tcp(cat("tcp:", cluster), port, addresses, cluster, listener);
      }
      // Once a chain asks for a port, those without one are not looked at for it (Envoy's order).
      add_rest(port, listener);
    }
    return listener;
  }

 private:
  bool refuses() const {
    return workload_.spec.capture->outbound == Workload::Capture::Outbound::kRegistryOnly;
  }
  void add_http(uint16_t port, const std::set<std::string>& addresses, Listener& listener) {
    Chain& chain = *listener.add_filter_chains();
    chain.set_name(cat("http:", port));
    match_port(port, chain);
    match_addresses(addresses, chain);
    add_manager(manager_, chain);
  }
  void add_tcp(std::string name, uint16_t port, const std::set<std::string>& addresses,
               const std::string& cluster, Listener& listener) {
    Chain& chain = *listener.add_filter_chains();
    chain.set_name(std::move(name));
    match_port(port, chain);
    match_addresses(addresses, chain);
    add_tcp_proxy(objects_.mesh, cluster, chain);
  }
  // By the name that a TLS client asks for.
  template <class Add>
  void add_names(uint16_t port, Add add) {
    for (const MeshService& service : objects_.services) {
      const MeshService::Port* own = service.port(port);
      if (own == nullptr || own->app_protocol != kTls ||
          !may_call(workload_.spec.egress, service.metadata.key()))
        continue;
      Chain& chain = add(cat("name:", outbound_cluster(service, port)), "tls");
      for (const std::string& name : names_of(service, workload_)) {
        chain.mutable_filter_chain_match()->add_server_names(name);
      }
      add_tcp_proxy(objects_.mesh, outbound_cluster(service, port), chain);
    }
  }
  // Whatever is for no address of the mesh: by name where it names a Service, else as it is.
  void add_rest(std::optional<uint16_t> port, Listener& listener) {
    const std::string suffix = port ? cat(":", *port) : "";
    const auto add = [&](const std::string& name, const char* transport) -> Chain& {
      Chain& chain = *listener.add_filter_chains();
      chain.set_name(cat(name, suffix));
      if (port) match_port(*port, chain);
      if (*transport != '\0') {
        chain.mutable_filter_chain_match()->set_transport_protocol(transport);
      }
      return chain;
    };
    if (refuses()) {
      Chain& http = add("by-host", "raw_buffer");
      http.mutable_filter_chain_match()->add_application_protocols("http/1.1");
      http.mutable_filter_chain_match()->add_application_protocols("h2c");
      add_manager(manager_, http);
    }
    if (port) add_names(*port, add);
    if (!refuses()) add_tcp_proxy(objects_.mesh, kPassthrough, add("passthrough", ""));
  }

  const ObjectSet& objects_;
  const Workload& workload_;
  const Manager& manager_;
};

}  // namespace

void connect_from_own_address(Cluster& cluster) {
  auto& bind = *cluster.mutable_upstream_bind_config();
  bind.mutable_source_address()->set_address(kOwnV4);
  bind.mutable_source_address()->set_port_value(0);
  auto& v6 = *bind.add_extra_source_addresses()->mutable_address();
  v6.set_address(kOwnV6);
  v6.set_port_value(0);
}

void add_capture_outbound(const ObjectSet& objects, const Workload& workload,
                          const Manager& manager, Resources& resources) {
  Outbound outbound(objects, workload, manager);
  using Families = Workload::Capture::Families;
  const Families families = workload.spec.capture->families;
  // REDIRECT leads to the loopback address of the family.
  if (families != Families::kIpv6) {
    resources.listeners.push_back(outbound.listener(kOutboundName, "127.0.0.1"));
  }
  if (families != Families::kIpv4) {
    const std::string name =
        families == Families::kIpv6 ? kOutboundName : cat(kOutboundName, "-v6");
    resources.listeners.push_back(outbound.listener(name, "::1"));
  }
  if (workload.spec.capture->outbound == Workload::Capture::Outbound::kAllow) {
    resources.clusters.push_back(passthrough_cluster(kPassthrough));
  }
}

namespace {

// What comes in plain text, beside mutual TLS on the same port.
Chain plain(Chain chain) {
  chain.set_name(cat(chain.name(), "-plain"));
  chain.clear_transport_socket();
  chain.mutable_filter_chain_match()->set_transport_protocol("raw_buffer");
  return chain;
}

}  // namespace

void add_capture_inbound(const Workload& workload, std::vector<Chain> chains,
                         Resources& resources) {
  using Capture = Workload::Capture;
  const Capture& capture = *workload.spec.capture;
  const bool permissive = capture.inbound == Capture::Inbound::kPermissive;
  Listener listener;
  listener.set_traffic_direction(core::INBOUND);
  add_filter<filters::original_dst::v3::OriginalDst>("envoy.filters.listener.original_dst",
                                                     listener);
  if (permissive) {
    add_filter<filters::tls_inspector::v3::TlsInspector>("envoy.filters.listener.tls_inspector",
                                                         listener);
    listener.mutable_listener_filters_timeout()->set_seconds(kPlainPatienceSeconds);
    listener.set_continue_on_listener_filters_timeout(true);
  }
  if (capture.mode == Capture::Mode::kTproxy) listener.mutable_transparent()->set_value(true);
  for (std::size_t i = 0; i < chains.size(); ++i) {
    match_port(workload.spec.ports[i].port, chains[i]);
    const bool both = permissive && chains[i].has_transport_socket();
    if (both) *listener.add_filter_chains() = plain(chains[i]);
    if (both) chains[i].mutable_filter_chain_match()->set_transport_protocol("tls");
    *listener.add_filter_chains() = std::move(chains[i]);
  }
  if (permissive) {
    Chain& rest = *listener.add_filter_chains();
    rest.set_name(kInboundPassthrough);
    add_tcp_proxy(Mesh(), kInboundPassthrough, rest);
    Cluster cluster = passthrough_cluster(kInboundPassthrough);
    connect_from_own_address(cluster);
    resources.clusters.push_back(std::move(cluster));
  }
  if (listener.filter_chains().empty()) return;
  if (capture.families != Capture::Families::kIpv6) {
    listener.set_name("inbound");
    set_address("0.0.0.0", capture.inbound_port, listener);
    resources.listeners.push_back(listener);
  }
  if (capture.families != Capture::Families::kIpv4) {
    listener.set_name("inbound-v6");
    set_address("::", capture.inbound_port, listener);
    resources.listeners.push_back(std::move(listener));
  }
}

}  // namespace glia
