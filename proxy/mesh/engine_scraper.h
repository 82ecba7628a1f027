// EngineScraper: asks the application behind a sidecar for its metrics, on loopback, every now and then,
// and writes what it said into the ServerLoad of the process.
//
// Each worker has one a cluster, and the ServerLoad lets one of them ask at a time. An engine that does
// not answer is asked less and less often; its last sample grows old, and callers see that.
#pragma once

#include <memory>

#include "proxy/base/task.h"
#include "proxy/mesh/server_load.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"

namespace glia {

class EngineScraper {
 public:
  // `loop` and `network` outlive it.
  EngineScraper(EventLoop& loop, Network& network, ModelServerConfig config,
                std::shared_ptr<const ServerLoad> load);
  EngineScraper(const EngineScraper&) = delete;
  ~EngineScraper();
  const ModelServerConfig& config() const { return config_; }

  static constexpr std::size_t kLargestPage = 4 * 1024 * 1024;  // bytes
  static constexpr Duration kLongestPause = 30s;  // Between two tries while they fail.

 private:
  Task<void> run();
  void take(const EngineScanner& scanner, EngineSample sample);

  EventLoop& loop_;
  Network& network_;
  const ModelServerConfig config_;
  const std::shared_ptr<const ServerLoad> load_;
  // Of the last scrape of this worker, if no other has come between.
  EngineTotals totals_;
  int64_t ended_ = 0;
  TimePoint at_{};
  int failures_ = 0;  // One after the other.
  Task<void> task_;
};

}  // namespace glia
