// Pressure: how short of memory the process is, as main tells it to every worker.
#pragma once

#include <cstdint>

namespace glia {

// Each level does what the one before it does.
enum class Pressure : uint8_t {
  kNone,
  kShed,    // New requests get 503, connections end with their next answer.
  kRefuse,  // New connections are closed at once.
};

}  // namespace glia
