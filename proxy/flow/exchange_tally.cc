// What an exchange tells the control plane of how it ended, where that asks for its cluster.
#include <algorithm>
#include <chrono>

#include "proxy/flow/exchange.h"
#include "proxy/http/grpc.h"
#include "proxy/telemetry/tally.h"

namespace glia {
namespace {

double ms(Duration time) { return std::chrono::duration<double, std::milli>(time).count(); }

// A gRPC status counts as the HTTP status that says the same: 5xx is the server's fault.
bool servers_fault(std::string_view grpc_status) {
  const auto status = parse_grpc_status(grpc_status);
  return status && http_status_of_grpc(*status) >= 500;
}

constexpr ResponseFlag kUpstreamsFault[] = {
    ResponseFlag::kNoHealthyUpstream, ResponseFlag::kUpstreamConnectFailed,
    ResponseFlag::kUpstreamReset,     ResponseFlag::kUpstreamOverflow,
    ResponseFlag::kUpstreamTimeout,   ResponseFlag::kUpstreamProtocol,
    ResponseFlag::kDurationTimeout,   ResponseFlag::kNoCluster,
};

void count_answer(ClusterTally& tally, const ModelAnswer& answer, TimePoint began) {
  if (answer.failed) ++tally.output_errors;
  tally.input_tokens += answer.input_tokens.value_or(0);
  tally.output_tokens += answer.tokens_made();
  for (const std::string& reason : answer.finish_reasons) {
    ClusterTally::count(tally.finish_reasons, reason, ClusterTally::kMostReasons);
  }
  if (answer.first_output_at) tally.first_token_ms.add(ms(*answer.first_output_at - began));
  if (const auto gap = answer.mean_gap()) tally.inter_token_ms.add(ms(*gap));
  if (const auto speed = answer.tokens_per_second()) tally.tokens_per_second.add(*speed);
}

}  // namespace

void Exchange::tell_tally() const {
  ClusterTally* const tally = site_.context_.tallies->find(upstream_.cluster);
  if (tally == nullptr) return;
  ++tally->requests;
  const bool failed =
      status_ >= 500 || servers_fault(upstream_.grpc_status) ||
      std::ranges::any_of(kUpstreamsFault, [this](ResponseFlag flag) { return flags_.has(flag); });
  if (failed) ++tally->errors;
  // What a client left early says nothing of how long answers take.
  if (!flags_.has(ResponseFlag::kDownstreamGone)) {
    tally->latency_ms.add(ms(loop().now() - began()));
  }
  if (sight_.answer != nullptr) count_answer(*tally, sight_.answer->answer(), began());
}

}  // namespace glia
