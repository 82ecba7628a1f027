// envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy to TcpProxy.
#pragma once

#include "proxy/mesh/snapshot.h"
#include "proxy/xds/reader.h"

namespace glia {

TcpProxy decode_tcp_proxy(const Reader& proxy);

}  // namespace glia
