// Body: the bytes of a message, pulled by whoever forwards them.
//
// A body that nobody pulls is a peer that is slowed down: HTTP/2 windows are given back, and HTTP/1
// sockets are read, only as pieces are taken. Destroying a body that has not ended abandons the
// message: an upstream call is reset, a downstream request is drained or its connection closed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "proxy/base/bytes.h"
#include "proxy/base/result.h"
#include "proxy/base/task.h"
#include "proxy/base/waiter.h"
#include "proxy/http/headers.h"
#include "proxy/net/kernel_pipe.h"

namespace glia {

class Body {
 public:
  enum class State {
    kData,     // `data` holds at least one byte.
    kPending,  // Nothing now; await next() or put a waiter with wait().
    kEnd,      // All was delivered; trailers() is complete.
    kError,    // The message broke off; see error().
  };
  struct Piece {
    State state;
    Slice data;
  };

  virtual ~Body() = default;
  // What there is now, without waiting. After kEnd or kError it says the same again.
  virtual Piece poll() = 0;
  // For who passes bytes on without looking at them, asked before poll(): what has arrived, if it
  // can stay in the kernel. A body that passes another one's bytes on unseen passes this on, too.
  virtual std::optional<KernelPipe> poll_pipe() { return {}; }
  // Puts `waiter` where it is woken when poll() may say something else than kPending.
  virtual void wait(Waiter& waiter) = 0;
  // Fields after the body; null if there are none. Valid after kEnd.
  virtual const Headers* trailers() const { return nullptr; }
  // Total bytes, if the message announced them.
  virtual std::optional<uint64_t> length() const { return {}; }
  // Valid after kError.
  virtual Error error() const { return Error(ErrorKind::kInternal, Fault::kSelf, "body failed"); }
};

// co_await next(body): the next piece, never kPending.
class NextPiece {
 public:
  explicit NextPiece(Body& body) : body_(body), piece_(body.poll()) {}
  bool await_ready() const { return piece_.state != Body::State::kPending; }
  void await_suspend(std::coroutine_handle<> sleeper) {
    waiter_.sleeper(sleeper);
    body_.wait(waiter_);
  }
  // A wake-up may be early; then the piece is kPending and the caller asks again.
  Body::Piece await_resume() {
    return piece_.state != Body::State::kPending ? std::move(piece_) : body_.poll();
  }

 private:
  Body& body_;
  Body::Piece piece_;
  Waiter waiter_;
};
inline NextPiece next(Body& body) { return NextPiece(body); }

// A body of bytes that are all there.
class TextBody final : public Body {
 public:
  explicit TextBody(Slice text) : text_(std::move(text)), length_(text_.size()) {}
  Piece poll() override {
    if (text_.empty()) return {State::kEnd, {}};
    return {State::kData, std::exchange(text_, {})};
  }
  void wait(Waiter&) override {}
  std::optional<uint64_t> length() const override { return length_; }

 private:
  Slice text_;
  uint64_t length_;
};

// Where a message's body is written: a downstream stream's response or an upstream call's request.
class Sink {
 public:
  virtual ~Sink() = default;
  // No more should be written until the waiter put by wait_drained() was woken.
  virtual bool full() const = 0;
  virtual void wait_drained(Waiter& waiter) = 0;
  virtual void write(Slice data) = 0;
  // Does the next one work? If so, the sink is full until the pipe is empty.
  virtual bool takes_pipe() const { return false; }
  virtual void write_pipe(KernelPipe) {}
  // The message is complete; `trailers` may be null.
  virtual void end(const Headers* trailers) = 0;
  // The message breaks off: RST_STREAM, or the connection is closed before the announced end.
  virtual void abort() = 0;
};

// co_await drained(sink): sleeps while the sink is full.
class Drained {
 public:
  explicit Drained(Sink& sink) : sink_(sink) {}
  bool await_ready() const { return !sink_.full(); }
  void await_suspend(std::coroutine_handle<> sleeper) {
    waiter_.sleeper(sleeper);
    sink_.wait_drained(waiter_);
  }
  void await_resume() const noexcept {}

 private:
  Sink& sink_;
  Waiter waiter_;
};
inline Drained drained(Sink& sink) { return Drained(sink); }

// Carries a whole body from `from` to `to` at the pace of the slower; the one pump of the house,
// used for requests going up and for responses coming down. Ends with the error of `from`, after
// to.abort(); the caller cancels it when `to` is gone.
Task<Result<void>> pump(Body& from, Sink& to);

// All of a body, for small messages (admin, xDS, tests); kTooLarge above `limit` bytes.
Task<Result<std::string>> read_all(Body& body, std::size_t limit);

}  // namespace glia
