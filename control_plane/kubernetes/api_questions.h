// ApiQuestions: requests to the API server whose answers come by callback, at most so many at once.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "control_plane/kubernetes/api_server.h"

namespace glia {

class ApiQuestions {
 public:
  static constexpr std::size_t kMostAtOnce = 100;
  // Called once, later, from the top of the loop; not any more once the object is gone.
  using Answered = std::function<void(const Result<ApiAnswer>&)>;

  // `server` outlives it.
  explicit ApiQuestions(ApiServer& server)
      : server_(server), tell_(server.loop(), [this] { tell(); }) {}
  ApiQuestions(const ApiQuestions&) = delete;
  void ask(ApiRequest request, Answered answered);

 private:
  struct Asking {
    Answered answered;
    Task<void> task;
  };
  Task<void> run(uint64_t number, ApiRequest request);
  void tell();

  ApiServer& server_;
  uint64_t asked_ = 0;
  std::vector<std::pair<uint64_t, Result<ApiAnswer>>> said_;
  CallbackTimer tell_;  // Nobody ends inside its own callback.
  std::map<uint64_t, Asking> asking_;
};

}  // namespace glia
