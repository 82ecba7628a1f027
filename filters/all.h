// The guest list: which filters a chain may have. A new filter is one file here and one make() in
// all.cc; no filter knows another.
#pragma once

#include <memory>

#include "proxy/flow/filter.h"
#include "proxy/flow/gate.h"
#include "proxy/mesh/snapshot.h"

namespace glia {

// The filter that `config` asks for, in a chain of `manager`. `before`, which may be null, stood at
// its place until the configuration changed; if it is of the same kind, its counts go on.
std::unique_ptr<Filter> make_filter(const FilterConfig& config, const HttpManager& manager,
                                    const Filter* before = nullptr);
// What decides who may connect where `proxy` relays; null if anybody may.
std::unique_ptr<Gate> make_gate(const TcpProxy& proxy, const Gate* before = nullptr);

}  // namespace glia
