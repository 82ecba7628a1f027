// Sources: where a proxy's configuration comes from: a bootstrap file, a control plane that it joins,
// or a mesh file without a control plane.
#pragma once

#include <memory>

#include "proxy/base/result.h"
#include "proxy/net/libevent_backend.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"
#include "proxy/server/options.h"

namespace glia {

class Proxy;

class Source {
 public:
  // The one that the options name. Errors: a file that cannot be read or that breaks a rule.
  // All of them outlive it.
  static Result<std::unique_ptr<Source>> create(const Options& options, EventLoop& loop,
                                                LibeventBackend& backend, Network& network);
  virtual ~Source() = default;
  // Starts `proxy`, at once or as soon as there is something to start it with.
  virtual Result<void> start(Proxy& proxy) = 0;
};

// --mode validate: prints every mistake, or what was understood with --print. The exit code.
int validate(const Options& options);

}  // namespace glia
