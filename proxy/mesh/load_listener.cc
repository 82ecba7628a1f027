#include "proxy/mesh/load_listener.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/http/grpc.h"
#include "proxy/mesh/cluster.h"
#include "proxy/mesh/connected.h"
#include "proxy/model/orca.h"

namespace glia {
namespace {

Error failed(std::string sentence) {
  return Error(ErrorKind::kInvalid, Fault::kUpstream, std::move(sentence));
}

// One call, from its connection to its end. The work is a task of its own, so that the timer can drop it
// wherever it sleeps.
class Listening {
 public:
  Listening(Endpoint& endpoint, Duration interval)
      : endpoint_(endpoint),
        loop_(endpoint.cluster().loop()),
        interval_(interval),
        authority_(endpoint.config().address.text()),
        silence_(loop_, [this] { end(failed("it fell silent")); }),
        arena_(ArenaRef::create()),
        request_(arena_) {}
  ~Listening() {
    task_.cancel();
    call_.reset();
    if (connected_ != nullptr) loop_.reap(std::move(connected_));
  }

  // Why it ended.
  Task<Error> result() {
    wait_for_more();
    task_ = run();
    task_.start();
    while (!result_) co_await wait_in(done_);
    co_return std::move(*result_);
  }
  uint64_t reports() const { return reports_; }
  // The server does not know the call.
  bool unknown() const { return unknown_; }

 private:
  void end(Error why) {
    if (result_) return;
    result_.emplace(std::move(why));
    done_.wake(loop_.ready());
  }
  void wait_for_more() {
    silence_.start(
        std::max(LoadListener::kLeastSilence, interval_ * LoadListener::kSilentIntervals));
  }
  Task<void> run() {
    const Result<void> outcome = co_await talk();
    end(outcome ? failed("it ended the call") : outcome.error());
  }

  Task<Result<void>> talk() {
    ClientOptions options;
    options.codec = endpoint_.cluster().config().codec;
    connected_ = std::make_unique<Connected>(loop_, endpoint_.dial(nullptr), options);
    while (!connected_->decided()) co_await wait_in(connected_->changed());
    if (connected_->error()) co_return *connected_->error();
    if (connected_->connection().protocol() != Protocol::kHttp2) {
      unknown_ = true;
      co_return failed("it speaks HTTP/1.1, and gRPC needs HTTP/2");
    }
    std::string asked;
    append_grpc_message(asked, write_orca_request(interval_));
    request_.method = "POST";
    request_.scheme = endpoint_.cluster().config().tls != nullptr ? "https" : "http";
    request_.authority = authority_;
    request_.path = kOrcaStreamPath;
    request_.trailers_accepted = true;
    request_.headers.add("content-type", "application/grpc");
    request_.body = std::make_unique<TextBody>(Slice::copy(asked));
    call_ = connected_->connection().start(request_);
    CO_TRY(const Response head, co_await head_of(*call_));
    // gRPC servers say so in a head with a status of its own, others with 404.
    note_status(head.headers);
    if (head.status == 404) unknown_ = true;
    if (head.status != 200) co_return failed(cat("it answered with status ", head.status));
    co_return co_await hear();
  }

  Task<Result<void>> hear() {
    GrpcDecoder decoder(kOrcaLongest);
    for (;;) {
      const Body::Piece piece = co_await next(*call_);
      if (piece.state == Body::State::kError) co_return call_->error();
      if (piece.state == Body::State::kEnd) break;
      if (piece.state != Body::State::kData) continue;
      decoder.add(piece.data.view());
      for (;;) {
        CO_TRY(const std::optional<std::string> message, decoder.next());
        if (!message) break;
        endpoint_.cluster().hear(endpoint_, read_orca_binary(*message));
        ++reports_;
        wait_for_more();
      }
    }
    if (call_->trailers() != nullptr) note_status(*call_->trailers());
    co_return Result<void>();
  }

  void note_status(const Headers& fields) {
    const auto status = parse_grpc_status(fields.get("grpc-status").value_or(""));
    if (status == GrpcStatus::kUnimplemented) unknown_ = true;
  }

  Endpoint& endpoint_;
  EventLoop& loop_;
  const Duration interval_;
  const std::string authority_;
  CallbackTimer silence_;
  ArenaRef arena_;
  Request request_;  // Outlives the call.
  std::unique_ptr<Connected> connected_;
  std::unique_ptr<Call> call_;
  uint64_t reports_ = 0;
  bool unknown_ = false;
  WaitSlot done_;
  std::optional<Error> result_;
  Task<void> task_;
};

}  // namespace

LoadListener::LoadListener(Endpoint& endpoint) : endpoint_(endpoint) {
  task_ = run();
  task_.start();
}

LoadListener::~LoadListener() { task_.cancel(); }

Task<void> LoadListener::run() {
  EventLoop& loop = endpoint_.cluster().loop();
  const Duration interval = endpoint_.cluster().config().balancing.oob_interval;
  Duration pause = kShortestPause;
  for (bool told = false;; told = true) {
    std::optional<Error> why;
    bool heard = false, unknown = false;
    {
      Listening listening(endpoint_, interval);
      why = co_await listening.result();
      heard = listening.reports() > 0;
      unknown = listening.unknown();
    }
    if (!told || heard) {
      LOG(warning, "cluster ", endpoint_.cluster().config().name, ": ",
          endpoint_.config().address.text(), " tells no load out of band: ", why->message(),
          unknown ? "; it is not asked again" : "");
    }
    if (unknown) co_return;
    pause = heard ? kShortestPause : std::min(pause * 2, kLongestPause);
    co_await sleep_for(loop, pause);
  }
}

}  // namespace glia
