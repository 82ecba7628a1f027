#include "proxy/flow/shadow.h"

#include <algorithm>
#include <deque>
#include <string>

#include "proxy/base/pool.h"
#include "proxy/base/text.h"
#include "proxy/flow/deadline.h"
#include "proxy/flow/kept_body.h"
#include "proxy/http/syntax.h"
#include "proxy/telemetry/tally.h"

namespace glia {
namespace {

// "host-shadow:80"; an IP address in brackets stays.
std::string marked(std::string_view authority) {
  if (authority.starts_with('[')) return std::string(authority);
  const std::string_view host = host_of(authority);
  return cat(host, "-shadow", authority.substr(host.size()));
}

// A body in pieces of a byte takes more room than its bytes.
std::size_t cost_of(const Slice& piece) { return std::max(piece.size(), KeptBody::kLeastCost); }

// Nothing in it belongs to the original, which may end first.
Request copy_of(const Request& from, bool mark_host) {
  const ArenaRef arena = ArenaRef::create();
  Request copy(arena);
  copy.method = arena->copy(from.method);
  copy.scheme = arena->copy(from.scheme);
  copy.authority = arena->copy(mark_host ? marked(from.authority) : std::string(from.authority));
  copy.path = arena->copy(from.path);
  copy.trailers_accepted = from.trailers_accepted;
  for (const Field& field : from.headers.fields()) {
    copy.headers.add_kept(arena->copy(field.name), arena->copy(field.value), field.unique);
  }
  return copy;
}

}  // namespace

// The body of a copy: what its original gave and the copy has not sent yet.
class Shadows::Copy final : public Body {
 public:
  Copy(Shadows& shadows, ArenaRef arena, std::optional<uint64_t> length)
      : shadows_(shadows), trailers_(std::move(arena)), length_(length) {}
  ~Copy() override;
  void source(Tee* source) { source_ = source; }

  // The original's body gave this.
  void see(const Piece& piece, const Body& from);
  // No more will come.
  void cut_off(std::string why);

  Piece poll() override;
  void wait(Waiter& waiter) override { slot_.put(waiter); }
  const Headers* trailers() const override { return trailers_.empty() ? nullptr : &trailers_; }
  std::optional<uint64_t> length() const override { return length_; }
  Error error() const override { return Error(ErrorKind::kReset, Fault::kDownstream, why_); }

 private:
  void keep(const Slice& data);

  Shadows& shadows_;
  Tee* source_ = nullptr;  // Null once it has ended.
  std::deque<Slice> pieces_;
  std::size_t behind_ = 0;  // What pieces_ cost.
  Headers trailers_;
  std::optional<uint64_t> length_;
  std::string why_;  // Not empty: it was cut off.
  WaitSlot slot_;
  bool complete_ = false;
};

// The original's body, which shows a copy what it gives.
class Shadows::Tee final : public Body {
 public:
  Tee(std::unique_ptr<Body> from, Copy& to) : from_(std::move(from)), to_(&to) { to.source(this); }
  static void* operator new(std::size_t bytes) { return pool_allocate(bytes); }
  static void operator delete(void* at, std::size_t bytes) { pool_free(at, bytes); }
  ~Tee() override {
    if (to_ != nullptr) to_->cut_off("the request that was copied broke off");
  }
  void forget_copy() { to_ = nullptr; }

  Piece poll() override {
    Piece piece = from_->poll();
    if (to_ != nullptr && piece.state != State::kPending) to_->see(piece, *from_);
    return piece;
  }
  void wait(Waiter& waiter) override { from_->wait(waiter); }
  const Headers* trailers() const override { return from_->trailers(); }
  std::optional<uint64_t> length() const override { return from_->length(); }
  Error error() const override { return from_->error(); }

 private:
  std::unique_ptr<Body> from_;
  Copy* to_;
};

Shadows::Copy::~Copy() {
  if (source_ != nullptr) source_->forget_copy();
}

void Shadows::Copy::cut_off(std::string why) {
  if (source_ != nullptr) std::exchange(source_, nullptr)->forget_copy();
  why_ = std::move(why);
  pieces_.clear();
  slot_.wake(shadows_.context_.loop.ready());
}

void Shadows::Copy::see(const Piece& piece, const Body& from) {
  if (piece.state == State::kError) return cut_off("the request that was copied broke off");
  if (piece.state == State::kData) return keep(piece.data);
  if (from.trailers() != nullptr) {
    for (const Field& field : from.trailers()->fields()) trailers_.add(field.name, field.value);
  }
  complete_ = true;
  std::exchange(source_, nullptr)->forget_copy();
  slot_.wake(shadows_.context_.loop.ready());
}

void Shadows::Copy::keep(const Slice& data) {
  const std::size_t cost = cost_of(data);
  if (behind_ + cost > kMostBehind) {
    ++shadows_.overflow_;
    return cut_off("the copy fell too far behind its original");
  }
  pieces_.push_back(data.wastes_block() ? Slice::copy(data.view()) : data);
  behind_ += cost;
  slot_.wake(shadows_.context_.loop.ready());
}

Body::Piece Shadows::Copy::poll() {
  if (!why_.empty()) return {State::kError, {}};
  if (pieces_.empty()) return {complete_ ? State::kEnd : State::kPending, {}};
  Piece piece{State::kData, std::move(pieces_.front())};
  pieces_.pop_front();
  behind_ -= cost_of(piece.data);
  return piece;
}

// One copy on its way, and its answer until that has ended.
class Shadows::Shadow final : public Reapable {
 public:
  // `pair`: where its answer is compared or counted; null: nobody does.
  Shadow(Shadows& shadows, Request request, std::string cluster, ShadowPair* pair)
      : shadows_(shadows),
        alarm_(shadows.context_.loop),
        request_(std::move(request)),
        cluster_(std::move(cluster)),
        pair_(pair) {}
  Request& request() { return request_; }

