// What a listener's access log configuration becomes on one worker.
#pragma once

#include <memory>
#include <vector>

#include "proxy/flow/site.h"
#include "proxy/mesh/snapshot.h"
#include "proxy/net/loop.h"

namespace glia {

// Null if nothing is to be logged.
std::unique_ptr<RequestLog> make_request_log(const std::vector<AccessLogConfig>& configs,
                                             EventLoop& loop);

}  // namespace glia
