#include "proxy/xds/decode_admission.h"

namespace glia {

std::shared_ptr<const AdmissionConfig> decode_admission(const Reader& config) {
  constexpr uint64_t kMost = 1'000'000, kMostQueue = 65'536, kMostCost = uint64_t{1} << 40;
  constexpr Duration kLongestWait = 1h;
  auto admission = std::make_shared<AdmissionConfig>();
  admission->application = config.text("application");
  if (config.has("concurrency")) {
    admission->concurrency = static_cast<uint32_t>(config.number("concurrency", 1, kMost, 1));
  }
  admission->most_concurrency = static_cast<uint32_t>(
      config.number("most_concurrency", admission->most_concurrency, kMost, 1));
  admission->cost_at_once = config.number("cost_at_once", 0, kMostCost);
  admission->queue = static_cast<uint32_t>(config.number("queue", admission->queue, kMostQueue));
  admission->wait = config.duration("wait", admission->wait);
  if (admission->wait > kLongestWait) config.fail("wait", "is above 1 h");
  if (config.has("heartbeat")) {
    admission->heartbeat = config.duration("heartbeat", 0s);
    if (admission->heartbeat < 100ms || admission->heartbeat > 60s) {
      config.fail("heartbeat", "is not from 0.1s to 60s");
    }
  }
  const std::string cost = config.choice("cost");
  if (cost == "ROWS") admission->cost = AdmissionConfig::Cost::kRows;
  if (cost == "REQUESTS") admission->cost = AdmissionConfig::Cost::kRequests;
  admission->usual_output_tokens = static_cast<uint32_t>(
      config.number("usual_output_tokens", admission->usual_output_tokens, kMost, 1));
  if (config.choice("tenants") == "CALLERS") {
    admission->tenants = AdmissionConfig::Tenants::kCallers;
  }
  return admission;
}

}  // namespace glia
