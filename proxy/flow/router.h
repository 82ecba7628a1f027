// Router: the end of every filter chain. It finds the upstream and sends the request there.
#pragma once

#include "proxy/flow/filter.h"

namespace glia {

class Router final : public Filter {
 public:
  // Requests whose connection could not be made, that were certainly not looked at, or that raced with
  // the end of an idle connection (Call::take_head) are sent to another endpoint if there is one, this
  // many times in all, as long as their body is there (KeptBody). Nothing else is sent twice.
  static constexpr int kAttempts = 3;
  // Times that a request may meet an endpoint or a connection that is just leaving: a peer that says
  // GOAWAY after each few requests turns away all that were under way.
  static constexpr int kMoves = 16;
  // ... after which it goes first on a connection of its own: behind others it could be turned away
  // again each time.
  static constexpr int kMovesBehindOthers = 5;

  Task<Reply> handle(Exchange& exchange, Next next) override;
};

}  // namespace glia
