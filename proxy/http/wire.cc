#include "proxy/http/wire.h"

#include <algorithm>
#include <array>

namespace glia {
namespace {

constexpr std::size_t kFirstRead = 16 * 1024;   // bytes
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
  for (int i = 0; i < kReadsPerTurn && !paused_ && !broken_ && !ended_; ++i) {
    Block& block = loop_.read_block(read_size_);
    const std::size_t asked = std::min(read_size_, block.capacity());
    const IoResult got = stream_->read({block.data(), asked});
    switch (got.state) {
      case IoResult::State::kWait:
        return;
      case IoResult::State::kEnd:
        ended_ = true;
        stream_->pause_reading(true);
        return wire_ended();
      case IoResult::State::kError:
        return break_with(stream_->error());
      case IoResult::State::kDone:
        break;
    }
    bytes_read_ += got.bytes;
    last_activity_ = loop_.now();
    wire_input(Slice(&block, block.data(), got.bytes));
    if (got.bytes < asked) {
      if (got.bytes < read_size_ / 4) read_size_ = std::max(kFirstRead, read_size_ / 2);
      return;
    }
    read_size_ = std::min(kLargestRead, read_size_ * 2);
  }
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

void Wire::flush() {
  if (!open_ || broken_) return;
  bool moved = false;
  while (!out_.empty() && !blocked_) {
    std::array<std::string_view, kPieces> pieces;
    const std::size_t count = out_.front(pieces);
    std::size_t given = 0;
    for (std::size_t i = 0; i < count; ++i) given += pieces[i].size();
    const IoResult wrote = stream_->write({pieces.data(), count});
    if (wrote.state == IoResult::State::kError) return break_with(stream_->error());
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
