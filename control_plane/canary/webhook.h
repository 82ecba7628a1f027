// Webhook: confirmations by a POST: 2xx is a yes, 403 a no, anything else no answer.
#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "control_plane/canary/confirmations.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"

namespace glia {

class Webhook final : public Confirmations {
 public:
  static constexpr std::size_t kLargestAnswer = 64 << 10;  // bytes
  static constexpr std::size_t kShownOfAnswer = 200;       // bytes, in a reason

  // Both outlive it.
  Webhook(EventLoop& loop, Network& network);
  ~Webhook() override;
  void ask(const Canary::Confirm& whom, std::string body, Answered answered) override;

 private:
  class Asking;
  void tell();

  EventLoop& loop_;
  Network& network_;
  uint64_t asked_ = 0;
  std::map<uint64_t, std::unique_ptr<Asking>> asking_;
  std::vector<std::pair<uint64_t, Confirmation>> answered_;
  CallbackTimer tell_;  // Of what has been answered; nobody ends inside its own callback.
};

}  // namespace glia
