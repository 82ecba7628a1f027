#include "test/bench/fleet.h"

#include <algorithm>

#include "proxy/base/text.h"

namespace glia {

// One connection.
class Fleet::Link final : private ClientConnection::Owner {
 public:
  Link(Fleet& fleet, std::unique_ptr<Stream> stream) : fleet_(fleet) {
    connection_ = connect_http(fleet.loop_, std::move(stream), fleet.options_, *this, fleet.stats_);
  }
  ~Link() override {
    if (connection_ != nullptr) fleet_.loop_.reap(std::move(connection_));
  }

  ClientConnection* connection() { return connection_.get(); }  // Null once broken.
  // Sleeps until there may be room for a call.
  WaitIn room(WaitSlot& slot) {
    waiting_.push_back(&slot);
    return wait_in(slot);
  }

 private:
  void on_connected(ClientConnection& connection) override {
    const TlsInfo* const tls = connection.info().tls;
    const std::string_view wanted = fleet_.options_.codec == Codec::kHttp2 ? "h2" : "http/1.1";
    if (tls != nullptr && (tls->alpn != wanted || tls->version != "TLSv1.3")) {
      return fleet_.link_broken(cat("the proxy chose ", tls->version, " and ALPN '", tls->alpn,
                                    "' instead of TLSv1.3 and ", wanted));
    }
    fleet_.link_opened();
  }
  void on_capacity(ClientConnection&) override { wake(); }
  void on_finished(ClientConnection&, const Error& error) override {
    fleet_.loop_.reap(std::move(connection_));
    fleet_.link_broken(cat("a connection was lost: ", error.message()));
    wake();
  }
  void wake() {
    for (WaitSlot* slot : std::exchange(waiting_, {})) slot->wake(fleet_.loop_.ready());
  }

  Fleet& fleet_;
  std::unique_ptr<ClientConnection> connection_;
  std::vector<WaitSlot*> waiting_;
};

// One errand after the other.
class Fleet::Lane {
 public:
  Lane(Fleet& fleet, Link& link) : fleet_(fleet), link_(link), task_(run()) { task_.start(); }
  void go() { go_.wake(fleet_.loop_.ready()); }
  bool alive() const { return link_.connection() != nullptr; }

 private:
  Task<void> run() {
    for (;;) {
      co_await wait_in(go_);
      while (alive()) {
        const auto began = fleet_.take();
        if (!began) break;
        const Result<void> outcome = co_await ask(*began);
        if (outcome) {
          fleet_.answered();
        } else {
          fleet_.failed(outcome.error().message());
        }
        if (fleet_.mode_ == Mode::kTouch) break;
      }
      fleet_.lane_parked(*this);
    }
  }

  Task<Result<void>> ask(TimePoint began) {
    while (alive() && link_.connection()->capacity() == 0) co_await link_.room(room_);
    if (!alive()) co_return invalid(cat(fleet_.broken_));
    co_return co_await run_errand(*link_.connection(), fleet_.plan_.errand,
                                  fleet_.plan_.tls != nullptr ? "https" : "http", began,
                                  fleet_.loop_.clock(), fleet_.samples_);
  }

