#include "filters/admission.h"

#include <algorithm>
#include <array>

#include "proxy/base/pool.h"
#include "proxy/base/text.h"
#include "proxy/flow/exchange.h"
#include "proxy/flow/model_ask.h"
#include "proxy/flow/model_refusal.h"
#include "proxy/flow/queued_stream.h"
#include "proxy/mesh/cluster.h"

namespace glia {
namespace {

using End = AdmissionQueue::End;

// Does a gRPC call end with an error, as these fields say?
bool failed(const Headers* fields) {
  if (fields == nullptr) return false;
  return fields->get("grpc-status").value_or("0") != "0";
}

// The answer, and the place at the application that it takes until it ends.
class AdmittedBody final : public Body {
 public:
  AdmittedBody(std::unique_ptr<Body> body, std::unique_ptr<AdmissionPlace> place, End how)
      : body_(std::move(body)), place_(std::move(place)), how_(how) {}
  static void* operator new(std::size_t bytes) { return pool_allocate(bytes); }
  static void operator delete(void* at, std::size_t bytes) { pool_free(at, bytes); }

  Piece poll() override {
    Piece piece = body_->poll();
    if (piece.state == State::kEnd) place_->end(failed(body_->trailers()) ? End::kAbandoned : how_);
    if (piece.state == State::kError) place_->end(End::kAbandoned);
    return piece;
  }
  std::optional<KernelPipe> poll_pipe() override { return body_->poll_pipe(); }
  void wait(Waiter& waiter) override { body_->wait(waiter); }
  const Headers* trailers() const override { return body_->trailers(); }
  std::optional<uint64_t> length() const override { return body_->length(); }
  Error error() const override { return body_->error(); }

 private:
  std::unique_ptr<Body> body_;  // Ends before the place does.
  std::unique_ptr<AdmissionPlace> place_;
  const End how_;
};

constexpr std::array<std::string_view, kAdmissionWhys> kReasons = {
    "queue_full", "tenant_share", "more_urgent", "deadline", "queue_wait"};

std::string_view reason_of(AdmissionWhy why) { return kReasons[static_cast<std::size_t>(why)]; }

std::string sentence_of(const AdmissionRefusal& facts, std::string_view tenant, bool waited) {
  const auto ms = [](Duration time) { return cat(to_ms(time), " ms"); };
  const std::string queue =
      cat("the queue of this application is full: ", facts.waiting, " requests wait");
  switch (facts.why) {
    case AdmissionWhy::kQueueFull: return queue;
    case AdmissionWhy::kShare:
      if (waited) {
        return cat(queue, ", and after ", ms(facts.wait), " the place of this one of ", tenant,
                   ", which has ", facts.of_tenant, " of them, was given to a tenant with fewer");
      }
      return cat(queue, ", and no tenant has more of them than ", tenant, ", which has ",
                 facts.of_tenant);
    case AdmissionWhy::kUrgent:
      return cat(queue, ", and after ", ms(facts.wait),
                 " the place of this one was given to a more urgent one");
    case AdmissionWhy::kDeadline:
      if (waited) {
        return cat("after ", ms(facts.wait), " in the queue the work would take ", ms(facts.work),
                   " more, and the caller waits only ", ms(facts.left));
      }
      return cat("the answer would come in ", ms(facts.wait + facts.work), " (", ms(facts.wait),
                 " in the queue with ", facts.waiting, " requests, ", ms(facts.work),
                 " of work), and the caller waits only ", ms(facts.left));
    case AdmissionWhy::kWait:
      if (waited) return cat("its turn did not come within ", ms(facts.wait), " (wait)");
      return cat("its turn would come in ", ms(facts.wait), ", behind ", facts.waiting,
                 " requests, and none may wait so long (wait)");
  }
  CHECK(!"unknown reason of a refusal");
}

// What callers are told of this server's load counts those that wait for it here.
class CountedAtServer {
 public:
  explicit CountedAtServer(const Exchange& exchange) {
    const Route* const route = exchange.route();
    if (route == nullptr || !route->forward) return;
    const Cluster* const cluster =
        exchange.site().clusters().find(route->forward->clusters.front().cluster);
    if (cluster == nullptr || cluster->config().server_load == nullptr) return;
    load_ = cluster->config().server_load;
    load_->waits(1);
  }
  CountedAtServer(const CountedAtServer&) = delete;
  ~CountedAtServer() {
    if (load_ != nullptr) load_->waits(-1);
  }

