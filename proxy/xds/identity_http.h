// SignCertificate over our own HTTP/2 client: unary gRPC without the gRPC library.
#pragma once

#include <string>

#include "proxy/net/loop.h"
#include "proxy/net/stream.h"
#include "proxy/xds/identity.h"

namespace glia {

// Where the control plane is and how it is recognized.
struct ControlPlaneAddress {
  std::string host;  // A name or an address.
  uint16_t port = 15012;
  std::string trust_bundle;  // PEM, of the join file.
};

// The name in the control plane's certificate. The authority writes no such name into the
// certificates of workloads, so none of them can take a join token.
inline constexpr char kControlPlaneName[] = "glia-control";
inline constexpr Duration kSignLimit = 10s;  // For a whole call, connecting included.
inline constexpr std::size_t kLargestSignResponse = 1 << 20;  // bytes

// `loop` and `network` outlive the calls.
SignCall sign_over_http(EventLoop& loop, Network& network, ControlPlaneAddress address);

}  // namespace glia
