// TokenReviewer: who presents a token that is not one of ours.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "proxy/base/result.h"

namespace glia {

// A service account of Kubernetes, and the pod that its token is bound to.
struct TokenHolder {
  std::string ns, service_account;
  std::string pod;  // "": bound to none.
};

class TokenReviewer {
 public:
  virtual ~TokenReviewer() = default;
  using Reviewed = std::function<void(const Result<TokenHolder>&)>;
  // `reviewed` is called once, on the loop, now or later. kDenied: the token is none.
  virtual void review(const std::string& token, Reviewed reviewed) = 0;
};

// Ours are not: they begin with "glia-".
inline bool is_web_token(std::string_view token) {
  const std::size_t dot = token.find('.');
  return token.starts_with("ey") && dot != token.npos && token.find('.', dot + 1) != token.npos;
}

}  // namespace glia
