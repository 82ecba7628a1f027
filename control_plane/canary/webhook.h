// Webhook: confirmations by a POST: 2xx is a yes, 403 a no, anything else no answer.
#pragma once

#include "control_plane/canary/confirmations.h"
#include "control_plane/canary/http_questions.h"

namespace glia {

class Webhook final : public Confirmations {
 public:
  static constexpr std::size_t kShownOfAnswer = 200;  // bytes, in a reason

  // Outlives it.
  explicit Webhook(HttpQuestions& questions) : questions_(questions) {}
  void ask(const Canary::Confirm& whom, std::string body, Answered answered) override;

 private:
  HttpQuestions& questions_;
};

}  // namespace glia
