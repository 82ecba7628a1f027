#include "proxy/xds/identity_http.h"

#include <memory>
#include <optional>

#include "proxy/base/text.h"
#include "proxy/http/grpc.h"
#include "proxy/mesh/connected.h"
#include "proxy/net/tls.h"

namespace glia {
namespace {

Error failed(ErrorKind kind, std::string message) {
  return Error(kind, Fault::kUpstream, std::move(message));
}

// One call within kSignLimit. The work is a task of its own, so that the timer can drop it wherever
// it sleeps.
class Attempt {
 public:
  Attempt(EventLoop& loop, Network& network, const ControlPlaneAddress& to, std::string message,
          const HeldIdentity* current)
      : loop_(loop),
        network_(network),
        to_(to),
        message_(std::move(message)),
        current_(current),
        limit_(loop, [this] { give_up(); }),
        arena_(ArenaRef::create()),
        request_(arena_) {}
  ~Attempt() { drop(); }

  Task<Result<std::string>> result() {
    limit_.start(kSignLimit);
    task_ = run();
    task_.start();
    while (!result_) co_await wait_in(done_);
    co_return std::move(*result_);
  }

 private:
  Task<void> run() {
    result_.emplace(co_await talk());
    done_.wake(loop_.ready());
  }
  void give_up() {
    if (result_) return;
    drop();
    result_.emplace(
        failed(ErrorKind::kTimeout, cat("the control plane at ", to_.host, ":", to_.port,
                                        " did not answer within ", to_seconds(kSignLimit), " s")));
    done_.wake(loop_.ready());
  }
  void drop() {
    task_.cancel();
    call_.reset();
    if (connected_) loop_.reap(std::move(connected_));
  }

  Result<std::shared_ptr<const TlsContext>> tls() const {
    TlsOptions options;
    options.trusted_ca = current_ != nullptr ? current_->trust_bundle : to_.trust_bundle;
    if (current_ != nullptr) {
      options.certificate_chain = current_->certificate_chain;
      options.private_key = current_->private_key;
    }
    if (options.trusted_ca.empty()) {
      return invalid(
          "there is no trust bundle, so the control plane cannot be recognized; take the "
          "trustBundle of the join file");
    }
    options.server_name = kControlPlaneName;
    options.peer_sans = {{SanMatch::Type::kDns, SanMatch::Kind::kExact, kControlPlaneName}};
    options.alpn = {"h2"};
    return TlsContext::create(TlsContext::Side::kClient, options);
  }

  Task<Result<std::string>> talk() {
    CO_TRY(const auto context, tls());
    CO_TRY(const auto addresses, co_await network_.resolve(to_.host, to_.port));
    if (addresses.empty()) co_return invalid(cat(to_.host, " has no address"));
    connected_ = std::make_unique<Connected>(
        loop_, context->wrap(loop_, network_.connect(addresses.front()), kSignLimit),
        ClientOptions{.codec = Codec::kHttp2, .limits = {}});
    while (!connected_->decided()) co_await wait_in(connected_->changed());
    if (connected_->error()) {
      Error error = *connected_->error();
      co_return std::move(error).in(cat("control plane ", to_.host, ":", to_.port));
    }
    fill_request();
    call_ = connected_->connection().start(request_);
    CO_TRY(const Response head, co_await head_of(*call_));
    if (head.status != 200) {
      co_return failed(ErrorKind::kProtocol,
                       cat("the control plane answered with HTTP status ", head.status));
    }
    // A refusal without a message has its status in the head.
    if (head.headers.has("grpc-status")) CO_TRY_VOID(check_status(head.headers));
    CO_TRY(const std::string body, co_await read_all(*call_, kLargestSignResponse));
    if (call_->trailers() != nullptr) CO_TRY_VOID(check_status(*call_->trailers()));
    GrpcDecoder decoder(kLargestSignResponse);
    decoder.add(body);
    CO_TRY(std::optional<std::string> message, decoder.next());
    if (!message)
      co_return failed(ErrorKind::kProtocol, "the control plane answered without a message");
    co_return std::move(*message);
  }
  void fill_request() {
    std::string framed;
    append_grpc_message(framed, message_);
    request_.method = "POST";
    request_.scheme = "https";
    request_.authority = kControlPlaneName;
    request_.path = "/glia.v1.IdentityService/SignCertificate";
    request_.headers.add("content-type", "application/grpc");
    request_.headers.add("user-agent", "glia-proxy");
    request_.headers.add("grpc-timeout", format_grpc_timeout(kSignLimit));
    request_.trailers_accepted = true;
    request_.body = std::make_unique<TextBody>(Slice::copy(framed));
  }
  static Result<void> check_status(const Headers& headers) {
    const auto text = headers.get("grpc-status");
    const std::optional<GrpcStatus> status = text ? parse_grpc_status(*text) : std::nullopt;
    if (status == GrpcStatus::kOk) return {};
    const bool denied = status == GrpcStatus::kPermissionDenied;
    const auto message = headers.get("grpc-message");
    return failed(denied ? ErrorKind::kDenied : ErrorKind::kProtocol,
                  cat("the control plane refused with ",
                      status ? name_of(*status) : "a status that does not exist", ": ",
                      message ? decode_grpc_message(*message) : "no reason given"));
  }

  EventLoop& loop_;
  Network& network_;
  const ControlPlaneAddress& to_;
  const std::string message_;
  const HeldIdentity* current_;
  CallbackTimer limit_;
  ArenaRef arena_;
  Request request_;  // Outlives the call.
  std::unique_ptr<Connected> connected_;
  std::unique_ptr<Call> call_;
  std::optional<Result<std::string>> result_;
  WaitSlot done_;
  Task<void> task_;
};

Task<Result<std::string>> sign(EventLoop& loop, Network& network, const ControlPlaneAddress& to,
                               std::string message, const HeldIdentity* current) {
  Attempt attempt(loop, network, to, std::move(message), current);
  co_return co_await attempt.result();
}

}  // namespace

SignCall sign_over_http(EventLoop& loop, Network& network, ControlPlaneAddress address) {
  auto to = std::make_shared<const ControlPlaneAddress>(std::move(address));
  return [&loop, &network, to](std::string request, const HeldIdentity* current) {
    return sign(loop, network, *to, std::move(request), current);
  };
}

}  // namespace glia
