#include "proxy/xds/health_reporter.h"

#include <algorithm>
#include <utility>

#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/xds/wire.h"

namespace glia {
namespace {

uint64_t number(const Message& message, std::string_view field) {
  const Entry* const entry = message.find(field);
  return entry == nullptr ? 0 : entry->bits;
}
std::string text(const Message& message, std::string_view field) {
  const Entry* const entry = message.find(field);
  return entry == nullptr ? "" : entry->text;
}
Duration milliseconds(uint64_t count, Duration most) {
  const auto limit = static_cast<uint64_t>(most / 1ms);
  return std::chrono::milliseconds(std::min(count, limit));
}

}  // namespace

Result<HealthOrder> decode_health_order(std::string_view bytes) {
  TRY(const Message message, decode_wire(*MessageSchema::find("glia.v1.HealthOrder"), bytes));
  HealthOrder order;
  order.interval = milliseconds(number(message, "interval_ms"), HealthOrder::kMostInterval);
  if (order.interval == Duration::zero()) return order;
  order.interval = std::max(order.interval, HealthOrder::kLeastInterval);
  order.timeout = milliseconds(number(message, "timeout_ms"), order.interval);
  if (order.timeout == Duration::zero()) order.timeout = order.interval;
  order.failures = std::max<uint32_t>(1, static_cast<uint32_t>(number(message, "failures")));
  order.successes = std::max<uint32_t>(1, static_cast<uint32_t>(number(message, "successes")));
  order.path = text(message, "path");
  const uint64_t port = number(message, "port");
  auto address = port >= 1 && port <= 65535
                     ? Address::ip(text(message, "address"), static_cast<uint16_t>(port))
                     : Result<Address>(invalid(cat("port ", port, " is none")));
  if (!address) return std::move(address).error().in("an order to look at the application");
  order.application = *std::move(address);
  if (!order.path.empty() && !order.path.starts_with('/')) {
    return invalid(cat("an order to look at the application names the path ", order.path));
  }
  return order;
}

HealthReporter::HealthReporter(EventLoop& loop, OpenAds open, LookAtApplication look,
                               std::string workload, uint64_t seed)
    : loop_(loop),
      open_(std::move(open)),
      look_(std::move(look)),
      workload_(std::move(workload)),
      random_(seed),
      reconnect_(loop, [this] { connect(); }),
      next_look_(loop, [this] { look_next(); }) {}

HealthReporter::~HealthReporter() = default;

void HealthReporter::start() { reconnect_.start(Duration::zero()); }

void HealthReporter::connect() {
  call_.reset();
  ended_ = false;
  unanswered_ = 0;
  call_ = open_(*this);
  tell();  // Who we are, and what is known already: the control plane may be a new one.
}

void HealthReporter::on_message(std::string_view bytes) {
  if (ended_) return;
  backoff_.reset();
  unanswered_ = 0;
  if (bytes == order_bytes_ && next_look_.running()) return;
  Result<HealthOrder> order = decode_health_order(bytes);
  if (!order) return give_up(order.error().message());
  order_ = *std::move(order);
  order_bytes_ = bytes;
  looking_.cancel();
  failed_ = succeeded_ = 0;
  if (order_.interval == Duration::zero()) {
    next_look_.stop();
    if (state_ != State::kLeaving) state_ = State::kUnknown;
  } else {
    next_look_.start(Duration::zero());
  }
}

void HealthReporter::on_end(std::string_view why) {
  if (!ended_) give_up(why);
}

// It goes on looking: what it finds is told with the next call.
void HealthReporter::give_up(std::string_view why) {
  LOG(debug, "the control plane is not told how the application is, for now: ", why);
  ended_ = true;
  reconnect_.start(backoff_.next(random_));
}

void HealthReporter::look_next() {
  next_look_.start(order_.interval);
  if (looking_ && !looking_.done()) return;  // The loop is late; it ends within its timeout.
  looking_ = look();
  looking_.start();
}

Task<void> HealthReporter::look() {
  const std::optional<std::string> trouble = co_await look_(order_);
  note(trouble);
  tell();
}

void HealthReporter::note(const std::optional<std::string>& trouble) {
  failed_ = trouble ? failed_ + 1 : 0;
  succeeded_ = trouble ? 0 : succeeded_ + 1;
  if (state_ == State::kLeaving) return;
  const State before = state_;
  if (failed_ >= order_.failures) {
    state_ = State::kNotWell;
    why_ = trouble->substr(0, kLongestWhy);
  } else if (succeeded_ >= order_.successes) {
    state_ = State::kWell;
    why_.clear();
  }
  if (state_ == before) return;
  if (state_ == State::kWell) {
    LOG(info, "the application is well");
  } else {
    LOG(warning, "the application is not well, and leaves the mesh's endpoints: ", why_);
  }
}

void HealthReporter::tell() {
  if (call_ == nullptr || ended_) return;
  if (++unanswered_ > kUnanswered + 1) return give_up("it does not answer");
  Message report(*MessageSchema::find("glia.v1.HealthReport"));
  report.add_text("workload", workload_);
  if (state_ != State::kUnknown) report.add_bits("state", static_cast<uint64_t>(state_));
  if (state_ == State::kNotWell && !why_.empty()) report.add_text("why", why_);
  call_->send(encode_wire(report));
}

void HealthReporter::leave() {
  state_ = State::kLeaving;
  tell();
}

}  // namespace glia
