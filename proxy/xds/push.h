// PushedResources: an envoy.service.discovery.v3.DiscoveryResponse or DeltaDiscoveryResponse,
// opened as far as it says what it brings.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/result.h"
#include "proxy/base/time.h"
#include "proxy/xds/draft.h"

namespace glia {

struct PushedResource {
  std::string bytes;          // Out of its Any and, if there is one, its Resource.
  std::string name, version;  // Of its Resource; "" if there is none.
  // When the proxy shall forget it unless it hears of it again; nothing: never.
  std::optional<Duration> ttl = {};
  // It says only that what the proxy holds of that name is good for another `ttl`.
  bool heartbeat = false;
};

// A resource of which the control plane cannot say what it is, and why.
struct ResourceTrouble {
  std::string name, why;
};

struct PushedResources {
  std::string version, type_url, nonce;
  std::vector<PushedResource> resources;
  std::vector<std::string> removed;  // Names; only in delta.
  // Without those that do not exist: in delta they are removed, else they are absent.
  std::vector<ResourceTrouble> errors = {};
  std::string trouble;  // A resource that is not of the push's type; "" if all are.
};

Result<PushedResources> decode_push(std::string_view bytes);
Result<PushedResources> decode_delta_push(std::string_view bytes);
// Nothing for types that we never ask for.
std::optional<ResourceKind> kind_of(std::string_view type_url);

}  // namespace glia
