#include "control_plane/inject/review.h"

#include <set>
#include <vector>

#include "control_plane/inject/json_patch.h"
#include "proxy/base/base64.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

using Verdict = Decision::Verdict;

ReviewAnswer unreadable(int status, std::string_view why) {
  return {status, cat("the admission review ", why, "\n")};
}

// Builds the value and refuses what two readers could read differently, or what is too deep for any.
class StrictParser {
 public:
  Result<Json> parse(std::string_view text) {
    const auto look = [this](int depth, Json::parse_event_t event, Json& parsed) {
      return take(depth, event, parsed);
    };
    // A depth that is too large is found while it is read; the parser itself does not recurse.
    Json json = Json::parse(text, look, false);
    if (!why_.empty()) return invalid(why_);
    if (json.is_discarded()) return invalid("is not JSON");
    return json;
  }

 private:
  bool take(int depth, Json::parse_event_t event, Json& parsed) {
    using enum Json::parse_event_t;
    if (!why_.empty()) return false;
    if (depth > kDeepestReview) return fail(cat("is deeper than ", kDeepestReview));
    if (event == object_start) keys_.emplace_back();
    if (event == object_end) keys_.pop_back();
    if (event == key && !keys_.back().insert(parsed.get<std::string>()).second) {
      return fail(cat("has the key \"", parsed.get<std::string>().substr(0, 60), "\" twice"));
    }
    return true;
  }
  bool fail(std::string why) {
    if (why_.empty()) why_ = std::move(why);
    return false;
  }

  std::vector<std::set<std::string>> keys_;
  std::string why_;
};

// What the API server wants to hear.
ReviewAnswer answer(const std::string& uid, bool allowed, const std::string& message,
                    const Json& patch) {
  Json response = {{"uid", uid}, {"allowed", allowed}};
  if (!allowed) {
    response["status"] = {{"code", 403}, {"reason", "Forbidden"}, {"message", message}};
  }
  if (!patch.empty()) {
    std::string encoded;
    append_base64(encoded, patch.dump());
    response["patchType"] = "JSONPatch";
    response["patch"] = std::move(encoded);
  }
  return {200, Json({{"apiVersion", "admission.k8s.io/v1"},
                     {"kind", "AdmissionReview"},
                     {"response", response}})
                   .dump()};
}

// Has it what an earlier round of webhooks put in?
bool has_sidecar(const Json& pod) {
  const Json& meta = object_at(pod, "metadata");
  if (text_at(object_at(meta, "annotations"), kInjectedAnnotation).empty()) return false;
  for (const char* const list : {"containers", "initContainers"}) {
    for (const Json& container : list_at(object_at(pod, "spec"), list)) {
      if (text_at(container, "name") == "glia-proxy") return true;
    }
  }
  return false;
}

ReviewAnswer judge(const Json& request, const std::string& uid, const InjectSettings& defaults,
                   AskedBy asked) {
  const auto leave = [&] { return answer(uid, true, "", Json::array()); };
  const auto refuse = [&](const std::string& why) {
    return answer(uid, false, cat("glia: this pod cannot be in the mesh: ", why), Json::array());
  };
  const Json& kind = object_at(request, "kind");
  // Ephemeral containers, bindings and evictions come by subresources of pods, and have no sidecar.
  const bool is_pod = text_at(kind, "kind") == "Pod" && text_at(kind, "group").empty();
  if (!is_pod || !text_at(request, "subResource").empty()) return leave();
  const std::string operation = text_at(request, "operation");
  if (!operation.empty() && operation != "CREATE") return leave();
  const Json& pod = object_at(request, "object");
  if (object_at(pod, "spec").empty()) return refuse("it has no spec");
  if (has_sidecar(pod)) return leave();
  PodNamespace where{text_at(request, "namespace"), {}, {}};
  if (asked == AskedBy::kNamespace) where.labels["glia.dev/injection"] = "enabled";
  const Decision decision = decide(pod, where, Asked::kByLabel);
  if (decision.verdict == Verdict::kLeave) return leave();
  if (decision.verdict == Verdict::kRefuse) return refuse(decision.why);
  const Result<Json> made = with_sidecar(pod, "Pod", defaults);
  if (!made) return refuse(made.error().message());
  return answer(uid, true, "", json_patch(pod, *made));
}

}  // namespace

ReviewAnswer answer_review(std::string_view body, const InjectSettings& defaults, AskedBy asked) {
  if (body.size() > kLargestReview) {
    return unreadable(413,
                      cat("has ", body.size(), " bytes; at most ", kLargestReview, " are read"));
  }
  const Result<Json> review = StrictParser().parse(body);
  if (!review) return unreadable(400, review.error().message());
  if (!review->is_object()) return unreadable(400, "is no object");
  const std::string version = text_at(*review, "apiVersion");
  if (text_at(*review, "kind") != "AdmissionReview" || version != "admission.k8s.io/v1") {
    return unreadable(400,
                      cat("is ", version.substr(0, 60), " ", text_at(*review, "kind").substr(0, 60),
                          "; only admission.k8s.io/v1 AdmissionReview is understood "
                          "(admissionReviewVersions: [v1])"));
  }
  const Json& request = object_at(*review, "request");
  const std::string uid = text_at(request, "uid");
  if (uid.empty()) return unreadable(400, "has no request.uid");
  return judge(request, uid, defaults, asked);
}

}  // namespace glia
