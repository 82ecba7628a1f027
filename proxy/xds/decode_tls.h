// envoy.extensions.transport_sockets.tls.v3 to TlsSettings and SecretResource.
#pragma once

#include <optional>

#include "proxy/xds/reader.h"
#include "proxy/xds/resources.h"

namespace glia {

// envoy.config.core.v3.TransportSocket; nothing for clear text (absent, or raw_buffer).
// `proxy_header`: where ProxyProtocolUpstreamTransport around it is put; null: it is refused.
std::optional<TlsSettings> decode_transport_socket(
    const Reader& socket, TlsContext::Side side,
    std::optional<ProxyVersion>* proxy_header = nullptr);
SecretResource decode_secret(const Reader& secret);

}  // namespace glia
