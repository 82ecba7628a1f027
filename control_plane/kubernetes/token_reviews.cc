#include "control_plane/kubernetes/token_reviews.h"

#include <algorithm>
#include <utility>

#include "control_plane/inject/decide.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr std::string_view kUser = "system:serviceaccount:";

Error denied(std::string message) {
  return Error(ErrorKind::kDenied, Fault::kDownstream, std::move(message));
}

}  // namespace

Result<TokenHolder> read_token_review(const ApiAnswer& answer) {
  if (answer.status != 200 && answer.status != 201) {
    return Error(
        ErrorKind::kInternal, Fault::kSelf,
        cat("the API server does not review tokens for us (", refusal_of(answer),
            "); grant the service account the verb create on tokenreviews of the API group "
            "authentication.k8s.io"));
  }
  const Json body = Json::parse(answer.body, nullptr, false);
  const Json& status = object_at(body, "status");
  if (text_at(status, "authenticated") != "true") {
    std::string why;
    append_json_escaped(why, std::string_view(text_at(status, "error")).substr(0, 200));
    return denied(cat("the service account token is not good", why.empty() ? "" : cat(": ", why)));
  }
  const Json& audiences = list_at(status, "audiences");
  // An API server that does not know of audiences would take any token of the cluster.
  if (std::ranges::find(audiences, Json(kTokenAudience)) == audiences.end()) {
    return denied(cat("the service account token is not for the audience ", kTokenAudience));
  }
  const Json& user = object_at(status, "user");
  const std::string name = text_at(user, "username");
  const std::size_t colon = name.find(':', kUser.size());
  if (!name.starts_with(kUser) || colon == name.npos) {
    return denied("the token is of no service account");
  }
  TokenHolder holder{name.substr(kUser.size(), colon - kUser.size()), name.substr(colon + 1), ""};
  const Json& pods = list_at(object_at(user, "extra"), "authentication.kubernetes.io/pod-name");
  if (!pods.empty() && pods[0].is_string()) holder.pod = pods[0].get<std::string>();
  return holder;
}

void TokenReviews::review(const std::string& token, Reviewed reviewed) {
  if (!rate_.take(loop_.now())) {
    return reviewed(Error(ErrorKind::kOverflow, Fault::kDownstream,
                          "too many tokens are to be reviewed; try again in a few seconds"));
  }
  const Json review = {{"apiVersion", "authentication.k8s.io/v1"},
                       {"kind", "TokenReview"},
                       {"spec", {{"token", token}, {"audiences", Json::array({kTokenAudience})}}}};
  questions_.ask({.method = "POST",
                  .path = "/apis/authentication.k8s.io/v1/tokenreviews",
                  .body = review.dump(-1, ' ', false, Json::error_handler_t::replace)},
                 [reviewed = std::move(reviewed)](const Result<ApiAnswer>& said) {
                   reviewed(said ? read_token_review(*said) : Result<TokenHolder>(said.error()));
                 });
}

}  // namespace glia