  Fleet& fleet_;
  Link& link_;
  WaitSlot go_;
  WaitSlot room_;
  Task<void> task_;  // Last: destroyed first.
};

Fleet::Fleet(EventLoop& loop, Network& network, FleetPlan plan, Owner& owner)
    : loop_(loop),
      network_(network),
      plan_(std::move(plan)),
      owner_(owner),
      pacer_(loop, [this] { schedule(); }),
      settled_(loop, [this] { settle(); }),
      patience_(loop, [this] { give_up(); }) {
  options_.codec = plan_.codec;
  options_.limits.stream_window = kStreamWindow;
  options_.limits.connection_window = kConnectionWindow;
  patience_.start(kConnectPatience);
  open_links();
}

Fleet::~Fleet() = default;

void Fleet::open_links() {
  while (links_.size() < plan_.connections && links_.size() < opened_ + kAtOnce) {
    std::unique_ptr<Stream> stream = network_.connect(plan_.address);
    if (plan_.tls != nullptr) stream = plan_.tls->wrap(loop_, std::move(stream), kConnectPatience);
    links_.push_back(std::make_unique<Link>(*this, std::move(stream)));
    for (uint64_t i = 0; i < plan_.streams; ++i) {
      lanes_.push_back(std::make_unique<Lane>(*this, *links_.back()));
    }
  }
}

void Fleet::begin(Mode mode, uint64_t count) {
  CHECK(mode_ == Mode::kNone);
  mode_ = mode;
  report_ = FleetReport();
  report_.asked = count;
  begun_ = 0;
  samples_.clear();
  patience_.start(kPatience);
  started_ = loop_.clock().now();
}

void Fleet::send(uint64_t count) {
  begin(Mode::kClosed, count);
  running_ = lanes_.size();
  for (const auto& lane : lanes_) lane->go();
}

void Fleet::send_open(uint64_t count, double rate) {
  begin(Mode::kOpen, count);
  gap_ = std::exponential_distribution<double>(rate);
  scheduled_ = 0;
  due_.clear();
  idle_.clear();
  for (const auto& lane : lanes_) idle_.push_back(lane.get());
  next_due_ = started_;
  schedule();
}

void Fleet::touch() {
  begin(Mode::kTouch, lanes_.size());
  next_lane_ = std::min(kAtOnce, lanes_.size());
  running_ = next_lane_;
  for (std::size_t i = 0; i < next_lane_; ++i) lanes_[i]->go();
}

// Open loop: what has become due until now, and when to look again.
void Fleet::schedule() {
  if (mode_ != Mode::kOpen) return;
  const TimePoint now = loop_.clock().now();
  for (; scheduled_ < report_.asked && next_due_ <= now; ++scheduled_) {
    due_.push_back(next_due_);
    next_due_ += Duration(static_cast<int64_t>(gap_(random_) * 1e9));
  }
  give_out();
  if (scheduled_ < report_.asked) pacer_.start(next_due_);
}

void Fleet::give_out() {
  for (std::size_t waiting = due_.size(); waiting > 0 && !idle_.empty(); --waiting) {
    ++running_;
    idle_.front()->go();
    idle_.pop_front();
  }
}

std::optional<TimePoint> Fleet::take() {
  if (begun_ == report_.asked) return {};
  if (mode_ == Mode::kOpen) {
    if (due_.empty()) return {};
    const TimePoint began = due_.front();
    due_.pop_front();
    ++begun_;
    return began;
  }
  ++begun_;
  return loop_.clock().now();
}

void Fleet::failed(const std::string& sentence) {
  ++report_.errors;
  if (report_.first_error.empty()) report_.first_error = sentence;
}

void Fleet::link_opened() {
  if (++opened_ == plan_.connections) return settled_.start(0s);
  open_links();
}

void Fleet::link_broken(const std::string& sentence) {
  if (broken_.empty()) broken_ = sentence;
  if (mode_ == Mode::kConnecting) settled_.start(0s);
}

void Fleet::lane_parked(Lane& lane) {
  --running_;
  if (mode_ == Mode::kOpen && lane.alive()) idle_.push_back(&lane);
  if (mode_ == Mode::kTouch && next_lane_ < lanes_.size()) {
    ++running_;
    return lanes_[next_lane_++]->go();
  }
  if (running_ > 0) return;
  const bool over = mode_ != Mode::kOpen || begun_ == report_.asked || idle_.empty();
  if (over && mode_ != Mode::kNone) settled_.start(0s);
}

void Fleet::give_up() {
  if (mode_ == Mode::kNone) return;
  const Duration limit = mode_ == Mode::kConnecting ? kConnectPatience : kPatience;
  if (broken_.empty()) {
    broken_ = cat(opened_, " of ", plan_.connections, " connections are open, ", report_.answered,
                  " errands done after ", to_ms(limit) / 1000, " s");
  }
  settle();
}

void Fleet::settle() {
  patience_.stop();
  pacer_.stop();
  const Mode ended = std::exchange(mode_, Mode::kNone);
  if (ended == Mode::kNone) return;
  if (ended == Mode::kConnecting) {
    return owner_.on_connected(broken_.empty() ? Result<void>() : Result<void>(invalid(broken_)));
  }
  report_.seconds = to_seconds(loop_.clock().now() - started_);
  // What no lane was left to ask for, and what was still on its way.
  report_.errors = report_.asked - report_.answered;
  if (report_.errors > 0 && report_.first_error.empty()) report_.first_error = broken_;
  std::sort(samples_.begin(), samples_.end());
  report_.samples = samples_.size();
  if (!samples_.empty()) {
    const std::size_t last = samples_.size() - 1;
    report_.p50_us = to_seconds(samples_[last / 2]) * 1e6;
    report_.p99_us = to_seconds(samples_[last * 99 / 100]) * 1e6;
  }
  owner_.on_sent(report_);
}

}  // namespace glia
