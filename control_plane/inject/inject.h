// The pod with its sidecar, and without: pure functions of JSON, behind `glia inject` and the webhook.
#pragma once

#include "control_plane/inject/settings.h"

namespace glia {

inline constexpr char kInjectedAnnotation[] = "glia.dev/injected";

// `pod` has metadata and spec; `kind` is that of the object around it ("Pod", "Job", ...). Injecting twice
// is the same as once: what was injected before is taken out first. Errors say why there can be no sidecar.
Result<Json> with_sidecar(const Json& pod, const std::string& kind, const InjectSettings& defaults);
// As it was before with_sidecar().
Json without_sidecar(Json pod);

}  // namespace glia
