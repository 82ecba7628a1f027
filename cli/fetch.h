// Asks a local HTTP server for a page.
#pragma once

#include <string>
#include <string_view>

#include "proxy/base/result.h"

namespace glia {

// The body of GET `path` at "host:port", if its status is 200; within kFetchLimit. Runs a loop of
// its own until then.
Result<std::string> fetch(std::string_view address, std::string_view path);

}  // namespace glia
