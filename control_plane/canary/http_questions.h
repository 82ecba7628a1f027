// HttpQuestions: POSTs to somebody outside the mesh, each on a connection of its own, within a time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proxy/base/result.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"

namespace glia {

struct HttpQuestion {
  std::string host;
  uint16_t port = 80;
  std::string path, content_type, body;
  Duration timeout{0};
};

struct HttpSaid {
  int status = 0;
  std::string body;
};

class HttpQuestions {
 public:
  static constexpr std::size_t kLargestAnswer = 64 << 10;  // bytes
  // Called once, later, from the top of the loop.
  using Answered = std::function<void(const Result<HttpSaid>&)>;

  // Both outlive it.
  HttpQuestions(EventLoop& loop, Network& network);
  ~HttpQuestions();
  void ask(HttpQuestion question, Answered answered);

 private:
  class Asking;
  void tell();

  EventLoop& loop_;
  Network& network_;
  uint64_t asked_ = 0;
  std::map<uint64_t, std::unique_ptr<Asking>> asking_;
  std::vector<std::pair<uint64_t, Result<HttpSaid>>> answered_;
  CallbackTimer tell_;  // Of what has been answered; nobody ends inside its own callback.
};

}  // namespace glia
