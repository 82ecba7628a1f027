#include "proxy/http/wire.h"

#include <algorithm>
#include <array>

namespace glia {
namespace {

constexpr std::size_t kFirstRead = 16 * 1024;     // bytes
constexpr std::size_t kLargestRead = 256 * 1024;  // bytes
// Full reads of one connection in one turn, before its neighbours get their turn.
constexpr int kReadsPerTurn = 4;
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
  for (int i = 0; i < kReadsPerTurn && may_read(); ++i) {
    const std::size_t asked = read_size_;
    if (read_once() < asked) return;
  }
}

std::size_t Wire::read_once() {
  const std::size_t asked = read_size_;
  Block& block = loop_.read_block(asked);
  // A TLS stream takes blocks of the loop while it fills ours, and may make it drop this one.
  const Slice held(&block, block.data(), 0);
  const IoResult got = stream_->read({block.data(), asked});
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
  if (got.bytes == asked) read_size_ = std::min(kLargestRead, asked * 2);
  if (got.bytes < asked / 4) read_size_ = std::max(kFirstRead, asked / 2);
  wire_input(Slice(&block, block.data(), got.bytes));
  return got.bytes;
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
  stream_->pause_reading(true);
  wire_broken(error);
}

// An upstream that refuses a request early answers, closes, and its system resets what we go on
// sending (RFC 9112 section 9.6): the answer may have arrived before the reset. As nothing follows a
// reset, this ends.
void Wire::writing_failed() {
  const Error error = stream_->error();
  out_.clear();
  while (may_read() && read_once() > 0) {
  }
  break_with(error);
}

void Wire::flush() {
  if (!open_ || broken_) return;
  bool moved = false;
  while (!out_.empty() && !blocked_) {
    std::array<std::string_view, kPieces> pieces;
    const std::size_t count = out_.front(pieces);
    std::size_t given = 0;
    for (std::size_t i = 0; i < count; ++i) given += pieces[i].size();
    const IoResult wrote = stream_->write({pieces.data(), count});
    if (wrote.state == IoResult::State::kError) return writing_failed();
    if (wrote.state == IoResult::State::kDone) {
      moved = true;
      bytes_written_ += wrote.bytes;
      last_activity_ = loop_.now();
      out_.drop_front(wrote.bytes);
    }
    blocked_ = wrote.state != IoResult::State::kDone || wrote.bytes < given;
  }
  if (finish_ && !finished_ && out_.empty()) {
    finished_ = true;
    moved = true;
    stream_->finish_writing();
  }
  if (moved) wire_flushed();
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
