#include "proxy/flow/grpc_answer.h"

#include <algorithm>

#include "proxy/base/pool.h"
#include "proxy/base/text.h"
#include "proxy/flow/exchange.h"
#include "proxy/http/grpc.h"

namespace glia {
namespace {

constexpr std::string_view kStatus = "grpc-status";
constexpr std::string_view kMessage = "grpc-message";
constexpr std::string_view kDetails = "grpc-status-details-bin";

// How much of an answer that is not gRPC's is quoted to the caller, and how much is read and dropped
// so that its connection can be used again.
constexpr std::size_t kQuoted = 256;         // bytes
constexpr std::size_t kDropped = 64 * 1024;  // bytes

// The body of a gRPC answer: it ends with a status, whatever happens upstream.
class GrpcBody final : public Body {
 public:
  GrpcBody(Exchange& exchange, Headers head, std::unique_ptr<Body> body)
      : exchange_(exchange), head_(std::move(head)), body_(std::move(body)) {}
  static void* operator new(std::size_t bytes) { return pool_allocate(bytes); }
  static void operator delete(void* at, std::size_t bytes) { pool_free(at, bytes); }

  Piece poll() override {
    if (over_) return {State::kEnd, {}};
    Piece piece = body_ != nullptr ? body_->poll() : Piece{State::kEnd, {}};
    switch (piece.state) {
      case State::kData: begun_ = true; return piece;
      case State::kPending: return piece;
      case State::kEnd: ended(); break;
      case State::kError: {
        const Error error = body_->error();
        close(exchange_.broke_off(error), error.message());
        break;
      }
    }
    over_ = true;
    return {State::kEnd, {}};
  }
  void wait(Waiter& waiter) override { body_->wait(waiter); }
  const Headers* trailers() const override {
    if (made_) return &*made_;
    return body_ != nullptr ? body_->trailers() : nullptr;
  }
  // No length(): a length that was announced would not hold for an answer that breaks off.

 private:
  void ended() {
    const Headers* trailers = body_ != nullptr ? body_->trailers() : nullptr;
    if (trailers != nullptr && trailers->has(kStatus)) return;
    if (!head_.has(kStatus)) {
      constexpr std::string_view kWhy = "the upstream ended its answer without a grpc-status";
      exchange_.explain(std::string(kWhy));
      return close(GrpcStatus::kUnknown, kWhy);
    }
    // Trailers-only is as it should be; behind a body a caller looks for the status in the trailers.
    if (!begun_) return;
    start_trailers();
    for (const Field& field : head_.fields()) made_->add_kept(field.name, field.value);
  }

  void close(GrpcStatus status, std::string_view message) {
    start_trailers();
    const std::string code = cat(static_cast<int>(status));
    made_->add(kStatus, code);
    made_->add(kMessage, encode_grpc_message(message));
    exchange_.upstream().grpc_status = code;
  }

  // With what the upstream's own trailers say.
  void start_trailers() {
    made_.emplace(exchange_.arena());
    const Headers* trailers = body_ != nullptr ? body_->trailers() : nullptr;
    if (trailers == nullptr) return;
    for (const Field& field : trailers->fields()) made_->add_kept(field.name, field.value);
  }

  Exchange& exchange_;
  Headers head_;  // The fields of the head that are a status; in the exchange's arena.
  std::unique_ptr<Body> body_;
  std::optional<Headers> made_;  // Trailers instead of the body's own.
  bool begun_ = false;
  bool over_ = false;
};

Headers status_fields(const Response& response) {
  Headers fields(response.headers.arena_ref());
  for (const Field& field : response.headers.fields()) {
    if (field.name != kStatus && field.name != kMessage && field.name != kDetails) continue;
    fields.add_kept(field.name, field.value);
  }
  return fields;
}

// What has come of a body so far; the beginning of it.
std::string drop_body(std::unique_ptr<Body> body) {
  std::string begin;
  for (std::size_t dropped = 0; body != nullptr && dropped <= kDropped;) {
    const Body::Piece piece = body->poll();
    if (piece.state != Body::State::kData) break;
    dropped += piece.data.size();
    begin += piece.data.view().substr(0, kQuoted - std::min(kQuoted, begin.size()));
  }
  return begin;
}

bool is_readable(std::string_view content_type) {
  return content_type.starts_with("text/plain") || content_type.starts_with("application/json");
}

Response mapped(Exchange& exchange, Response response) {
  Headers& headers = response.headers;
  const std::string_view type = headers.get("content-type").value_or("");
  const std::string begin = drop_body(std::move(response.body));
  std::string why = cat("HTTP status ", response.status, " with ",
                        type.empty() ? "no content-type" : type, " where gRPC was expected");
  // A status of gRPC's counts, whatever stands around it.
  if (!headers.has(kStatus)) {
    const GrpcStatus status = grpc_status_of_http(response.status);
    const std::string message = is_readable(type) && !begin.empty() ? cat(why, ": ", begin) : why;
    headers.remove(kMessage);
    headers.add(kStatus, cat(static_cast<int>(status)));
    headers.add(kMessage, encode_grpc_message(message));
  }
  exchange.upstream().grpc_status = *headers.get(kStatus);
  exchange.explain(std::move(why));
  headers.remove_if([](const Field& field) { return field.name.starts_with("content-"); });
  headers.add_kept("content-type", "application/grpc");
  response.status = 200;
  response.body = nullptr;
  if (!headers.has("x-glia-reason")) exchange.sign(response, "not_grpc");
  return response;
}

}  // namespace

Response answer_for_grpc(Exchange& exchange, Response response) {
  const bool grpc =
      response.status == 200 && is_grpc_type(response.headers.get("content-type").value_or(""));
  if (!grpc) return mapped(exchange, std::move(response));
  // Trailers-only, and of our own making: there is nothing to watch.
  if (response.body == nullptr && response.headers.has(kStatus)) return response;
  response.body =
      std::make_unique<GrpcBody>(exchange, status_fields(response), std::move(response.body));
  return response;
}

}  // namespace glia
