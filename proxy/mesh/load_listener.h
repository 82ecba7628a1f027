// LoadListener: hears the load of one endpoint out of band (gRFC A51): a gRPC call on a connection of its
// own that is answered with a report now and then, so that what is believed stays fresh while requests
// are long or few.
//
// One an endpoint and worker, where the cluster's balancing asks for it. A server that falls silent or
// ends the call is asked again later and later; one that does not know the call is not.
#pragma once

#include "proxy/base/task.h"
#include "proxy/mesh/endpoint.h"

namespace glia {

class LoadListener {
 public:
  // Both outlive it: `endpoint`, and the cluster that it belongs to.
  explicit LoadListener(Endpoint& endpoint);
  LoadListener(const LoadListener&) = delete;
  ~LoadListener();

  // Between two calls; doubled each time one fails.
  static constexpr Duration kShortestPause = 1s, kLongestPause = 120s;
  // Without a report for so many intervals, and at least kLeastSilence, a call is given up.
  static constexpr int kSilentIntervals = 3;
  static constexpr Duration kLeastSilence = 10s;

 private:
  Task<void> run();
  Endpoint& endpoint_;
  Task<void> task_;
};

}  // namespace glia
