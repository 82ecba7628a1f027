#include "proxy/http/wire.h"

#include <algorithm>
#include <array>
#include <utility>

namespace glia {
namespace {

constexpr std::size_t kFirstRead = 16 * 1024;    // bytes
constexpr std::size_t kLargestRead = 64 * 1024;  // bytes
// What does not come to us; so many of one connection in a turn, before its neighbours have theirs.
constexpr std::size_t kLargestPipe = 256 * 1024;  // bytes
constexpr int kPipesPerTurn = 4;
constexpr std::size_t kPieces = 64;  // of one gathering write

}  // namespace

Wire::Wire(EventLoop& loop, std::unique_ptr<Stream> stream)
    : loop_(loop), stream_(std::move(stream)), read_size_(kFirstRead), last_activity_(loop.now()) {
  stream_->watch(*this);
}

void Wire::on_open() {
  open_ = true;
  last_activity_ = loop_.now();
  wire_opened();
  mark();
}

void Wire::opened_before(Slice already_read) {
  on_open();
  if (already_read.empty() || broken_) return;
  bytes_read_ += already_read.size();
  wire_input(std::move(already_read));
}

void Wire::on_readable() {
  pipes_ = 0;
  for (int reads = 1, most = 1; may_read(); ++reads) {
    if (piping_) {
      pause_reading(true);
      return wire_piped();
    }
    const std::size_t asked = read_size_;
    if (read_once() < asked) return;
    if (reads == 1) most = loop_.full_reads();
    if (reads >= most) return;
  }
}

std::size_t Wire::read_once() {
  const std::size_t asked = read_size_;
  Block& block = loop_.read_block(asked);
  // A TLS stream takes blocks of the loop while it fills ours, and may make it drop this one.
  const Slice held(&block, block.data(), 0);
  const std::size_t bytes = arrived(stream_->read({block.data(), asked}));
  if (bytes == 0) return 0;
  if (bytes == asked) read_size_ = std::min(kLargestRead, asked * 2);
  if (bytes < asked / 4) read_size_ = std::max(kFirstRead, asked / 2);
  wire_input(Slice(&block, block.data(), bytes));
  return bytes;
}

// What a read said; returns its bytes.
std::size_t Wire::arrived(const IoResult& got) {
  switch (got.state) {
    case IoResult::State::kWait: return 0;
    case IoResult::State::kEnd:
      ended_ = true;
      stream_->pause_reading(true);
      wire_ended();
      return 0;
    case IoResult::State::kError: break_with(stream_->error()); return 0;
    case IoResult::State::kDone: break;
  }
  bytes_read_ += got.bytes;
  last_activity_ = loop_.now();
  return got.bytes;
}

std::optional<KernelPipe> Wire::read_pipe(std::size_t most) {
  if (broken_ || ended_ || !takes_pipe()) return {};
  std::optional<KernelPipe> pipe;
  // After so many, the neighbours have their turn before the next event.
  const bool may = ++pipes_ <= kPipesPerTurn;
  if (may) pipe = KernelPipe::borrow();
  piping_ = !may || pipe;
  if (pipe && arrived(stream_->read_into(*pipe, std::min(most, kLargestPipe))) > 0) return pipe;
  pause_reading(false);
  return {};
}

void Wire::stop_piping() {
  if (std::exchange(piping_, false)) pause_reading(false);
}

void Wire::write_pipe(KernelPipe pipe) {
  CHECK(!out_pipe_ && pipe.held() > 0);
  out_pipe_.emplace(std::move(pipe));
  mark();
}

void Wire::on_writable() {
  blocked_ = false;
  mark();
}

void Wire::on_broken() { break_with(stream_->error()); }

void Wire::break_with(const Error& error) {
  if (broken_) return;
  broken_ = true;
  out_.clear();
  out_pipe_.reset();
  stream_->pause_reading(true);
  wire_broken(error);
}

// An upstream that refuses a request early answers, closes, and its system resets what we go on
// sending (RFC 9112 section 9.6): the answer may have arrived before the reset. As nothing follows
// a reset, this ends.
void Wire::writing_failed() {
  const Error error = stream_->error();
  out_.clear();
  out_pipe_.reset();
  while (may_read() && read_once() > 0) {
  }
  break_with(error);
}

void Wire::flush() {
  if (!open_ || broken_) return;
  const uint64_t before = bytes_written_;
  while (!out_.empty() && !blocked_) {
    std::array<std::string_view, kPieces> pieces;
    const std::size_t count = out_.front(pieces);
    std::size_t given = 0;
    for (std::size_t i = 0; i < count; ++i) given += pieces[i].size();
    const IoResult wrote = stream_->write({pieces.data(), count});
    if (wrote.state == IoResult::State::kError) return writing_failed();
    out_.drop_front(wrote.bytes);
    bytes_written_ += wrote.bytes;
    blocked_ = wrote.bytes < given;
  }
  if (out_pipe_ && !blocked_) {
    const IoResult wrote = stream_->write_from(*out_pipe_);
    if (wrote.state == IoResult::State::kError) return writing_failed();
    bytes_written_ += wrote.bytes;
    blocked_ = out_pipe_->held() > 0;
    if (!blocked_) out_pipe_.reset();
  }
  const bool moved = bytes_written_ > before;
  if (blocked_ || !stream_->flushed()) {  // TLS takes more than it has given on.
    output_limit_ = kLeastOutput;
  } else if (bytes_written_ - before >= output_limit_) {
    output_limit_ = std::min(output_limit_ * 2, kMostOutput);
  }
  if (moved) last_activity_ = loop_.now();
  const bool finishing = finish_ && !finished_ && queued() == 0;
  if (finishing) {
    finished_ = true;
    stream_->finish_writing();
  }
  if (moved || finishing) wire_flushed();
}

void Wire::pause_reading(bool paused) {
  if (paused_ == paused) return;
  paused_ = paused;
  if (!ended_ && !broken_) stream_->pause_reading(paused);
}

void Wire::finish_writing_when_flushed() {
  finish_ = true;
  mark();
}

}  // namespace glia
