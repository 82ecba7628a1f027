#include "proxy/mesh/prober.h"

#include <utility>

#include "proxy/base/text.h"
#include "proxy/mesh/cluster.h"
#include "proxy/model/orca.h"

namespace glia {
namespace {

Error failed(std::string sentence) {
  return Error(ErrorKind::kInvalid, Fault::kUpstream, std::move(sentence));
}

}  // namespace

Prober::Prober(Endpoint& endpoint)
    : endpoint_(endpoint), loop_(endpoint.cluster().loop()), late_(loop_, [this] {
        task_.cancel();
        settle(false);
      }) {}

Prober::~Prober() {
  task_.cancel();
  if (connected_ != nullptr) loop_.reap(std::move(connected_));
}

void Prober::ask() {
  if (asking_ || loop_.now() < not_before_) return;
  asking_ = true;
  ++endpoint_.cluster().stats().probes;
  late_.start(kLongest);
  task_ = run();
  task_.start();
}

void Prober::settle(bool answered) {
  asking_ = false;
  late_.stop();
  if (answered) return;
  ++endpoint_.cluster().stats().probes_failed;
  not_before_ = loop_.now() + (std::exchange(unknown_, false) ? kUnknownPause : kPause);
  if (connected_ != nullptr) loop_.reap(std::move(connected_));
}

Task<void> Prober::run() {
  const Result<void> outcome = co_await talk();
  settle(outcome.ok());
}

Task<Result<void>> Prober::connect() {
  if (connected_ != nullptr && !connected_->error() && connected_->connection().capacity() > 0) {
    co_return Result<void>();
  }
  if (connected_ != nullptr) loop_.reap(std::move(connected_));
  ClientOptions options;
  options.codec = endpoint_.cluster().config().codec;
  connected_ = std::make_unique<Connected>(loop_, endpoint_.dial(nullptr), options);
  while (!connected_->decided()) co_await wait_in(connected_->changed());
  if (connected_->error()) co_return *connected_->error();
  co_return Result<void>();
}

Task<Result<void>> Prober::talk() {
  CO_TRY_VOID(co_await connect());
  const std::string authority = endpoint_.config().address.text();
  Request request(ArenaRef::create());
  request.method = "GET";
  request.scheme = endpoint_.cluster().config().tls != nullptr ? "https" : "http";
  request.authority = authority;
  request.path = kProbePath;
  const std::unique_ptr<Call> call = connected_->connection().start(request);
  CO_TRY(const Response head, co_await head_of(*call));
  const auto report = orca_of(head.headers);
  // A refusal of another kind is of the moment.
  unknown_ = !report &&
             (head.status < 300 || head.status == 404 || head.status == 405 || head.status == 501);
  endpoint_.load().ignores_probes = unknown_;
  for (Body::State state = Body::State::kData; state != Body::State::kEnd;) {
    state = (co_await next(*call)).state;
    if (state == Body::State::kError) co_return call->error();
  }
  if (!report || !report->ok()) co_return failed("it does not say how it is");
  endpoint_.cluster().hear(endpoint_, *report);
  endpoint_.cluster().probed(endpoint_);
  co_return Result<void>();
}

}  // namespace glia
