// HealthService on gRPC: machines tell how their applications are, and are told what to look at. Who says so
// must have the identity of the Workload that it speaks for.
#pragma once

#include <memory>

#include "control_plane/health/health_desk.h"
#include "control_plane/serve/grpc_server.h"
#include "control_plane/serve/rate.h"

namespace glia {

// Of one stream: a look each 100 ms is the most that is ordered.
inline constexpr RateLimit kHealthReports = {.per_second = 20, .burst = 50};
inline constexpr std::size_t kLargestHealthReport = 4096;  // bytes
inline constexpr std::size_t kMostHealthStreams = 20'000;  // Further ones are refused.
inline constexpr Duration kHealthLook = 250ms;             // How often silence is looked for.

// All references outlive the service. Whoever is away is told to the control plane.
std::unique_ptr<GrpcService> make_health_service(EventLoop& loop, ControlPlane& control_plane,
                                                 HealthDesk& desk, AdsReactors& reactors);

}  // namespace glia
