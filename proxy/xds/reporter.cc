#include "proxy/xds/reporter.h"

#include <algorithm>
#include <utility>

#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/xds/wire.h"

namespace glia {
namespace {

void put(Message& message, std::string_view field, uint64_t number) {
  if (number > 0) message.add_bits(field, number);
}

void put(Message& message, std::string_view field, Duration time) {
  Message& duration = message.add_message(field);
  put(duration, "seconds", static_cast<uint64_t>(time / 1s));
  put(duration, "nanos", static_cast<uint64_t>((time % 1s) / 1ns));
}

void put(Message& message, std::string_view field, const Sketch& sketch) {
  if (sketch.count() == 0) return;
  Message& histogram = message.add_message(field);
  put(histogram, "zeros", sketch.zeros());
  if (!sketch.counts().empty()) {
    histogram.add_bits("first", static_cast<uint64_t>(int64_t{sketch.first()}));
  }
  for (const uint64_t count : sketch.counts()) histogram.add_bits("counts", count);
  histogram.add_real("sum", sketch.sum());
}

void put(Message& message, std::string_view field, const ClusterTally::Counts& counts) {
  for (const auto& [key, count] : counts) {
    Message& entry = message.add_message(field);
    entry.add_text("key", key);
    entry.add_bits("value", count);
  }
}

void put_shadow(Message& message, const ClusterTally::Shadow& shadow) {
  if (shadow.sent == 0 && shadow.skipped == 0 && shadow.failed == 0) return;
  Message& out = message.add_message("shadow");
  put(out, "sent", shadow.sent);
  put(out, "failed", shadow.failed);
  put(out, "compared", shadow.compared);
  put(out, "different", shadow.different);
  put(out, "skipped", shadow.skipped);
  put(out, "fields", shadow.fields);
  put(out, "latency_ms", shadow.latency_ms);
  put(out, "answered_latency_ms", shadow.answered_latency_ms);
}

}  // namespace

Result<ReportOrder> decode_order(std::string_view bytes) {
  TRY(const Message message, decode_wire(*MessageSchema::find("glia.v1.ReportOrder"), bytes));
  ReportOrder order;
  for (const Entry& entry : message.entries) {
    if (entry.field->name() != "clusters") continue;
    if (entry.text.empty() || entry.text.size() > ReportOrder::kLongestName) {
      return invalid(cat("a report order names a cluster of ", entry.text.size(), " bytes"));
    }
    order.clusters.push_back(entry.text);
  }
  if (order.clusters.size() > ReportOrder::kMostClusters) {
    return invalid(cat("a report order names ", order.clusters.size(), " clusters, more than ",
                       ReportOrder::kMostClusters));
  }
  if (const Entry* const interval = message.find("interval")) {
    const auto number = [&](std::string_view field) {
      const Entry* entry = interval->message->find(field);
      return entry == nullptr ? int64_t{0} : static_cast<int64_t>(entry->bits);
    };
    constexpr int64_t kMost = ReportOrder::kMostInterval / 1s;
    const Duration asked = std::chrono::seconds(std::clamp<int64_t>(number("seconds"), 0, kMost)) +
                           Duration(std::clamp<int64_t>(number("nanos"), 0, 999'999'999));
    order.interval = std::clamp(asked, ReportOrder::kLeastInterval, ReportOrder::kMostInterval);
  }
  return order;
}

std::string encode_report(Duration window, const Tallies& tallies) {
  Message report(*MessageSchema::find("glia.v1.Report"));
  put(report, "window", window);
  for (const auto& [name, tally] : tallies.clusters) {
    Message& out = report.add_message("clusters");
    out.add_text("cluster", name);
    put(out, "requests", tally.requests);
    put(out, "errors", tally.errors);
    put(out, "output_errors", tally.output_errors);
    put(out, "input_tokens", tally.input_tokens);
    put(out, "output_tokens", tally.output_tokens);
    put(out, "finish_reasons", tally.finish_reasons);
    put(out, "latency_ms", tally.latency_ms);
    put(out, "first_token_ms", tally.first_token_ms);
    put(out, "inter_token_ms", tally.inter_token_ms);
    put(out, "tokens_per_second", tally.tokens_per_second);
    put_shadow(out, tally.shadow);
  }
  return encode_wire(report);
}

Reporter::Reporter(EventLoop& loop, OpenAds open, TallyingWorkers workers, uint64_t seed)
    : loop_(loop),
      open_(std::move(open)),
      workers_(std::move(workers)),
      random_(seed),
      reconnect_(loop, [this] { connect(); }),
      next_report_(loop, [this] { report_next(); }) {}

Reporter::~Reporter() = default;

void Reporter::start() { reconnect_.start(Duration::zero()); }

void Reporter::connect() {
  call_.reset();
  ended_ = false;
  call_ = open_(*this);
  call_->send("");  // An empty Report: here is somebody who takes orders.
}

void Reporter::on_message(std::string_view bytes) {
  if (ended_) return;
  Result<ReportOrder> order = decode_order(bytes);
  if (!order) return give_up(order.error().message());
  backoff_.reset();
  order_ = *std::move(order);
  reporting_.cancel();
  workers_.want(order_.clusters);
  counted_from_ = loop_.now();
  if (order_.clusters.empty()) {
    next_report_.stop();
  } else {
    next_report_.start(order_.interval);
  }
}

void Reporter::on_end(std::string_view why) {
  if (!ended_) give_up(why);
}

void Reporter::give_up(std::string_view why) {
  LOG(debug, "reports to the control plane stop for now: ", why);
  ended_ = true;
  next_report_.stop();
  reporting_.cancel();
  if (!order_.clusters.empty()) workers_.want({});
  order_ = {};
  reconnect_.start(backoff_.next(random_));
}

void Reporter::report_next() {
  next_report_.start(order_.interval);
  if (call_->unsent() > kMostUnsent) return give_up("the control plane does not read them");
  if (reporting_ && !reporting_.done()) return;  // A worker is busy: then with the next one.
  reporting_ = report();
  reporting_.start();
}

Task<void> Reporter::report() {
  Tallies tallies = co_await workers_.take();
  const TimePoint now = loop_.now();
  const Duration window = now - std::exchange(counted_from_, now);
  if (ended_) co_return;
  call_->send(encode_report(window, tallies));
  ++sent_;
}

}  // namespace glia
