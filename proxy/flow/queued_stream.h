// QueuedStream: the answer to a streaming request that waits for its turn, begun before there is one
// (glia.v1.Admission.heartbeat): comments of server-sent events (HTML standard, section 9.2) while it
// waits, then the application's stream; or, since the head has gone by then, an event that says why there
// is none, in the words of the request's dialect.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "proxy/flow/deadline.h"
#include "proxy/flow/filter.h"
#include "proxy/flow/model_refusal.h"
#include "proxy/net/loop.h"

namespace glia {

class QueuedStream final : public Body {
 public:
  // The rest of the request's way: waits for its turn and asks the application.
  using Turn = Task<Reply>;

  // `exchange` outlives it. `turn` has been started.
  QueuedStream(Exchange& exchange, Turn turn, Duration heartbeat);
  ~QueuedStream() override;

  // May this request be answered so: is its answer one of server-sent events?
  static bool suits(const Exchange& exchange);
  // The head, sent before anything is known.
  static Response head(Exchange& exchange, std::unique_ptr<QueuedStream> body);
  // An answer that is no stream is told as an event if it is not longer.
  static constexpr std::size_t kLongestAnswer = 64 * 1024;

  Piece poll() override;
  void wait(Waiter& waiter) override;
  const Headers* trailers() const override { return stream_ ? stream_->trailers() : nullptr; }
  Error error() const override;

 private:
  // Waits for the turn, then makes of the reply a stream or the last bytes.
  Task<void> follow();
  Task<std::string> last_bytes(Reply reply);
  std::string event(std::string_view name, std::string_view data) const;
  void beat();

  Exchange& exchange_;
  const Duration heartbeat_;
  CallbackTimer timer_;
  WaitSlot slot_;
  Turn turn_;
  std::string due_;               // Comments, or the last event.
  std::unique_ptr<Body> stream_;  // The application's; null until it has begun.
  bool over_ = false;             // What is due is all.
  Task<void> following_;          // Ends before what it uses.
};

}  // namespace glia
