// ReportService on gRPC: each call carries one ReportStream, as ads_reactor.h does for ADS.
#pragma once

#include <memory>

#include "control_plane/canary/report_stream.h"
#include "control_plane/serve/grpc_server.h"

namespace glia {

// How often is looked whether streams should be asked for something else.
inline constexpr Duration kOrderLook = 500ms;
inline constexpr std::size_t kMostReportStreams = 20'000;  // Further ones are refused.

// All references outlive the service.
std::unique_ptr<GrpcService> make_report_service(EventLoop& loop, ControlPlane& control_plane,
                                                 ReportedObservations& observations,
                                                 AdsReactors& reactors);

}  // namespace glia
