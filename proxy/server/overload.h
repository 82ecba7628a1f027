// Overload: sees how much memory the process holds and tells when it must let go of work before the
// system ends it.
//
// Refusing early is the only kindness left then: a request that gets 503 with retry-after goes
// elsewhere; a killed sidecar takes every request in it along.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "proxy/net/loop.h"
#include "proxy/server/pressure.h"

namespace glia {

// What starts a level, in percent of the limit. Below kCalmAt it ends, so that it does not flap.
inline constexpr uint64_t kShedAt = 85, kRefuseAt = 95, kCalmAt = 80;
// How often memory is looked at, and from where on more often: filling what is left takes longer than
// that. A look costs about 20 us.
inline constexpr Duration kMemoryLook = 100ms, kMemoryLookSoon = 10ms;
inline constexpr uint64_t kLookSoonAt = 50;  // percent
// How often freed memory is given back while there is too little: it takes milliseconds.
inline constexpr Duration kMemoryTrim = 1s;

Pressure pressure_of(uint64_t resident, uint64_t limit, Pressure before);

// Bytes that this process holds in memory; 0 if the system does not say.
uint64_t resident_memory();
// The least "memory.max" of our cgroup and those above it, in bytes; nothing without a limit.
std::optional<uint64_t> cgroup_memory(const std::string& root, const std::string& self);

class Overload {
 public:
  // `limit` in bytes. `tell` is called on `loop`'s thread whenever the level changes.
  Overload(EventLoop& loop, uint64_t limit, std::function<uint64_t()> resident,
           std::function<void(Pressure)> tell);

  Pressure pressure() const { return pressure_; }
  uint64_t limit() const { return limit_; }

 private:
  void look();

  EventLoop& loop_;
  uint64_t limit_;
  std::function<uint64_t()> resident_;
  std::function<void(Pressure)> tell_;
  Pressure pressure_ = Pressure::kNone;
  TimePoint trimmed_{};
  CallbackTimer timer_;
};

}  // namespace glia
