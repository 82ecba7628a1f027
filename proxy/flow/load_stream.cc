#include "proxy/flow/load_stream.h"

#include <algorithm>

#include "proxy/base/text.h"
#include "proxy/http/canonical.h"
#include "proxy/http/grpc.h"
#include "proxy/mesh/prober.h"
#include "proxy/model/orca.h"

namespace glia {
namespace {

// A report at once, then one each interval, at the pace of the reader.
class LoadStream final : public Body {
 public:
  LoadStream(EventLoop& loop, std::shared_ptr<const ServerLoad> load, Duration interval)
      : loop_(loop), load_(std::move(load)), interval_(interval), timer_(loop, [this] {
          due_ = true;
          slot_.wake(loop_.ready());
        }) {}

  Piece poll() override {
    if (!std::exchange(due_, false)) return {State::kPending, {}};
    timer_.start(interval_);
    std::string framed;
    append_grpc_message(framed, write_orca_binary(orca_of(load_->report(loop_.now()))));
    return {State::kData, Slice::copy(framed)};
  }
  void wait(Waiter& waiter) override { slot_.put(waiter); }

 private:
  EventLoop& loop_;
  const std::shared_ptr<const ServerLoad> load_;
  const Duration interval_;
  CallbackTimer timer_;
  WaitSlot slot_;
  bool due_ = true;
};

Error broken(std::string sentence) {
  return Error(ErrorKind::kInvalid, Fault::kDownstream, std::move(sentence));
}

}  // namespace

bool asks_for_load(const Exchange& exchange, const ClusterConfig& config) {
  return config.server_load != nullptr && exchange.is_grpc() &&
         exchange.request().path == kOrcaStreamPath;
}

bool asks_how_it_is(const Exchange& exchange, const ClusterConfig& config) {
  return config.server_load != nullptr && exchange.request().path == kProbePath &&
         exchange.request().method == "GET";
}

Response tell_how_it_is(Exchange& exchange, const ServerLoad& load) {
  Response response(exchange.arena());
  response.status = 200;
  const std::string report = write_orca_text(orca_of(load.report(exchange.loop().now())));
  response.headers.add_kept(kOrcaField, exchange.arena()->copy(cat("TEXT ", report)),
                            /*unique=*/true);
  return response;
}

Task<Reply> answer_with_load(Exchange& exchange, std::shared_ptr<const ServerLoad> load) {
  Request& request = exchange.request();
  if (request.body == nullptr) co_return broken("a call of StreamCoreMetrics has no message");
  CO_TRY(const std::string body, co_await read_all(*request.body, kLargestReportRequest));
  GrpcDecoder decoder(kLargestReportRequest);
  decoder.add(body);
  CO_TRY(const std::optional<std::string> message, decoder.next());
  if (!message) co_return broken("a call of StreamCoreMetrics has no message");
  CO_TRY(Duration interval, read_orca_request(*message));
  interval = interval == Duration::zero() ? kReportUsual : std::max(interval, kReportShortest);
  Response response(exchange.arena());
  response.status = 200;
  response.headers.add_kept("content-type", "application/grpc");
  response.body = std::make_unique<LoadStream>(exchange.loop(), std::move(load), interval);
  co_return response;
}

}  // namespace glia
