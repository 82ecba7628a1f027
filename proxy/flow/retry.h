// Chances: what may still be tried for one request.
//
// Two kinds. What the upstream surely did not act on is sent again without being asked. Everything
// else only as the route's retry_policy says, because a second attempt may do the work twice: that is
// counted, waits a little, and is limited by the cluster, so that an upstream in trouble does not get
// a multiple of its load.
#pragma once

#include "proxy/base/time.h"
#include "proxy/flow/filter.h"
#include "proxy/flow/flags.h"
#include "proxy/mesh/cluster.h"

namespace glia {

class KeptBody;

class Chances {
 public:
  // Keeps the request's body from now on, so that it can be sent again. `exchange` and `action`
  // outlive this.
  Chances(Exchange& exchange, const ForwardAction& action);
  // Takes one for another attempt after `reply`. `cluster`: null if it is not configured any more.
  bool take(const Reply& reply, Cluster* cluster);
  // Takes one for an attempt somewhere else, where nobody was asked.
  bool move();
  // How long the next attempt waits; of those that a policy asked for, with jitter.
  Duration pause();
  // Whether the attempt in progress is one that a policy asked for.
  bool retrying() const { return retries_ > 0; }
  // The request once more, in the exchange's arena; null if not all of its body is there.
  std::unique_ptr<Request> copy_of_request() const;
  // The answer is on its way down: nothing is sent again.
  void answered();

 private:
  bool safe(const Error& error);
  // Why a retry that the policy wants is not made, for the log.
  bool refuse(const Reply& reply, ResponseFlag why);
  bool wanted(const Reply& reply) const;
  bool wanted(const Response& response) const;

  Exchange& exchange_;
  const RetryPolicy* const policy_;  // Null: only what is safe.
  KeptBody* kept_ = nullptr;         // In the request; null without a body.
  int failures_ = 0;
  int moves_ = 0;
  uint32_t retries_ = 0;
};

}  // namespace glia
