// StreamReactor: one bidirectional stream of gRPC, whatever is said on it.
//
// gRPC calls its reactors on its threads; each of those calls posts the rest of the work to the
// loop, so every member is touched by the loop only. At most one read and one write are under way,
// so neither a client that floods nor one that does not read makes us hold more than one message of
// either kind.
#pragma once

#include <grpcpp/grpcpp.h>

#include <optional>
#include <string_view>
#include <utility>

#include "control_plane/serve/ads_reactor.h"
#include "control_plane/serve/grpc_server.h"
#include "proxy/base/log.h"

namespace glia {

// Inheritance for its two users: ADS and reports. Deletes itself when the call is over.
template <class Request, class Response>
class StreamReactor : public grpc::ServerBidiReactor<Request, Response>, public AdsReactorBase {
 public:
  // On a thread of gRPC, whose last word of the most derived class must be open(). `what` is said, for
  // logs: "an ADS stream". All outlive it.
  StreamReactor(EventLoop& loop, AdsReactors& reactors, grpc::CallbackServerContext& context,
                std::string_view what)
      : loop_(loop), reactors_(reactors), context_(context), what_(what), timer_(loop, [this] {
          on_timer();
        }) {}

  // On the loop, as all below.
  void finish(grpc::Status status) override;

 protected:
  ~StreamReactor() override { reactors_.remove(*this); }
  void open() {
    loop_.post([this] { opened_on_loop(); });
  }
  // next() may say something new.
  void pump();
  EventLoop& loop() { return loop_; }

 private:
  // The call has begun; a status that is not OK ends it.
  virtual grpc::Status begin() = 0;
  virtual Result<void> take(const Request& request) = 0;
  // What is to be sent now, if anything is. An error ends the call.
  virtual Result<std::optional<Response>> next() = 0;
  // When next() may say something new by itself.
  virtual std::optional<TimePoint> wake_at() const = 0;
  // Has the client said who it is, or whatever it must begin with?
  virtual bool is_opened() const = 0;
  // Nothing of the above is called any more.
  virtual void end() = 0;

  void OnReadDone(bool ok) final {
    loop_.post([this, ok] { read_done(ok); });
  }
  void OnWriteDone(bool ok) final {
    loop_.post([this, ok] { write_done(ok); });
  }
  void OnDone() final {
    loop_.post([this] { delete this; });
  }
  void opened_on_loop();
  void read_done(bool ok);
  void write_done(bool ok);
  void look_later();
  void on_timer();

  EventLoop& loop_;
  AdsReactors& reactors_;
  grpc::CallbackServerContext& context_;
  const std::string_view what_;
  Request request_;                    // gRPC's between StartRead and OnReadDone.
  Response response_;                  // gRPC's between StartWrite and OnWriteDone.
  std::optional<grpc::Status> final_;  // Waits for the write under way.
  CallbackTimer timer_;
  bool writing_ = false;
  bool finished_ = false;
};

template <class Request, class Response>
void StreamReactor<Request, Response>::opened_on_loop() {
  reactors_.add(*this);
  if (reactors_.stopping()) {
    return finish({grpc::StatusCode::UNAVAILABLE, "glia-control is stopping"});
  }
  if (grpc::Status begun = begin(); !begun.ok()) return finish(std::move(begun));
  timer_.start(GrpcServer::kFirstRequestWait);
  this->StartRead(&request_);
}

template <class Request, class Response>
void StreamReactor<Request, Response>::read_done(bool ok) {
  if (finished_) return;
  if (!ok) return finish(grpc::Status::OK);  // The client ended the stream or went away.
  const Result<void> taken = take(request_);
  if (!taken) {
    LOG(warning, "ended ", what_, ": ", taken.error().message());
    return finish(to_status(taken.error()));
  }
  this->StartRead(&request_);
  pump();
}

template <class Request, class Response>
void StreamReactor<Request, Response>::write_done(bool ok) {
  writing_ = false;
  if (final_) {
    this->Finish(*final_);
  } else if (!ok) {
    finish(grpc::Status::OK);
  } else {
    pump();
  }
}

template <class Request, class Response>
void StreamReactor<Request, Response>::pump() {
  if (finished_ || writing_) return;
  Result<std::optional<Response>> next = this->next();
  if (!next) {
    LOG(info, "ended ", what_, ": ", next.error().message());
    return finish(to_status(next.error()));
  }
  if (!*next) return look_later();
  response_ = **std::move(next);
  writing_ = true;
  timer_.start(GrpcServer::kWriteWait);
  this->StartWrite(&response_);
}

template <class Request, class Response>
void StreamReactor<Request, Response>::look_later() {
  if (!is_opened()) return;  // The timer bounds the wait for the first request.
  const std::optional<TimePoint> when = wake_at();
  if (when) {
    timer_.start(*when - loop_.now());
  } else {
    timer_.stop();
  }
}

template <class Request, class Response>
void StreamReactor<Request, Response>::on_timer() {
  if (writing_) {
    LOG(warning, "ended ", what_, ": the client does not read");
    context_.TryCancel();  // The write then fails.
  } else if (!finished_ && !is_opened()) {
    finish({grpc::StatusCode::DEADLINE_EXCEEDED, "no request came on this stream"});
  } else {
    pump();
  }
}

template <class Request, class Response>
void StreamReactor<Request, Response>::finish(grpc::Status status) {
  if (finished_) return;
  finished_ = true;
  end();
  if (!writing_) {
    timer_.stop();
    this->Finish(std::move(status));
    return;
  }
  // gRPC takes one thing to send at a time, and a client that does not read would hold us.
  final_ = std::move(status);
  timer_.start(GrpcServer::kStopWait);
}

}  // namespace glia
