#include "proxy/flow/relay.h"

#include <algorithm>
#include <utility>

namespace glia {

Relay::End::End(Relay& of, Side at, std::unique_ptr<Stream> made, std::size_t first_read)
    : relay(of), stream(std::move(made)), read_size(first_read), side(at) {}

Relay::Relay(EventLoop& loop, std::unique_ptr<Stream> downstream, std::unique_ptr<Stream> upstream,
             uint32_t buffer, Owner& owner)
    : loop_(loop),
      owner_(owner),
      most_(std::min<std::size_t>(buffer, kLargestRead)),
      downstream_(*this, Side::kDownstream, std::move(downstream), std::min(most_, kFirstRead)),
      upstream_(*this, Side::kUpstream, std::move(upstream), std::min(most_, kFirstRead)) {
  downstream_.other = &upstream_;
  upstream_.other = &downstream_;
  for (End* one : {&upstream_, &downstream_}) {
    one->stream->watch(*one);
    one->stream->pause_reading(false);
  }
}

void Relay::pull(End& from) {
  for (int i = 0; i < kReadsPerTurn && !over_; ++i) {
    const std::size_t asked = from.read_size;
    if (from.ended || from.holds() || read_once(from) < asked) return;
  }
}

// Returns how many bytes it read.
std::size_t Relay::read_once(End& from) {
  std::optional<KernelPipe> pipe;
  if (from.bulk) pipe = KernelPipe::borrow();
  return pipe ? splice_once(from, std::move(*pipe)) : copy_once(from);
}

std::size_t Relay::copy_once(End& from) {
  const std::size_t asked = from.read_size;
  Block& block = loop_.read_block(asked);
  // A TLS stream takes blocks of the loop while it fills ours, and may make it drop this one.
  const Slice held(&block, block.data(), 0);
  const std::size_t bytes = arrived(from, from.stream->read({block.data(), asked}));
  if (bytes == 0) return 0;
  if (bytes == asked) from.read_size = std::min(most_, asked * 2);
  if (bytes < asked / 4) from.read_size = std::max(std::min(most_, kFirstRead), asked / 2);
  if (bytes >= kBulkFrom && from.stream->takes_pipe() && from.other->stream->takes_pipe()) {
    from.bulk = true;
    from.read_size = most_;
  }
  from.waiting = Slice(&block, block.data(), bytes);
  return push(from) ? bytes : 0;
}

std::size_t Relay::splice_once(End& from, KernelPipe pipe) {
  const std::size_t bytes = arrived(from, from.stream->read_into(pipe, most_));
  if (bytes == 0) return 0;
  if (bytes < kBulkUntil) from.bulk = false;
  from.pipe = std::move(pipe);
  return push(from) ? bytes : 0;
}

// What a read of one side said; returns its bytes.
std::size_t Relay::arrived(End& from, const IoResult& got) {
  switch (got.state) {
    case IoResult::State::kWait: return 0;
    case IoResult::State::kEnd:
      from.ended = true;
      from.stream->pause_reading(true);
      pass_end(from);
      return 0;
    case IoResult::State::kError: break_off(from); return 0;
    case IoResult::State::kDone: break;
  }
  from.received += got.bytes;
  owner_.on_moved(from.side, got.bytes);
  return got.bytes;
}

// Gives what waits to the other side. False: the relay is over.
bool Relay::push(End& from) {
  Stream& to = *from.other->stream;
  IoResult wrote;
  if (from.pipe) {
    wrote = to.write_from(*from.pipe);
    if (from.pipe->held() == 0) from.pipe.reset();
  } else {
    const std::string_view piece = from.waiting.view();
    wrote = to.write({&piece, 1});
    from.waiting.drop_front(wrote.bytes);
    if (from.waiting.empty()) from.waiting = Slice();
  }
  if (wrote.state == IoResult::State::kError) return writing_failed(*from.other), false;
  hold_or_go_on(from);
  return true;
}

// While something waits for the other side, no more is read.
void Relay::hold_or_go_on(End& from) {
  if (from.held == from.holds()) return;
  from.held = !from.held;
  if (from.waiting.wastes_block()) from.waiting = Slice::copy(from.waiting.view());
  from.stream->pause_reading(from.held || from.ended);
  owner_.on_held(from.side, from.held);
}

// There is room again.
void Relay::resume(End& to) {
  if (over_) return;
  End& from = *to.other;
  if (from.holds() && !push(from)) return;
  if (from.ended) pass_end(from);
  finish_if_done();
}

// Passes the end of one side on, once everything before it has left.
void Relay::pass_end(End& from) {
  if (from.holds() || std::exchange(from.closed, true)) return;
  from.other->stream->finish_writing();
  finish_if_done();
}

void Relay::finish_if_done() {
  if (over_ || !downstream_.closed || !upstream_.closed) return;
  // TLS keeps records that its socket does not take; on_writable follows when they have left.
  if (!downstream_.stream->flushed() || !upstream_.stream->flushed()) return;
  over_ = true;
  owner_.on_ended();
}

void Relay::break_off(End& side) {
  if (std::exchange(over_, true)) return;
  side.other->stream->abort();
  for (End* one : {&downstream_, &upstream_}) one->stream->pause_reading(true);
  owner_.on_broken(side.side);
}

// A peer that answers early, closes, and resets what we go on sending: its answer may have arrived
// before the reset. As nothing follows a reset, this ends.
void Relay::writing_failed(End& to) {
  while (!over_ && !to.ended && !to.holds() && read_once(to) > 0) {
  }
  break_off(to);
}

}  // namespace glia
