#include "control_plane/kubernetes/api_questions.h"

#include "proxy/base/text.h"

namespace glia {

void ApiQuestions::ask(ApiRequest request, Answered answered) {
  const uint64_t number = ++asked_;
  const bool full = asking_.size() >= kMostAtOnce;
  Asking& asking = asking_[number];
  asking.answered = std::move(answered);
  if (full) {
    said_.emplace_back(
        number, Error(ErrorKind::kOverflow, Fault::kSelf,
                      cat("more than ", kMostAtOnce, " requests to the API server are under way")));
    tell_.start(0s);
    return;
  }
  asking.task = run(number, std::move(request));
  asking.task.start();
}

Task<void> ApiQuestions::run(uint64_t number, ApiRequest request) {
  Result<ApiAnswer> said = co_await server_.ask(std::move(request));
  said_.emplace_back(number, std::move(said));
  tell_.start(0s);
}

void ApiQuestions::tell() {
  for (auto& [number, said] : std::exchange(said_, {})) {
    const auto found = asking_.find(number);
    const Answered answered = std::move(found->second.answered);
    asking_.erase(found);
    answered(said);
  }
}

}  // namespace glia
