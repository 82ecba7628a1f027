// What is injected: defaults, and what annotations of the pod say of it. Those of Istio and Linkerd are
// understood where they mean the same (docs/inject.md).
#pragma once

#include <map>
#include <string>

#include "control_plane/inject/decide.h"
#include "proxy/base/result.h"

namespace glia {

struct InjectSettings {
  enum class Capture : uint8_t {
    kInit,  // An init container installs the rules.
    kCni,   // The cluster's CNI plugin does; an init container checks that it did.
    kNone,  // Nobody does: the application addresses the sidecar itself.
  };
  std::string image;  // "": that of this version.
  // PEM of the mesh's authority, by which sidecars know the control plane; "": a join file tells them.
  std::string trust_bundle;
  std::string control = "glia-control.glia-system.svc:15012";
  bool native = true;  // An init container that stays; else one beside the application.
  Capture capture = Capture::kInit;
  bool rewrite_probes = true;  // Kubelet asks the sidecar about the application.
  std::string log_level = "info";
  std::string concurrency;    // "": the proxy's own default.
  std::string drain_seconds;  // "": five less than the pod has to end.
  std::string cpu = "100m", memory = "128Mi", cpu_limit = "2", memory_limit = "1Gi";
  // Flags of `glia capture install` and their values.
  std::map<std::string, std::string> capture_flags;
};

// Errors name the annotation, the value and the fix.
Result<InjectSettings> settings_of(InjectSettings defaults, const Json& pod);

}  // namespace glia
