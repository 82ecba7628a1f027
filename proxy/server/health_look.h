// One look at the application beside us: does it answer, as the control plane wants to know?
#pragma once

#include <optional>
#include <string>

#include "proxy/base/task.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"
#include "proxy/xds/health_reporter.h"

namespace glia {

// On a connection of its own. Nothing: it is well; else a sentence. Both outlive the task.
Task<std::optional<std::string>> look_at(EventLoop& loop, Network& network, HealthOrder order);

}  // namespace glia
