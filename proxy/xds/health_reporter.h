// HealthReporter: looks at the application beside the sidecar as the control plane orders, and tells it
// (glia.v1.HealthService).
//
// Each look is told, also when nothing changed: a machine that is not heard of is taken for dead. Each report
// is answered; if that does not come, the call is dead, whatever its connection says, and another is begun.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/base/random.h"
#include "proxy/base/result.h"
#include "proxy/base/task.h"
#include "proxy/net/address.h"
#include "proxy/net/loop.h"
#include "proxy/xds/ads.h"
#include "proxy/xds/backoff.h"

namespace glia {

// glia.v1.HealthOrder
struct HealthOrder {
  static constexpr Duration kLeastInterval = 100ms;
  static constexpr Duration kMostInterval = 5min;

  Duration interval{};  // Zero: nothing is wanted.
  Duration timeout = 1s;
  uint32_t failures = 1, successes = 1;
  std::optional<Address> application;
  std::string path;  // "": a connection is enough.
};
// An error if it says what cannot be. An interval out of its bounds becomes the nearest one.
Result<HealthOrder> decode_health_order(std::string_view bytes);

// Looks once; ends within the order's timeout. Nothing: it is well; else why not.
using LookAtApplication = std::function<Task<std::optional<std::string>>(const HealthOrder&)>;

class HealthReporter final : private AdsCall::Watcher {
 public:
  static constexpr Duration kReconnectLeast = 500ms;  // Doubles with each failure, plus jitter,
  static constexpr Duration kReconnectMost = 5s;      // up to this.
  static constexpr int kUnanswered = 2;               // Reports; with one more the call is dead.
  static constexpr std::size_t kLongestWhy = 512;     // bytes

  // `loop`, and what the functions reach, outlive it. `workload`: "namespace/name".
  HealthReporter(EventLoop& loop, OpenAds open, LookAtApplication look, std::string workload,
                 uint64_t seed);
  ~HealthReporter() override;
  void start();
  // The sidecar is about to end: whoever calls its application should ask another one.
  void leave();

 private:
  enum class State : uint8_t { kUnknown, kWell, kNotWell, kLeaving };  // As in the message.
  void on_message(std::string_view bytes) override;
  void on_end(std::string_view why) override;
  void connect();
  void give_up(std::string_view why);
  void look_next();
  Task<void> look();
  void note(const std::optional<std::string>& trouble);
  void tell();

  EventLoop& loop_;
  const OpenAds open_;
  const LookAtApplication look_;
  const std::string workload_;
  Random random_;
  CallbackTimer reconnect_, next_look_;
  std::unique_ptr<AdsCall> call_;
  HealthOrder order_;
  std::string order_bytes_;  // Of it, to see whether another one is new.
  Task<void> looking_;
  State state_ = State::kUnknown;
  std::string why_;
  uint32_t failed_ = 0, succeeded_ = 0;  // In a row.
  int unanswered_ = 0;
  Backoff backoff_{kReconnectLeast, kReconnectMost};
  bool ended_ = false;  // The call in call_, which is not destroyed from inside.
};

}  // namespace glia
