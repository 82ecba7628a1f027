// Router: the end of every filter chain. It finds the upstream and sends the request there.
#pragma once

#include "proxy/flow/filter.h"

namespace glia {

class Router final : public Filter {
 public:
  // Connections that cannot be made and requests that were certainly not looked at are tried on
  // another endpoint, this many times in all; nothing that may have had an effect is sent twice.
  static constexpr int kAttempts = 3;

  Task<Reply> handle(Exchange& exchange, Next next) override;
};

}  // namespace glia
