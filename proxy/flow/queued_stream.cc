#include "proxy/flow/queued_stream.h"

#include "proxy/base/text.h"
#include "proxy/flow/exchange.h"
#include "proxy/flow/load_talk.h"
#include "proxy/flow/rescue.h"

namespace glia {
namespace {

constexpr std::string_view kEventStream = "text/event-stream";
constexpr std::string_view kComment = ": queued\n\n";

bool is_event_stream(const Response& response) {
  const std::string_view type = response.headers.get("content-type").value_or("");
  return response.status == 200 && to_lower(type.substr(0, kEventStream.size())) == kEventStream;
}

ModelRefusal refusal_of(const Error& error) {
  const Rescue rescue = rescue_for(error);
  return {.status = rescue.status,
          .flag = rescue.flag.value_or(ResponseFlag::kUpstreamReset),
          .reason = rescue.reason,
          .sentence = std::string(error.message())};
}

}  // namespace

QueuedStream::QueuedStream(Exchange& exchange, Turn turn, Duration heartbeat)
    : exchange_(exchange),
      heartbeat_(heartbeat),
      timer_(exchange.loop(), [this] { beat(); }),
      turn_(std::move(turn)),
      due_(kComment) {
  timer_.start(heartbeat_);
  following_ = follow();
  following_.start();
}

QueuedStream::~QueuedStream() {
  following_.cancel();
  turn_.cancel();
}

bool QueuedStream::suits(const Exchange& exchange) {
  const ModelRequest* const model = exchange.model();
  if (model == nullptr || !model->streaming || exchange.is_grpc()) return false;
  return model->dialect == Dialect::kOpenAi || model->dialect == Dialect::kAnthropic ||
         model->dialect == Dialect::kTriton;
}

Response QueuedStream::head(Exchange& exchange, std::unique_ptr<QueuedStream> body) {
  Response response(exchange.arena());
  response.status = 200;
  response.headers.add_kept("content-type", "text/event-stream; charset=utf-8");
  response.headers.add_kept("cache-control", "no-cache");
  response.headers.add("server", exchange.manager().server_name);
  tell_load_early(exchange, response);
  response.body = std::move(body);
  return response;
}

void QueuedStream::beat() {
  // What nobody has taken yet is enough of a sign.
  if (due_.empty()) due_ = kComment;
  timer_.start(heartbeat_);
  slot_.wake(exchange_.loop().ready());
}

Task<void> QueuedStream::follow() {
  co_await either<Reply>(turn_, nullptr, nullptr);
  Reply reply = turn_.take();
  if (reply && is_event_stream(*reply)) {
    if (reply->body != nullptr) {
      stream_ = std::move(reply->body);
    } else {
      over_ = true;
    }
  } else {
    due_ += co_await last_bytes(std::move(reply));
    over_ = true;
  }
  timer_.stop();
  slot_.wake(exchange_.loop().ready());
}

// A line of data for each line of `data`, or it would end at the first.
std::string QueuedStream::event(std::string_view name, std::string_view data) const {
  std::string text = name.empty() ? "" : cat("event: ", name, "\n");
  while (data.ends_with('\n')) data.remove_suffix(1);
  for (;;) {
    const std::size_t end = data.find_first_of("\r\n");
    text += cat("data: ", data.substr(0, end), "\n");
    if (end == data.npos) break;
    data.remove_prefix(end + 1);
  }
  return text + "\n";
}

Task<std::string> QueuedStream::last_bytes(Reply reply) {
  const ModelRequest& model = *exchange_.model();
  Response answer =
      reply ? std::move(*reply) : refuse_in_dialect(exchange_, refusal_of(reply.error()));
  std::string text;
  if (answer.body != nullptr) {
    Result<std::string> read = co_await read_all(*answer.body, kLongestAnswer);
    if (!read) {
      answer = refuse_in_dialect(exchange_, refusal_of(read.error()));
      read = co_await read_all(*answer.body, kLongestAnswer);
    }
    text = read ? *std::move(read) : "";
  }
  const bool failed = answer.status >= 400;
  switch (model.dialect) {
    case Dialect::kAnthropic: co_return event(failed ? "error" : "", text);
    case Dialect::kOpenAi:
      // `responses` names its events, the others end with a word.
      if (model.operation == "responses") co_return event(failed ? "error" : "", text);
      co_return event("", text) + "data: [DONE]\n\n";
    default: co_return event("", text);
  }
}

Body::Piece QueuedStream::poll() {
  if (!due_.empty()) return {State::kData, Slice::copy(std::exchange(due_, {}))};
  if (stream_ != nullptr) return stream_->poll();
  return {over_ ? State::kEnd : State::kPending, {}};
}

void QueuedStream::wait(Waiter& waiter) {
  if (stream_ != nullptr && due_.empty()) return stream_->wait(waiter);
  slot_.put(waiter);
}

Error QueuedStream::error() const { return stream_ != nullptr ? stream_->error() : Body::error(); }

}  // namespace glia
