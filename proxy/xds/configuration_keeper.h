// ConfigurationKeeper: writes what a sidecar holds to disk after it has changed, so that the next start
// needs no control plane (kept_configuration.h).
//
// A change comes in several pushes and is written once, a while after the last of them, never before
// all that is needed has come for the first time; a mesh that changes all the time costs a file each
// kBetweenWrites. A disk that does not take it is tried again, and the file before stays. Belongs to the
// main thread; the writing itself is somebody else's, because disks are slow.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "proxy/base/result.h"
#include "proxy/net/loop.h"
#include "proxy/xds/ads.h"
#include "proxy/xds/configuration.h"

namespace glia {

class ConfigurationKeeper {
 public:
  static constexpr Duration kSettle = 1s;          // After a push, for what belongs to it.
  static constexpr Duration kBetweenWrites = 10s;  // At least.
  static constexpr Duration kTryAgain = 60s;       // After the disk has refused, whatever changes.

  using Done = std::function<void(const Result<void>&)>;
  // Replaces the file, then calls `done` on the loop, not before it has returned. One at a time.
  using Write = std::function<void(std::string content, Done done)>;

  // All outlive it. `owner`: see kept_configuration.h.
  ConfigurationKeeper(EventLoop& loop, const Configuration& configuration, const AdsClient& ads,
                      std::string owner, Write write);

  // What is held has changed.
  void changed();
  // What is to be written before the process ends; nothing if the disk has it.
  std::optional<std::string> unwritten();

  std::size_t size() const { return size_; }  // bytes of the file that was written last; 0: none
  uint64_t written() const { return written_; }
  uint64_t failed() const { return failed_; }

 private:
  void begin();
  void ended(std::size_t size, const Result<void>& result);
  Result<std::string> content() const;
  void note(const Error& error);

  EventLoop& loop_;
  const Configuration& configuration_;
  const AdsClient& ads_;
  const std::string owner_;
  const Write write_;
  CallbackTimer timer_;
  std::optional<TimePoint> last_;   // When a write began.
  std::optional<TimePoint> since_;  // The first change that is not written.
  bool changed_ = false;            // Since the last write began.
  bool writing_ = false;
  std::size_t size_ = 0;
  uint64_t written_ = 0, failed_ = 0;
  std::string trouble_;  // The last one; "" after a write that went well.
};

}  // namespace glia
