#include "proxy/flow/hedge.h"

#include <algorithm>

#include "proxy/flow/exchange.h"
#include "proxy/flow/model_ask.h"

namespace glia {
namespace {

bool may_be_done_twice(const Exchange& exchange, const Hedging& hedging) {
  if (!exchange.request().upgrade.empty()) return false;
  const ModelRequest* const model = exchange.model();
  if (model != nullptr && model->streaming) return false;
  if (hedging.requests == Hedging::Requests::kAll) return true;
  // What OpenAI's `responses` make is stored, under a name of its own each time.
  return model != nullptr && model->read && model->operation != "responses" &&
         asks_for_work(exchange, {});
}

}  // namespace

Hedge::Hedge(Exchange& exchange, const Chances& chances) : exchange_(exchange), chances_(chances) {
  const auto& hedging = exchange.route()->hedging;
  if (hedging && may_be_done_twice(exchange, *hedging)) hedging_ = &*hedging;
}

std::optional<Duration> Hedge::delay(Cluster* cluster) const {
  if (hedging_->quantile == 0) return hedging_->delay;
  if (cluster == nullptr) return {};
  const auto usual =
      cluster->stats().head_times.quantile(hedging_->quantile, exchange_.loop().now());
  if (!usual) return {};
  return std::max(*usual, hedging_->delay);
}

std::unique_ptr<Request> Hedge::second(Cluster& cluster) {
  ClusterStats& stats = cluster.stats();
  // Those of other clients' destinations are none for this one.
  if (cluster.config().discovery == ClusterConfig::Discovery::kOriginal) return nullptr;
  if (cluster.endpoints().size() < 2) return nullptr;
  const double share = hedging_->budget_percent / 100 * static_cast<double>(stats.requests_active);
  if (static_cast<double>(stats.hedges_active) >= std::max<double>(hedging_->least, share)) {
    ++stats.hedge_overflow;
    return nullptr;
  }
  std::unique_ptr<Request> copy = chances_.copy_of_request();
  if (copy == nullptr) return nullptr;
  used_ = true;
  ++stats.hedges;
  return copy;
}

bool Hedge::good(const Reply& reply) {
  constexpr int kTooManyRequests = 429;
  if (!reply) return false;
  int status = reply->status;
  const auto in_head = parse_grpc_status(reply->headers.get("grpc-status").value_or(""));
  if (in_head && status == 200) status = http_status_of_grpc(*in_head);
  return status < 500 && status != kTooManyRequests;
}

}  // namespace glia
