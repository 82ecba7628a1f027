// envoy.config.listener.v3.Listener, with its HTTP connection managers, to ListenerResource.
#pragma once

#include "proxy/xds/reader.h"
#include "proxy/xds/resources.h"

namespace glia {

ListenerResource decode_listener(const Reader& listener, std::string version);

}  // namespace glia
