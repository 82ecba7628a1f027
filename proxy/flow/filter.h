// Filter: one coroutine on the way of a request. What stands above `co_await next(exchange)` sees the
// request, what stands below sees the response; refusing is returning an Error.
#pragma once

#include <memory>
#include <span>

#include "proxy/base/result.h"
#include "proxy/base/task.h"
#include "proxy/http/message.h"
#include "proxy/telemetry/metrics.h"

namespace glia {

class Exchange;
class Next;

// What comes back down the chain: a response whose body is still live, or why there is none.
using Reply = Result<Response>;

// One instance a worker and filter chain; requests of that worker share it, so what it keeps needs no
// lock. A filter that only looks at the request may be a plain function that returns next(exchange).
class Filter {
 public:
  virtual ~Filter() = default;
  virtual Task<Reply> handle(Exchange& exchange, Next next) = 0;
  // Its counts, if it keeps any.
  virtual void collect(MetricsPage& page) const {}
};

// The rest of the chain, down to the router.
class Next {
 public:
  explicit Next(std::span<const std::unique_ptr<Filter>> rest) : rest_(rest) {}
  Task<Reply> operator()(Exchange& exchange) const;

 private:
  std::span<const std::unique_ptr<Filter>> rest_;
};

}  // namespace glia
