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

// One request after the other.
class Fleet::Lane {
 public:
  Lane(Fleet& fleet, Link& link) : fleet_(fleet), link_(link), task_(run()) { task_.start(); }
  void go() { go_.wake(fleet_.loop_.ready()); }

 private:
  Task<void> run() {
    for (;;) {
      co_await wait_in(go_);
      while (fleet_.take()) {
        const TimePoint began = fleet_.loop_.clock().now();
        const Result<void> outcome = co_await ask();
        if (outcome) {
          fleet_.answered(fleet_.loop_.clock().now() - began);
        } else {
          fleet_.failed(outcome.error().message());
          if (link_.connection() == nullptr) break;
        }
      }
      fleet_.lane_parked();
    }
  }

  Task<Result<void>> ask() {
    Request request(ArenaRef::create());
    request.method = "GET";
    request.scheme = fleet_.plan_.tls != nullptr ? "https" : "http";
    request.authority = "bench.example";
    request.path = "/v1/models/ticket/infer";
    request.headers.add_kept("user-agent", "glia-bench/1");
    request.headers.add_kept("accept", "*/*");
    request.headers.add_kept("x-tenant", "blue");
    while (link_.connection() != nullptr && link_.connection()->capacity() == 0) {
      co_await link_.room(room_);
    }
    if (link_.connection() == nullptr) co_return invalid(cat(fleet_.broken_));
    const std::unique_ptr<Call> call = link_.connection()->start(request);
    CO_TRY(const Response response, co_await head_of(*call));
    uint64_t bytes = 0;
    for (;;) {
      const Body::Piece piece = co_await next(*call);
      if (piece.state == Body::State::kError) co_return call->error();
      if (piece.state == Body::State::kEnd) break;
      bytes += piece.data.size();
    }
    if (response.status != 200) co_return invalid(cat("the answer's status is ", response.status));
    if (bytes != fleet_.plan_.body_bytes) {
      co_return invalid(cat("the answer has ", bytes, " bytes, not ", fleet_.plan_.body_bytes));
    }
    co_return Result<void>();
  }

  Fleet& fleet_;
  Link& link_;
  WaitSlot go_;
  WaitSlot room_;
  Task<void> task_;  // Last: destroyed first.
};

Fleet::Fleet(EventLoop& loop, Network& network, FleetPlan plan, Owner& owner)
    : loop_(loop),
      plan_(std::move(plan)),
      owner_(owner),
      settled_(loop, [this] { settle(); }),
      patience_(loop, [this] { give_up(); }) {
  options_.codec = plan_.codec;
  patience_.start(kPatience);
  for (uint64_t i = 0; i < plan_.connections; ++i) {
    std::unique_ptr<Stream> stream = network.connect(plan_.address);
    if (plan_.tls != nullptr) stream = plan_.tls->wrap(loop, std::move(stream), kPatience);
    links_.push_back(std::make_unique<Link>(*this, std::move(stream)));
  }
  for (const auto& link : links_) {
    for (uint64_t i = 0; i < plan_.streams; ++i) {
      lanes_.push_back(std::make_unique<Lane>(*this, *link));
    }
  }
  parked_ = lanes_.size();
}

Fleet::~Fleet() = default;

void Fleet::send(uint64_t count) {
  CHECK(!busy_ && !connecting_);
  busy_ = true;
  report_ = FleetReport();
  report_.asked = count;
  begun_ = 0;
  parked_ = 0;
  latencies_.clear();
  latencies_.reserve(count);
  patience_.start(kPatience);
  started_ = loop_.clock().now();
  for (const auto& lane : lanes_) lane->go();
}

bool Fleet::take() {
  if (begun_ == report_.asked) return false;
  ++begun_;
  return true;
}

void Fleet::answered(Duration latency) {
  ++report_.answered;
  latencies_.push_back(latency);
}

void Fleet::failed(const std::string& sentence) {
  ++report_.errors;
  if (report_.first_error.empty()) report_.first_error = sentence;
}

void Fleet::link_opened() {
  if (++opened_ == plan_.connections) settled_.start(0s);
}

void Fleet::link_broken(const std::string& sentence) {
  if (broken_.empty()) broken_ = sentence;
  if (connecting_) settled_.start(0s);
}

void Fleet::lane_parked() {
  if (++parked_ == lanes_.size()) settled_.start(0s);
}

void Fleet::give_up() {
  if (!connecting_ && !busy_) return;
  if (broken_.empty()) broken_ = cat("no end after ", to_ms(kPatience) / 1000, " s");
  settle();
}

void Fleet::settle() {
  patience_.stop();
  if (std::exchange(connecting_, false)) {
    return owner_.on_connected(broken_.empty() ? Result<void>() : Result<void>(invalid(broken_)));
  }
  if (!std::exchange(busy_, false)) return;
  report_.seconds = to_seconds(loop_.clock().now() - started_);
  // What no lane was left to ask for, and what was still on its way.
  report_.errors = report_.asked - report_.answered;
  if (report_.errors > 0 && report_.first_error.empty()) report_.first_error = broken_;
  std::sort(latencies_.begin(), latencies_.end());
  if (!latencies_.empty()) {
    const std::size_t last = latencies_.size() - 1;
    report_.p50_us = to_seconds(latencies_[last / 2]) * 1e6;
    report_.p99_us = to_seconds(latencies_[last * 99 / 100]) * 1e6;
  }
  owner_.on_sent(report_);
}

}  // namespace glia
