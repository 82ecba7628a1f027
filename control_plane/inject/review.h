// What the webhook answers when the API server asks whether a pod may be made, and how: AdmissionReview of
// admission.k8s.io/v1 in and out. A pure function; nothing is written anywhere (`sideEffects: None`), so a
// dry run is answered as any other.
#pragma once

#include <string>
#include <string_view>

#include "control_plane/inject/inject.h"

namespace glia {

inline constexpr std::size_t kLargestReview = 3 * 1024 * 1024;  // bytes; etcd takes less
inline constexpr int kDeepestReview = 128;                      // objects and lists in each other

struct ReviewAnswer {
  int status = 200;  // Of HTTP. 400, 413: the question could not be read, and `body` says why.
  std::string body;
};

// Who asks for the sidecar. A review does not say what the pod's namespace is labelled with; the webhook
// configuration has an entry for each of these, with selectors of its own (webhook.h).
enum class AskedBy : uint8_t { kNamespace, kPod };

ReviewAnswer answer_review(std::string_view body, const InjectSettings& defaults, AskedBy asked);

}  // namespace glia
