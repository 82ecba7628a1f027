// Asks a local HTTP server whether it is ready.
#pragma once

#include <string>

#include "proxy/base/task.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"

namespace glia {

// Does GET `path` answer with 200 within a second? With an empty path: does anybody accept there?
Task<bool> is_ready(EventLoop& loop, Network& network, Address address, std::string path);

}  // namespace glia
