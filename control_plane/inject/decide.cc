#include "control_plane/inject/decide.h"

#include <algorithm>
#include <optional>

#include "proxy/base/text.h"

namespace glia {
namespace {

using Verdict = Decision::Verdict;

// Sidecars there would be needed to start what sidecars need to start; glia-system is our own.
constexpr std::string_view kNeverIn[] = {"kube-system", "kube-public", "kube-node-lease",
                                         "glia-system"};
constexpr int64_t kProxyUser = 1337;
// The proxy listens there (docs/capture.md).
constexpr int64_t kProxyPorts[] = {15001, 15006, 15020, 15021};

struct Word {
  std::string where, value;  // "the label glia.dev/inject of the pod"
};

std::optional<Word> word_of(const Json& map, const char* key, const char* what) {
  const std::string value = text_at(map, key);
  if (value.empty()) return {};
  return Word{cat("the ", what, " ", key, " of the pod"), value};
}

// Ours first; a label stands before an annotation, because selectors of webhooks see it.
std::optional<Word> word_of_pod(const Json& pod) {
  const Json& meta = object_at(pod, "metadata");
  const Json &labels = object_at(meta, "labels"), &annotations = object_at(meta, "annotations");
  if (auto word = word_of(labels, "glia.dev/inject", "label")) return word;
  if (auto word = word_of(annotations, "glia.dev/inject", "annotation")) return word;
  if (auto word = word_of(labels, "sidecar.istio.io/inject", "label")) return word;
  if (auto word = word_of(annotations, "sidecar.istio.io/inject", "annotation")) return word;
  return word_of(annotations, "linkerd.io/inject", "annotation");
}

std::optional<Word> word_of_namespace(const PodNamespace& where) {
  constexpr const char* kLabels[] = {"glia.dev/injection", "istio-injection"};
  for (const char* const key : kLabels) {
    const auto found = where.labels.find(key);
    if (found != where.labels.end()) {
      return Word{cat("the label ", key, " of namespace ", where.name), found->second};
    }
  }
  const auto found = where.annotations.find("linkerd.io/inject");
  if (found == where.annotations.end()) return {};
  return Word{cat("the annotation linkerd.io/inject of namespace ", where.name), found->second};
}

std::optional<bool> yes_or_no(std::string_view value) {
  if (value == "true" || value == "enabled") return true;
  if (value == "false" || value == "disabled") return false;
  return {};
}

bool is_windows(const Json& spec) {
  return text_at(object_at(spec, "os"), "name") == "windows" ||
         text_at(object_at(spec, "nodeSelector"), "kubernetes.io/os") == "windows";
}

bool is_true(const Json& json, const char* key) {
  const auto found = json.is_object() ? json.find(key) : json.end();
  return json.is_object() && found != json.end() && found->is_boolean() && found->get<bool>();
}

std::optional<int64_t> number_at(const Json& json, const char* key) {
  if (!json.is_object()) return {};
  const auto found = json.find(key);
  if (found == json.end() || !found->is_number_integer()) return {};
  return found->get<int64_t>();
}

// Why such a pod cannot have a sidecar, whoever asks; "": it can.
std::string obstacle_of(const Json& spec) {
  if (is_true(spec, "hostNetwork")) {
    return "it uses the network of its node (hostNetwork), whose traffic is not its own to capture";
  }
  if (is_windows(spec)) return "it runs on Windows, for which there is no capture";
  if (list_at(spec, "containers").empty()) return "it has no containers";
  return "";
}

// What would make a pod with a sidecar lie or fail.
std::string conflict_of(const Json& spec) {
  const auto user_of = [](const Json& json) {
    return number_at(object_at(json, "securityContext"), "runAsUser");
  };
  for (const Json& container : list_at(spec, "containers")) {
    const std::string name = text_at(container, "name");
    if (name == "istio-proxy" || name == "linkerd-proxy") {
      return cat("has the sidecar of another mesh already (container ", name,
                 "); take it out, or this one");
    }
    if (user_of(container).value_or(user_of(spec).value_or(0)) == kProxyUser) {
      return cat("container ", name, " runs as user ", kProxyUser,
                 ", which is the sidecar's: what it sends would not be captured; let it run as "
                 "another user");
    }
    for (const Json& port : list_at(container, "ports")) {
      const int64_t number = number_at(port, "containerPort").value_or(0);
      if (std::ranges::find(kProxyPorts, number) == std::end(kProxyPorts)) continue;
      return cat("container ", name, " listens on port ", number,
                 ", which is the sidecar's; let it listen on another");
    }
  }
  return "";
}

}  // namespace

std::string text_at(const Json& json, const char* key) {
  if (!json.is_object()) return "";
  const auto found = json.find(key);
  if (found == json.end()) return "";
  if (found->is_boolean()) return found->get<bool>() ? "true" : "false";
  if (found->is_number_integer()) return found->dump();
  return found->is_string() ? found->get<std::string>() : "";
}

const Json& object_at(const Json& json, const char* key) {
  static const Json kEmpty = Json::object();
  if (!json.is_object()) return kEmpty;
  const auto found = json.find(key);
  return found != json.end() && found->is_object() ? *found : kEmpty;
}

const Json& list_at(const Json& json, const char* key) {
  static const Json kEmpty = Json::array();
  if (!json.is_object()) return kEmpty;
  const auto found = json.find(key);
  return found != json.end() && found->is_array() ? *found : kEmpty;
}

Decision decide(const Json& pod, const PodNamespace& where, Asked asked) {
  const Json& spec = object_at(pod, "spec");
  if (std::ranges::find(kNeverIn, where.name) != std::end(kNeverIn)) {
    return {Verdict::kLeave, cat("namespace ", where.name, " is never in the mesh")};
  }
  const auto own = word_of_pod(pod), of_namespace = word_of_namespace(where);
  const auto& word = own ? own : of_namespace;
  bool wanted = asked == Asked::kByHand;
  std::string because = wanted ? "asked for by hand"
                               : cat("neither the pod (label glia.dev/inject) nor namespace ",
                                     where.name, " (label glia.dev/injection) asks for it");
  // By hand, a namespace is not known to say yes.
  if (word) {
    const auto said = yes_or_no(word->value);
    because = cat(word->where, " is \"", word->value.substr(0, 60), "\"");
    if (!said) {
      return {own ? Verdict::kRefuse : Verdict::kLeave,
              cat(because, "; write enabled or disabled, true or false")};
    }
    wanted = *said;
  }
  if (!wanted) return {Verdict::kLeave, because};
  if (const std::string obstacle = obstacle_of(spec); !obstacle.empty()) {
    // Its namespace means those that can; a pod that asks itself would not get what it counts on.
    const bool itself = own && yes_or_no(own->value).value_or(false);
    if (!itself) return {Verdict::kLeave, obstacle};
    return {Verdict::kRefuse, cat(obstacle, "; ", because, ", so it is not let in without")};
  }
  if (const std::string conflict = conflict_of(spec); !conflict.empty()) {
    return {Verdict::kRefuse, conflict};
  }
  return {Verdict::kInject, because};
}

}  // namespace glia
