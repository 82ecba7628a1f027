#include "proxy/net/loop.h"

#include <algorithm>
#include <utility>

namespace glia {

void Timer::start(Duration delay) { loop_.start_timer(*this, delay); }

void Timer::stop() {
  if (running()) loop_.stop_timer(*this);
}

void Flushable::forget() {
  if (marked_in_ == nullptr) return;
  // Replaced rather than erased: the loop may be walking the list.
  std::replace(marked_in_->marked_.begin(), marked_in_->marked_.end(), this,
               static_cast<Flushable*>(nullptr));
  std::replace(marked_in_->produced_.begin(), marked_in_->produced_.end(), this,
               static_cast<Flushable*>(nullptr));
  marked_in_ = nullptr;
  to_produce_ = to_flush_ = false;
}

EventLoop::EventLoop(std::unique_ptr<LoopBackend> backend)
    : backend_(std::move(backend)), now_(backend_->clock().now()) {}

EventLoop::~EventLoop() {
  destroy_reaped();
  // What was posted may own connections and timers, which look at the members below.
  posted_.clear();
  destroy_reaped();
  for (Timer* timer : timers_) timer->index_ = Timer::kNotRunning;
  for (auto* list : {&marked_, &produced_}) {
    for (Flushable* flushable : *list) {
      if (flushable != nullptr) flushable->marked_in_ = nullptr;
    }
  }
  for (auto& blocks : read_blocks_) {
    for (Block* block : blocks) {
      if (block != nullptr) block->release();
    }
  }
}

void EventLoop::run() {
  while (true) {
    {
      const std::lock_guard lock(posted_mutex_);
      if (std::exchange(stopping_, false)) return;
    }
    turn(Duration(-1));
  }
}

void EventLoop::turn(Duration longest) {
  backend_->wait(before_wait(longest));
  now_ = backend_->clock().now();
  full_reads_each_ = kFullReadsPerTurn / std::clamp(full_readers_, 1, kFullReadsPerTurn);
  full_readers_ = 0;
  backend_->dispatch();
  run_posted();
  fire_timers();
  finish_turn();
}

void EventLoop::stop() {
  bool sleeping;
  {
    const std::lock_guard lock(posted_mutex_);
    stopping_ = true;
    sleeping = std::exchange(waiting_, false);
  }
  if (sleeping) backend_->wake();
}

void EventLoop::post(std::function<void()> work) {
  bool sleeping;
  {
    const std::lock_guard lock(posted_mutex_);
    posted_.push_back(std::move(work));
    sleeping = std::exchange(waiting_, false);
  }
  // A loop that is awake, our own thread's among them, looks at the list before it sleeps.
  if (sleeping) backend_->wake();
}

// How long the backend may wait. From here on a post must wake it.
Duration EventLoop::before_wait(Duration longest) {
  const Duration timeout = time_to_next(longest);
  const std::lock_guard lock(posted_mutex_);
  if (!posted_.empty() || stopping_) return Duration(0);
  waiting_ = timeout != Duration(0);
  return timeout;
}

void EventLoop::run_posted() {
  std::vector<std::function<void()>> work;
  {
    const std::lock_guard lock(posted_mutex_);
    waiting_ = false;
    work.swap(posted_);
  }
  for (const auto& call : work) call();
}

void EventLoop::fire_timers() {
  // A timer that is started from here on is due after now_, so this ends.
  while (!timers_.empty() && timers_.front()->when_ <= now_) {
    Timer& timer = *timers_.front();
    stop_timer(timer);
    timer.fire();
  }
}

void EventLoop::finish_turn() {
  for (int round = 0; round < kRoundsPerTurn; ++round) {
    ready_.run();
    produce_marked();
    flush_produced();
    destroy_reaped();
    if (ready_.empty() && marked_.empty() && reaped_.empty()) return;
  }
}

void EventLoop::produce_marked() {
  // What producing marks is appended and has its turn in the next round, after the tasks.
  const std::size_t count = marked_.size();
  for (std::size_t i = 0; i < count; ++i) {
    Flushable* flushable = marked_[i];
    if (flushable == nullptr) continue;
    marked_[i] = nullptr;
    flushable->to_produce_ = false;
    if (!flushable->to_flush_) {
      flushable->to_flush_ = true;
      produced_.push_back(flushable);
    }
    flushable->produce();
  }
  marked_.erase(marked_.begin(), marked_.begin() + static_cast<std::ptrdiff_t>(count));
}

void EventLoop::flush_produced() {
  for (std::size_t i = 0; i < produced_.size(); ++i) {
    Flushable* flushable = produced_[i];
    if (flushable == nullptr) continue;
    produced_[i] = nullptr;
    flushable->to_flush_ = false;
    if (!flushable->to_produce_) flushable->marked_in_ = nullptr;
    flushable->flush();
  }
  produced_.clear();
}

void EventLoop::destroy_reaped() {
  while (!reaped_.empty()) {
    std::vector<std::unique_ptr<Reapable>> batch;
    batch.swap(reaped_);
  }
}

void EventLoop::mark(Flushable& flushable) {
  if (flushable.to_produce_) return;
  flushable.to_produce_ = true;
  flushable.marked_in_ = this;
  marked_.push_back(&flushable);
}

void EventLoop::reap(std::unique_ptr<Reapable> thing) { reaped_.push_back(std::move(thing)); }

Block& EventLoop::read_block(std::size_t bytes) {
  std::size_t size = 0;
  while (size + 1 < std::size(kReadBlockSizes) && kReadBlockSizes[size] < bytes) ++size;
  for (Block*& block : read_blocks_[size]) {
    if (block == nullptr) block = Block::create(kReadBlockSizes[size]);
    if (!block->shared()) return *block;
  }
  Block*& oldest = read_blocks_[size][next_block_[size]++ % kBlocksPerSize];
  oldest->release();
  oldest = Block::create(kReadBlockSizes[size]);
  return *oldest;
}

Duration EventLoop::time_to_next(Duration longest) const {
  if (!ready_.empty() || !marked_.empty() || !reaped_.empty()) return Duration(0);
  if (timers_.empty()) return longest;
  const Duration next = std::max(timers_.front()->when_ - backend_->clock().now(), Duration(0));
  return longest < Duration(0) ? next : std::min(next, longest);
}

void EventLoop::start_timer(Timer& timer, Duration delay) {
  // Never due in the turn that starts it, and never beyond the end of time.
  const Duration most = TimePoint::max() - now_;
  timer.when_ = now_ + std::clamp(delay, Duration(1), most);
  timer.order_ = ++timers_started_;
  if (!timer.running()) {
    timers_.push_back(&timer);
    timer.index_ = timers_.size() - 1;
    return heap_up(timer.index_);
  }
  heap_up(timer.index_);
  heap_down(timer.index_);
}

void EventLoop::stop_timer(Timer& timer) {
  const std::size_t index = std::exchange(timer.index_, Timer::kNotRunning);
  Timer* last = timers_.back();
  timers_.pop_back();
  if (last == &timer) return;
  heap_place(index, last);
  heap_up(index);
  heap_down(last->index_);
}

void EventLoop::heap_place(std::size_t index, Timer* timer) {
  timers_[index] = timer;
  timer->index_ = index;
}

bool EventLoop::earlier(const Timer& a, const Timer& b) {
  return a.when_ != b.when_ ? a.when_ < b.when_ : a.order_ < b.order_;
}

void EventLoop::heap_up(std::size_t index) {
  Timer* timer = timers_[index];
  while (index > 0) {
    const std::size_t parent = (index - 1) / 2;
    if (!earlier(*timer, *timers_[parent])) break;
    heap_place(index, timers_[parent]);
    index = parent;
  }
  heap_place(index, timer);
}

void EventLoop::heap_down(std::size_t index) {
  Timer* timer = timers_[index];
  while (true) {
    std::size_t child = 2 * index + 1;
    if (child >= timers_.size()) break;
    if (child + 1 < timers_.size() && earlier(*timers_[child + 1], *timers_[child])) ++child;
    if (!earlier(*timers_[child], *timer)) break;
    heap_place(index, timers_[child]);
    index = child;
  }
  heap_place(index, timer);
}

}  // namespace glia
