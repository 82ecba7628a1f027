// H2Stream: one HTTP/2 stream, the same on both sides: what arrived and nobody has taken yet, what
// is written and nghttp2 has not taken yet, and who sleeps on either.
//
// Counted: nghttp2 holds it until it closes the stream, and so does everybody with a handle: the
// server's root task, a request's body, a client's call. It may outlive its session, whose death
// nulls the way back.
#pragma once

#include <optional>
#include <utility>

#include "proxy/base/pool.h"
#include "proxy/http/body.h"
#include "proxy/http/gather_queue.h"
#include "proxy/http/h2_fields.h"
#include "proxy/http/headers.h"

namespace glia {

class H2Session;

class H2Stream : public Sink {
 public:
  // What became of a field of the trailers.
  enum class Trailer : uint8_t { kTaken, kTooLarge, kHopeless };
  H2Stream(H2Session& session, ArenaRef arena);
  H2Stream(const H2Stream&) = delete;
  H2Stream& operator=(const H2Stream&) = delete;
  static void* operator new(std::size_t bytes) { return pool_allocate(bytes); }
  static void operator delete(void* block, std::size_t bytes) noexcept { pool_free(block, bytes); }

  void retain() { ++count_; }
  void release() {
    if (--count_ == 0) delete this;
  }

  // Sink: what we send.
  bool full() const override;
  void wait_drained(Waiter& waiter) override { drained_.put(waiter); }
  void write(Slice data) override;
  void end(const Headers* trailers) override;

  // What we receive, as a Body says it.
  Body::Piece poll();
  void wait(Waiter& waiter) { arrived_.put(waiter); }
  const Headers* trailers() const { return trailers_in_ ? &*trailers_in_ : nullptr; }
  Error error() const;
  // Nobody will take what is here and what still comes; the peer may send one window more.
  void discard();

  // nghttp2 knows the stream.
  bool open() const { return open_; }
  int32_t id() const { return id_; }
  const ArenaRef& arena() const { return arena_; }
  std::size_t unsent() const { return output_.size(); }
  uint64_t bytes_in() const { return bytes_in_; }
  uint64_t bytes_out() const { return bytes_out_; }

 protected:
  ~H2Stream() override;
  // Resets the stream; `why` is what the receiving side will say, unless it knows better already.
  void reset(uint32_t code, std::optional<Error> why);
  // From the session's callbacks, which only record, queue and wake: nghttp2 has closed the stream,
  // or the session is dead.
  virtual void on_closed(uint32_t error_code) = 0;
  virtual void on_lost() = 0;
  void receive(Slice data);
  void receive_end();
  // A field of the trailers, which may be as large as a head.
  Trailer receive_trailer(std::string_view name, std::string_view value);
  void wake_all();
  void fail(Error error) {
    if (!error_) error_ = std::move(error);
  }

  H2Session* session_;  // Null once the session is dead.
  int32_t id_ = 0;
  bool open_ = false;
  bool head_sent_ = false;
  bool end_sent_ = false;     // END_STREAM or RST_STREAM is in the output.
  bool input_ended_ = false;  // END_STREAM arrived.
  bool input_discarded_ = false;
  bool output_ended_ = false;  // end() was called.
  bool deferred_ = false;      // nghttp2 waits for resume.
  bool aborted_ = false;       // We reset it.
  std::optional<Error> error_;
  std::optional<Headers> trailers_in_;
  std::optional<FieldBudget> trailers_budget_;
  std::optional<Headers> trailers_out_;
  WaitSlot arrived_;
  WaitSlot drained_;

 private:
  friend class H2Session;
  void consume(std::size_t bytes);
  void resume();

  ArenaRef arena_;
  GatherQueue input_;
  GatherQueue output_;
  std::size_t credited_ = 0;  // bytes of input_ that the connection's window has back already
  uint64_t bytes_in_ = 0;
  uint64_t bytes_out_ = 0;
  uint32_t count_ = 1;        // nghttp2's
  H2Stream* next_ = nullptr;  // In the session's list, until destroyed.
  H2Stream* previous_ = nullptr;
};

}  // namespace glia