 private:
  std::shared_ptr<const ServerLoad> load_;
};

class BeatAlarm final : public Alarm {
 public:
  BeatAlarm(EventLoop& loop, Duration after) : Alarm(loop) { start(after); }

 private:
  void fire() override { ring(); }
};

std::shared_ptr<const AdmissionDesk> desk_of(const AdmissionConfig& config,
                                             const std::shared_ptr<const AdmissionDesk>* before) {
  if (config.desk != nullptr) return config.desk;
  return before != nullptr ? *before : std::make_shared<const AdmissionDesk>();
}

}  // namespace

// Counts a wait, however it ends.
class AdmissionFilter::Waiting {
 public:
  Waiting(const AdmissionDesk& desk, const Exchange& exchange, const AdmissionPlace& place)
      : desk_(desk),
        exchange_(exchange),
        place_(place),
        began_(exchange.loop().now()),
        counted_(exchange) {}
  Waiting(const Waiting&) = delete;
  ~Waiting() {
    const Duration waited = exchange_.loop().now() - began_;
    desk_.count([&](AdmissionCounts& counts) {
      counts.wait.record(waited);
      if (!place_.decided()) ++counts.left;
    });
  }

 private:
  const AdmissionDesk& desk_;
  const Exchange& exchange_;
  const AdmissionPlace& place_;
  const TimePoint began_;
  const CountedAtServer counted_;
};

AdmissionFilter::AdmissionFilter(std::shared_ptr<const AdmissionConfig> config,
                                 const AdmissionFilter* before)
    : config_(std::move(config)),
      desk_(desk_of(*config_, before != nullptr ? &before->desk_ : nullptr)) {
  desk_->limits(*config_);
  if (before != nullptr && before->desk_ == desk_) desk_->teller().replace(before, this);
}

AdmissionFilter::~AdmissionFilter() { desk_->teller().leave(this); }

Task<Reply> AdmissionFilter::handle(Exchange& exchange, Next next) {
  if (!asks_for_work(exchange, *config_)) co_return co_await next(exchange);
  const std::string tenant = tenant_of(exchange, config_->tenants);
  const TimePoint now = exchange.loop().now();
  const std::optional<TimePoint> deadline = deadline_of(exchange);
  Duration longest = config_->wait;
  if (deadline) longest = std::clamp<Duration>(*deadline - now, 0s, longest);
  auto place = std::make_unique<AdmissionPlace>(desk_, exchange.loop());
  place->ask({.tenant = tenant,
              .priority = priority_of(exchange),
              .cost = cost_of(exchange, *config_),
              .deadline = deadline},
             longest);
  const bool beats = config_->heartbeat > 0s && !place->decided() && QueuedStream::suits(exchange);
  // What has begun as events in clear cannot go on compressed.
  if (beats) exchange.request().headers.remove("accept-encoding");
  Task<Reply> turn = take_turn(exchange, next, std::move(place), tenant);
  if (!beats) co_return co_await turn;
  turn.start();
  {
    BeatAlarm alarm(exchange.loop(), config_->heartbeat);
    co_await either<Reply>(turn, nullptr, &alarm);
  }
  // A wait shorter than a heartbeat is not heard of.
  if (turn.done()) co_return turn.take();
  desk_->count([](AdmissionCounts& counts) { ++counts.begun_early; });
  co_return QueuedStream::head(
      exchange, std::make_unique<QueuedStream>(exchange, std::move(turn), config_->heartbeat));
}

Task<Reply> AdmissionFilter::take_turn(Exchange& exchange, Next next,
                                       std::unique_ptr<AdmissionPlace> place, std::string tenant) {
  if (!place->decided()) {
    const Waiting waiting(*desk_, exchange, *place);
    co_await place->decision();
  }
  if (!place->admitted()) co_return refuse(exchange, *place, tenant);
  desk_->count([&](AdmissionCounts& counts) {
    ++counts.admitted;
    AdmissionCounts::Tenant& of_tenant = counts.tenant(tenant);
    ++of_tenant.admitted;
    of_tenant.cost += place->cost();
  });
  Reply reply = co_await next(exchange);
  if (!reply) co_return reply;  // And the place goes.
  // A refusal of the application is fast and says nothing of how long work takes.
  const bool worked = reply->status < 400 && !failed(&reply->headers);
  const End how = worked ? End::kDone : End::kAbandoned;
  if (reply->body == nullptr) {
    place->end(how);
  } else {
    reply->body = std::make_unique<AdmittedBody>(std::move(reply->body), std::move(place), how);
  }
  co_return reply;
}

Response AdmissionFilter::refuse(Exchange& exchange, const AdmissionPlace& place,
                                 std::string_view tenant) {
  const AdmissionRefusal& facts = place.refusal();
  desk_->count([&](AdmissionCounts& counts) {
    ++counts.refused[static_cast<std::size_t>(facts.why)];
    ++counts.tenant(tenant).refused;
  });
  ModelRefusal refusal{.reason = reason_of(facts.why),
                       .sentence = sentence_of(facts, tenant, facts.waited),
                       .come_again = facts.come_again};
  // Who has asked for too much itself would be told so by any other replica, too.
  if (facts.why == AdmissionWhy::kShare) {
    refusal.status = 429;
    refusal.grpc_status = GrpcStatus::kResourceExhausted;
    refusal.flag = ResponseFlag::kRateLimited;
  }
  return refuse_in_dialect(exchange, refusal);
}

void AdmissionFilter::collect(MetricsPage& page) const {
  if (!desk_->teller().tells(this)) return;
  const AdmissionCounts all = desk_->counts();
  const Labels labels = {{"application", config_->application}};
  const auto with = [&](std::string_view name, std::string_view value) {
    Labels more = labels;
    more.emplace_back(name, value);
    return more;
  };
  page.counter("glia_admission_admitted_total", labels, all.admitted);
  page.counter("glia_admission_left_total", labels, all.left);
  page.counter("glia_admission_begun_early_total", labels, all.begun_early);
  for (std::size_t i = 0; i < kReasons.size(); ++i) {
    page.counter("glia_admission_refused_total", with("reason", kReasons[i]), all.refused[i]);
  }
  page.histogram("glia_admission_wait", labels, all.wait);
  for (const auto& [tenant, counts] : all.tenants) {
    const Labels of_tenant = with("tenant", tenant);
    page.counter("glia_admission_tenant_admitted_total", of_tenant, counts.admitted);
    page.counter("glia_admission_tenant_refused_total", of_tenant, counts.refused);
    page.counter("glia_admission_tenant_cost_total", of_tenant, counts.cost);
  }
  const AdmissionDesk::Figures figures = desk_->figures();
  page.gauge("glia_admission_limit", labels, figures.limit);
  page.gauge("glia_admission_at_work", labels, figures.at_work);
  page.gauge("glia_admission_cost_at_work", labels, static_cast<int64_t>(figures.cost_at_work));
  constexpr std::string_view kBandNames[] = {"urgent", "usual", "patient"};
  for (int i = 0; i < AdmissionQueue::kBands; ++i) {
    page.gauge("glia_admission_waiting", with("urgency", kBandNames[i]), figures.waiting[i]);
  }
}

}  // namespace glia
