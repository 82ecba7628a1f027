// The difference of two JSON values as a patch (RFC 6902).
#pragma once

#include "control_plane/inject/decide.h"

namespace glia {

// An array of operations that make `after` of `before`; empty if they are the same, whatever the order of
// keys. Lists are compared by the names of their items.
Json json_patch(const Json& before, const Json& after);

}  // namespace glia
