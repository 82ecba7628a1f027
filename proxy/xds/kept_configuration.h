// KeptConfiguration: what a sidecar keeps on disk of what it was sent and has accepted, so that it can
// be started again while the control plane is away.
//
// A few lines of text that say whose it is and of when, a checksum of everything, then for each kind of
// resource one envoy.service.discovery.v3.DeltaDiscoveryResponse with all that is held, as a control plane
// would send it. So what is read back walks through the same decoders and checks as anything from the
// wire. Of what a mesh sends nothing is secret; keys that came by SDS are left out, because whoever sends
// keys that way wants them in memory only.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/result.h"
#include "proxy/base/time.h"
#include "proxy/xds/push.h"

namespace glia {

inline constexpr char kConfigurationFile[] = "configuration.kept";
// Of the file; what does not fit is not kept, and the one before stays.
inline constexpr std::size_t kMostKept = 64 << 20;  // bytes

// How much is left of a resource that came with a time to live; nothing: it lives for ever.
using TimeLeft = std::function<std::optional<Duration>(ResourceKind, const std::string& name)>;

// `owner`: who has it, so that nobody else is started with it.
std::string encode_kept(const Draft& draft, const TimeLeft& left, std::string_view owner,
                        WallTime now);

struct KeptConfiguration {
  WallTime saved;
  std::vector<PushedResources> pushes;  // In an order in which each can be applied.
};
// Without what has lived its time since it was saved. The error says what is wrong with the file.
Result<KeptConfiguration> decode_kept(std::string_view file, std::string_view owner, WallTime now);

}  // namespace glia
