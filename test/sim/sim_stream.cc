#include "test/sim/sim_stream.h"

#include <algorithm>

#include "proxy/base/text.h"
#include "proxy/net/kernel_pipe.h"

namespace glia {

SimStream::SimStream(SimFabric& fabric, const Address& local, const Address& remote, bool outgoing)
    : Timer(fabric.loop_),
      fabric_(fabric),
      number_(++fabric.last_stream_),
      outgoing_(outgoing),
      info_{local, remote},
      last_arrival_(fabric.loop_.now()),
      state_(outgoing ? State::kConnecting : State::kOpening) {
  fabric_.streams_[number_] = this;
}

SimStream::~SimStream() {
  fabric_.streams_.erase(number_);
  fabric_.note("close", *this);
  if (peer_ == nullptr) return;
  peer_->peer_ = nullptr;
  if (state_ == State::kBroken) return;
  // A socket that is closed with bytes unread answers with a reset.
  if (taken_ < received_.size() || unread_ > 0 || aborted_) {
    peer_->arrive(Arrival::Kind::kReset, fabric_.latency());
  } else if (!finished_) {
    peer_->arrive(Arrival::Kind::kEnd, fabric_.latency());
  }
}

void SimStream::connect() {
  fabric_.note("connect", *this);
  arrive(Arrival::Kind::kAnswer, fabric_.latency() + fabric_.latency());
}

void SimStream::join(SimStream& peer) {
  peer_ = &peer;
  peer.peer_ = this;
  if (!fabric_.chance(fabric_.faults_.reset)) return;
  const auto within = static_cast<uint64_t>(fabric_.faults_.reset_within.count());
  reset_at_ = fabric_.loop_.now() + Duration(fabric_.random_.below(within + 1));
}

IoResult SimStream::read(std::span<char> into) {
  const std::size_t waiting = received_.size() - taken_;
  if (waiting == 0 && state_ == State::kBroken) return {IoResult::State::kError};
  if (waiting == 0) {
    end_read_ = ended_;
    return {ended_ ? IoResult::State::kEnd : IoResult::State::kWait};
  }
  std::size_t count = std::min(waiting, into.size());
  if (count == 0) return {IoResult::State::kWait};
  if (fabric_.chance(fabric_.faults_.short_read)) count = 1 + fabric_.random_.below(count);
  std::copy_n(received_.data() + taken_, count, into.data());
  taken_ += count;
  unread_ -= count;
  if (taken_ == received_.size()) {
    received_.clear();
    taken_ = 0;
  }
  if (peer_ != nullptr && peer_->wants_to_write_) {
    peer_->wants_to_write_ = false;
    peer_->tell_writable_ = true;
    peer_->plan();
  }
  return {IoResult::State::kDone, count};
}

std::size_t SimStream::room() const {
  // Bytes to an end that is gone vanish; its reset is on the way.
  if (peer_ == nullptr) return fabric_.faults_.pipe_capacity;
  return fabric_.faults_.pipe_capacity - std::min(fabric_.faults_.pipe_capacity, peer_->unread_);
}

IoResult SimStream::write(std::span<const std::string_view> pieces) {
  if (state_ == State::kBroken) return {IoResult::State::kError};
  if (state_ != State::kOpen) return {IoResult::State::kWait};
  CHECK(!finished_);
  std::string bytes;
  for (const std::string_view piece : pieces) bytes += piece;
  const std::size_t wanted = bytes.size();
  std::size_t count = std::min(wanted, room());
  if (count > 0 && fabric_.chance(fabric_.faults_.short_write)) {
    count = 1 + fabric_.random_.below(count);
  }
  if (count < wanted) {
    wants_to_write_ = true;
    // A short write by chance, not by a full pipe: there is room again at once.
    if (room() > count) {
      wants_to_write_ = false;
      tell_writable_ = true;
      plan();
    }
  }
  if (count == 0) return {IoResult::State::kWait};
  bytes.resize(count);
  fabric_.note("sends", *this, count);
  if (peer_ != nullptr) {
    peer_->unread_ += count;
    peer_->arrive(Arrival::Kind::kBytes, fabric_.latency(), std::move(bytes));
  } else {
    arrive(Arrival::Kind::kReset, fabric_.latency());
  }
  return {IoResult::State::kDone, count};
}

IoResult SimStream::read_into(KernelPipe& pipe, std::size_t most) {
  std::string bytes(std::min(most, KernelPipe::kPutAtMost), '\0');
  const IoResult got = read(bytes);
  if (got.bytes > 0) pipe.put(std::string_view(bytes).substr(0, got.bytes));
  return got;
}

IoResult SimStream::write_from(KernelPipe& pipe) {
  const std::string bytes = pipe.take();
  const std::string_view piece = bytes;
  const IoResult wrote = write({&piece, 1});
  if (wrote.bytes < bytes.size()) pipe.put(piece.substr(wrote.bytes));
  return wrote;
}

void SimStream::finish_writing() {
  if (state_ != State::kOpen || finished_) return;
  finished_ = true;
  if (peer_ != nullptr) peer_->arrive(Arrival::Kind::kEnd, fabric_.latency());
}

void SimStream::pause_reading(bool paused) {
  paused_ = paused;
  plan();
}

void SimStream::break_now(const char* why) {
  if (state_ == State::kBroken) return;
  fabric_.note(why, *this);
  state_ = State::kBroken;
  why_ = why;
  // As on a socket: what has arrived can still be read.
  arrivals_.clear();
  unread_ = received_.size() - taken_;
  tell_broken_ = true;
  plan();
}

void SimStream::arrive(Arrival::Kind kind, Duration after, std::string bytes) {
  if (state_ == State::kBroken) return;
  // In order: what was sent later does not overtake.
  last_arrival_ = std::max(last_arrival_, fabric_.loop_.now() + after);
  arrivals_.push_back({last_arrival_, kind, std::move(bytes)});
  plan();
}

void SimStream::fire() {
  const TimePoint now = loop_.now();
  if (reset_at_ && *reset_at_ <= now) {
    reset_at_.reset();
    if (peer_ != nullptr) peer_->break_now("connection reset by the network");
    break_now("connection reset by the network");
  }
  while (!arrivals_.empty() && arrivals_.front().when <= now) {
    if (fabric_.parted(info_.local, info_.remote)) {
      arrivals_.front().when = now + SimFabric::kRetransmit;
      last_arrival_ = std::max(last_arrival_, arrivals_.front().when);
      break;
    }
    Arrival arrival = std::move(arrivals_.front());
    arrivals_.pop_front();
    take(arrival);
  }
  tell();
  plan();
}

void SimStream::take(Arrival& arrival) {
  switch (arrival.kind) {
    case Arrival::Kind::kAnswer: return answer_connect();
    case Arrival::Kind::kBytes:
      fabric_.note("bytes", *this, arrival.bytes.size());
      received_ += arrival.bytes;
      return;
    case Arrival::Kind::kEnd:
      fabric_.note("end", *this);
      ended_ = true;
      return;
    case Arrival::Kind::kReset: return break_now("connection reset by peer");
  }
}

void SimStream::answer_connect() {
  const auto captured = fabric_.captured_.find(info_.remote);
  const bool is_captured = captured != fabric_.captured_.end();
  SimAcceptor* acceptor = fabric_.acceptor_at(is_captured ? captured->second : info_.remote);
  if (acceptor == nullptr || fabric_.dead(info_.remote) || fabric_.dead(info_.local) ||
      fabric_.chance(fabric_.faults_.refuse)) {
    return break_now("connection refused");
  }
  if (acceptor->paused()) return arrive(Arrival::Kind::kAnswer, SimFabric::kRetransmit);
  fabric_.note("accept", *this);
  auto accepted = std::make_unique<SimStream>(fabric_, info_.remote, info_.local, false);
  accepted->info_.captured = is_captured;
  join(*accepted);
  accepted->start(Duration(0));
  state_ = State::kOpening;
  acceptor->handler().on_accept(std::move(accepted));
}

// From the top of the loop. The watcher does not destroy this stream in here.
void SimStream::tell() {
  if (watcher_ == nullptr) return;
  if (state_ == State::kOpening) {
    state_ = State::kOpen;
    opened_ = true;
    fabric_.note("open", *this);
    watcher_->on_open();
  }
  const bool was_broken = state_ == State::kBroken;
  if (was_broken && !tell_broken_) return;
  // A reader finds out by reading, after what had arrived; only who cannot read has to be told.
  const bool reader = opened_ && !paused_;
  if (was_broken) {
    tell_broken_ = reader && taken_ < received_.size();
    tell_writable_ = false;
  }
  if (was_broken && !reader) return watcher_->on_broken();
  const bool readable = was_broken || taken_ < received_.size() || ended_;
  if (readable && !paused_) watcher_->on_readable();
  if (std::exchange(tell_writable_, false) && state_ == State::kOpen) watcher_->on_writable();
}

// Sets the timer to the next thing that happens here.
void SimStream::plan() {
  const TimePoint now = loop_.now();
  std::optional<TimePoint> next;
  const auto at = [&](TimePoint when) { next = next ? std::min(*next, when) : when; };
  if (!arrivals_.empty()) at(arrivals_.front().when);
  if (reset_at_ && state_ != State::kBroken) at(*reset_at_);
  if (state_ == State::kOpening || tell_writable_) at(now);
  const bool bytes = taken_ < received_.size();
  if (tell_broken_) at(bytes ? now + kTellAgain : now);
  const bool unread = bytes || (ended_ && !end_read_);
  if (state_ == State::kOpen && !paused_ && unread) at(now + kTellAgain);
  if (next) {
    start(*next - now);
  } else {
    stop();
  }
}

Error SimStream::error() const {
  const bool connecting = outgoing_ && !opened_;
  return Error(connecting ? ErrorKind::kConnectFailed : ErrorKind::kReset,
               outgoing_ ? Fault::kUpstream : Fault::kDownstream,
               cat(connecting ? "connect " : "read from ", info_.remote.text(), ": ", why_),
               connecting ? Retry::kSafe : Retry::kNo);
}

}  // namespace glia
