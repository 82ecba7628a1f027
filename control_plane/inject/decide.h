// Which pods get a sidecar: by their own word, by their namespace's, and never where it could not work or
// would harm. Every answer comes with the rule that gave it (docs/inject.md).
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace glia {

using Json = nlohmann::ordered_json;

// Where a pod is to live, and what its namespace says.
struct PodNamespace {
  std::string name;  // "" if it is not known.
  std::map<std::string, std::string> labels, annotations;
};

struct Decision {
  enum class Verdict : uint8_t {
    kInject,
    kLeave,   // It stays as it is; nothing is wrong.
    kRefuse,  // It asks for what cannot be: better no pod than one without the mesh.
  };
  Verdict verdict = Verdict::kLeave;
  std::string why;  // A sentence for a person.
};

enum class Asked : uint8_t {
  kByHand,   // `glia inject`: yes, unless the pod or a rule says no.
  kByLabel,  // The webhook: only who asks, or whose namespace does.
};

// `pod` has metadata and spec, as a Pod or a pod template.
Decision decide(const Json& pod, const PodNamespace& where, Asked asked);

// "" if it is not there, or no text; people forget the quotes of 2 and true.
std::string text_at(const Json& json, const char* key);
// An empty object if it is not there.
const Json& object_at(const Json& json, const char* key);
// An empty array if it is not there.
const Json& list_at(const Json& json, const char* key);

}  // namespace glia
