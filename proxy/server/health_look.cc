#include "proxy/server/health_look.h"

#include <utility>

#include "proxy/base/text.h"
#include "proxy/flow/deadline.h"
#include "proxy/mesh/connected.h"

namespace glia {
namespace {

using Trouble = std::optional<std::string>;

Task<Trouble> ask(EventLoop& loop, Network& network, const HealthOrder& order) {
  const std::string authority = order.application->text();
  const auto failed = [&](const Error& error) {
    return Trouble(cat("it does not answer on ", authority, ": ", error.message()));
  };
  HeldConnection held(loop);
  held.hold(network.connect(*order.application));
  Connected& connected = *held;
  while (!connected.decided()) co_await wait_in(connected.changed());
  if (connected.error()) co_return failed(*connected.error());
  if (order.path.empty()) co_return Trouble();
  const ArenaRef arena = ArenaRef::create();
  Request request(arena);
  request.method = "GET";
  request.scheme = "http";
  request.authority = authority;
  request.path = order.path;
  request.headers.add("user-agent", "glia-health");
  const std::unique_ptr<Call> call = connected.connection().start(request);
  const Result<Response> head = co_await head_of(*call);
  if (!head) co_return failed(head.error());
  if (head->status >= 200 && head->status < 300) co_return Trouble();
  co_return Trouble(cat("it answers ", head->status, " at ", authority, order.path));
}

}  // namespace

Task<Trouble> look_at(EventLoop& loop, Network& network, HealthOrder order) {
  TimeLimit limit(loop);
  limit.start(order.timeout);
  std::optional<Trouble> answer = co_await until(limit, ask(loop, network, order));
  if (answer) co_return std::move(*answer);
  co_return Trouble(cat("it did not answer on ", order.application->text(), " within ",
                        order.timeout / 1ms, " ms"));
}

}  // namespace glia
