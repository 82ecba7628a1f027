#include "control_plane/translate/chain.h"

#include "control_plane/translate/access_log.h"
#include "control_plane/translate/pack.h"
#include "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb.h"

namespace glia {

void add_manager(
    const envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager&
        manager,
    envoy::config::listener::v3::FilterChain& chain) {
  auto* filter = chain.add_filters();
  filter->set_name("envoy.filters.network.http_connection_manager");
  pack(manager, *filter->mutable_typed_config());
}

void add_tcp_proxy(const Mesh& mesh, const std::string& cluster,
                   envoy::config::listener::v3::FilterChain& chain) {
  envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy proxy;
  proxy.set_stat_prefix(cluster);
  proxy.set_cluster(cluster);
  add_access_log(mesh, proxy);
  auto* filter = chain.add_filters();
  filter->set_name("envoy.filters.network.tcp_proxy");
  pack(proxy, *filter->mutable_typed_config());
}

}  // namespace glia
