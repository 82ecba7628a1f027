// Prober: asks one endpoint how it is, when a balancer wants to know (hot_cold.h): a request without a
// body on a connection of its own, which the sidecar of the server answers from what it knows, without
// asking the application (flow/load_stream.h).
//
// One an endpoint and worker, at most one question at a time. A server that does not know the question
// is not asked again; one that fails is left alone for a while.
#pragma once

#include <memory>
#include <string_view>

#include "proxy/base/task.h"
#include "proxy/mesh/connected.h"
#include "proxy/net/loop.h"

namespace glia {

class Endpoint;

inline constexpr std::string_view kProbePath = "/glia.v1.Probe";

class Prober {
 public:
  // Both outlive it: `endpoint`, and the cluster that it belongs to.
  explicit Prober(Endpoint& endpoint);
  Prober(const Prober&) = delete;
  ~Prober();

  // Unless it is being asked already, or is not to be.
  void ask();

  // An answer that takes longer says nothing of now.
  static constexpr Duration kLongest = 1s;
  static constexpr Duration kPause = 1s;          // After a failure.
  static constexpr Duration kUnknownPause = 60s;  // After one that does not know the question.

 private:
  Task<void> run();
  Task<Result<void>> talk();
  Task<Result<void>> connect();
  void settle(bool answered);

  Endpoint& endpoint_;
  EventLoop& loop_;
  CallbackTimer late_;
  std::unique_ptr<Connected> connected_;
  TimePoint not_before_{};
  bool asking_ = false;
  bool unknown_ = false;  // The server does not know the question: it has just said so.
  Task<void> task_;       // Ends before what it uses.
};

}  // namespace glia
