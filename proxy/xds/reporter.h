// Reporter: tells the control plane what was seen of requests to the clusters that it asks for
// (glia.v1.ReportService), over the same kind of call as ADS.
//
// The control plane orders, the workers count, and each interval what is new goes up in one message.
// What is lost with a connection is missing, never counted twice; nobody waits for any of it. While
// there is no order the workers count nothing.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/random.h"
#include "proxy/base/result.h"
#include "proxy/base/task.h"
#include "proxy/net/loop.h"
#include "proxy/telemetry/tally.h"
#include "proxy/xds/ads.h"
#include "proxy/xds/backoff.h"

namespace glia {

// glia.v1.ReportOrder
struct ReportOrder {
  static constexpr std::size_t kMostClusters = 64;
  static constexpr std::size_t kLongestName = 512;  // bytes; of a cluster
  static constexpr Duration kLeastInterval = 200ms;
  static constexpr Duration kMostInterval = 60s;

  std::vector<std::string> clusters;
  Duration interval = 1s;
};
// An error if it asks for more, or for names that are longer. An interval that is out of its bounds
// becomes the nearest one.
Result<ReportOrder> decode_order(std::string_view bytes);
// glia.v1.Report
std::string encode_report(Duration window, const Tallies& tallies);

// The workers, as the reporter sees them.
struct TallyingWorkers {
  std::function<void(std::vector<std::string> clusters)> want;
  std::function<Task<Tallies>()> take;  // Added up over all of them.
};

class Reporter final : private AdsCall::Watcher {
 public:
  static constexpr Duration kReconnectLeast = 1s;  // Doubles with each failure, plus jitter,
  static constexpr Duration kReconnectMost = 60s;  // up to this.
  // Reports that wait for a control plane that does not read; then the call ends.
  static constexpr std::size_t kMostUnsent = 256 * 1024;  // bytes

  // `loop`, and what `open` and `workers` reach, outlive it.
  Reporter(EventLoop& loop, OpenAds open, TallyingWorkers workers, uint64_t seed);
  ~Reporter() override;
  void start();
  // What is asked for now; for metrics.
  std::size_t clusters() const { return order_.clusters.size(); }
  uint64_t sent() const { return sent_; }

 private:
  void on_message(std::string_view bytes) override;
  void on_end(std::string_view why) override;
  void connect();
  // Ends the call, and begins another one later.
  void give_up(std::string_view why);
  void report_next();
  Task<void> report();

  EventLoop& loop_;
  const OpenAds open_;
  const TallyingWorkers workers_;
  Random random_;
  CallbackTimer reconnect_, next_report_;
  std::unique_ptr<AdsCall> call_;
  ReportOrder order_;
  TimePoint counted_from_;
  Task<void> reporting_;
  uint64_t sent_ = 0;
  Backoff backoff_{kReconnectLeast, kReconnectMost};
  bool ended_ = false;  // The call in call_, which is not destroyed from inside.
};

}  // namespace glia
