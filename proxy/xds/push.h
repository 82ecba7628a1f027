// PushedResources: an envoy.service.discovery.v3.DiscoveryResponse, opened as far as it says what it
// brings.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/result.h"
#include "proxy/xds/draft.h"

namespace glia {

struct PushedResources {
  std::string version, type_url, nonce;
  std::vector<std::string>
      resources;        // Bytes, out of their Any and, if there is one, its Resource.
  std::string trouble;  // A resource that is not of the push's type; "" if all are.
};

Result<PushedResources> decode_push(std::string_view bytes);
// Nothing for types that we never ask for.
std::optional<ResourceKind> kind_of(std::string_view type_url);

}  // namespace glia
