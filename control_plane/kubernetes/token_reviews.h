// TokenReviews: who a pod is, by the token of its service account that kubelet has put into it: the API server, which
// has made the token, is asked (authentication.k8s.io/v1 TokenReview). Belongs to one loop.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "control_plane/kubernetes/api_questions.h"
#include "control_plane/serve/rate.h"
#include "control_plane/serve/token_reviewer.h"

namespace glia {

// What kubelet asks for in the token of a sidecar (inject.cc): it is of use to nobody else.
inline constexpr char kTokenAudience[] = "glia";

// From the answer of the API server.
Result<TokenHolder> read_token_review(const ApiAnswer& answer);

class TokenReviews final : public TokenReviewer {
 public:
  // Anybody may send us something that looks like a token; the API server shall not suffer from it.
  static constexpr RateLimit kReviews = {.per_second = 50, .burst = 500};

  // `server` outlives it.
  explicit TokenReviews(ApiServer& server)
      : questions_(server), loop_(server.loop()), rate_(kReviews, server.loop().now()) {}
  void review(const std::string& token, Reviewed reviewed) override;

 private:
  ApiQuestions questions_;
  EventLoop& loop_;
  Rate rate_;
};

}  // namespace glia
