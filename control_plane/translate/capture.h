// The listeners of a workload whose traffic comes by rules of the kernel (docs/capture.md): one for
// what its application sends, whoever it is for, and one for what comes to any of its ports.
//
// Chains are chosen by where a connection was going, so that nothing has to be waited for where that
// says enough: the addresses of Services, and of workloads behind headless ones.
#pragma once

#include <vector>

#include "control_plane/translate/translate.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"

namespace glia {

// Clusters that go where their client wanted to go.
inline constexpr char kPassthrough[] = "passthrough";
inline constexpr char kInboundPassthrough[] = "inbound-passthrough";

// Connections to the application come from an address by which the rules of the kernel know that they are
// no self-calls, which would be captured again.
void connect_from_own_address(envoy::config::cluster::v3::Cluster& cluster);

// Appends the listeners that take the place of the workload's own outbound one; `manager` is what that
// one has.
void add_capture_outbound(
    const ObjectSet& objects, const Workload& workload,
    const envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager&
        manager,
    Resources& resources);

// Appends those that take the place of its inbound ones. `chains`: one a port, in order.
void add_capture_inbound(const Workload& workload,
                         std::vector<envoy::config::listener::v3::FilterChain> chains,
                         Resources& resources);

}  // namespace glia
