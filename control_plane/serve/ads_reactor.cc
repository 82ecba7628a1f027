#include "control_plane/serve/ads_reactor.h"

#include "control_plane/serve/grpc_server.h"
#include "control_plane/serve/peer.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {

grpc::Status to_status(const Error& error) {
  switch (error.kind()) {
    case ErrorKind::kInvalid:
    case ErrorKind::kProtocol: return {grpc::StatusCode::INVALID_ARGUMENT, error.message()};
    case ErrorKind::kTooLarge:
    case ErrorKind::kOverflow: return {grpc::StatusCode::RESOURCE_EXHAUSTED, error.message()};
    case ErrorKind::kDenied: return {grpc::StatusCode::PERMISSION_DENIED, error.message()};
    case ErrorKind::kTimeout: return {grpc::StatusCode::DEADLINE_EXCEEDED, error.message()};
    case ErrorKind::kClosed: return {grpc::StatusCode::UNAVAILABLE, error.message()};
    default: return {grpc::StatusCode::INTERNAL, error.message()};
  }
}

Result<SpiffeId> caller_of(const grpc::CallbackServerContext& context) {
  const auto range = context.client_metadata().equal_range(kForwardedCertificateHeader);
  if (range.first == range.second) {
    return Error(
        ErrorKind::kDenied, Fault::kDownstream,
        "this call needs a client certificate: connect to the control plane's TLS listener "
        "with the certificate that joining gave");
  }
  if (std::next(range.first) != range.second) {
    return Error(ErrorKind::kDenied, Fault::kDownstream,
                 cat(kForwardedCertificateHeader, " came more than once"));
  }
  return forwarded_identity({range.first->second.data(), range.first->second.size()});
}

void AdsReactors::stop() {
  stopping_ = true;
  const std::set<AdsReactor*> all = all_;
  for (AdsReactor* reactor : all) {
    reactor->finish({grpc::StatusCode::UNAVAILABLE, "glia-control is stopping"});
  }
}

AdsReactor::AdsReactor(EventLoop& loop, ControlPlane& control_plane, AdsReactors& reactors,
                       grpc::CallbackServerContext& context)
    : loop_(loop),
      control_plane_(control_plane),
      reactors_(reactors),
      context_(context),
      caller_(caller_of(context)),
      timer_(loop, [this] { on_timer(); }) {
  loop_.post([this] { begin(); });
}

AdsReactor::~AdsReactor() { reactors_.all_.erase(this); }

void AdsReactor::OnReadDone(bool ok) {
  loop_.post([this, ok] { read_done(ok); });
}

void AdsReactor::OnWriteDone(bool ok) {
  loop_.post([this, ok] { write_done(ok); });
}

void AdsReactor::OnDone() {
  loop_.post([this] { delete this; });
}

void AdsReactor::begin() {
  reactors_.all_.insert(this);
  if (reactors_.stopping_) {
    finish({grpc::StatusCode::UNAVAILABLE, "glia-control is stopping"});
    return;
  }
  stream_.emplace(control_plane_, static_cast<AdsStream::Transport&>(*this), caller_);
  timer_.start(GrpcServer::kFirstRequestWait);
  StartRead(&request_);
}

void AdsReactor::read_done(bool ok) {
  if (finished_) return;
  if (!ok) {  // The client ended the stream or went away.
    finish(grpc::Status::OK);
    return;
  }
  const Result<void> taken = stream_->on_request(request_);
  if (!taken) {
    LOG(warning, "ended an ADS stream: ", taken.error().message());
    finish(to_status(taken.error()));
    return;
  }
  StartRead(&request_);
  pump();
}

void AdsReactor::write_done(bool ok) {
  writing_ = false;
  if (final_) {
    Finish(*final_);
  } else if (!ok) {
    finish(grpc::Status::OK);
  } else {
    pump();
  }
}

void AdsReactor::pump() {
  if (finished_ || writing_) return;
  Result<std::optional<AdsSession::Response>> next = stream_->next();
  if (!next) {
    LOG(info, "ended an ADS stream: ", next.error().message());
    finish(to_status(next.error()));
    return;
  }
  if (!*next) {
    look_later();
    return;
  }
  response_ = std::move(**next);
  writing_ = true;
  timer_.start(GrpcServer::kWriteWait);
  StartWrite(&response_);
}

void AdsReactor::look_later() {
  if (!stream_->opened()) return;  // The timer bounds the wait for the first request.
  const std::optional<TimePoint> when = stream_->wake_at();
  if (when) {
    timer_.start(*when - loop_.now());
  } else {
    timer_.stop();
  }
}

void AdsReactor::on_timer() {
  if (writing_) {
    LOG(warning, "ended an ADS stream: the client does not read");
    context_.TryCancel();  // The write then fails.
  } else if (!finished_ && !stream_->opened()) {
    finish({grpc::StatusCode::DEADLINE_EXCEEDED, "no request came on this stream"});
  } else {
    pump();
  }
}

void AdsReactor::finish(grpc::Status status) {
  if (finished_) return;
  finished_ = true;
  stream_.reset();
  if (!writing_) {
    timer_.stop();
    Finish(std::move(status));
    return;
  }
  // gRPC takes one thing to send at a time, and a client that does not read would hold us.
  final_ = std::move(status);
  timer_.start(GrpcServer::kStopWait);
}

}  // namespace glia
