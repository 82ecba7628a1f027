// LoadStream: the load of a model server out of band (gRFC A51): a gRPC call to its sidecar that is
// answered with a report now and then, for callers whose own answers take long or come seldom.
#pragma once

#include "proxy/flow/exchange.h"
#include "proxy/mesh/cluster.h"

namespace glia {

inline constexpr Duration kReportUsual = 1s;        // Between two reports, unless asked otherwise.
inline constexpr Duration kReportShortest = 100ms;  // However often they are asked for.
inline constexpr std::size_t kLargestReportRequest = 1024;  // bytes

// Is this request such a call, to a cluster that can answer it?
bool asks_for_load(const Exchange& exchange, const ClusterConfig& config);
// Or the short question of a balancer (mesh/prober.h)?
bool asks_how_it_is(const Exchange& exchange, const ClusterConfig& config);
// Its answer: a head with the load, and nothing else.
Response tell_how_it_is(Exchange& exchange, const ServerLoad& load);
// The answer to the call; its body goes on until the caller goes away.
Task<Reply> answer_with_load(Exchange& exchange, std::shared_ptr<const ServerLoad> load);

}  // namespace glia