  void begin(Duration longest) {
    alarm_.start(longest);
    task_ = run();
    task_.start();
  }

 private:
  Task<void> run() {
    // Whether it was answered, which nobody asks but the counters.
    const std::optional<bool> answered = co_await until(alarm_, send());
    const bool whole = answered.value_or(false);
    if (!whole) ++shadows_.failed_;
    if (pair_ != nullptr) {
      pair_->copied.ended(whole ? ShadowedSide::End::kWhole : ShadowedSide::End::kBroken, took_);
      shadows_.pairs_.ended(*pair_);
    }
    shadows_.ended(*this);
  }

  Task<bool> send() {
    Cluster* cluster = shadows_.clusters_.find(cluster_);
    if (cluster == nullptr) co_return false;
    Tried tried;
    Result<Lease> lease = co_await cluster->lease(tried);
    if (!lease) co_return false;
    const TimePoint began = shadows_.context_.loop.now();
    const std::unique_ptr<Call> call = lease->connection().start(request_);
    const Result<Response> response = co_await head_of(*call);
    if (!response) co_return false;
    if (pair_ != nullptr) pair_->copied.head(*response);
    Body::State state = Body::State::kData;
    while (state != Body::State::kEnd && state != Body::State::kError) {
      const Body::Piece piece = co_await next(*call);
      state = piece.state;
      if (pair_ != nullptr && state == Body::State::kData) pair_->copied.data(piece.data.view());
    }
    took_ = shadows_.context_.loop.now() - began;
    ClusterStats& stats = lease->endpoint().cluster().stats();
    ++stats.by_class[response->status / 100];
    stats.time.record(took_);
    co_return state == Body::State::kEnd;
  }

  Shadows& shadows_;
  TimeLimit alarm_;
  Request request_;
  std::string cluster_;
  ShadowPair* const pair_;  // Until its end is told.
  Duration took_{0};
  Task<void> task_;  // Ends before what it uses.
};

Shadows::Shadows(MeshContext& context, ClusterMap& clusters)
    : context_(context), clusters_(clusters), pairs_(context) {}

Shadows::~Shadows() = default;

bool Shadows::asked_for(const Route& route, const Mirror& mirror) const {
  return route.compare != nullptr ||
         (context_.tallies != nullptr && context_.tallies->find(mirror.cluster) != nullptr);
}

std::unique_ptr<ShadowedAnswer> Shadows::begin(Request& request, const Route& route) {
  std::unique_ptr<ShadowedAnswer> original;
  const ForwardAction& action = *route.forward;
  // What follows an upgrade is a conversation, of which a copy would hear one side.
  if (!request.upgrade.empty()) return original;
  const Duration longest = action.timeout > 0s ? std::min(action.timeout, kLongest) : kLongest;
  for (const Mirror& mirror : action.mirrors) {
    constexpr uint32_t kAll = 1'000'000;
    if (mirror.per_million < kAll && context_.random.below(kAll) >= mirror.per_million) continue;
    if (running_.size() >= kMost) {
      ++overflow_;
      continue;
    }
    ShadowPair* pair = nullptr;
    if (asked_for(route, mirror)) {
      if (original == nullptr) original = std::make_unique<ShadowedAnswer>(pairs_);
      pair = &pairs_.begin(mirror.cluster, route.compare, *original);
    }
    begin_one(request, mirror, longest, pair);
  }
  return original;
}

void Shadows::begin_one(Request& request, const Mirror& mirror, Duration longest,
                        ShadowPair* pair) {
  ++begun_;
  Request copy = copy_of(request, mirror.mark_host);
  if (request.body != nullptr) {
    auto body = std::make_unique<Copy>(*this, copy.headers.arena_ref(), request.body->length());
    request.body = std::make_unique<Tee>(std::move(request.body), *body);
    copy.body = std::move(body);
  }
  running_.push_back(std::make_unique<Shadow>(*this, std::move(copy), mirror.cluster, pair));
  running_.back()->begin(longest);
}

void Shadows::ended(Shadow& shadow) {
  const auto place = std::ranges::find(running_, &shadow, &std::unique_ptr<Shadow>::get);
  // It is on the stack.
  context_.loop.reap(std::move(*place));
  running_.erase(place);
}

void Shadows::collect(MetricsPage& page, const Labels& labels) const {
  page.counter("glia_http_shadow_rq_total", labels, begun_);
  page.counter("glia_http_shadow_rq_failed", labels, failed_);
  page.counter("glia_http_shadow_rq_overflow", labels, overflow_);
  pairs_.collect(page, labels);
  page.gauge("glia_http_shadow_rq_active", labels, static_cast<int64_t>(running_.size()));
}

}  // namespace glia
