// Wire: what all four codecs (HTTP/1 and HTTP/2, server and client) do alike with their stream:
// read what came, queue what goes, write once a turn, learn of the end.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>

#include "proxy/base/bytes.h"
#include "proxy/net/kernel_pipe.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"

namespace glia {

class Wire : public Flushable, private Stream::Watcher {
 public:
  // Bytes that may wait for the socket: few, and more for a peer that takes all of them at once.
  // Fewer and larger writes cost less, and what waits for a slow peer is memory.
  static constexpr std::size_t kLeastOutput = 64 * 1024;
  static constexpr std::size_t kMostOutput = 256 * 1024;

  Wire(EventLoop& loop, std::unique_ptr<Stream> stream);

 protected:
  // The codec's side. None of these may destroy the wire; they record, queue and wake.
  virtual void wire_opened() = 0;
  // Bytes that arrived. A slice that the codec keeps keeps its block.
  virtual void wire_input(Slice input) = 0;
  // Bytes have arrived that whoever called read_pipe() is to take in the same way.
  virtual void wire_piped() {}
  // The peer ended its side in an orderly way.
  virtual void wire_ended() = 0;
  // The stream is broken; nothing more can be read or written.
  virtual void wire_broken(const Error& error) = 0;
  // After a flush: the queue shrank, so what waits for room may go on.
  virtual void wire_flushed() = 0;

  // Instead of waiting for the stream to open: somebody else saw it open and read `already_read`
  // (perhaps nothing). Calls wire_opened() and wire_input().
  void opened_before(Slice already_read);

  ByteQueue& out() { return out_; }
  // bytes
  std::size_t queued() const { return out_.size() + (out_pipe_ ? out_pipe_->held() : 0); }
  // Large bodies may pass without a copy: by a pipe that is read here and one that is written.
  // Nothing follows what is in a pipe before that has left.
  bool takes_pipe() const { return open_ && !broken_ && stream_->takes_pipe(); }
  std::size_t output_limit() const { return output_limit_; }
  bool has_room(std::size_t limit) const {
    return out_.size() < std::min(limit, output_limit_) && !out_pipe_;
  }
  void write_pipe(KernelPipe pipe);
  // At most `most` bytes that have arrived; nothing if there are none. From then on, and until
  // stop_piping(), wire_input() is given nothing.
  std::optional<KernelPipe> read_pipe(std::size_t most);
  void stop_piping();
  Stream& stream() { return *stream_; }
  EventLoop& loop() const { return loop_; }
  const ConnectionInfo& connection_info() const { return stream_->info(); }
  // Produce and flush before the turn ends.
  void mark() { loop_.mark(*this); }
  // Reading goes on only while not paused; what the kernel holds slows the peer down.
  void pause_reading(bool paused);
  // Once the queue is empty: end our side. wire_flushed() follows with finished() true.
  void finish_writing_when_flushed();
  bool finished() const { return finished_; }
  bool broken() const { return broken_; }
  uint64_t bytes_read() const { return bytes_read_; }
  uint64_t bytes_written() const { return bytes_written_; }
  // When bytes last moved in either direction; for idle timers that are checked lazily.
  TimePoint last_activity() const { return last_activity_; }

  void flush() override;

 private:
  void on_open() override;
  void on_readable() override;
  void on_writable() override;
  void on_broken() override;
  bool may_read() const { return !paused_ && !broken_ && !ended_; }
  // Returns how many bytes it gave to the codec.
  std::size_t read_once();
  std::size_t arrived(const IoResult& got);
  void writing_failed();
  void break_with(const Error& error);

  EventLoop& loop_;
  std::unique_ptr<Stream> stream_;
  ByteQueue out_;
  std::size_t output_limit_ = kLeastOutput;
  std::optional<KernelPipe> out_pipe_;  // Not empty. Leaves after out_.
  std::size_t read_size_;               // bytes asked of one read; grows while reads come back full
  uint64_t bytes_read_ = 0;
  uint64_t bytes_written_ = 0;
  TimePoint last_activity_;
  int pipes_ = 0;  // Read in this turn.
  bool open_ = false;
  bool ended_ = false;  // The peer ended its side.
  bool broken_ = false;
  bool paused_ = false;
  bool blocked_ = false;  // A write moved less than it was given; wait for on_writable.
  bool piping_ = false;   // What arrives is left to read_pipe().
  bool finish_ = false;   // End our side when the queue is empty.
  bool finished_ = false;
};

}  // namespace glia
