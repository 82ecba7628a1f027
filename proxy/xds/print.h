// A snapshot as text for people: `glia-proxy --mode validate --print`, and the golden tests.
#pragma once

#include <string>

#include "proxy/mesh/snapshot.h"

namespace glia {

// A line a thing, indented under what it belongs to; settings at their defaults are left out.
std::string print(const Snapshot& snapshot);

}  // namespace glia
