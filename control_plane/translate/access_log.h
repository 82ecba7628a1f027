// What the sidecars of a mesh write about each request.
#pragma once

#include "control_plane/objects/objects.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb.h"

namespace glia {

// Adds the access log that the Mesh asks for, or none. A real Envoy takes it too, and then writes
// its own default line where the mesh names no format.
void add_access_log(
    const Mesh& mesh,
    envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager&
        manager);
// The same of relayed connections.
void add_access_log(const Mesh& mesh,
                    envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy& proxy);

}  // namespace glia
