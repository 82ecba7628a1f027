// The last filter of a chain: HTTP that is read, or bytes that are relayed.
#pragma once

#include <string>

#include "control_plane/objects/objects.h"
#include "envoy/config/listener/v3/listener_components.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"

namespace glia {

void add_manager(
    const envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager&
        manager,
    envoy::config::listener::v3::FilterChain& chain);

// To `cluster`, with the access log of the mesh.
void add_tcp_proxy(const Mesh& mesh, const std::string& cluster,
                   envoy::config::listener::v3::FilterChain& chain);

}  // namespace glia
