// Relay: bytes both ways between two open streams, until both sides have ended or one breaks.
//
// What is read from one side is written to the other in the same callback, from the block that it
// was read into: no copy, no queue, two system calls a piece. Between plain sockets, what comes in large
// pieces does not even pass through this process (net/kernel_pipe.h). Only what the other side does not take
// at once is kept, and then no more is read until it has gone: that is all the buffer there is. An end
// of one side is passed on as an end of that direction alone (half-close), a broken side as a break.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "proxy/base/bytes.h"
#include "proxy/net/kernel_pipe.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"

namespace glia {

class Relay {
 public:
  enum class Side : uint8_t { kDownstream, kUpstream };
  // Told from the top of the loop.
  class Owner {
   public:
    // `bytes` were read from this side.
    virtual void on_moved(Side from, std::size_t bytes) = 0;
    // Reading from this side stopped because the other one is full, or goes on.
    virtual void on_held(Side from, bool held) = 0;
    // Both sides have ended, and everything has left. The owner gives the relay to the reaper.
    virtual void on_ended() = 0;
    // One side broke; the other will be reset when the relay is destroyed.
    virtual void on_broken(Side side) = 0;

   protected:
    ~Owner() = default;
  };

  // Both streams have opened. `buffer`: the most that is read at once, and so the most that waits for
  // the other side.
  Relay(EventLoop& loop, std::unique_ptr<Stream> downstream, std::unique_ptr<Stream> upstream,
        uint32_t buffer, Owner& owner);
  Relay(const Relay&) = delete;

  const Stream& stream(Side side) const { return *end(side).stream; }
  uint64_t received(Side side) const { return end(side).received; }

 private:
  // One of the two streams, and what came from it.
  struct End final : Stream::Watcher {
    End(Relay& of, Side at, std::unique_ptr<Stream> made, std::size_t first_read);
    void on_open() override {}
    void on_readable() override { relay.pull(*this); }
    void on_writable() override { relay.resume(*this); }
    void on_broken() override { relay.break_off(*this); }

    // Something that was read here waits for the other.
    bool holds() const { return pipe || !waiting.empty(); }

    Relay& relay;
    End* other = nullptr;
    const std::unique_ptr<Stream> stream;
    Slice waiting;                   // Read here, not yet taken by the other ...
    std::optional<KernelPipe> pipe;  // ... or this, which then is not empty.
    std::size_t read_size;
    uint64_t received = 0;
    const Side side;
    bool held = false;    // Something waits, so it is not read.
    bool bulk = false;    // What comes goes through a pipe, if there is one.
    bool ended = false;   // The peer sends no more.
    bool closed = false;  // ... and the other side was told so.
  };

  // Full reads of one side in one turn, before its neighbours get their turn.
  static constexpr int kReadsPerTurn = 4;
  static constexpr std::size_t kFirstRead = 16 * 1024;     // bytes
  static constexpr std::size_t kLargestRead = 256 * 1024;  // bytes
  // A piece so large makes the next ones go through a pipe, which costs a little more for small
  // ones, until one is smaller than that.
  static constexpr std::size_t kBulkFrom = 64 * 1024;   // bytes
  static constexpr std::size_t kBulkUntil = 16 * 1024;  // bytes

  const End& end(Side side) const { return side == Side::kDownstream ? downstream_ : upstream_; }
  void pull(End& from);
  std::size_t read_once(End& from);
  std::size_t copy_once(End& from);
  std::size_t splice_once(End& from, KernelPipe pipe);
  std::size_t arrived(End& from, const IoResult& got);
  bool push(End& from);
  void hold_or_go_on(End& from);
  void resume(End& to);
  void pass_end(End& from);
  void finish_if_done();
  void break_off(End& side);
  void writing_failed(End& to);

  EventLoop& loop_;
  Owner& owner_;
  const std::size_t most_;  // bytes of one read
  End downstream_;
  End upstream_;
  bool over_ = false;
};

}  // namespace glia
